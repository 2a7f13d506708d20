//! The heads that tell sentiment from last hidden states: a whole text's from that of its first token, an entity's from
//! the mean of those of its name beside that of the first token.

use super::encoder::Tensors;
use super::kernels::{Epilogue, Format, Level, Operand, Packed, product};

/// Dense and tanh, then a linear layer, as in Hugging Face's `BertForSequenceClassification`; in f32.
pub(super) struct Classifier {
    pooler: Packed,
    classifier: Packed,
    rows: [usize; 3],
}

impl Classifier {
    /// Takes the document's head, for hidden states of `width` numbers. `rows` are its rows of negative, neutral,
    /// positive.
    pub(super) fn document(
        tensors: &Tensors,
        width: usize,
        rows: [usize; 3],
    ) -> Result<Self, String> {
        Self::take(
            tensors,
            ["bert.pooler.dense", "classifier"],
            [width, width],
            rows,
        )
    }

    /// Takes the entities' head; none where the model has none.
    pub(super) fn entity(
        tensors: &Tensors,
        width: usize,
        rows: [usize; 3],
    ) -> Result<Option<Self>, String> {
        if !tensors.has("entity.dense.weight") {
            return Ok(None);
        }
        let names = ["entity.dense", "entity.classifier"];
        Self::take(tensors, names, [2 * width, width], rows).map(Some)
    }

    fn take(
        tensors: &Tensors,
        names: [&str; 2],
        [inputs, width]: [usize; 2],
        rows: [usize; 3],
    ) -> Result<Self, String> {
        let packed = |name: &str, inputs, outputs| -> Result<Packed, String> {
            let (weight, bias) = tensors.linear(name, inputs, outputs)?;
            Ok(Packed::new(Format::F32, inputs, &weight, Some(&bias)))
        };
        Ok(Self {
            pooler: packed(names[0], inputs, width)?,
            classifier: packed(names[1], width, 3)?,
            rows,
        })
    }

    /// Logits of each row of `hidden`: negative, neutral, positive.
    pub(super) fn logits(&self, level: Level, hidden: &[f32]) -> Vec<[f32; 3]> {
        let (inputs, width) = (self.pooler.inputs(), self.pooler.outputs());
        let texts = hidden.len() / inputs;
        let mut operand = Operand::new(Format::F32);
        operand.set(level, hidden, inputs);
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
