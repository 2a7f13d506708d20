//! The loop: batches, steps, judgements, the best checkpoint, and the folder of the run.

use super::base::{self, Base, Storage, write_weights};
use super::checkpoint::{self, Judgement, Progress};
use super::data::{self, Data, Lesson, Source};
use super::error::TrainError;
use super::evaluation::Report;
use super::judge::{answer, merit};
use super::learner::{Learner, Method, Rates};
use super::network::{self, Batch, Pass};
use super::tensorboard::EventFile;
use crate::domain::hexadecimal;
use crate::model::{Calibration, workers};
use candle_core::{DType, Device, Tensor};
use rand::seq::SliceRandom as _;
use rand::{SeedableRng as _, rngs::StdRng};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A run: what to learn, from what, and how.
#[derive(Debug, Clone)]
pub struct Run {
    /// Files to learn from.
    pub train: Vec<Source>,
    /// Files to be judged by.
    pub dev: Vec<PathBuf>,
    /// Corrections of labels in the former.
    pub corrections: Option<PathBuf>,
    /// Folder of the encoder to begin with.
    pub base: PathBuf,
    /// Folder of the model to make; the run is kept in `training` inside it.
    pub out: PathBuf,
    /// How the data is made ready.
    pub data: data::Options,
    /// What is learnt.
    pub method: Method,
    /// Times every text is seen; 0.5 is every other one, once.
    pub epochs: f64,
    /// Texts a step.
    pub batch: usize,
    /// Most tokens of a text in training.
    pub max_tokens: usize,
    /// Rates at their highest.
    pub rates: Rates,
    /// Share of the steps in which the rates rise.
    pub warm_up: f64,
    /// Share of values dropped.
    pub dropout: f32,
    /// Share of probability spread over all classes.
    pub smoothing: f32,
    /// How much it counts that two passes over a text agree; 0 makes one pass only.
    pub consistency: f32,
    /// Decides order, dropout and how new weights begin.
    pub seed: u64,
    /// Judgements an epoch.
    pub judgements: usize,
    /// Judgements without a better one after which training ends.
    pub patience: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
    /// How the model is written.
    pub storage: Storage,
    /// Where to compute.
    pub device: Device,
}

/// What is told while a run goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// The data was read.
    Ready {
        /// What was found in it.
        notes: &'a data::Notes,
        /// Number of weights learnt.
        learnt: usize,
        /// Steps in all.
        steps: usize,
        /// Steps made before, when the run goes on.
        begun: usize,
    },
    /// A step was made.
    Step {
        /// Its number, from 1.
        step: usize,
        /// Its loss.
        loss: f32,
    },
    /// The weights were judged.
    Judged {
        /// The judgement.
        judgement: &'a Judgement,
        /// Its figures.
        report: &'a Report,
        /// Whether they are the best so far.
        best: bool,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The best judgement's step.
    pub best_step: usize,
    /// Steps made.
    pub steps: usize,
    /// Seconds spent, pauses left out.
    pub seconds: f64,
    /// What was fitted on the texts held back.
    pub calibration: Calibration,
    /// The figures of the model that was written, on the dev files.
    pub report: Report,
}

