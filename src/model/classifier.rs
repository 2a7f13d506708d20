//! The heads that tell sentiment from last hidden states: a whole text's from that of its first token, an entity's from
//! the mean of those of its name beside that of the first token.

use super::encoder::Norm;
use super::folder::{Description, Family};
use super::kernels::{Epilogue, Format, Level, Operand, Packed, product};
use super::weights::{Bias, Weights};

/// A dense layer with its activation, in ModernBERT a normalisation, then a linear layer, as in Hugging Face's
/// `…ForSequenceClassification`; in f32.
pub(super) struct Classifier {
    activation: Activation,
    pooler: Packed,
    norm: Option<Norm>,
    classifier: Packed,
    rows: [usize; 3],
}

/// What follows the dense layer.
enum Activation {
    Tanh,
    Of(Epilogue),
}

impl Classifier {
    /// Takes the document's head of the classifier described.
    pub(super) fn document(weights: &Weights, description: &Description) -> Result<Self, String> {
        let shape = &description.shape;
        let (names, activation) = match shape.family {
            Family::Bert => (["bert.pooler.dense", "classifier"], Activation::Tanh),
            Family::Roberta => (
                ["classifier.dense", "classifier.out_proj"],
                Activation::Tanh,
            ),
            Family::Distilbert => (
                ["pre_classifier", "classifier"],
                Activation::Of(Epilogue::Relu),
            ),
            Family::Modernbert => (["head.dense", "classifier"], Activation::Of(Epilogue::Gelu)),
        };
        let bias = match shape.family {
            Family::Modernbert => Bias::Optional,
            _ => Bias::Given,
        };
        let width = shape.hidden_size;
        let dense = weights.linear(names[0], width, width, bias)?;
        let head = Self::take(weights, dense, names[1], activation, description)?;
        let norm = match shape.family {
            Family::Modernbert => Some(Norm::take(&weights.within("head.norm"), shape, bias)?),
            _ => None,
        };
        Ok(Self { norm, ..head })
    }

    /// Takes the entities' head; none where the model has none.
    pub(super) fn entity(
        weights: &Weights,
        description: &Description,
    ) -> Result<Option<Self>, String> {
        if !weights.has("entity.dense.weight") {
            return Ok(None);
        }
        let width = description.shape.hidden_size;
        let dense = weights.linear("entity.dense", 2 * width, width, Bias::Given)?;
        let name = "entity.classifier";
        Self::take(weights, dense, name, Activation::Tanh, description).map(Some)
    }

    /// A head with that dense layer, whose outputs are as wide as the encoder, and the linear layer of a name.
    fn take(
        weights: &Weights,
        (dense, dense_bias): (Vec<f32>, Vec<f32>),
        name: &str,
        activation: Activation,
        description: &Description,
    ) -> Result<Self, String> {
        let width = description.shape.hidden_size;
        let packed = |inputs, weight: &[f32], bias: &[f32]| {
            Packed::new(Format::F32, inputs, weight, Some(bias))
        };
        let (classes, classes_bias) = weights.linear(name, width, 3, Bias::Given)?;
        Ok(Self {
            activation,
            pooler: packed(dense.len() / width, &dense, &dense_bias),
            norm: None,
            classifier: packed(width, &classes, &classes_bias),
            rows: description.rows,
        })
    }

    /// Logits of each row of `hidden`: negative, neutral, positive.
    pub(super) fn logits(&self, level: Level, hidden: &[f32]) -> Vec<[f32; 3]> {
        let (inputs, width) = (self.pooler.inputs(), self.pooler.outputs());
        let texts = hidden.len() / inputs;
        let mut operand = Operand::new(Format::F32);
        operand.set(level, hidden, inputs);
        let mut pooled = vec![0.0; texts * width];
        let epilogue = match self.activation {
            Activation::Tanh => Epilogue::Store,
            Activation::Of(epilogue) => epilogue,
        };
        product(level, &operand, &self.pooler, epilogue, &mut pooled);
        if matches!(self.activation, Activation::Tanh) {
            pooled.iter_mut().for_each(|number| *number = number.tanh());
        }
        if let Some(norm) = &self.norm {
            norm.apply(level, &mut pooled);
        }
        operand.set(level, &pooled, width);
        let mut logits = vec![0.0; texts * 3];
        product(
            level,
            &operand,
            &self.classifier,
            Epilogue::Store,
            &mut logits,
        );
        let (logits, _) = logits.as_chunks::<3>();
        logits
            .iter()
            .map(|logits| self.rows.map(|row| logits[row]))
            .collect()
    }
}
