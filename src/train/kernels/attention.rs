//! Self-attention over texts that stand one behind the other, without padding between them (Vaswani et al., 2017).

use super::dropout::Dropout;
use super::{add_scaled, dot, exp, sum, vectorised};

/// How the rows of a matrix are shared: among texts, and within a row among heads.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Layout<'a> {
    /// Tokens of each text, in order.
    pub(in crate::train) lengths: &'a [usize],
    /// Number of heads.
    pub(in crate::train) heads: usize,
    /// Width of a row.
    pub(in crate::train) width: usize,
}

/// Values of one head of one text.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Where its first row begins.
    start: usize,
    width: usize,
    head_width: usize,
    length: usize,
    /// Index of its first weight among all weights.
    first_weight: u32,
}

impl Part {
    #[inline(always)]
    fn row<'a>(&self, matrix: &'a [f32], row: usize) -> &'a [f32] {
        let start = self.start + row * self.width;
        &matrix[start..start + self.head_width]
    }

    #[inline(always)]
    fn row_mut<'a>(&self, matrix: &'a mut [f32], row: usize) -> &'a mut [f32] {
        let start = self.start + row * self.width;
        &mut matrix[start..start + self.head_width]
    }

    /// Weights of one query over all keys, without dropout.
    #[inline(always)]
    fn weigh(&self, q: &[f32], k: &[f32], query: usize, weights: &mut [f32]) {
        let scale = 1.0 / (self.head_width as f32).sqrt();
        let q = self.row(q, query);
        let mut highest = f32::MIN;
        for (key, weight) in weights.iter_mut().enumerate() {
            *weight = dot(q, self.row(k, key)) * scale;
            highest = if *weight > highest { *weight } else { highest };
        }
        for weight in weights.iter_mut() {
            *weight = exp(*weight - highest);
        }
        let total = 1.0 / sum(weights);
        for weight in weights.iter_mut() {
            *weight *= total;
        }
    }

    #[inline(always)]
    fn factors(&self, dropout: Dropout, query: usize, factors: &mut [f32]) {
        let first = self.first_weight.wrapping_add((query * self.length) as u32);
        for (key, factor) in factors.iter_mut().enumerate() {
            *factor = dropout.factor(first.wrapping_add(key as u32));
        }
    }
}

/// Every head of every text.
#[inline(always)]
fn parts(layout: Layout<'_>) -> impl Iterator<Item = Part> {
    let head_width = layout.width / layout.heads;
    let (mut row, mut first_weight) = (0, 0u32);
    layout.lengths.iter().flat_map(move |&length| {
        let (first_row, weight) = (row, first_weight);
        row += length;
        first_weight = first_weight.wrapping_add((layout.heads * length * length) as u32);
        (0..layout.heads).map(move |head| Part {
            start: first_row * layout.width + head * head_width,
            width: layout.width,
            head_width,
            length,
            first_weight: weight.wrapping_add((head * length * length) as u32),
        })
    })
}

vectorised! {
    /// Writes the attended values into `out`, which holds zeros; dropout applies to the weights.
    pub(in crate::train) fn attend(
        layout: Layout<'_>, q: &[f32], k: &[f32], v: &[f32], dropout: Dropout, out: &mut [f32],
    ) {
        let longest = layout.lengths.iter().copied().max().unwrap_or(0);
        let (mut weights, mut factors) = (vec![0f32; longest], vec![0f32; longest]);
        for part in parts(layout) {
            let (weights, factors) = (&mut weights[..part.length], &mut factors[..part.length]);
            for query in 0..part.length {
                part.weigh(q, k, query, weights);
                part.factors(dropout, query, factors);
                let out = part.row_mut(out, query);
                for (key, (weight, factor)) in weights.iter().zip(factors.iter()).enumerate() {
                    add_scaled(out, weight * factor, part.row(v, key));
                }
            }
        }
    }
}

vectorised! {
    /// Gradients of queries, keys and values from that of the output; the three hold zeros.
    pub(in crate::train) fn attend_backward(
        layout: Layout<'_>, q: &[f32], k: &[f32], v: &[f32], dropout: Dropout, gradient: &[f32],
        q_gradient: &mut [f32], k_gradient: &mut [f32], v_gradient: &mut [f32],
    ) {
        let longest = layout.lengths.iter().copied().max().unwrap_or(0);
        let mut weights = vec![0f32; longest];
        let mut factors = vec![0f32; longest];
        let mut slopes = vec![0f32; longest];
        for part in parts(layout) {
            let scale = 1.0 / (part.head_width as f32).sqrt();
            let weights = &mut weights[..part.length];
            let factors = &mut factors[..part.length];
            let slopes = &mut slopes[..part.length];
            for query in 0..part.length {
                part.weigh(q, k, query, weights);
                part.factors(dropout, query, factors);
                let gradient = part.row(gradient, query);
                for key in 0..part.length {
                    add_scaled(part.row_mut(v_gradient, key), weights[key] * factors[key], gradient);
                    slopes[key] = dot(gradient, part.row(v, key)) * factors[key];
                }
                let mean = dot(weights, slopes);
                for (slope, weight) in slopes.iter_mut().zip(weights.iter()) {
                    *slope = weight * (*slope - mean) * scale;
                }
                for (key, slope) in slopes.iter().enumerate() {
                    add_scaled(part.row_mut(k_gradient, key), *slope, part.row(q, query));
                }
                let q_gradient = part.row_mut(q_gradient, query);
                for (key, slope) in slopes.iter().enumerate() {
                    add_scaled(q_gradient, *slope, part.row(k, key));
                }
            }
        }
    }
}
