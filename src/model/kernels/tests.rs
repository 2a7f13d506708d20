//! Every level against the plain formula. Integers are exact, so int8 differs by the rounding of a few f32 operations only.

use super::*;
use proptest::prelude::*;

const FORMATS: [Format; 3] = [Format::Int8, Format::Bf16, Format::F32];

/// `rows` · `weights`ᵀ + bias in f64.
fn reference(rows: &[f32], weights: &[f32], bias: &[f32], inputs: usize) -> Vec<f64> {
    let products = |row: &[f32]| {
        let row = row.to_vec();
        weights
            .chunks(inputs)
            .zip(bias)
            .map(move |(weights, bias)| {
                let products = row
                    .iter()
                    .zip(weights)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b));
                products.sum::<f64>() + f64::from(*bias)
            })
    };
    rows.chunks(inputs)
        .flat_map(|row| products(row).collect::<Vec<_>>())
        .collect()
}

/// Largest error a format may have in a product of `inputs` numbers up to `a` with numbers up to `b`, to be
/// exceeded by chance almost never: errors of rounding add up like random steps.
fn tolerance(format: Format, inputs: usize, a: f32, b: f32) -> f64 {
    let step = match format {
        Format::Int8 => 1.0 / 127.0,
        Format::Bf16 => 1.0 / 256.0,
        Format::F32 => 1.0 / 1_000_000.0,
    };
    f64::from(a * b) * step * (3.0 * (inputs as f64).sqrt() + 1.0)
}

fn matrix(rows: usize, width: usize, most: f32) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-most..=most, rows * width)
}

prop_compose! {
    fn products()(rows in 1usize..40, inputs in 1usize..90, outputs in 1usize..70)(
        a in matrix(rows, inputs, 4.0), b in matrix(outputs, inputs, 0.5), bias in matrix(1, outputs, 1.0),
        inputs in Just(inputs),
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>, usize) {
        (a, b, bias, inputs)
    }
}

fn multiply(
    level: Level,
    format: Format,
    epilogue: Epilogue,
    (a, b, bias, inputs): &(Vec<f32>, Vec<f32>, Vec<f32>, usize),
) -> Vec<f32> {
    let weights = Packed::new(format, *inputs, b, Some(bias));
    let mut rows = Operand::new(format);
    // What stood there before must not matter.
    rows.set(level, &vec![9.0; 3 * inputs], *inputs);
    rows.set(level, a, *inputs);
    let mut out = vec![1.0; a.len() / inputs * bias.len()];
    product(level, &rows, &weights, epilogue, &mut out);
    out
}

