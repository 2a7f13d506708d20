//! The vectors that kernels are written over.

/// A word of two bf16.
pub(super) fn pair(first: u16, second: u16) -> u32 {
    u32::from(first) | u32::from(second) << 16
}

/// [`Lanes::pair_halves`] where no instruction does it.
#[inline(always)]
pub(super) fn pair_halves<L: Lanes>(lanes: L, first: L::F, second: L::F) -> L::W {
    let (mut low, mut high) = ([0; 16], [0; 16]);
    lanes.store_halves(first, &mut low[..L::N]);
    lanes.store_halves(second, &mut high[..L::N]);
    let words: [u32; 16] = std::array::from_fn(|lane| pair(low[lane], high[lane]));
    lanes.load_words(&words)
}

/// A vector unit: `N` numbers of 32 bits are worked on at once. A value of an implementing type is the proof that the
/// processor has the instructions, so the methods are safe to call.
pub(in crate::model) trait Lanes: Copy {
    /// Numbers in a vector; a divisor of 16.
    const N: usize;
    /// Rows of a tile in a matrix product, so that its sums fit the registers; see `product.rs`.
    const ROWS: usize;
    /// Whether products of bf16 are instructions of their own, and so faster than those of f32.
    const HALVES: bool;
    /// A vector of f32.
    type F: Copy;
    /// A vector of 32-bit words: integers, pairs of bf16 or quadruples of bytes.
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
    /// The nearest whole number.
    fn round(self, a: Self::F) -> Self::F;
    /// 2 to the power of whole numbers from -126 to 127.
    fn exp2_whole(self, a: Self::F) -> Self::F;
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
    /// `sum` + the products of two bf16 of `a` with two of `b`.
    fn dot_halves(self, sum: Self::F, a: Self::W, b: Self::W) -> Self::F;
    /// Numbers from 0 to 255, rounded, as bytes: as many as the slice has room for, up to `N`.
    fn store_bytes(self, a: Self::F, to: &mut [u8]);
    /// Numbers as bf16, to the nearest, ties to even: as many as the slice has room for, up to `N`.
    fn store_halves(self, a: Self::F, to: &mut [u16]);
    /// Two numbers of each lane as a word of two bf16, the first in the lower half.
    #[inline(always)]
    fn pair_halves(self, first: Self::F, second: Self::F) -> Self::W {
        pair_halves(self, first, second)
    }

    /// e to the power of `a`, for `a` from -87 to 88; smaller ones give what -87 gives. Relative error below 3e-7.
    #[inline(always)]
    fn exp(self, a: Self::F) -> Self::F {
        // Cody and Waite's reduction to |r| <= ln 2 / 2, then the Taylor series.
        let a = self.max(a, self.splat(-87.0));
        let whole = self.round(self.mul(a, self.splat(std::f32::consts::LOG2_E)));
        let r = self.fma(whole, self.splat(-0.693_359_4), a);
        let r = self.fma(whole, self.splat(2.121_944_4e-4), r);
        let series = [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
        let mut sum = self.splat(1.0 / 720.0);
        for factor in series {
            sum = self.fma(sum, r, self.splat(factor));
        }
        self.mul(sum, self.exp2_whole(whole))
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
