//! Which of the doubtful names of a text are meant.

use super::candidates::Candidate;
use super::evidence::{Clues, Known, Surroundings};
use crate::domain::{Entity, EntityKind};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::Range;

/// A text's candidates, and what each was found to mean. Entities go by their position.
pub(super) struct Resolution<'a> {
    entities: &'a [Entity],
    clues: &'a [Clues],
    text: &'a str,
    candidates: Vec<(Range<usize>, Candidate)>,
    meant: Vec<Option<usize>>,
}

impl<'a> Resolution<'a> {
    pub(super) fn new(
        entities: &'a [Entity],
        clues: &'a [Clues],
        text: &'a str,
        candidates: Vec<(Range<usize>, Candidate)>,
    ) -> Self {
        let meant = candidates.iter().map(|(_, candidate)| match candidate {
            Candidate::Sure(position) => Some(*position),
            Candidate::Nothing | Candidate::Doubtful(_) => None,
        });
        Self {
            entities,
            clues,
            text,
            meant: meant.collect(),
            candidates,
        }
    }

    /// What is named where, in order.
    pub(super) fn resolve(mut self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let is_doubtful = |candidate: &Candidate| matches!(candidate, Candidate::Doubtful(_));
        if self
            .candidates
            .iter()
            .any(|(_, candidate)| is_doubtful(candidate))
        {
            let surroundings = Surroundings::new(self.text);
            self.decide(&surroundings, |_| true);
            // A text that names an entity names it again, and beside others.
            self.decide(&surroundings, |known| known.certain || known.enumerated);
        }
        let named = self.candidates.into_iter().zip(self.meant);
        named.filter_map(|((range, _), position)| Some((position?, range)))
    }

    /// Decides on the doubtful candidates that are still open, as far as what is known of them is `enough` to
    /// look at them.
    fn decide(&mut self, surroundings: &Surroundings, enough: impl Fn(&Known) -> bool) {
        let mut certain: HashSet<usize> = self.meant.iter().flatten().copied().collect();
        for index in 0..self.candidates.len() {
            let (range, candidate) = &self.candidates[index];
            let (Candidate::Doubtful(positions), None) = (candidate, self.meant[index]) else {
                continue;
            };
            let strength = |&position: &usize| {
                let known = Known {
                    certain: certain.contains(&position),
                    enumerated: self.is_enumerated(index, position),
                    shared: positions.len() > 1,
                };
                let clues = &self.clues[position];
                let strength =
                    enough(&known).then(|| surroundings.strength(range, clues, known))??;
                Some((strength, Reverse(position)))
            };
            if let Some((_, Reverse(position))) = positions.iter().filter_map(strength).max() {
                self.meant[index] = Some(position);
                certain.insert(position);
            }
        }
    }

    /// Whether a candidate, taken for the entity at `position`, stands beside another of its kind, with only a
    /// comma or an "and" between. For a company another name of a company is enough; for others it must be
    /// one that is meant.
    fn is_enumerated(&self, index: usize, position: usize) -> bool {
        let kind = self.entities[position].kind;
        let is_like = |other: usize| other != position && self.entities[other].kind == kind;
        let is_of_kind = |index: usize| match (self.meant[index], &self.candidates[index].1) {
            (Some(other), _) => is_like(other),
            (None, Candidate::Doubtful(others)) => {
                kind == EntityKind::Company && others.iter().any(|&other| is_like(other))
            }
            (None, _) => false,
        };
        let beside = |before: usize, after: usize| {
            let between = &self.text[self.candidates[before].0.end..self.candidates[after].0.start];
            [", ", " and ", ", and ", " & ", "/", " AND ", " And "].contains(&between)
        };
        index > 0 && beside(index - 1, index) && is_of_kind(index - 1)
            || index + 1 < self.candidates.len()
                && beside(index, index + 1)
                && is_of_kind(index + 1)
    }
}