impl Run {
    /// Trains, or goes on with what was begun in the folder, and writes the model. `tell` hears how it goes.
    ///
    /// # Errors
    /// When data, base or folder are bad, the loss is no longer a number, or the disk is full: what was there stays.
    pub fn go(&self, tell: &mut dyn FnMut(&Event)) -> Result<Outcome, TrainError> {
        let mut base = Base::read(&self.base, self.seed, &self.device)?;
        base.knows_entities = true;
        let tokenizer = base.tokenizer(self.max_tokens)?;
        let data = data::load(
            &self.train,
            &self.dev,
            self.corrections.as_deref(),
            &tokenizer,
            &self.data,
        )?;
        let folder = self.out.join("training");
        std::fs::create_dir_all(&folder).map_err(TrainError::file(&folder))?;
        let mut learner =
            Learner::new(&base.shape, copies(&base.weights)?, self.method, self.seed)?;
        let description = self.description(&data);
        let name = name(&description);
        let begun = checkpoint::load(&folder, &name, &mut learner)?;
        let progress = begun.unwrap_or(Progress {
            run: name,
            ..Progress::default()
        });
        let per_epoch = data.lessons.len().div_ceil(self.batch);
        let steps = (per_epoch as f64 * self.epochs).ceil() as usize;
        tell(&Event::Ready {
            notes: &data.notes,
            learnt: learner.size(),
            steps,
            begun: progress.step,
        });
        let mut state = State {
            run: self,
            base: &base,
            data: &data,
            events: EventFile::create(&folder)?,
            folder,
            learner,
            progress,
            per_epoch,
            steps,
        };
        state.learn(tell)?;
        state.finish(description)
    }

    /// What the run is made of, for its folder and to tell it from others.
    fn description(&self, data: &Data) -> serde_json::Value {
        let sources: Vec<_> = self
            .train
            .iter()
            .map(|source| json!({"path": source.path, "weight": source.weight, "calibrates": source.calibrates}))
            .collect();
        json!({
            "train": sources, "dev": self.dev, "corrections": self.corrections, "base": self.base,
            "class_weights": self.data.class_weights,
            "conflicting_weight": self.data.conflicting_weight,
            "calibration_share": self.data.calibration_share,
            "method": format!("{:?}", self.method), "epochs": self.epochs, "batch": self.batch,
            "max_tokens": self.max_tokens, "rate": self.rates.encoder, "head_rate": self.rates.heads,
            "weight_decay": self.rates.decay, "longest_gradient": self.rates.longest_gradient,
            "warm_up": self.warm_up, "dropout": self.dropout, "smoothing": self.smoothing, "consistency": self.consistency,
            "seed": self.seed, "judgements": self.judgements, "patience": self.patience,
            "half": self.storage == Storage::Half, "threads": self.shards(), "data": data.notes,
        })
    }

    /// Parts of a batch that are computed at once.
    fn shards(&self) -> usize {
        if self.device.is_cpu() {
            workers::threads()
        } else {
            1
        }
    }
}

fn name(description: &serde_json::Value) -> String {
    hexadecimal(&Sha256::digest(description.to_string())[..8])
}

fn copies(weights: &[Tensor]) -> candle_core::Result<Vec<Tensor>> {
    weights.iter().map(Tensor::copy).collect()
}

/// A run as it goes on.
struct State<'r> {
    run: &'r Run,
    base: &'r Base,
    data: &'r Data,
    folder: PathBuf,
    learner: Learner,
    progress: Progress,
    events: EventFile,
    per_epoch: usize,
    steps: usize,
}

