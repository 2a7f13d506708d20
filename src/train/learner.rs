//! The weights that are learnt, how they make up those of the network, and AdamW over them.

use super::kernels::adamw::{self, BETAS, EPSILON, Step};
use super::kernels::{values, write};
use super::network::{Batch, Shape, Taught};
use crate::model::workers;
use candle_core::{Device, Result, Tensor};

/// What is learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Every weight.
    Full,
    /// For each linear layer of the encoder a sum to its weight, the product of two narrow matrices (Hu et al., 2021,
    /// arXiv:2106.09685), and the heads whole.
    Lora {
        /// Width of the narrow matrices.
        rank: usize,
    },
}

/// What the product of LoRA's matrices is multiplied by, for every rank.
const LORA_SCALE: f64 = 2.0;

/// A weight that is learnt, with its moments.
struct Learnt {
    name: String,
    value: Tensor,
    first: Tensor,
    second: Tensor,
    /// Whether it decays: matrices do, biases and normalisations do not.
    decays: bool,
    /// Whether it belongs to the heads.
    is_head: bool,
}

/// How a weight of the network comes about.
enum Part {
    Fixed(Tensor),
    /// A learnt one, as it is.
    Whole(usize),
    /// A fixed one plus `up` times `down`, both learnt.
    Adapted {
        fixed: Tensor,
        down: usize,
        up: usize,
    },
}

/// Everything that is learnt.
pub struct Learner {
    parts: Vec<Part>,
    learnt: Vec<Learnt>,
    /// Gradient of the word embeddings: zero between steps.
    words: Option<Tensor>,
}

/// How far a step goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Learning rate of the encoder.
    pub encoder: f32,
    /// Learning rate of the heads.
    pub heads: f32,
    /// Weight decay.
    pub decay: f32,
    /// Norm to which a longer gradient is shortened.
    pub longest_gradient: f32,
}

