//! Where a run stands, so that one that was killed goes on as if it had not been.
//!
//! Values and moments lie in a file named by the step; `progress.json` names the step. It is replaced last, so that a
//! kill at any moment leaves the old checkpoint or the new one.

use super::base::{replace, write_tensors};
use super::error::TrainError;
use super::learner::Learner;
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What the run is made of: data, base and options. Another run does not go on from here.
    pub run: String,
    /// Steps made.
    pub step: usize,
    /// Sum of the losses since the last judgement, and their number.
    pub losses: (f64, usize),
    /// Seconds spent.
    pub seconds: f64,
    /// The judgements so far.
    pub judgements: Vec<Judgement>,
}

/// How good the weights were after a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The step.
    pub step: usize,
    /// Mean loss since the one before.
    pub loss: f64,
    /// What the best checkpoint is chosen by.
    pub merit: f64,
    /// `squall eval`'s figures.
    pub report: serde_json::Value,
}

impl Progress {
    /// The best judgement, the first of several.
    pub fn best(&self) -> Option<&Judgement> {
        let mut best: Option<&Judgement> = None;
        for one in &self.judgements {
            if best.is_none_or(|best| one.merit > best.merit) {
                best = Some(one);
            }
        }
        best
    }

    /// How many judgements came after the best.
    pub fn since_best(&self) -> usize {
        let best = self.best().map_or(0, |best| best.step);
        self.judgements.iter().filter(|one| one.step > best).count()
    }
}

fn weights_path(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("checkpoint-{step:06}.safetensors"))
}

/// Keeps where a run stands.
///
/// # Errors
/// When the disk does not take it; the checkpoint before is then still whole.
pub fn save(folder: &Path, progress: &Progress, learner: &Learner) -> Result<(), TrainError> {
    let state = learner.state().map(|(name, tensor)| (name, tensor.clone()));
    write_tensors(
        &weights_path(folder, progress.step),
        &state.collect::<HashMap<_, _>>(),
    )?;
    let content = serde_json::to_vec_pretty(progress).unwrap_or_default();
    replace(&folder.join("progress.json"), &content)?;
    remove(folder, Some(progress.step))
}

/// Where the run of that name stands in a folder; none when it has not begun. Puts the learner there.
///
/// # Errors
/// When the folder holds another run, or one that cannot be read.
pub fn load(
    folder: &Path,
    run: &str,
    learner: &mut Learner,
) -> Result<Option<Progress>, TrainError> {
    let path = folder.join("progress.json");
    let content = match std::fs::read(&path) {
        Ok(content) => content,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(problem) => return Err(TrainError::file(path)(problem)),
    };
    let unfit = |problem: String| {
        TrainError::Unfit(format!(
            "{}: {problem}: go on with the data and options it was begun with, or remove the folder, or choose another --out",
            path.display()
        ))
    };
    let progress: Progress = serde_json::from_slice(&content).map_err(|e| unfit(e.to_string()))?;
    if progress.run != run {
        return Err(unfit(
            "a run with other data or options was begun here".into(),
        ));
    }
    let kept = candle_core::safetensors::load(weights_path(folder, progress.step), &Device::Cpu)
        .map_err(|e| unfit(e.to_string()))?;
    learner
        .restore(|name| kept.get(name).cloned())
        .map_err(|e| unfit(e.to_string()))?;
    Ok(Some(progress))
}

/// Removes checkpoints, all but that of a step.
///
/// # Errors
/// When the folder cannot be read, or a file not be removed.
pub fn remove(folder: &Path, but: Option<usize>) -> Result<(), TrainError> {
    let kept = but.map(|step| weights_path(folder, step));
    for entry in std::fs::read_dir(folder).map_err(TrainError::file(folder))? {
        let path = entry.map_err(TrainError::file(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("checkpoint-") && Some(&path) != kept.as_ref() {
            std::fs::remove_file(&path).map_err(TrainError::file(&path))?;
        }
    }
    Ok(())
}
