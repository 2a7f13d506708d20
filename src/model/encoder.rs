//! The classifier itself: token ids in, logits out. Computes in f32 on the CPU.

use candle_core::{Device, Result, Tensor};
use candle_nn::{Linear, Module, VarBuilder, linear};
use candle_transformers::models::bert::{BertModel, Config};

/// BERT with a pooler (dense and tanh over the first token) and a linear classifier, as in Hugging Face's
/// `BertForSequenceClassification`.
pub(super) struct Encoder {
    bert: BertModel,
    pooler: Linear,
    classifier: Linear,
    rows: [usize; 3],
}

impl Encoder {
    /// Takes its tensors, under Hugging Face's names. `rows` says which row of the classifier is negative,
    /// neutral, positive.
    pub(super) fn load(tensors: VarBuilder, config: &Config, rows: [usize; 3]) -> Result<Self> {
        let hidden = config.hidden_size;
        Ok(Self {
            bert: BertModel::load(tensors.pp("bert"), config)?,
            pooler: linear(hidden, hidden, tensors.pp("bert.pooler.dense"))?,
            classifier: linear(hidden, 3, tensors.pp("classifier"))?,
            rows,
        })
    }

    /// Logits of each text: negative, neutral, positive. Texts are padded to the longest; none may be empty.
    pub(super) fn logits(&self, texts: &[&[u32]]) -> Result<Vec<[f32; 3]>> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let shape = (texts.len(), longest);
        let padded = |token: fn(u32) -> u32, padding: u32| {
            let rows = texts.iter().flat_map(|text| {
                let tokens = text.iter().map(move |&id| token(id));
                tokens.chain(std::iter::repeat_n(padding, longest - text.len()))
            });
            Tensor::from_iter(rows, &Device::Cpu)?.reshape(shape)
        };
        let ids = padded(|id| id, 0)?;
        let mask = padded(|_| 1, 0)?;
        let hidden = self.bert.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let first = hidden.narrow(1, 0, 1)?.squeeze(1)?;
        let pooled = self.pooler.forward(&first)?.tanh()?;
        let logits = self.classifier.forward(&pooled)?.to_vec2::<f32>()?;
        Ok(logits
            .iter()
            .map(|logits| self.rows.map(|row| logits[row]))
            .collect())
    }
}