impl Learner {
    /// Begins with the weights of `shape`, in its order. `seed` decides how LoRA begins.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub fn new(shape: &Shape, weights: Vec<Tensor>, method: Method, seed: u64) -> Result<Self> {
        let mut learner = Self {
            parts: Vec::new(),
            learnt: Vec::new(),
            words: None,
        };
        for (description, weight) in shape.weights().into_iter().zip(weights) {
            let name = description.name;
            let is_head = !name.starts_with("bert.") || name.starts_with("bert.pooler.");
            let is_matrix = weight.rank() == 2;
            let part = match method {
                Method::Lora { rank } if !is_head => {
                    if is_matrix && name.starts_with("bert.encoder.") {
                        learner.adapt(&name, weight, rank, seed)?
                    } else {
                        Part::Fixed(weight)
                    }
                }
                _ => Part::Whole(learner.learn(name, weight, is_head)?),
            };
            learner.parts.push(part);
        }
        if let Some(Part::Whole(words)) = learner.parts.first() {
            learner.words = Some(learner.learnt[*words].value.zeros_like()?);
        }
        Ok(learner)
    }

    fn learn(&mut self, name: String, value: Tensor, is_head: bool) -> Result<usize> {
        self.learnt.push(Learnt {
            name,
            first: value.zeros_like()?,
            second: value.zeros_like()?,
            decays: value.rank() == 2,
            value,
            is_head,
        });
        Ok(self.learnt.len() - 1)
    }

    fn adapt(&mut self, name: &str, fixed: Tensor, rank: usize, seed: u64) -> Result<Part> {
        let (outputs, inputs) = fixed.dims2()?;
        let seed = seed.wrapping_add(self.learnt.len() as u64);
        let down = random(
            (rank, inputs),
            1.0 / (inputs as f32).sqrt(),
            seed,
            fixed.device(),
        )?;
        let up = Tensor::zeros((outputs, rank), fixed.dtype(), fixed.device())?;
        Ok(Part::Adapted {
            fixed,
            down: self.learn(format!("{name}.down"), down, false)?,
            up: self.learn(format!("{name}.up"), up, false)?,
        })
    }

    /// The weights of the network as they are now. They may share memory with what the next step changes.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub fn weights(&self) -> Result<Vec<Tensor>> {
        let weight = |part: &Part| match part {
            Part::Fixed(tensor) => Ok(tensor.clone()),
            Part::Whole(index) => Ok(self.learnt[*index].value.clone()),
            Part::Adapted { fixed, down, up } => {
                let product = self.learnt[*up].value.matmul(&self.learnt[*down].value)?;
                fixed + (product * LORA_SCALE)?
            }
        };
        self.parts.iter().map(weight).collect()
    }

    /// Values and moments by name, for a checkpoint.
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.learnt.iter().flat_map(|one| {
            [
                ("value", &one.value),
                ("first", &one.first),
                ("second", &one.second),
            ]
            .map(|(kind, tensor)| (format!("{kind}/{}", one.name), tensor))
        })
    }

    /// Takes values and moments from a checkpoint.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub fn restore(&mut self, mut take: impl FnMut(&str) -> Option<Tensor>) -> Result<()> {
        for one in &mut self.learnt {
            let Learnt {
                name,
                value,
                first,
                second,
                ..
            } = one;
            for (kind, tensor) in [("value", value), ("first", first), ("second", second)] {
                let name = format!("{kind}/{name}");
                match take(&name) {
                    Some(kept) if kept.shape() == tensor.shape() => {
                        *tensor = kept.to_device(tensor.device())?;
                    }
                    _ => candle_core::bail!("the checkpoint has no {name} of this shape"),
                }
            }
        }
        Ok(())
    }

    /// Number of weights that are learnt.
    pub fn size(&self) -> usize {
        self.learnt.iter().map(|one| one.value.elem_count()).sum()
    }

    /// The learnt weights by name.
    pub fn learnt(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.learnt.iter().map(|one| (&*one.name, &one.value))
    }

    /// One step of AdamW along the sum of the lessons' gradients; `number` counts from 1. Returns the norm of the sum;
    /// when that is not a number, nothing is changed.
    ///
    /// # Errors
    /// When the lessons are not of this network.
    pub fn step(
        &mut self,
        number: u32,
        lessons: Vec<(Batch, Taught)>,
        rates: Rates,
    ) -> Result<f32> {
        let gradients = self.gradients(&lessons)?;
        let squares = workers::map(&gradients, squares)
            .into_iter()
            .sum::<Result<f64>>()?;
        let norm = squares.sqrt() as f32;
        if norm.is_finite() {
            let clip = (rates.longest_gradient / norm).min(1.0);
            self.descend(number, &gradients, rates, clip)?;
        }
        if let Some(words) = self.words.as_ref().filter(|words| words.device().is_cpu()) {
            forget(words, &lessons)?;
        }
        Ok(norm)
    }

    /// The gradient of each learnt weight, summed over the lessons.
    fn gradients(&self, lessons: &[(Batch, Taught)]) -> Result<Vec<Tensor>> {
        let all: Vec<usize> = (0..self.parts.len()).collect();
        let summed = workers::map(&all, |&index| match (&self.parts[index], &self.words) {
            (Part::Fixed(_), _) => Ok(None),
            (_, Some(words)) if index == 0 => gather(words, lessons).map(Some),
            _ => sum(lessons.iter().map(|(_, lesson)| &lesson.gradients[index])).map(Some),
        });
        let mut gradients: Vec<Option<Tensor>> = vec![None; self.learnt.len()];
        for (part, summed) in self.parts.iter().zip(summed) {
            match (part, summed?) {
                (Part::Whole(index), summed) => gradients[*index] = summed,
                (Part::Adapted { down, up, .. }, Some(summed)) => {
                    let (a, b) = (&self.learnt[*down].value, &self.learnt[*up].value);
                    gradients[*down] = Some((b.t()?.matmul(&summed)? * LORA_SCALE)?);
                    gradients[*up] = Some((summed.matmul(&a.t()?)? * LORA_SCALE)?);
                }
                _ => {}
            }
        }
        let whole = |(gradient, learnt): (Option<Tensor>, &Learnt)| match gradient {
            Some(gradient) => Ok(gradient),
            None => learnt.value.zeros_like(),
        };
        gradients.into_iter().zip(&self.learnt).map(whole).collect()
    }

    fn descend(
        &mut self,
        number: u32,
        gradients: &[Tensor],
        rates: Rates,
        clip: f32,
    ) -> Result<()> {
        let step = |one: &Learnt| Step {
            number,
            rate: if one.is_head {
                rates.heads
            } else {
                rates.encoder
            },
            decay: if one.decays { rates.decay } else { 0.0 },
            clip,
        };
        let pairs: Vec<(&Learnt, &Tensor)> = self.learnt.iter().zip(gradients).collect();
        let moved = workers::map(&pairs, |(one, gradient)| {
            if one.value.device().is_cpu() {
                adamw_on_cpu(one, gradient, step(one)).map(|()| None)
            } else {
                adamw_anywhere(one, gradient, step(one)).map(Some)
            }
        });
        for (one, moved) in self.learnt.iter_mut().zip(moved) {
            if let Some([value, first, second]) = moved? {
                (one.value, one.first, one.second) = (value, first, second);
            }
        }
        Ok(())
    }
}

