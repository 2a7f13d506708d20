//! Making a model smaller and faster under a bound on what it may lose.
//!
//! Weights in eight bits come first; then, as long as the bound holds, whole layers and after them heads and units are left out,
//! those that do least, each time with some training on what is left. Every step is measured as it would be used: written,
//! opened and asked by squall's own engine.

mod importance;
mod prune;
#[cfg(test)]
mod tests;

use super::base::{Base, Storage, replace};
use super::data::{self, Options, Source};
use super::error::TrainError;
use super::evaluation::Report;
use super::examples::Example;
use super::judge::{answer, merit};
use super::learner::{Method, Rates};
use super::network::Shape;
use super::predict::predict;
use super::suite::{self, Suite};
use super::trainer::{Event, Run};
use crate::config::{ModelConfig, Precision};
use crate::model::{Calibration, FILES, Model};
use candle_core::{Device, Tensor};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Most tokens of a text when it is asked what a head or unit does.
const MAX_TOKENS: usize = 128;

/// What to make smaller, and what must stay.
#[derive(Debug, Clone)]
pub struct Optimisation {
    /// Folder of the model.
    pub model: PathBuf,
    /// Files it is judged by, and on which it is measured what does least.
    pub dev: Vec<PathBuf>,
    /// A behavioural suite, in which nothing may be lost.
    pub suite: Option<PathBuf>,
    /// Folder of the model to make.
    pub out: PathBuf,
    /// By how much macro-F1 may fall, of documents and of entities.
    pub max_drop: f64,
    /// Share of the encoder's multiplications that a step leaves out.
    pub share: f64,
    /// Training after each step; none: what is left stays as it is.
    pub recovery: Option<Recovery>,
    /// How models are opened.
    pub settings: ModelConfig,
}

/// Training on what is left.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// Files to learn from.
    pub train: Vec<Source>,
    /// Corrections of labels in these.
    pub corrections: Option<PathBuf>,
    /// Times every text is seen after each step.
    pub epochs: f64,
    /// Learning rate of the encoder at its highest; that of the heads is three times as high.
    pub rate: f32,
    /// Decides order and dropout.
    pub seed: u64,
}

/// A model on the way, as it was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What was done.
    pub what: String,
    /// Its figures on the dev files.
    pub report: Report,
    /// Its results on the suite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<Suite>,
    /// Bytes of its three files.
    pub bytes: u64,
    /// Texts of all these files scored a second, tokenisation included.
    pub texts_per_second: f64,
    /// Multiplications for a token in the layers' products.
    pub multiplications: usize,
    /// Whether nothing fell further than it may.
    pub holds: bool,
}

/// A model's shape and weights, and where they are kept.
#[derive(Clone)]
struct State {
    base: Base,
    /// In eight bits.
    folder: PathBuf,
}

impl Optimisation {
    /// Searches, writes the smallest model that holds the bound, and returns all steps, the given model first. `tell` hears of
    /// each.
    ///
    /// # Errors
    /// When model, data or folder are bad, or nothing holds the bound: then no model is written.
    pub fn go(&self, tell: &mut dyn FnMut(&Step)) -> Result<Vec<Step>, TrainError> {
        let base = Base::read(&self.model, 0, &Device::Cpu)?;
        if self.recovery.is_some() && !base.knows_entities {
            return Err(TrainError::Unfit(format!(
                "{}: has no head for entities, which --train would make anew: make one with `squall train` first, or leave --train out",
                self.model.display()
            )));
        }
        let dev = read(&self.dev)?;
        let suite = self.suite.as_ref();
        let suite = suite
            .map(|path| read(std::slice::from_ref(path)))
            .transpose()?;
        let work = self.out.join("optimize");
        std::fs::create_dir_all(&work).map_err(TrainError::file(&work))?;
        let mut search = Search {
            run: self,
            dev,
            suite,
            steps: Vec::new(),
            work,
            tell,
        };
        let given = search.judge("as given, f32", &self.model, Precision::F32, &base.shape)?;
        search.told(given);
        let kept = search.search(base)?;
        let steps = search.steps;
        let Some(kept) = kept else {
            return Err(TrainError::Unfit(
                "nothing holds the bound: raise --max-drop, or give --train to recover what is lost".into(),
            ));
        };
        for file in FILES {
            let path = kept.folder.join(file);
            let bytes = std::fs::read(&path).map_err(TrainError::file(path))?;
            replace(&self.out.join(file), &bytes)?;
        }
        let told = serde_json::to_vec_pretty(&json!({"max_drop": self.max_drop, "steps": steps}));
        replace(&self.out.join("optimize.json"), &told.unwrap_or_default())?;
        std::fs::remove_dir_all(&search.work).map_err(TrainError::file(&search.work))?;
        Ok(steps)
    }
}