fn gelu(x: f64) -> f64 {
    // Φ by the series of erf for small x, by its continued fraction for large ones.
    let z = x.abs() / std::f64::consts::SQRT_2;
    let erf = if z < 3.0 {
        let mut term = z;
        let mut sum = z;
        for n in 1..200 {
            let n = f64::from(n);
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..60)
            .rev()
            .fold(z, |below, n| z + f64::from(n) / 2.0 / below);
        1.0 - (-z * z).exp() / (fraction * std::f64::consts::PI.sqrt())
    };
    x * 0.5 * (1.0 + erf * x.signum())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn products_are_right_at_every_level(case in products()) {
        let (a, b, bias, inputs) = &case;
        let expected = reference(a, b, bias, *inputs);
        for format in FORMATS {
            let plain = multiply(Level::Portable, format, Epilogue::Store, &case);
            let most = tolerance(format, *inputs, 4.0, 0.5);
            for (&got, &right) in plain.iter().zip(&expected) {
                prop_assert!((f64::from(got) - right).abs() <= most, "{format:?} {got} {right}");
            }
            for level in Level::all() {
                let got = multiply(level, format, Epilogue::Store, &case);
                for (&got, &plain) in got.iter().zip(&plain) {
                    prop_assert!((got - plain).abs() <= 2e-4, "{format:?} {} {got} {plain}", level.name());
                }
            }
        }
    }

    #[test]
    fn epilogues_do_what_they_say(case in products()) {
        for level in Level::all() {
            let stored = multiply(level, Format::F32, Epilogue::Store, &case);
            for (epilogue, expected) in [
                (Epilogue::Gelu, gelu as fn(f64) -> f64),
                (Epilogue::Relu, |x| x.max(0.0)),
                (Epilogue::Add, |x| x + 1.0),
            ] {
                for (&x, got) in stored.iter().zip(multiply(level, Format::F32, epilogue, &case)) {
                    let right = expected(f64::from(x));
                    let error = (f64::from(got) - right).abs();
                    // The bound that `Lanes::gelu` states: by what goes in.
                    let most = 1e-5 * f64::from(x.abs().max(1.0));
                    prop_assert!(error <= most, "{epilogue:?} {x}: {got} {right}");
                }
            }
        }
    }

    #[test]
    fn normalised_rows_have_mean_0_and_variance_1(width in 2usize..70, shift in -5f32..5.0, values in matrix(3, 70, 3.0)) {
        let values: Vec<f32> = values[..3 * width].iter().map(|x| x + shift).collect();
        let weight: Vec<f32> = (0..width).map(|i| 1.0 + i as f32 / 50.0).collect();
        let bias: Vec<f32> = (0..width).map(|i| i as f32 / 10.0 - 1.0).collect();
        for level in Level::all() {
            let mut got = values.clone();
            normalise(level, &mut got, &weight, &bias, 1e-3);
            for (row, got) in values.chunks(width).zip(got.chunks(width)) {
                let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
                let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
                for (i, (&x, &got)) in row.iter().zip(got).enumerate() {
                    let right = (f64::from(x) - mean) / (variance + 1e-3).sqrt() * f64::from(weight[i]) + f64::from(bias[i]);
                    prop_assert!((f64::from(got) - right).abs() < 1e-4, "{} {got} {right}", level.name());
                }
            }
        }
    }

    #[test]
    fn attention_is_the_mean_weighted_by_softmax(
        length in 1usize..80, asked in 1usize..80, count in 1usize..3, width in 1usize..70,
        window in proptest::option::of(0usize..90), exact in any::<bool>(), values in matrix(80, 3 * 2 * 70, 2.0)
    ) {
        let heads = Heads { count, width, window, exact };
        let all_keys = Heads { window: None, ..heads };
        let row = count * width;
        let asked = asked.min(length);
        let all = &values[..length * 3 * row];
        let part = |from: usize| Strided { values: &all[from * row..], stride: 3 * row };
        for level in Level::all() {
            let mut out = vec![0.0; asked * row];
            // What stood there before must not matter.
            let mut scratch = Scratch::default();
            let mut other = vec![0.0; row];
            attention(level, all_keys, part(1), part(2), part(2), &mut scratch, &mut other);
            attention(level, heads, part(0), part(1), part(2), &mut scratch, &mut out);
            for query in 0..asked {
                for head in 0..count {
                    let vector = |token: usize, part: usize| &all[token * 3 * row + part * row + head * width..][..width];
                    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                    let scores: Vec<f64> = (0..length).map(|key| dot(vector(query, 0), vector(key, 1))).collect();
                    let highest = scores.iter().copied().fold(f64::MIN, f64::max);
                    let sees = |key: usize| window.is_none_or(|window| key.abs_diff(query) <= window);
                    let weight = |(key, score): (usize, &f64)| if sees(key) { (score - highest).exp() } else { 0.0 };
                    let weights: Vec<f64> = scores.iter().enumerate().map(weight).collect();
                    let sum: f64 = weights.iter().sum();
                    for number in 0..width {
                        let right = (0..length).map(|key| weights[key] * f64::from(vector(key, 2)[number])).sum::<f64>() / sum;
                        let got = f64::from(out[query * row + head * width + number]);
                        // Short integers have 11 bits and more here; with scores up to 280 and values up to 2 the worst of
                        // 4,000 cases was off by 0.007.
                        let most = if exact { 1e-4 } else { 0.02 };
                        prop_assert!((got - right).abs() < most, "{} {got} {right}", level.name());
                    }
                }
            }
        }
    }
}

#[test]
fn the_error_function_behind_gelu_is_right_everywhere() {
    let inputs: Vec<f32> = (-1200..=1200).map(|i| i as f32 / 100.0).collect();
    for level in Level::all() {
        let case = (inputs.clone(), vec![1.0], vec![0.0], 1);
        for (&x, got) in inputs
            .iter()
            .zip(multiply(level, Format::F32, Epilogue::Gelu, &case))
        {
            let error = (f64::from(got) - gelu(f64::from(x))).abs();
            assert!(
                error <= 1e-5 * f64::from(x.abs().max(1.0)),
                "{} {x}: {got}",
                level.name()
            );
        }
    }
}

#[test]
fn numbers_that_are_none_stay_none() {
    for level in Level::all() {
        for format in FORMATS {
            // Layer normalisation makes all of a row none where one number is.
            for (bad, numbers) in [(f32::NAN, 40), (f32::INFINITY, 1)] {
                let mut a = vec![1.0; 2 * 40];
                a[..numbers].fill(bad);
                let case = (a, vec![0.5; 40 * 33], vec![0.0; 33], 40);
                let out = multiply(level, format, Epilogue::Store, &case);
                assert!(
                    out[..33].iter().all(|x| !x.is_finite()),
                    "{format:?} {bad} {out:?}"
                );
                assert!(
                    out[33..].iter().all(|x| (x - 20.0).abs() < 0.2),
                    "{format:?} {out:?}"
                );
            }
        }
    }
}

#[test]
fn a_value_that_is_none_makes_its_head_none_and_no_other() {
    let (length, width) = (60, 8);
    for level in Level::all() {
        for (exact, bad) in [(true, f32::NAN), (false, f32::NAN), (false, f32::INFINITY)] {
            let heads = Heads {
                count: 2,
                width,
                window: None,
                exact,
            };
            let keys = vec![0.5; length * 2 * width];
            let mut values = vec![2.0; length * 2 * width];
            values[7 * 2 * width] = bad;
            let [keys, values] = [&keys, &values].map(|values| Strided {
                values,
                stride: 2 * width,
            });
            let mut out = vec![0.0; length * 2 * width];
            attention(
                level,
                heads,
                keys,
                keys,
                values,
                &mut Scratch::default(),
                &mut out,
            );
            for row in out.chunks(2 * width) {
                assert!(!row[0].is_finite(), "{} {exact} {bad}", level.name());
                assert!(row[width..].iter().all(|x| (x - 2.0).abs() < 1e-3));
            }
        }
    }
}
