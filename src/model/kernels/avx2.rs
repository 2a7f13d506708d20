//! [`Lanes`] in AVX2 with FMA: eight numbers at once.

use super::lanes::{self, Lanes};
use std::arch::x86_64::*;

/// The proof that this processor has AVX2 and FMA. Only this file can make one.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }

    /// The lanes as an array.
    #[inline(always)]
    fn lanes(self, a: __m256) -> [f32; 8] {
        let mut lanes = [0.0; 8];
        self.store(a, &mut lanes);
        lanes
    }
}

/// An expression of AVX2 instructions.
macro_rules! avx2 {
    ($($instructions:tt)*) => {
        // SAFETY: used only in methods of `Avx2`, a value of which exists only where the processor has them.
        unsafe { $($instructions)* }
    };
}

impl Lanes for Avx2 {
    const N: usize = 8;
    const ROWS: usize = 4;
    const HALVES: bool = false;
    type F = __m256;
    type W = __m256i;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        avx2!(_mm256_set1_ps(value))
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m256 {
        let from = &from[..8];
        // SAFETY: the slice has 32 bytes, and `self` is the proof of the instruction.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_part(self, from: &[f32], filler: f32) -> __m256 {
        if from.len() >= Self::N {
            return self.load(from);
        }
        let mut lanes = [filler; 8];
        for (lane, from) in lanes.iter_mut().zip(from) {
            *lane = *from;
        }
        self.load(&lanes)
    }
    #[inline(always)]
    fn store(self, vector: __m256, to: &mut [f32]) {
        let to = &mut to[..8];
        // SAFETY: the slice has 32 bytes, and `self` is the proof of the instruction.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), vector) }
    }
    #[inline(always)]
    fn store_part(self, vector: __m256, to: &mut [f32]) {
        if to.len() >= Self::N {
            return self.store(vector, to);
        }
        for (to, lane) in to.iter_mut().zip(self.lanes(vector)) {
            *to = lane;
        }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        avx2!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn fraction(self, a: __m256) -> __m256 {
        let a = self.max(a, self.splat(-126.0));
        self.sub(a, avx2!(_mm256_floor_ps(a)))
    }
    #[inline(always)]
    fn times_power(self, a: __m256, b: __m256) -> __m256 {
        let b = self.max(b, self.splat(-126.0));
        let power = avx2!({
            let power = _mm256_cvtps_epi32(_mm256_floor_ps(b));
            _mm256_slli_epi32::<23>(_mm256_add_epi32(power, _mm256_set1_epi32(127)))
        });
        self.mul(a, self.as_floats(power))
    }
    #[inline(always)]
    fn sum(self, a: __m256) -> f32 {
        self.lanes(a).into_iter().sum()
    }
    #[inline(always)]
    fn highest(self, a: __m256) -> f32 {
        let lanes = self.lanes(a);
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn lowest(self, a: __m256) -> f32 {
        let lanes = self.lanes(a);
        lanes.into_iter().fold(f32::INFINITY, f32::min)
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> __m256i {
        avx2!(_mm256_set1_epi32(word as i32))
    }
    #[inline(always)]
    fn load_words(self, from: &[u32]) -> __m256i {
        let from = &from[..8];
        // SAFETY: the slice has 32 bytes, and `self` is the proof of the instruction.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_words(self, words: __m256i, to: &mut [u32]) {
        let to = &mut to[..8];
        // SAFETY: the slice has 32 bytes, and `self` is the proof of the instruction.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), words) }
    }
    #[inline(always)]
    fn as_floats(self, words: __m256i) -> __m256 {
        avx2!(_mm256_castsi256_ps(words))
    }
    #[inline(always)]
    fn as_words(self, floats: __m256) -> __m256i {
        avx2!(_mm256_castps_si256(floats))
    }
    #[inline(always)]
    fn to_floats(self, words: __m256i) -> __m256 {
        avx2!(_mm256_cvtepi32_ps(words))
    }

    #[inline(always)]
    fn transpose(self, rows: &mut [__m256]) {
        let rows: &mut [__m256; 8] = rows.try_into().expect("eight rows");
        avx2!({
            // Squares of 4 x 4, within each half of the rows, then the halves.
            for four in rows.as_chunks_mut::<4>().0 {
                let [a, b, c, d] = *four;
                let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
                let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
                *four = [
                    _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
                    _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
                    _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                    _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
                ];
            }
            for column in 0..4 {
                let (a, b) = (rows[column], rows[4 + column]);
                rows[column] = _mm256_permute2f128_ps::<0x20>(a, b);
                rows[4 + column] = _mm256_permute2f128_ps::<0x31>(a, b);
            }
        });
    }

    /// In two halves of 16-bit integers: the instruction that multiplies bytes would saturate.
    #[inline(always)]
    fn dot_bytes(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        avx2!({
            let low = _mm256_set1_epi16(0xff);
            let even = _mm256_madd_epi16(
                _mm256_and_si256(a, low),
                _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)),
            );
            let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(a), _mm256_srai_epi16::<8>(b));
            _mm256_add_epi32(sum, _mm256_add_epi32(even, odd))
        })
    }
    #[inline(always)]
    fn larger_size(self, before: __m256i, a: __m256) -> __m256i {
        avx2!({
            let size = _mm256_castps_si256(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a));
            _mm256_max_epu32(before, size)
        })
    }
    #[inline(always)]
    fn dot_shorts(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_add_epi32(sum, _mm256_madd_epi16(a, b)))
    }
    #[inline(always)]
    fn store_shorts(self, a: __m256, to: &mut [u16]) {
        // SAFETY: a `__m128i` is eight halves, and `self` is the proof of the instructions.
        let shorts: [u16; 8] = unsafe {
            let words = _mm256_cvtps_epi32(a);
            std::mem::transmute::<__m128i, [u16; 8]>(_mm_packs_epi32(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            ))
        };
        lanes::put(shorts, to);
    }
    #[inline(always)]
    fn pair_shorts(self, first: __m256, second: __m256) -> __m256i {
        avx2!({
            let second = _mm256_slli_epi32::<16>(_mm256_cvtps_epi32(second));
            _mm256_blend_epi16::<0b1010_1010>(_mm256_cvtps_epi32(first), second)
        })
    }
    #[inline(always)]
    fn store_bytes(self, a: __m256, to: &mut [u8]) {
        let bytes: [u8; 8] = avx2!({
            let words = _mm256_cvtps_epi32(a);
            let halves = _mm_packs_epi32(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            (_mm_cvtsi128_si64(_mm_packus_epi16(halves, halves)) as u64).to_le_bytes()
        });
        lanes::put(bytes, to);
    }
    #[inline(always)]
    fn round_to_halves(self, a: __m256) -> __m256 {
        avx2!({
            let bits = _mm256_castps_si256(a);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
            let rounded = _mm256_castsi256_ps(_mm256_add_epi32(bits, up));
            // Those that are no numbers might round to some.
            let rounded = _mm256_blendv_ps(rounded, a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a));
            let upper = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32));
            _mm256_and_ps(rounded, upper)
        })
    }
    #[inline(always)]
    fn halves(self, words: __m256i) -> [__m256; 2] {
        let upper = self.splat_word(0xffff_0000);
        [
            self.as_floats(avx2!(_mm256_slli_epi32::<16>(words))),
            self.as_floats(avx2!(_mm256_and_si256(words, upper))),
        ]
    }
}
