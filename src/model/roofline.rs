//! What the processor could do at most, to be set beside what the encoder reaches.

use super::kernels::{Epilogue, Format, Level, Operand, Packed, product};
use super::workers;
use crate::config::Precision;
use std::time::{Duration, Instant};

/// Rows, inputs and outputs of the product that is measured: its weights stay in the second cache.
const SHAPE: [usize; 3] = [140, 768, 512];

/// Multiplications (each with its addition) a second in large matrix products of a precision, on all cores at once.
/// Takes a fifth of a second. None for a precision that only GPUs have.
pub fn multiplications_per_second(precision: Precision) -> Option<f64> {
    let format = Format::of(precision)?;
    let [rows, inputs, outputs] = SHAPE;
    let numbers = |count: usize| -> Vec<f32> {
        (0..count)
            .map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0)
            .collect()
    };
    let weights = Packed::new(format, inputs, &numbers(inputs * outputs), None);
    let level = Level::best();
    let mut operand = Operand::new(format);
    operand.set(level, &numbers(rows * inputs), inputs);
    let cores: Vec<usize> = (0..workers::threads()).collect();
    let rates = workers::map(&cores, |_| {
        let mut out = vec![0.0; rows * outputs];
        let mut products = 0;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            product(level, &operand, &weights, Epilogue::Store, &mut out);
            products += 1;
        }
        (products * rows * inputs * outputs) as f64 / begun.elapsed().as_secs_f64()
    });
    Some(rates.into_iter().sum())
}
