//! Where each family of encoders keeps its tensors, as Hugging Face's `transformers` names them.

use crate::model::folder::Family;

/// Names of the tensors of an encoder whose normalisations stand behind its residuals. Those of a layer are below
/// `layers` and its number.
pub(super) struct Names {
    pub(super) embeddings: &'static str,
    pub(super) layers: &'static str,
    /// Query, key and value.
    pub(super) attention: [&'static str; 3],
    pub(super) attended: &'static str,
    pub(super) attended_norm: &'static str,
    pub(super) inner: &'static str,
    pub(super) outer: &'static str,
    pub(super) outer_norm: &'static str,
}

impl Names {
    /// None for ModernBERT, whose layers have other parts.
    pub(super) fn of(family: Family) -> Option<Self> {
        let bert = Self {
            embeddings: "bert.embeddings",
            layers: "bert.encoder.layer",
            attention: [
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
            ],
            attended: "attention.output.dense",
            attended_norm: "attention.output.LayerNorm",
            inner: "intermediate.dense",
            outer: "output.dense",
            outer_norm: "output.LayerNorm",
        };
        Some(match family {
            Family::Modernbert => return None,
            Family::Bert => bert,
            Family::Roberta => Self {
                embeddings: "roberta.embeddings",
                layers: "roberta.encoder.layer",
                ..bert
            },
            Family::Distilbert => Self {
                embeddings: "distilbert.embeddings",
                layers: "distilbert.transformer.layer",
                attention: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
                attended: "attention.out_lin",
                attended_norm: "sa_layer_norm",
                inner: "ffn.lin1",
                outer: "ffn.lin2",
                outer_norm: "output_layer_norm",
            },
        })
    }
}
