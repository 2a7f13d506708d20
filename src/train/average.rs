//! The mean of the weights of several models that began with the same ones.
//!
//! Models trained from one beginning with other seeds or data lie in one basin of the loss; their mean is mostly better than
//! each of them, and costs no more than one to compute (Wortsman et al., *Model soups*, 2022).

use super::base::{Base, Storage};
use super::data::{self, Options, Source};
use super::error::TrainError;
use super::evaluation::Report;
use super::judge::answer;
use super::network::Shape;
use crate::model::Calibration;
use candle_core::{Device, Tensor};
use std::path::PathBuf;

/// What to average, and by which texts its probabilities are made honest.
#[derive(Debug, Clone)]
pub struct Average {
    /// Folders of the models, two at least.
    pub models: Vec<PathBuf>,
    /// The files they were trained on: the calibration is fitted on what training holds back of them.
    pub train: Vec<Source>,
    /// Files the mean is judged by.
    pub dev: Vec<PathBuf>,
    /// Corrections of labels in `train`.
    pub corrections: Option<PathBuf>,
    /// What is held back.
    pub data: Options,
    /// How many false alarms a missed piece of bad news is taken to cost; 1 leaves the mean as it is.
    pub missed_costs: f64,
    /// Most tokens of a text.
    pub max_tokens: usize,
    /// Folder of the model to make.
    pub out: PathBuf,
    /// How its weights are written.
    pub storage: Storage,
}

impl Average {
    /// Writes the mean, and returns its calibration and figures on the dev files.
    ///
    /// # Errors
    /// When the models are not of one shape, vocabulary and kind, when data are bad, or a file cannot be written.
    pub fn go(&self) -> Result<(Calibration, Report), TrainError> {
        let read = |folder: &PathBuf| Base::read(folder, 0, &Device::Cpu);
        let bases: Vec<Base> = self.models.iter().map(read).collect::<Result<_, _>>()?;
        let [first, others @ ..] = &bases[..] else {
            return Err(TrainError::Unfit(
                "no model to average: name two at least".into(),
            ));
        };
        let vocabulary = first.tokenizer_json()?;
        for (folder, other) in self.models[1..].iter().zip(others) {
            if other.shape != first.shape
                || other.knows_entities != first.knows_entities
                || other.tokenizer_json()? != vocabulary
            {
                return Err(TrainError::Unfit(format!(
                    "{}: has another shape, heads or tokenizer than {}: only models that were trained from the same one can be averaged",
                    folder.display(),
                    self.models[0].display()
                )));
            }
        }
        let mut weights = mean(&bases)?;
        let data = data::load(
            &self.train,
            &self.dev,
            self.corrections.as_deref(),
            &first.tokenizer(self.max_tokens)?,
            &self.data,
        )?;
        let held_back = |weights: &[Tensor]| answer(&first.shape, weights, &data.calibration);
        let temperatures = held_back(&weights)?.temperatures();
        lean(
            &first.shape,
            &mut weights,
            temperatures,
            self.missed_costs.ln(),
        )?;
        let calibration = held_back(&weights)?.calibration();
        let report = answer(&first.shape, &weights, &data.dev)?.report("mean", &calibration);
        std::fs::create_dir_all(&self.out).map_err(TrainError::file(&self.out))?;
        first.write(&self.out, &weights, &calibration, self.storage)?;
        Ok((calibration, report))
    }
}

/// Weight by weight.
fn mean(bases: &[Base]) -> candle_core::Result<Vec<Tensor>> {
    (0..bases[0].weights.len())
        .map(|index| {
            let all: Vec<&Tensor> = bases.iter().map(|base| &base.weights[index]).collect();
            Tensor::stack(&all, 0)?.mean(0)
        })
        .collect()
}