/// Random normal values that depend on the seed only.
///
/// # Errors
/// When memory cannot be had.
pub(super) fn random(
    shape: (usize, usize),
    deviation: f32,
    seed: u64,
    device: &Device,
) -> Result<Tensor> {
    use rand::{RngExt as _, SeedableRng as _};
    let mut generator = rand::rngs::StdRng::seed_from_u64(seed);
    // Box and Muller's transformation of two uniform numbers.
    let mut normal = || {
        let (a, b): (f32, f32) = (generator.random(), generator.random());
        (-2.0 * (1.0 - a).ln()).sqrt() * (std::f32::consts::TAU * b).cos()
    };
    let values: Vec<f32> = (0..shape.0 * shape.1)
        .map(|_| normal() * deviation)
        .collect();
    Tensor::from_vec(values, shape, device)
}

fn sum<'t>(mut tensors: impl Iterator<Item = &'t Tensor>) -> Result<Tensor> {
    let Some(first) = tensors.next() else {
        candle_core::bail!("there is nothing to sum");
    };
    let mut sum = first.clone();
    for tensor in tensors {
        if sum.device().is_cpu() {
            let from = values(tensor)?;
            write(&sum, |to| adamw::add(to, &from))?;
        } else {
            sum = (sum + tensor)?;
        }
    }
    Ok(sum)
}

/// The gradient of the word embeddings from one row a token; on the CPU in `words`, which holds zeros.
fn gather(words: &Tensor, lessons: &[(Batch, Taught)]) -> Result<Tensor> {
    let mut sum = words.clone();
    for (batch, lesson) in lessons {
        let rows = &lesson.gradients[0];
        if words.device().is_cpu() {
            let width = words.dim(1)?;
            let rows = values(rows)?;
            write(words, |words| {
                for (&id, row) in batch.ids().iter().zip(rows.chunks_exact(width)) {
                    adamw::add(&mut words[id as usize * width..][..width], row);
                }
            })?;
        } else {
            let ids = Tensor::new(batch.ids(), words.device())?;
            sum = sum.index_add(&ids, rows, 0)?;
        }
    }
    Ok(sum)
}

/// Sets the rows of the lessons' tokens back to zero.
fn forget(words: &Tensor, lessons: &[(Batch, Taught)]) -> Result<()> {
    let width = words.dim(1)?;
    write(words, |words| {
        for id in lessons.iter().flat_map(|(batch, _)| batch.ids()) {
            words[*id as usize * width..][..width].fill(0.0);
        }
    })
}

fn squares(tensor: &Tensor) -> Result<f64> {
    if tensor.device().is_cpu() {
        return Ok(adamw::squares(&values(tensor)?));
    }
    tensor.sqr()?.sum_all()?.to_scalar::<f32>().map(f64::from)
}

