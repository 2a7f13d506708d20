//! The figures of `squall bench model`, printed.

use crate::config::Precision;
use std::io::{self, Write};

/// What was measured of a precision.
pub(super) struct Row {
    /// Name of the model, and what it computes with.
    pub(super) model: String,
    pub(super) precision: Precision,
    pub(super) texts_per_second: f64,
    pub(super) tokens_per_second: f64,
    /// Part of the texts that have the label that f32 gives them.
    pub(super) agreement: Option<f64>,
    /// Multiplications a second in the encoder's matrix products, and at most, in a large product; not known of GPUs.
    pub(super) multiplications: Option<(f64, f64)>,
}

/// What was measured of texts of one length.
pub(super) struct Length {
    pub(super) tokens: usize,
    pub(super) tokens_per_second: f64,
}

/// Prints all of it. `single` are milliseconds in ascending order.
pub(super) fn print(
    out: &mut impl Write,
    rows: &[Row],
    single: &[f64],
    lengths: &[Length],
    resident: Option<u64>,
) -> io::Result<()> {
    for row in rows {
        write!(
            out,
            "squall {}: {:.1} texts/s, {:.0} tokens/s",
            row.model, row.texts_per_second, row.tokens_per_second
        )?;
        if let Some((reached, most)) = row.multiplications {
            let (reached, most) = (reached / 1e9, most / 1e9);
            write!(
                out,
                ", {reached:.0}e9 multiplications/s of {most:.0}e9 at most"
            )?;
        }
        writeln!(out)?;
        if let Some(agreement) = row.agreement {
            writeln!(out, "  labels as in f32: {:.2} %", agreement * 100.0)?;
        }
    }
    let quantile = |q: f64| single[((single.len() - 1) as f64 * q).round() as usize];
    writeln!(
        out,
        "a single text: p50 {:.2} ms, p99 {:.2} ms",
        quantile(0.5),
        quantile(0.99)
    )?;
    for length in lengths {
        writeln!(
            out,
            "texts of {} tokens: {:.1} µs a token",
            length.tokens,
            1e6 / length.tokens_per_second
        )?;
    }
    if let Some(bytes) = resident {
        writeln!(
            out,
            "resident memory while scoring: {} MB",
            bytes / 1_000_000
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_printed() {
        let row = Row {
            model: "m (int8, portable)".into(),
            precision: Precision::Int8,
            texts_per_second: 1234.5,
            tokens_per_second: 30_000.0,
            agreement: Some(0.995),
            multiplications: Some((3e11, 4e11)),
        };
        let length = Length {
            tokens: 64,
            tokens_per_second: 40_000.0,
        };
        let mut out = Vec::new();
        print(
            &mut out,
            &[row],
            &[1.0, 2.0, 9.0],
            &[length],
            Some(170_000_000),
        )
        .unwrap();
        let expected = "squall m (int8, portable): 1234.5 texts/s, 30000 tokens/s, 300e9 multiplications/s of 400e9 at most
  labels as in f32: 99.50 %
a single text: p50 2.00 ms, p99 9.00 ms
texts of 64 tokens: 25.0 µs a token
resident memory while scoring: 170 MB
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
