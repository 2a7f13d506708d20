//! [`Lanes`] in AVX-512: sixteen numbers at once, with the byte products of VNNI and, where there are, those of BF16.

use super::lanes::{Lanes, pair_halves};
use std::arch::x86_64::*;

/// The proof that this processor has AVX-512 F, BW, DQ, VL and VNNI, and BF16 if the parameter says so. Only this file
/// can make one.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Avx512<const BF16: bool>(());

impl Avx512<false> {
    pub(super) fn without_bf16() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }
}

impl Avx512<true> {
    pub(super) fn with_bf16() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512bf16");
        Avx512::without_bf16()
            .filter(|_| has)
            .map(|Avx512(())| Self(()))
    }
}

/// An expression of AVX-512 instructions.
macro_rules! avx512 {
    ($($instructions:tt)*) => {
        // SAFETY: used only in methods of `Avx512`, a value of which exists only where the processor has them.
        unsafe { $($instructions)* }
    };
}

/// Takes sixteen halves and sixteen behind them in turn.
const ALTERNATE: [u16; 32] = {
    let mut order = [0; 32];
    let mut place = 0;
    while place < 32 {
        order[place] = (place / 2 + 16 * (place % 2)) as u16;
        place += 1;
    }
    order
};

/// A mask of the first `length` lanes.
#[inline(always)]
fn first(length: usize) -> __mmask16 {
    ((1u32 << length.min(16)) - 1) as __mmask16
}

impl<const BF16: bool> Lanes for Avx512<BF16> {
    const N: usize = 16;
    const ROWS: usize = 14;
    const HALVES: bool = BF16;
    type F = __m512;
    type W = __m512i;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        avx512!(_mm512_set1_ps(value))
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        let from = &from[..16];
        // SAFETY: the slice has 64 bytes, and `self` is the proof of the instruction.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_part(self, from: &[f32], filler: f32) -> __m512 {
        let (mask, filler) = (first(from.len()), self.splat(filler));
        // SAFETY: only lanes the slice has are read, and `self` is the proof of the instruction.
        unsafe { _mm512_mask_loadu_ps(filler, mask, from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, vector: __m512, to: &mut [f32]) {
        let to = &mut to[..16];
        // SAFETY: the slice has 64 bytes, and `self` is the proof of the instruction.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), vector) }
    }
    #[inline(always)]
    fn store_part(self, vector: __m512, to: &mut [f32]) {
        // SAFETY: only lanes the slice has are written, and `self` is the proof of the instruction.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first(to.len()), vector) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        avx512!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        avx512!(_mm512_roundscale_ps::<
            { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
        >(a))
    }
    #[inline(always)]
    fn exp2_whole(self, a: __m512) -> __m512 {
        avx512!(_mm512_scalef_ps(_mm512_set1_ps(1.0), a))
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        avx512!(_mm512_reduce_add_ps(a))
    }
    #[inline(always)]
    fn highest(self, a: __m512) -> f32 {
        avx512!(_mm512_reduce_max_ps(a))
    }
    #[inline(always)]
    fn lowest(self, a: __m512) -> f32 {
        avx512!(_mm512_reduce_min_ps(a))
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> __m512i {
        avx512!(_mm512_set1_epi32(word as i32))
    }
    #[inline(always)]
    fn load_words(self, from: &[u32]) -> __m512i {
        let from = &from[..16];
        // SAFETY: the slice has 64 bytes, and `self` is the proof of the instruction.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_words(self, words: __m512i, to: &mut [u32]) {
        let to = &mut to[..16];
        // SAFETY: the slice has 64 bytes, and `self` is the proof of the instruction.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), words) }
    }
    #[inline(always)]
    fn as_floats(self, words: __m512i) -> __m512 {
        avx512!(_mm512_castsi512_ps(words))
    }
    #[inline(always)]
    fn as_words(self, floats: __m512) -> __m512i {
        avx512!(_mm512_castps_si512(floats))
    }
    #[inline(always)]
    fn to_floats(self, words: __m512i) -> __m512 {
        avx512!(_mm512_cvtepi32_ps(words))
    }

    #[inline(always)]
    fn transpose(self, rows: &mut [__m512]) {
        let rows: &mut [__m512; 16] = rows.try_into().expect("sixteen rows");
        avx512!({
            // Squares of 2 x 2, then of 4 x 4, within each quarter of the rows.
            for four in rows.as_chunks_mut::<4>().0 {
                let [a, b, c, d] = *four;
                let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
                let (ab_high, cd_high) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
                *four = [
                    _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
                    _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
                    _mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                    _mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
                ];
            }
            // Then the quarters.
            for column in 0..4 {
                let [a, b, c, d] = std::array::from_fn(|four| rows[4 * four + column]);
                let ab = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                let cd = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
                let ab_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                let cd_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
                rows[column] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd);
                rows[4 + column] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_odd, cd_odd);
                rows[8 + column] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd);
                rows[12 + column] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_odd, cd_odd);
            }
        });
    }

    #[inline(always)]
    fn dot_bytes(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_dpbusd_epi32(sum, a, b))
    }
    #[inline(always)]
    fn dot_halves(self, sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        if BF16 {
            // SAFETY: with BF16 `self` is the proof of that instruction too; the types differ in name only.
            return unsafe {
                _mm512_dpbf16_ps(
                    sum,
                    std::mem::transmute::<__m512i, __m512bh>(a),
                    std::mem::transmute::<__m512i, __m512bh>(b),
                )
            };
        }
        let low = |word| self.as_floats(avx512!(_mm512_slli_epi32::<16>(word)));
        let high = |word| {
            let mask = self.splat_word(0xffff_0000);
            self.as_floats(avx512!(_mm512_and_si512(word, mask)))
        };
        self.fma(high(a), high(b), self.fma(low(a), low(b), sum))
    }
    #[inline(always)]
    fn store_bytes(self, a: __m512, to: &mut [u8]) {
        // SAFETY: a `__m128i` is sixteen bytes, and `self` is the proof of the instructions.
        let bytes: [u8; 16] = unsafe {
            std::mem::transmute::<__m128i, [u8; 16]>(_mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)))
        };
        match to.first_chunk_mut() {
            Some(to) => *to = bytes,
            None => to.copy_from_slice(&bytes[..to.len()]),
        }
    }
    #[inline(always)]
    fn store_halves(self, a: __m512, to: &mut [u16]) {
        let halves: [u16; 16] = if BF16 {
            // SAFETY: a `__m256bh` is sixteen halves, and with BF16 `self` is the proof of the instruction.
            unsafe { std::mem::transmute::<__m256bh, [u16; 16]>(_mm512_cvtneps_pbh(a)) }
        } else {
            let mut numbers = [0.0; 16];
            self.store(a, &mut numbers);
            numbers.map(super::plain::half)
        };
        match to.first_chunk_mut() {
            Some(to) => *to = halves,
            None => to.copy_from_slice(&halves[..to.len()]),
        }
    }
    #[inline(always)]
    fn pair_halves(self, first: __m512, second: __m512) -> __m512i {
        if BF16 {
            // SAFETY: with BF16 `self` is the proof of the first instruction too, whose result is 512 bits by another name.
            return unsafe {
                let apart =
                    std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first));
                _mm512_permutexvar_epi16(_mm512_loadu_si512(ALTERNATE.as_ptr().cast()), apart)
            };
        }
        pair_halves(self, first, second)
    }
}