impl State<'_> {
    fn learn(&mut self, tell: &mut dyn FnMut(&Event)) -> Result<(), TrainError> {
        let judge_every = self.per_epoch.div_ceil(self.run.judgements.max(1)).max(1);
        let mut order = (usize::MAX, Vec::new());
        let before = self.progress.seconds;
        let begun = Instant::now();
        while self.progress.step < self.steps && self.progress.since_best() < self.run.patience {
            let (epoch, at) = (
                self.progress.step / self.per_epoch,
                self.progress.step % self.per_epoch,
            );
            if order.0 != epoch {
                order = (epoch, self.order(epoch));
            }
            let texts = &order.1[at * self.run.batch..];
            let texts = &texts[..texts.len().min(self.run.batch)];
            let loss = self.step(texts)?;
            self.progress.step += 1;
            self.progress.losses.0 += f64::from(loss);
            self.progress.losses.1 += 1;
            self.progress.seconds = before + begun.elapsed().as_secs_f64();
            let step = self.progress.step;
            tell(&Event::Step { step, loss });
            if (at + 1).is_multiple_of(judge_every)
                || at + 1 == self.per_epoch
                || step == self.steps
            {
                self.judge(tell)?;
                self.save()?;
            } else if step.is_multiple_of(self.run.checkpoint_every) {
                self.save()?;
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<(), TrainError> {
        checkpoint::save(&self.folder, &self.progress, &self.learner)
    }

    /// The texts of an epoch, in the order in which they are seen.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.data.lessons.len()).collect();
        let seed = self
            .run
            .seed
            .wrapping_mul(1_000_003)
            .wrapping_add(epoch as u64);
        order.shuffle(&mut StdRng::seed_from_u64(seed));
        order
    }

    /// One step; returns its loss.
    fn step(&mut self, texts: &[usize]) -> Result<f32, TrainError> {
        let number = self.progress.step + 1;
        let lessons: Vec<&Lesson> = texts.iter().map(|&text| &self.data.lessons[text]).collect();
        let mut batches = share(&lessons, self.run.shards());
        if self.run.consistency > 0.0 {
            batches = batches.into_iter().map(Batch::doubled).collect();
        }
        let weights = self.learner.weights()?;
        let numbered: Vec<(u32, Batch)> = (0..).zip(batches).collect();
        let taught = workers::map(&numbered, |(shard, batch)| {
            let seed = (number as u32)
                .wrapping_mul(0x9e37_79b9)
                .wrapping_add(*shard);
            let pass = Pass {
                dropout: self.run.dropout,
                seed: seed ^ self.run.seed as u32,
                smoothing: self.run.smoothing,
                consistency: self.run.consistency,
            };
            network::learn(&self.base.shape, &weights, batch, pass)
        });
        let mut loss = 0.0;
        let mut all = Vec::with_capacity(taught.len());
        for ((_, batch), taught) in numbered.into_iter().zip(taught) {
            let taught = taught?;
            loss += taught.loss;
            all.push((batch, taught));
        }
        drop(weights);
        let rates = self.rates(number);
        let norm = if loss.is_finite() {
            self.learner.step(number as u32, all, rates)?
        } else {
            loss
        };
        if !norm.is_finite() {
            return Err(TrainError::NotFinite {
                step: number,
                loss: norm,
            });
        }
        self.events.scalars(
            number,
            &[
                ("train/loss", f64::from(loss)),
                ("train/learning_rate", f64::from(rates.encoder)),
                ("train/gradient_norm", f64::from(norm)),
            ],
        )?;
        Ok(loss)
    }

    /// Rates of a step: they rise to the highest, then fall to nothing, both evenly.
    fn rates(&self, number: usize) -> Rates {
        let warm = ((self.steps as f64 * self.run.warm_up).ceil() as usize).max(1);
        let factor = if number <= warm {
            number as f64 / warm as f64
        } else {
            (self.steps + 1).saturating_sub(number) as f64 / (self.steps + 1 - warm) as f64
        } as f32;
        Rates {
            encoder: self.run.rates.encoder * factor,
            heads: self.run.rates.heads * factor,
            ..self.run.rates
        }
    }

    fn judge(&mut self, tell: &mut dyn FnMut(&Event)) -> Result<(), TrainError> {
        let weights = self.learner.weights()?;
        let answers = answer(&self.base.shape, &weights, &self.data.dev)?;
        let report = answers.report("in training", &Calibration::default());
        let (sum, count) = std::mem::take(&mut self.progress.losses);
        let judgement = Judgement {
            step: self.progress.step,
            loss: sum / count.max(1) as f64,
            merit: merit(&report),
            report: json!(report),
        };
        let best = self
            .progress
            .best()
            .is_none_or(|best| judgement.merit > best.merit);
        if best {
            let names = self.base.shape.weights().into_iter().map(|one| one.name);
            write_weights(&self.best_path(), names.zip(&weights), DType::F32)?;
        }
        let mut scalars = vec![("dev/merit", judgement.merit)];
        if let Some(documents) = &report.documents {
            scalars.push(("dev/documents_accuracy", documents.accuracy));
            scalars.push(("dev/documents_macro_f1", documents.macro_f1));
        }
        if let Some(entities) = &report.entities {
            scalars.push(("dev/entities_accuracy", entities.all.accuracy));
            scalars.push(("dev/entities_macro_f1", entities.all.macro_f1));
        }
        let step = judgement.step;
        self.events.scalars(step, &scalars)?;
        for (name, tensor) in self.learner.learnt() {
            if name.contains("classifier") || name.contains("layer.0.attention.self.query") {
                let values = tensor.flatten_all()?.to_vec1::<f32>()?;
                self.events.histogram(step, name, &values)?;
            }
        }
        tell(&Event::Judged {
            judgement: &judgement,
            report: &report,
            best,
        });
        self.progress.judgements.push(judgement);
        Ok(())
    }

    fn best_path(&self) -> PathBuf {
        self.folder.join("best.safetensors")
    }

    /// Fits the calibration, writes the model and what the run was, and clears the checkpoints.
    fn finish(self, description: serde_json::Value) -> Result<Outcome, TrainError> {
        let weights = self.best()?;
        let shape = &self.base.shape;
        let calibration = answer(shape, &weights, &self.data.calibration)?.calibration();
        let (out, storage) = (&self.run.out, self.run.storage);
        self.base.write(out, &weights, &calibration, storage)?;
        let report = answer(shape, &weights, &self.data.dev)?.report("best", &calibration);
        let outcome = Outcome {
            best_step: self.progress.best().map_or(0, |best| best.step),
            steps: self.progress.step,
            seconds: self.progress.seconds,
            calibration,
            report,
        };
        let run =
            json!({"run": description, "outcome": outcome, "judgements": self.progress.judgements});
        let content = serde_json::to_vec_pretty(&run).unwrap_or_default();
        base::replace(&self.folder.join("run.json"), &content)?;
        std::fs::remove_file(self.folder.join("progress.json"))
            .map_err(TrainError::file(&self.folder))?;
        checkpoint::remove(&self.folder, None)?;
        let best = self.best_path();
        std::fs::remove_file(&best).map_err(TrainError::file(&best))?;
        Ok(outcome)
    }

    /// The weights of the best judgement.
    fn best(&self) -> Result<Vec<Tensor>, TrainError> {
        let kept = candle_core::safetensors::load(self.best_path(), &self.run.device)?;
        let take = |weight: network::Weight| {
            kept.get(&weight.name).cloned().ok_or_else(|| {
                TrainError::Unfit(format!(
                    "{}: {} is missing",
                    self.best_path().display(),
                    weight.name
                ))
            })
        };
        self.base.shape.weights().into_iter().map(take).collect()
    }
}

/// Shares the texts of a step among batches of about as many tokens. The loss of the step is the sum of the batches'.
fn share(lessons: &[&Lesson], shards: usize) -> Vec<Batch> {
    let mut longest_first: Vec<&&Lesson> = lessons.iter().collect();
    longest_first.sort_by_key(|lesson| std::cmp::Reverse(lesson.passage.tokens.len()));
    let mut batches = vec![Batch::default(); shards.max(1)];
    let each = 1.0 / lessons.len().max(1) as f32;
    for lesson in longest_first {
        let mut document = lesson.document;
        let mut entities = lesson.entities.clone();
        let targets = document
            .iter_mut()
            .chain(entities.iter_mut().map(|(_, target)| target));
        targets.for_each(|target| target.weight *= each);
        if let Some(batch) = batches.iter_mut().min_by_key(|batch| batch.tokens()) {
            batch.teach(&lesson.passage, document, &entities);
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// Whether a folder holds a run that was begun and not ended.
pub fn is_unfinished(out: &Path) -> bool {
    out.join("training/progress.json").exists()
}

#[cfg(test)]
mod tests;
