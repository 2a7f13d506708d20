//! `squall detect`: the spike test over a plain series in a CSV file.

use super::files;
use crate::detect::SeriesDetector;
use crate::domain::Timestamp;
use anyhow::{Context, Result};
use csv::StringRecord;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// Find spikes in a series of counts.
///
/// Reads CSV with the columns `timestamp` and `value` and adds anomaly_score (0 to 1, ½ and above is an event),
/// expected, and fired (true where an event begins). Each row is judged from the rows before it only.
#[derive(Debug, clap::Args)]
pub struct Detect {
    /// The series; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub input: String,
    /// Where the judged series goes; `-` for standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: String,
}

/// Runs the command.
///
/// # Errors
/// Names the file, the line and the remedy.
pub fn run(args: &Detect) -> Result<()> {
    let input: Box<dyn Read> = match args.input.as_str() {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(
            File::open(path).with_context(|| format!("cannot read {path}: check the path"))?,
        ),
    };
    let output = files::create(Path::new(&args.output), Path::new(&args.input))?;
    judge(input, &args.input, output, &args.output)
}

/// Judges `input` into `output`; the names are those of the messages.
fn judge(input: impl Read, input_name: &str, output: impl Write, output_name: &str) -> Result<()> {
    let cannot_write =
        || format!("cannot write {output_name}: check that there is room and it may be written");
    let mut rows = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_reader(input);
    let header = rows
        .headers()
        .with_context(|| format!("{input_name}: the header cannot be read"))?
        .clone();
    let column = |name: &str| {
        header.iter().position(|title| title == name).with_context(|| {
            format!("{input_name}, line 1: no column '{name}': begin the file with the header timestamp,value")
        })
    };
    let (timestamp, value) = (column("timestamp")?, column("value")?);

    let mut judged = csv::Writer::from_writer(output);
    let added = ["anomaly_score", "expected", "fired"];
    judged
        .write_record(header.iter().chain(added))
        .with_context(cannot_write)?;
    let mut detector = SeriesDetector::new();
    let mut latest = Timestamp::EPOCH;
    let mut row = StringRecord::new();
    loop {
        let line = rows.position().line();
        let more = rows.read_record(&mut row).with_context(|| {
            format!("{input_name}, line {line}: not a row of the table: make it UTF-8 CSV with as many columns as the header")
        })?;
        if !more {
            break;
        }
        let count = number(&row[value]).with_context(|| {
            format!(
                "{input_name}, line {line}: value '{}' is not a number: write a count, or leave it empty where there is none",
                &row[value]
            )
        })?;
        // A time in a form of its own is taken for a moment later than the row before.
        latest = row[timestamp]
            .parse()
            .unwrap_or(latest + Duration::from_millis(1));
        let point = detector.judge(latest, count);
        let added = [
            format!("{:.6}", point.anomaly_score),
            format!("{:.4}", point.expected),
            point.fired.to_string(),
        ];
        judged
            .write_record(row.iter().chain(added.iter().map(String::as_str)))
            .with_context(cannot_write)?;
    }
    judged.flush().with_context(cannot_write)
}

/// The count in a cell; NaN, which is judged as missing, where it is empty.
fn number(cell: &str) -> Option<f64> {
    match cell.trim() {
        "" => Some(f64::NAN),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(input: &str) -> Result<String> {
        let mut output = Vec::new();
        judge(input.as_bytes(), "series.csv", &mut output, "-")?;
        Ok(String::from_utf8(output)?)
    }

    fn message(input: &str) -> String {
        format!("{:#}", judged(input).unwrap_err())
    }

    #[test]
    fn rows_keep_their_order_timestamps_and_columns() {
        let input = "place,timestamp,value\na,2015-02-26 21:42:53,5\nb,yesterday,\"6\"\nc,2015-02-26T21:40:00+01:00,\n";
        let output = judged(input).unwrap();
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(
            lines[0],
            "place,timestamp,value,anomaly_score,expected,fired"
        );
        assert!(lines[1].starts_with("a,2015-02-26 21:42:53,5,0."));
        assert!(lines[2].starts_with("b,yesterday,6,0."));
        assert_eq!(lines[3].split(',').nth(3), Some("0.000000"));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn errors_name_file_line_and_remedy() {
        let bad_value =
            message("timestamp,value\n2015-02-26 21:42:53,5\n2015-02-26 21:47:53,many\n");
        assert!(
            bad_value.contains("series.csv, line 3: value 'many'"),
            "{bad_value}"
        );
        let short_row = message("timestamp,value\n2015-02-26 21:42:53\n");
        assert!(short_row.contains("series.csv, line 2"), "{short_row}");
        let no_header = message("2015-02-26 21:42:53,5\n");
        assert!(no_header.contains("no column 'timestamp'"), "{no_header}");
        assert!(message("").contains("no column 'timestamp'"));
    }

    #[test]
    fn the_input_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("series.csv");
        std::fs::write(&path, "timestamp,value\n1,1\n").unwrap();
        let path = path.to_str().unwrap().to_owned();
        let args = Detect {
            input: path.clone(),
            output: path.clone(),
        };
        assert!(run(&args).unwrap_err().to_string().contains("is the input"));
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "timestamp,value\n1,1\n"
        );
    }
}