fn adamw_on_cpu(one: &Learnt, gradient: &Tensor, step: Step) -> Result<()> {
    let gradient = values(gradient)?;
    let mut moved = Ok(());
    write(&one.value, |value| {
        moved = write(&one.first, |first| {
            let _ = write(&one.second, |second| {
                adamw::adamw(step, value, first, second, &gradient);
            });
        });
    })?;
    moved
}

/// Value and moments after a step, in candle's operations.
fn adamw_anywhere(one: &Learnt, gradient: &Tensor, step: Step) -> Result<[Tensor; 3]> {
    let [b1, b2] = BETAS.map(f64::from);
    let [c1, c2] = step.corrections().map(f64::from);
    let gradient = (gradient * f64::from(step.clip))?;
    let first = ((&one.first * b1)? + (&gradient * (1.0 - b1))?)?;
    let second = ((&one.second * b2)? + (gradient.sqr()? * (1.0 - b2))?)?;
    let root = ((&second / c2)?.sqrt()? + f64::from(EPSILON))?;
    let kept = (&one.value * (1.0 - f64::from(step.rate * step.decay)))?;
    let value = (kept - ((&first / &root)? * (f64::from(step.rate) / c1))?)?;
    Ok([value, first, second])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(values: &[f32]) -> Learnt {
        let value = Tensor::new(values, &Device::Cpu).unwrap();
        Learnt {
            name: "one".into(),
            first: (&value * 0.1).unwrap(),
            second: value.sqr().unwrap(),
            value,
            decays: true,
            is_head: false,
        }
    }

    #[test]
    fn the_kernel_moves_weights_as_the_operations_do() {
        let numbers: Vec<f32> = (0..40).map(|i| (i as f32 - 17.0) * 0.3).collect();
        let gradient = Tensor::new(&numbers[..], &Device::Cpu)
            .unwrap()
            .cos()
            .unwrap();
        let step = Step {
            number: 3,
            rate: 0.01,
            decay: 0.1,
            clip: 0.5,
        };
        let expected = adamw_anywhere(&one(&numbers), &gradient, step).unwrap();
        let moved = one(&numbers);
        adamw_on_cpu(&moved, &gradient, step).unwrap();
        for (moved, expected) in [&moved.value, &moved.first, &moved.second]
            .iter()
            .zip(&expected)
        {
            let moved = moved.to_vec1::<f32>().unwrap();
            let expected = expected.to_vec1::<f32>().unwrap();
            for (moved, expected) in moved.iter().zip(expected) {
                assert!((moved - expected).abs() < 1e-5, "{moved} {expected}");
            }
        }
    }

    /// Worked out by hand: at the first step the corrected moments are the gradient and its square.
    #[test]
    fn the_first_step_goes_by_the_learning_rate() {
        let learnt = Learnt {
            first: Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap(),
            second: Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap(),
            ..one(&[1.0, 1.0])
        };
        let gradient = Tensor::new(&[0.5f32, -2.0], &Device::Cpu).unwrap();
        let step = Step {
            number: 1,
            rate: 0.1,
            decay: 0.0,
            clip: 1.0,
        };
        adamw_on_cpu(&learnt, &gradient, step).unwrap();
        let moved = learnt.value.to_vec1::<f32>().unwrap();
        assert!((moved[0] - 0.9).abs() < 1e-5 && (moved[1] - 1.1).abs() < 1e-5);
    }

    #[test]
    fn random_weights_follow_the_seed() {
        let draw = |seed| {
            let drawn = random((100, 100), 0.02, seed, &Device::Cpu).unwrap();
            drawn.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(draw(1), draw(1));
        let values = draw(2);
        let mean = values.iter().sum::<f32>() / 1e4;
        let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 1e4).sqrt();
        assert!(
            mean.abs() < 1e-3 && (deviation - 0.02).abs() < 1e-3,
            "{mean} {deviation}"
        );
    }
}
