//! A small generator of random numbers.
//!
//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), integers only: the
//! stream is the same on every platform and with every version of every dependency.

/// Random numbers from a fixed seed.
pub(super) struct Dice(u64);

impl Dice {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In `0..bound`; 0 when `bound` is 0. `bound` must be under 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((self.roll() >> 32) * bound) >> 32
    }

    /// In `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in so many of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the items, of which there must be some.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// One of the items, each as often as its weight says; the weights must not all be 0.
    pub fn weigh<T: Copy>(&mut self, items: &[(T, u64)]) -> T {
        let mut left = self.below(items.iter().map(|(_, weight)| weight).sum());
        for &(item, weight) in items {
            if left < weight {
                return item;
            }
            left -= weight;
        }
        items[0].0
    }

    /// A count around `thousandths` / 1000, at most 10.
    pub fn count(&mut self, thousandths: u64) -> u64 {
        (0..10).filter(|_| self.below(10_000) < thousandths).count() as u64
    }

    /// Puts the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_paper() {
        let mut dice = Dice::new(1_234_567);
        assert_eq!(dice.roll(), 6_457_827_717_110_365_317);
        assert_eq!(dice.roll(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn every_number_in_the_range_comes_and_no_other() {
        let mut dice = Dice::new(1);
        let mut seen = [0; 8];
        (0..1000).for_each(|_| seen[dice.between(2, 6) as usize] += 1);
        assert_eq!(&seen[..2], [0, 0]);
        assert!(seen[2..7].iter().all(|&n| n > 100), "{seen:?}");
        assert_eq!(seen[7], 0);
    }

    #[test]
    fn counts_have_the_mean_asked_for() {
        let mut dice = Dice::new(1);
        let sum: u64 = (0..10_000).map(|_| dice.count(700)).sum();
        assert!((6_700..7_300).contains(&sum), "{sum}");
    }
}
