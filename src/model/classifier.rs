//! The head that tells the sentiment of a whole text from its first token's last hidden state.

use super::encoder::Tensors;
use super::folder::{Description, Family};
use super::kernels::{Epilogue, Format, Level, Operand, Packed, product};

/// A dense layer with its activation and a linear classifier, as in Hugging Face's `…ForSequenceClassification`; in f32.
pub(super) struct Classifier {
    activation: fn(f32) -> f32,
    pooler: Packed,
    classifier: Packed,
    rows: [usize; 3],
}

impl Classifier {
    /// Takes the tensors of the classifier described.
    pub(super) fn take(tensors: &Tensors, description: &Description) -> Result<Self, String> {
        let width = description.shape.hidden_size;
        let (pooler, activation, classifier): (_, fn(f32) -> f32, _) =
            match description.shape.family {
                Family::Bert => ("bert.pooler.dense", f32::tanh, "classifier"),
                Family::Roberta => ("classifier.dense", f32::tanh, "classifier.out_proj"),
                Family::Distilbert => ("pre_classifier", |x| x.max(0.0), "classifier"),
            };
        let packed = |name: &str, outputs| -> Result<Packed, String> {
            let (weight, bias) = tensors.linear(name, width, outputs)?;
            Ok(Packed::new(Format::F32, width, &weight, Some(&bias)))
        };
        Ok(Self {
            activation,
            pooler: packed(pooler, width)?,
            classifier: packed(classifier, 3)?,
            rows: description.rows,
        })
    }

    /// Logits of each row of `hidden`: negative, neutral, positive.
    pub(super) fn logits(&self, level: Level, hidden: &[f32]) -> Vec<[f32; 3]> {
        let width = self.pooler.inputs();
        let texts = hidden.len() / width;
        let mut operand = Operand::new(Format::F32);
        operand.set(level, hidden, width);
        let mut pooled = vec![0.0; texts * width];
        product(level, &operand, &self.pooler, Epilogue::Store, &mut pooled);
        for number in &mut pooled {
            *number = (self.activation)(*number);
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
