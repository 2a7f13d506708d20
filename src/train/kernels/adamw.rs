//! AdamW on slices (Loshchilov and Hutter, 2019).

use super::vectorised;

/// What one step does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::train) struct Step {
    /// Number of the step, from 1.
    pub(in crate::train) number: u32,
    /// Learning rate.
    pub(in crate::train) rate: f32,
    /// Decay of the weight itself, before the learning rate.
    pub(in crate::train) decay: f32,
    /// What gradients are multiplied by: clipping.
    pub(in crate::train) clip: f32,
}

/// Decay rates of the moments, and the least denominator.
pub(in crate::train) const BETAS: [f32; 2] = [0.9, 0.999];
/// Added to the root of the second moment.
pub(in crate::train) const EPSILON: f32 = 1e-8;

impl Step {
    /// What makes up for the moments' beginning with zero.
    pub(in crate::train) fn corrections(&self) -> [f32; 2] {
        BETAS.map(|beta| (1.0 - f64::from(beta).powi(self.number as i32)) as f32)
    }
}

vectorised! {
    /// Moves weights by one step, and the moments with them.
    pub(in crate::train) fn adamw(
        step: Step, weights: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32],
    ) {
        let [b1, b2] = BETAS;
        let [c1, c2] = step.corrections();
        let rate = step.rate / c1;
        let root = 1.0 / c2.sqrt();
        let keep = 1.0 - step.rate * step.decay;
        for (((weight, first), second), gradient) in weights.iter_mut().zip(first).zip(second).zip(gradient) {
            let gradient = gradient * step.clip;
            *first = b1 * *first + (1.0 - b1) * gradient;
            *second = b2 * *second + (1.0 - b2) * gradient * gradient;
            *weight = *weight * keep - rate * *first / (second.sqrt() * root + EPSILON);
        }
    }
}

vectorised! {
    /// Adds a gradient to another.
    pub(in crate::train) fn add(to: &mut [f32], from: &[f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to += from;
        }
    }
}

vectorised! {
    /// Sum of squares.
    pub(in crate::train) fn squares(values: &[f32]) -> f64 {
        values.chunks(4096).map(|part| f64::from(super::dot(part, part))).sum()
    }
}
