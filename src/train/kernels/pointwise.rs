//! Kernels over rows: bias, GELU, dropout with a residual, layer normalisation, and their derivatives.
//!
//! Matrices are slices of rows, row after row; `bias`, `gain` and `shift` have the length of a row.

use super::dropout::Dropout;
use super::{dot, exp, sum, vectorised};

vectorised! {
    /// Adds a bias to every row.
    pub(in crate::train) fn add_bias(rows: &mut [f32], bias: &[f32]) {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value += bias;
            }
        }
    }
}

vectorised! {
    /// Sum of the rows.
    pub(in crate::train) fn column_sums(rows: &[f32], sums: &mut [f32]) {
        for row in rows.chunks_exact(sums.len()) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}

/// The error function to 2e-7 (Abramowitz and Stegun 7.1.26), given `bell` = exp(-x²).
#[inline(always)]
fn erf(x: f32, bell: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = 1.061_405_4;
    let series = series * t - 1.453_152;
    let series = series * t + 1.421_413_7;
    let series = series * t - 0.284_496_73;
    let series = series * t + 0.254_829_6;
    (1.0 - series * t * bell).copysign(x)
}

vectorised! {
    /// Adds a bias to every row and writes the GELU of it (Hendrycks and Gimpel, 2016, the exact form).
    pub(in crate::train) fn bias_gelu(rows: &mut [f32], bias: &[f32], out: &mut [f32]) {
        for (row, out) in rows.chunks_exact_mut(bias.len()).zip(out.chunks_exact_mut(bias.len())) {
            for ((value, bias), out) in row.iter_mut().zip(bias).zip(out) {
                *value += bias;
                let x = *value;
                let erf = erf(x * std::f32::consts::FRAC_1_SQRT_2, exp(-0.5 * x * x));
                *out = 0.5 * x * (1.0 + erf);
            }
        }
    }
}

vectorised! {
    /// Turns the gradient of GELU's output into that of its input `x`.
    pub(in crate::train) fn gelu_backward(x: &[f32], gradient: &mut [f32]) {
        for (&x, gradient) in x.iter().zip(gradient) {
            let bell = exp(-0.5 * x * x);
            let cumulative = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2, bell));
            *gradient *= cumulative + x * bell * 0.398_942_3;
        }
    }
}

vectorised! {
    /// `rows = dropout(rows + bias) + residual`.
    pub(in crate::train) fn bias_dropout_add(rows: &mut [f32], bias: &[f32], residual: &[f32], dropout: Dropout) {
        let width = bias.len();
        for (number, (row, residual)) in rows.chunks_exact_mut(width).zip(residual.chunks_exact(width)).enumerate() {
            let first = (number * width) as u32;
            for (column, ((value, bias), residual)) in row.iter_mut().zip(bias).zip(residual).enumerate() {
                *value = (*value + bias) * dropout.factor(first.wrapping_add(column as u32)) + residual;
            }
        }
    }
}

vectorised! {
    /// `out = dropout(rows)`: forward, and of a gradient backward.
    pub(in crate::train) fn dropout(rows: &[f32], dropout: Dropout, out: &mut [f32]) {
        for (index, (value, out)) in rows.iter().zip(out).enumerate() {
            *out = value * dropout.factor(index as u32);
        }
    }
}

/// Mean of a row, and the reciprocal of its standard deviation.
#[inline(always)]
fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let width = row.len() as f32;
    let mean = sum(row) / width;
    let mut lanes = [0f32; super::LANES];
    let (chunks, rest) = row.as_chunks::<{ super::LANES }>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += (value - mean) * (value - mean);
        }
    }
    let rest: f32 = rest
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    let variance = (lanes.iter().sum::<f32>() + rest) / width;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

vectorised! {
    /// Layer normalisation of every row (Ba et al., 2016).
    pub(in crate::train) fn layer_norm(rows: &[f32], gain: &[f32], shift: &[f32], epsilon: f32, out: &mut [f32]) {
        for (row, out) in rows.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
            let (mean, scale) = moments(row, epsilon);
            for (((value, gain), shift), out) in row.iter().zip(gain).zip(shift).zip(out) {
                *out = (value - mean) * scale * gain + shift;
            }
        }
    }
}

vectorised! {
    /// Gradient of layer normalisation's input, from its input `rows` and the gradient of its output. Adds to the
    /// gradients of gain and shift.
    pub(in crate::train) fn layer_norm_backward(
        rows: &[f32], gain: &[f32], epsilon: f32, gradient: &[f32],
        out: &mut [f32], gain_gradient: &mut [f32], shift_gradient: &mut [f32],
    ) {
        let width = gain.len();
        let mut scaled = vec![0f32; width];
        let mut normal = vec![0f32; width];
        let matrices = rows.chunks_exact(width).zip(gradient.chunks_exact(width));
        for ((row, gradient), out) in matrices.zip(out.chunks_exact_mut(width)) {
            let (mean, scale) = moments(row, epsilon);
            for column in 0..width {
                normal[column] = (row[column] - mean) * scale;
                scaled[column] = gradient[column] * gain[column];
                gain_gradient[column] += gradient[column] * normal[column];
                shift_gradient[column] += gradient[column];
            }
            let mean_scaled = sum(&scaled) / width as f32;
            let along = dot(&scaled, &normal) / width as f32;
            for column in 0..width {
                out[column] = (scaled[column] - mean_scaled - normal[column] * along) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_is_that_of_the_definition() {
        // Reference values of 0.5 x (1 + erf(x / sqrt 2)), to 7 digits.
        for (x, expected) in [
            (-3.0, -0.004_049_7),
            (-1.0, -0.158_655_3),
            (0.0, 0.0),
            (0.5, 0.345_731_2),
            (2.0, 1.954_499_7),
        ] {
            let mut out = [0.0];
            bias_gelu(&mut [x - 1.0], &[1.0], &mut out);
            assert!((out[0] - expected).abs() < 1e-6, "{x}: {}", out[0]);
        }
    }
}
