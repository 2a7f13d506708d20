//! Texts for one pass.

use crate::domain::Label;
use crate::model::Passage;
use candle_core::{Device, Result, Tensor};

/// A label, and how much it counts in the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The label.
    pub label: Label,
    /// Its weight.
    pub weight: f32,
}

/// Texts that stand one behind the other, and what is asked of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Tokens of all texts.
    pub(super) ids: Vec<u32>,
    /// Place of each token in its text.
    pub(super) positions: Vec<u32>,
    /// Tokens of each text.
    pub(super) lengths: Vec<usize>,
    /// First token of each text whose document is asked for.
    pub(super) documents: Vec<usize>,
    /// First token of the text, and tokens of its names, of each entity that is asked for.
    pub(super) entities: Vec<(usize, Vec<usize>)>,
    /// What the documents should be; empty when they are only scored.
    pub(super) document_targets: Vec<Target>,
    /// What the entities should be.
    pub(super) entity_targets: Vec<Target>,
}

impl Batch {
    /// Adds a text to score: its document, and each entity of the passage.
    pub fn add(&mut self, passage: &Passage) {
        let start = self.place(passage);
        self.documents.push(start);
        for (_, tokens) in &passage.entities {
            self.add_entity(start, tokens);
        }
    }

    /// Adds a text to learn from: what its document should be, if that is known, and what entities of the passage
    /// should be, by their place in it.
    pub fn teach(
        &mut self,
        passage: &Passage,
        document: Option<Target>,
        entities: &[(usize, Target)],
    ) {
        let start = self.place(passage);
        if let Some(target) = document {
            self.documents.push(start);
            self.document_targets.push(target);
        }
        for &(entity, target) in entities {
            self.add_entity(start, &passage.entities[entity].1);
            self.entity_targets.push(target);
        }
    }

    /// Every text a second time, behind all of them; each target counts half.
    pub fn doubled(mut self) -> Self {
        let tokens = self.ids.len();
        self.ids.extend_from_within(..);
        self.positions.extend_from_within(..);
        self.lengths.extend_from_within(..);
        let behind = |&start: &usize| start + tokens;
        let documents: Vec<usize> = self.documents.iter().map(behind).collect();
        self.documents.extend(documents);
        let entity = |(start, names): &(usize, Vec<usize>)| {
            (start + tokens, names.iter().map(behind).collect())
        };
        let entities: Vec<_> = self.entities.iter().map(entity).collect();
        self.entities.extend(entities);
        for targets in [&mut self.document_targets, &mut self.entity_targets] {
            targets.iter_mut().for_each(|target| target.weight *= 0.5);
            targets.extend_from_within(..);
        }
        self
    }

    fn place(&mut self, passage: &Passage) -> usize {
        let start = self.ids.len();
        self.ids.extend_from_slice(&passage.tokens.0);
        self.positions.extend(0..passage.tokens.len() as u32);
        self.lengths.push(passage.tokens.len());
        start
    }

    fn add_entity(&mut self, start: usize, tokens: &[usize]) {
        let tokens = tokens.iter().map(|token| start + token).collect();
        self.entities.push((start, tokens));
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The tokens of every text, in order.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// A matrix that takes from the tokens' vectors those of the documents: [documents, tokens].
    pub(super) fn document_rows(&self, device: &Device) -> Result<Option<Tensor>> {
        let one = |&start: &usize| vec![start];
        averaging(
            self.documents.iter().map(one).collect(),
            self.tokens(),
            device,
        )
    }

    /// A matrix that takes those of the documents the entities stand in: [entities, tokens].
    pub(super) fn entity_documents(&self, device: &Device) -> Result<Option<Tensor>> {
        let one = |entity: &(usize, Vec<usize>)| vec![entity.0];
        averaging(
            self.entities.iter().map(one).collect(),
            self.tokens(),
            device,
        )
    }

    /// A matrix that takes the mean over each entity's tokens: [entities, tokens].
    pub(super) fn entity_rows(&self, device: &Device) -> Result<Option<Tensor>> {
        let names = |entity: &(usize, Vec<usize>)| entity.1.clone();
        averaging(
            self.entities.iter().map(names).collect(),
            self.tokens(),
            device,
        )
    }
}

/// The mean over some columns for each row; none without rows.
fn averaging(rows: Vec<Vec<usize>>, columns: usize, device: &Device) -> Result<Option<Tensor>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let mut values = vec![0f32; rows.len() * columns];
    for (row, chosen) in rows.iter().enumerate() {
        for column in chosen {
            values[row * columns + column] += 1.0 / chosen.len() as f32;
        }
    }
    Tensor::from_vec(values, (rows.len(), columns), device).map(Some)
}
