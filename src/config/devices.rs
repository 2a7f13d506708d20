//! Where the model is computed: `model.devices`.

use super::{ModelConfig, Precision};

/// What computes the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Devices {
    /// The processor's cores.
    Processor,
    /// GPUs, by CUDA's numbers.
    Gpus(Vec<usize>),
}

impl Devices {
    /// What the configuration asks for.
    ///
    /// # Errors
    /// Devices that are none, are mixed or do not have `model.precision`, with the remedy.
    pub fn of(config: &ModelConfig) -> Result<Self, String> {
        let precision = config.precision;
        if config.devices == ["cpu"] {
            return match precision {
                Precision::F16 => Err(
                    "model.precision: f16 is for GPUs: on a processor take int8, bf16 or f32"
                        .into(),
                ),
                _ => Ok(Self::Processor),
            };
        }
        let number = |name: &String| name.strip_prefix("cuda:")?.parse().ok();
        let numbers: Option<Vec<usize>> = config.devices.iter().map(number).collect();
        let numbers = numbers
            .filter(|numbers| !numbers.is_empty())
            .ok_or_else(|| {
                format!(
                    "model.devices: {:?} must be [\"cpu\"], or GPUs as in [\"cuda:0\", \"cuda:1\"]",
                    config.devices
                )
            })?;
        if let Some(twice) = (1..numbers.len()).find(|&n| numbers[..n].contains(&numbers[n])) {
            return Err(format!(
                "model.devices: cuda:{} is named twice",
                numbers[twice]
            ));
        }
        match precision {
            Precision::Int8 => Err(
                "model.precision: int8 is for processors: on a GPU take f16, bf16 or f32".into(),
            ),
            _ => Ok(Self::Gpus(numbers)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn of(devices: &[&str], precision: Precision) -> Result<Devices, String> {
        let defaults = load(None, std::iter::empty()).unwrap().model;
        Devices::of(&ModelConfig {
            devices: devices.iter().map(|&name| name.into()).collect(),
            precision,
            ..defaults
        })
    }

    #[test]
    fn devices_and_precision_must_fit_each_other() {
        let gpus = of(&["cuda:0", "cuda:3"], Precision::F16);
        assert_eq!(gpus, Ok(Devices::Gpus(vec![0, 3])));
        assert_eq!(of(&["cpu"], Precision::Int8), Ok(Devices::Processor));
        for (devices, precision, words) in [
            (&["cpu"][..], Precision::F16, "f16 is for GPUs"),
            (&["cuda:0"], Precision::Int8, "int8 is for processors"),
            (&["cuda:0", "cpu"], Precision::F16, "must be [\"cpu\"], or"),
            (&["cuda:x"], Precision::F16, "must be [\"cpu\"], or"),
            (&[], Precision::F16, "must be [\"cpu\"], or"),
            (&["cuda:1", "cuda:1"], Precision::F16, "named twice"),
        ] {
            let problem = of(devices, precision).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