/// The search as it goes on.
struct Search<'s> {
    run: &'s Optimisation,
    dev: Vec<Example>,
    suite: Option<Vec<Example>>,
    steps: Vec<Step>,
    work: PathBuf,
    tell: &'s mut dyn FnMut(&Step),
}

impl Search<'_> {
    /// The smallest that holds.
    fn search(&mut self, base: Base) -> Result<Option<State>, TrainError> {
        let tokenizer = base.tokenizer(MAX_TOKENS)?;
        let mut questions = data::questions(&self.run.dev, &tokenizer)?;
        if !base.knows_entities {
            questions.iter_mut().for_each(|one| one.entities.clear());
        }
        let whole = prune::multiplications(&base.shape);
        let (mut holds, mut state) = self.measure("8 bits".into(), base, false)?;
        let mut kept = holds.then(|| state.clone());
        while state.base.shape.layers.len() > 1 {
            let Base { shape, weights, .. } = &state.base;
            let mut best: Option<(f64, usize, Shape, Vec<Tensor>)> = None;
            for layer in 0..shape.layers.len() {
                let (shorter, left) = prune::without(shape, weights, layer);
                let answers = answer(&shorter, &left, &questions)?;
                let merit = merit(&answers.report("shorter", &Calibration::default()));
                if best.as_ref().is_none_or(|best| merit > best.0) {
                    best = Some((merit, layer, shorter, left));
                }
            }
            let Some((_, layer, shorter, left)) = best else {
                break;
            };
            let next = state.base.with(shorter, left);
            let tried;
            (holds, tried) = self.measure(format!("without layer {layer}"), next, true)?;
            if !holds {
                break;
            }
            state = tried;
            kept = Some(state.clone());
        }
        loop {
            let Base { shape, weights, .. } = &state.base;
            let does = importance::importance(shape, weights, &questions)?;
            let fewer = (whole as f64 * self.run.share) as usize;
            let chosen = prune::choose(shape, &does, fewer);
            let (narrower, left) = prune::prune(shape, weights, &chosen)?;
            if narrower == *shape {
                return Ok(kept);
            }
            let share = prune::multiplications(&narrower) as f64 / whole as f64;
            let next = state.base.with(narrower, left);
            let what = format!("{:.0} % of the products", share * 100.0);
            (holds, state) = self.measure(what, next, true)?;
            if !holds {
                return Ok(kept);
            }
            kept = Some(state.clone());
        }
    }

    /// Trains what is left, where that is wanted, writes it in eight bits and judges that. Whether it holds, and what it is now.
    fn measure(
        &mut self,
        what: String,
        base: Base,
        recover: bool,
    ) -> Result<(bool, State), TrainError> {
        let folder = self.work.join(self.steps.len().to_string());
        let base = match &self.run.recovery {
            Some(recovery) if recover => self.recover(&folder, &base, recovery)?,
            _ => base,
        };
        let bytes = folder.join("bytes");
        std::fs::create_dir_all(&bytes).map_err(TrainError::file(&bytes))?;
        base.write(&bytes, &base.weights, &base.calibration(), Storage::Bytes)?;
        let mut step = self.judge(&what, &bytes, Precision::Int8, &base.shape)?;
        step.holds = self
            .steps
            .first()
            .is_some_and(|given| self.run.holds(given, &step));
        let holds = step.holds;
        self.told(step);
        Ok((
            holds,
            State {
                base,
                folder: bytes,
            },
        ))
    }

    fn recover(&self, folder: &Path, base: &Base, recovery: &Recovery) -> Result<Base, TrainError> {
        let [begin, out] = ["pruned", "recovered"].map(|name| folder.join(name));
        for made in [&begin, &out] {
            // What a run that was killed left there is of other weights.
            let _ = std::fs::remove_dir_all(made);
        }
        std::fs::create_dir_all(&begin).map_err(TrainError::file(&begin))?;
        base.write(&begin, &base.weights, &base.calibration(), Storage::Full)?;
        let run = Run {
            train: recovery.train.clone(),
            dev: self.run.dev.clone(),
            corrections: recovery.corrections.clone(),
            base: begin,
            out: out.clone(),
            data: Options {
                class_weights: [1.0; 3],
                conflicting_weight: 2.0,
                calibration_share: 0.05,
            },
            method: Method::Full,
            epochs: recovery.epochs,
            batch: 32,
            max_tokens: MAX_TOKENS,
            rates: Rates {
                encoder: recovery.rate,
                heads: recovery.rate * 3.0,
                decay: 0.01,
                longest_gradient: 1.0,
            },
            warm_up: 0.06,
            dropout: 0.1,
            smoothing: 0.0,
            consistency: 0.0,
            seed: recovery.seed,
            judgements: 2,
            patience: usize::MAX,
            checkpoint_every: usize::MAX,
            storage: Storage::Full,
            device: Device::Cpu,
        };
        run.go(&mut |event| {
            if let Event::Judged { judgement, .. } = event {
                tracing::info!(
                    "recovering, step {}: loss {:.4}, mean macro-F1 {:.4}",
                    judgement.step,
                    judgement.loss,
                    judgement.merit
                );
            }
        })?;
        Base::read(&out, 0, &Device::Cpu)
    }

    fn judge(
        &self,
        what: &str,
        folder: &Path,
        precision: Precision,
        shape: &Shape,
    ) -> Result<Step, TrainError> {
        let model = Model::open(&ModelConfig {
            source: folder.to_string_lossy().into_owned(),
            precision,
            ..self.run.settings.clone()
        })?;
        let begun = Instant::now();
        let predictions = predict(&model, &self.dev, |_| {})?;
        let report = predictions.report(model.name(), &self.dev);
        let suite = match &self.suite {
            Some(cases) => Some(suite::results(cases, &predict(&model, cases, |_| {})?)),
            None => None,
        };
        let texts = self.dev.len() + self.suite.as_ref().map_or(0, Vec::len);
        let texts_per_second = texts as f64 / begun.elapsed().as_secs_f64();
        let mut bytes = 0;
        for file in FILES {
            let path = folder.join(file);
            bytes += std::fs::metadata(&path)
                .map_err(TrainError::file(path))?
                .len();
        }
        Ok(Step {
            what: what.to_owned(),
            report,
            suite,
            bytes,
            texts_per_second,
            multiplications: prune::multiplications(shape),
            holds: true,
        })
    }

    fn told(&mut self, step: Step) {
        (self.tell)(&step);
        self.steps.push(step);
    }
}

impl Optimisation {
    /// Whether nothing fell further than it may.
    fn holds(&self, given: &Step, step: &Step) -> bool {
        let f1 = |report: &Report| {
            let documents = report.documents.as_ref().map(|scores| scores.macro_f1);
            let entities = report.entities.as_ref().map(|scores| scores.all.macro_f1);
            [documents, entities]
        };
        let held = f1(&given.report)
            .into_iter()
            .zip(f1(&step.report))
            .all(|(given, now)| {
                given.is_none_or(|given| now.is_some_and(|now| now >= given - self.max_drop))
            });
        let suite = |step: &Step| {
            let suite = step.suite.as_ref();
            suite.map(|suite| [suite.accuracy, suite.bad_news_seen])
        };
        let nothing_lost = suite(given).is_none_or(|given| {
            suite(step).is_some_and(|now| now.iter().zip(given).all(|(now, given)| *now >= given))
        });
        held && nothing_lost
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<Example>, TrainError> {
    let mut all = Vec::new();
    for path in files {
        all.extend(data::read(path)?.0);
    }
    Ok(all)
}
