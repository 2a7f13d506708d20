//! The head that tells the sentiment of a whole text from its first token's last hidden state.

use super::encoder::Tensors;
use super::kernels::{Epilogue, Format, Level, Operand, Packed, product};

/// Pooler (dense and tanh) and a linear classifier, as in Hugging Face's `BertForSequenceClassification`; in f32.
pub(super) struct Classifier {
    pooler: Packed,
    classifier: Packed,
    rows: [usize; 3],
}

impl Classifier {
    /// Takes the tensors for hidden states of `width` numbers. `rows` are the classifier's rows of negative, neutral,
    /// positive.
    pub(super) fn take(tensors: &Tensors, width: usize, rows: [usize; 3]) -> Result<Self, String> {
        let packed = |name: &str, outputs| -> Result<Packed, String> {
            let (weight, bias) = tensors.linear(name, width, outputs)?;
            Ok(Packed::new(Format::F32, width, &weight, Some(&bias)))
        };
        Ok(Self {
            pooler: packed("bert.pooler.dense", width)?,
            classifier: packed("classifier", 3)?,
            rows,
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
            *number = number.tanh();
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
