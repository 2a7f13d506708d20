//! Dropout whose mask is a function of a seed and an index, so that the backward pass needs no stored mask and a
//! resumed run the same one (Srivastava et al., 2014).

/// Which values are dropped: a hash of seed and index decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::train) struct Dropout {
    seed: u32,
    /// Hashes below are dropped.
    threshold: u32,
    /// What values that stay are multiplied by.
    scale: f32,
}

impl Dropout {
    /// Drops none.
    pub(in crate::train) const NONE: Self = Self {
        seed: 0,
        threshold: 0,
        scale: 1.0,
    };

    /// Drops a share of the values, in [0, 1), and scales up the others.
    pub(in crate::train) fn new(share: f32, seed: u32) -> Self {
        Self {
            seed,
            threshold: (f64::from(share) * f64::from(u32::MAX)) as u32,
            scale: 1.0 / (1.0 - share),
        }
    }

    /// Whether none is dropped.
    pub(in crate::train) fn is_none(&self) -> bool {
        self.threshold == 0
    }

    /// The same share under another seed, told apart by `place`.
    pub(in crate::train) fn at(self, place: u32) -> Self {
        Self {
            seed: mix(self.seed ^ place.wrapping_mul(0x9e37_79b9)),
            ..self
        }
    }

    /// What the value at an index is multiplied by: 0, or the scale.
    #[inline(always)]
    pub(in crate::train) fn factor(&self, index: u32) -> f32 {
        if mix(index ^ self.seed) >= self.threshold {
            self.scale
        } else {
            0.0
        }
    }
}

/// A hash of 32 bits (Wellons' "lowbias32").
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_dropped_and_the_mean_is_kept() {
        let dropout = Dropout::new(0.1, 7).at(3);
        let factors: Vec<f32> = (0..100_000).map(|index| dropout.factor(index)).collect();
        let dropped = factors.iter().filter(|&&factor| factor == 0.0).count();
        assert!((9_500..10_500).contains(&dropped), "{dropped}");
        let mean = factors.iter().sum::<f32>() / 100_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert_ne!(dropout.at(1), dropout.at(2));
        assert!((0..1000).all(|index| Dropout::NONE.at(5).factor(index) == 1.0));
    }
}