/// Adds so much to the logarithm of the odds of negative, in both heads. Where probabilities are honest, the likeliest label is
/// then the cheapest one (Elkan, *The foundations of cost-sensitive learning*, 2001).
fn lean(
    shape: &Shape,
    weights: &mut [Tensor],
    [document, entity]: [f32; 2],
    ln_odds: f64,
) -> candle_core::Result<()> {
    for (weight, tensor) in shape.weights().iter().zip(weights) {
        let temperature = match weight.name.as_str() {
            "classifier.bias" => document,
            "entity.classifier.bias" => entity,
            _ => continue,
        };
        let more = (f64::from(temperature) * ln_odds) as f32;
        *tensor = (&*tensor + Tensor::new(&[more, 0.0, 0.0], tensor.device())?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, testing};
    use candle_core::DType;
    use std::fs;

    const TEXTS: &str = r#"{"text": "acme beats its outlook", "label": "positive"}
{"text": "acme cuts its outlook", "label": "negative"}
"#;

    /// A folder with the models `a` and `b`.
    fn two_models() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            testing::write(&folder.path().join(name), DType::F32);
        }
        folder
    }

    fn average(folder: &std::path::Path, models: &[&str]) -> Average {
        let at = |name: &str| folder.join(name);
        fs::write(at("train.jsonl"), TEXTS).unwrap();
        fs::write(
            at("dev.jsonl"),
            "{\"text\": \"a profit\", \"label\": \"neutral\"}\n",
        )
        .unwrap();
        Average {
            models: models.iter().map(|name| at(name)).collect(),
            train: vec![Source {
                path: at("train.jsonl"),
                weight: 1.0,
                calibrates: true,
            }],
            dev: vec![at("dev.jsonl")],
            corrections: None,
            data: Options {
                class_weights: [1.0; 3],
                conflicting_weight: 1.0,
                calibration_share: 0.5,
            },
            missed_costs: 1.0,
            max_tokens: 16,
            out: at("out"),
            storage: Storage::Full,
        }
    }

    #[test]
    fn every_weight_is_the_mean_of_the_models() {
        let folder = two_models();
        let run = average(folder.path(), &["a", "b", "b"]);
        let (_, report) = run.go().unwrap();
        assert_eq!(report.documents.unwrap().n, 1);
        let [a, b, mean] = ["a", "b", "out"].map(|name| {
            let path = folder.path().join(name).join("model.safetensors");
            candle_core::safetensors::load(path, &Device::Cpu).unwrap()
        });
        let values =
            |tensor: &Tensor| -> Vec<f32> { tensor.flatten_all().unwrap().to_vec1().unwrap() };
        for (name, mean) in &mean {
            let (a, b) = (values(&a[name]), values(&b[name]));
            for (mean, (a, b)) in values(mean).iter().zip(a.iter().zip(&b)) {
                assert!((mean - (a + 2.0 * b) / 3.0).abs() < 1e-6, "{name}");
            }
        }
    }

    #[test]
    fn the_odds_of_bad_news_are_multiplied_by_what_a_miss_costs() {
        let folder = two_models();
        let at = |name: &str| folder.path().join(name);
        let mut run = average(folder.path(), &["a", "b"]);
        run.go().unwrap();
        run.missed_costs = 3.0;
        run.out = at("leaning");
        run.go().unwrap();
        let odds = |name: &str| {
            let config = testing::model_config(at(name).to_string_lossy());
            let model = Model::open(&config).unwrap();
            let passages = model.tokenizer().passages("acme cuts its outlook", &[], 1);
            let p = model.score(&passages).unwrap()[0].document;
            f64::from(p.negative) / f64::from(p.positive)
        };
        let ratio = odds("leaning") / odds("out");
        assert!((ratio - 3.0).abs() < 0.01, "{ratio}");
    }

    #[test]
    fn models_of_another_shape_are_refused() {
        let folder = two_models();
        let mut tokenizer = testing::tokenizer();
        tokenizer["normalizer"]["lowercase"] = false.into();
        fs::write(
            folder.path().join("b/tokenizer.json"),
            tokenizer.to_string(),
        )
        .unwrap();
        let refused = average(folder.path(), &["a", "b"]).go().unwrap_err();
        assert!(refused.to_string().contains("/b: has another"), "{refused}");
        assert!(!folder.path().join("out/model.safetensors").exists());
    }
}
