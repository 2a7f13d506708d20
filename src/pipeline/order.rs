//! Release in source order: whatever finishes first, results leave in the order in which their records
//! were read.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Results by lane (a source partition under one assignment), held back until all before them are there.
#[derive(Debug)]
pub struct Order<K, T> {
    lanes: HashMap<K, VecDeque<(i64, Option<T>)>>,
}

impl<K: Eq + Hash + Clone, T> Default for Order<K, T> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash + Clone, T> Order<K, T> {
    /// A record was read: its result will come. Offsets of a lane rise.
    pub fn open(&mut self, lane: K, offset: i64) {
        self.lanes
            .entry(lane)
            .or_default()
            .push_back((offset, None));
    }

    /// The result of a record is there. Returns every result that may leave now, in order. A result whose
    /// lane was closed, or that was never opened, is dropped.
    pub fn finish(&mut self, lane: &K, offset: i64, result: T) -> Vec<T> {
        let Some(slots) = self.lanes.get_mut(lane) else {
            return Vec::new();
        };
        if let Ok(index) = slots.binary_search_by_key(&offset, |(offset, _)| *offset) {
            slots[index].1 = Some(result);
        }
        let ready = slots
            .iter()
            .take_while(|(_, result)| result.is_some())
            .count();
        slots
            .drain(..ready)
            .filter_map(|(_, result)| result)
            .collect()
    }

    /// Forgets the lanes that are over.
    pub fn close(&mut self, over: impl Fn(&K) -> bool) {
        self.lanes.retain(|lane, _| !over(lane));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever order results come in, each lane leaves in offset order, complete, and never early.
        #[test]
        fn leaves_in_source_order(
            records in proptest::collection::vec(0u8..3, 1..60),
            shuffle in proptest::collection::vec(any::<u32>(), 60),
        ) {
            let mut order = Order::default();
            let mut offsets = [0i64; 3];
            let mut opened = Vec::new();
            for lane in records {
                // Offsets may have holes (compacted or aborted records).
                offsets[lane as usize] += 1 + i64::from(lane);
                order.open(lane, offsets[lane as usize]);
                opened.push((lane, offsets[lane as usize]));
            }
            let mut arrival: Vec<_> = opened.iter().copied().zip(shuffle).collect();
            arrival.sort_by_key(|(_, key)| *key);
            let mut left: Vec<(u8, i64)> = Vec::new();
            let mut finished: Vec<(u8, i64)> = Vec::new();
            for ((lane, offset), _) in arrival {
                finished.push((lane, offset));
                left.extend(order.finish(&lane, offset, (lane, offset)));
                for result in &left {
                    prop_assert!(finished.contains(result));
                }
            }
            prop_assert_eq!(left.len(), opened.len());
            for lane in 0..3 {
                let of_lane = |all: &[(u8, i64)]| -> Vec<i64> {
                    all.iter().filter(|(l, _)| *l == lane).map(|(_, offset)| *offset).collect()
                };
                prop_assert_eq!(of_lane(&left), of_lane(&opened));
            }
        }
    }

    #[test]
    fn a_closed_lane_lets_nothing_out() {
        let mut order = Order::default();
        order.open("a", 1);
        order.close(|lane| *lane == "a");
        assert!(order.finish(&"a", 1, ()).is_empty());
    }
}
