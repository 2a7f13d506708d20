//! The vectors that kernels are written over.

/// A word of two halves of 16 bits.
pub(super) fn pair(first: u16, second: u16) -> u32 {
    u32::from(first) | u32::from(second) << 16
}

/// Writes as many of a vector's numbers as a slice has room for.
#[inline(always)]
pub(super) fn put<T: Copy, const N: usize>(vector: [T; N], to: &mut [T]) {
    match to.first_chunk_mut() {
        Some(to) => *to = vector,
        None => to.copy_from_slice(&vector[..to.len()]),
    }
}

/// A vector unit: `N` numbers of 32 bits are worked on at once. A value of an implementing type is the proof that the
/// processor has the instructions, so the methods are safe to call.
pub(in crate::model) trait Lanes: Copy {
    /// Numbers in a vector; a divisor of 16.
    const N: usize;
    /// Rows of a tile in a matrix product, so that its sums fit the registers; see `product.rs`.
    const ROWS: usize;
    /// Whether products of bf16 are instructions of their own.
    const HALVES: bool;
    /// A vector of f32.
    type F: Copy;
    /// A vector of 32-bit words: integers, pairs of bf16 or of short integers, or quadruples of bytes.
    type W: Copy;

    /// The same number in all lanes.
    fn splat(self, value: f32) -> Self::F;
    /// The first `N` numbers of a slice, which must have them.
    fn load(self, from: &[f32]) -> Self::F;
    /// As many numbers as a slice has, up to `N`; the other lanes are `filler`.
    fn load_part(self, from: &[f32], filler: f32) -> Self::F;
    /// Writes all lanes to a slice, which must have room for them.
    fn store(self, vector: Self::F, to: &mut [f32]);
    /// Writes as many lanes as a slice has room for.
    fn store_part(self, vector: Self::F, to: &mut [f32]);

    /// a + b
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// a - b
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// a · b
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// a · b + c
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger in each lane.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller in each lane.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// What is above the next whole number below, a - ⌊a⌋; for numbers under -126 it may be 0.
    fn fraction(self, a: Self::F) -> Self::F;
    /// a · 2^⌊b⌋, for b up to 127; where b is under -126 it may be that of -126 or 0.
    fn times_power(self, a: Self::F, b: Self::F) -> Self::F;
    /// Sum of all lanes.
    fn sum(self, a: Self::F) -> f32;
    /// The largest lane.
    fn highest(self, a: Self::F) -> f32;
    /// The smallest lane.
    fn lowest(self, a: Self::F) -> f32;

    /// The same word in all lanes.
    fn splat_word(self, word: u32) -> Self::W;
    /// The first `N` words of a slice, which must have them.
    fn load_words(self, from: &[u32]) -> Self::W;
    /// Writes all lanes to a slice, which must have room for them.
    fn store_words(self, words: Self::W, to: &mut [u32]);
    /// The same bits as numbers.
    fn as_floats(self, words: Self::W) -> Self::F;
    /// The same bits as words.
    fn as_words(self, floats: Self::F) -> Self::W;
    /// Signed integers as numbers.
    fn to_floats(self, words: Self::W) -> Self::F;

    /// Makes the columns of `N` vectors the rows.
    fn transpose(self, rows: &mut [Self::F]);

    /// `sum` + the products of four unsigned bytes of `a` with four signed bytes of `b`, in integers.
    fn dot_bytes(self, sum: Self::W, a: Self::W, b: Self::W) -> Self::W;
    /// The larger size in each lane, of a number without its sign and of that before; one that is none, or not finite, is the largest.
    fn larger_size(self, before: Self::W, a: Self::F) -> Self::W;
    /// `sum` + the products of two signed 16-bit integers of `a` with two of `b`.
    fn dot_shorts(self, sum: Self::W, a: Self::W, b: Self::W) -> Self::W;
    /// Numbers from -32,767 to 32,767, rounded, as 16-bit integers: as many as the slice has room for, up to `N`.
    fn store_shorts(self, a: Self::F, to: &mut [u16]);
    /// Two such numbers of each lane, rounded, as a word, the first in the lower half.
    fn pair_shorts(self, first: Self::F, second: Self::F) -> Self::W;
    /// Numbers from 0 to 255, rounded, as bytes: as many as the slice has room for, up to `N`.
    fn store_bytes(self, a: Self::F, to: &mut [u8]);
    /// Numbers to the nearest bf16, ties to even.
    fn round_to_halves(self, a: Self::F) -> Self::F;
    /// The two bf16 of each word as numbers, that of the lower half first.
    fn halves(self, words: Self::W) -> [Self::F; 2];
    /// `sum` + the products of two bf16 of `a` with two of `b`. Only where [`HALVES`](Self::HALVES) says so.
    #[inline(always)]
    fn dot_halves(self, _sum: Self::F, _a: Self::W, _b: Self::W) -> Self::F {
        unreachable!("products of bf16, which this level does not have")
    }
    /// Numbers as bf16, to the nearest, ties to even: as many as the slice has room for, up to `N`. Only where [`HALVES`](Self::HALVES) says so.
    #[inline(always)]
    fn store_halves(self, _a: Self::F, _to: &mut [u16]) {
        unreachable!("rows of bf16, which this level does not have")
    }
    /// 2 to the power of `a`, up to 127. Relative error below 2e-7; what is below 2^-126 may be 0 or 2^-126.
    #[inline(always)]
    fn exp2(self, a: Self::F) -> Self::F {
        // Of the fraction, from 0 to 1: the polynomial with the least largest relative error, found by Lawson's algorithm.
        const P: [f32; 6] = [
            1.877_576_7e-3,
            8.989_341e-3,
            5.582_631_8e-2,
            0.240_153_61,
            0.693_153_1,
            0.999_999_94,
        ];
        let fraction = self.fraction(a);
        let mut p = self.splat(P[0]);
        for factor in &P[1..] {
            p = self.fma(p, fraction, self.splat(*factor));
        }
        self.times_power(p, a)
    }

    /// The Gaussian error linear unit, a · Φ(a) (Hendrycks and Gimpel, 2016, arXiv:1606.08415). Absolute error below
    /// 1e-5 · max(1, |a|).
    #[inline(always)]
    fn gelu(self, a: Self::F) -> Self::F {
        // Φ(a) = 1/2 + a p(a² - LIMIT²/2) up to LIMIT, where it is within 1e-6 of 0 or 1; p is the polynomial with the
        // least largest error of a · Φ(a), found by Lawson's algorithm.
        const LIMIT: f32 = 4.75;
        const P: [f32; 11] = [
            3.835_522_7e-14,
            -1.274_350_9e-12,
            1.911_893e-11,
            -3.082_551e-10,
            6.503_515_5e-9,
            -1.184_865_8e-7,
            1.877_091_8e-6,
            -2.825_620_1e-5,
            4.182_971_3e-4,
            -6.530_087_4e-3,
            0.148_748_3,
        ];
        let inner = self.max(self.min(a, self.splat(LIMIT)), self.splat(-LIMIT));
        let square = self.fma(inner, inner, self.splat(-LIMIT * LIMIT / 2.0));
        let mut p = self.splat(P[0]);
        for factor in &P[1..] {
            p = self.fma(p, square, self.splat(*factor));
        }
        self.mul(a, self.fma(inner, p, self.splat(0.5)))
    }
}
