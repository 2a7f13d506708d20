//! [`Lanes`] in AVX-512: sixteen numbers at once, with the byte products of VNNI and, where there are, those of BF16.

use super::lanes::{self, Lanes};
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

    /// Whether products of bf16 take less time than those of f32. AMD makes them as fast, an instruction for two; Intel (Sapphire and Emerald
    /// Rapids, measured) makes one in the time of four of f32, as fast products of bf16 are made in tiles (AMX) there.
    pub(super) fn is_worth_it(self) -> bool {
        let vendor = __cpuid(0);
        [vendor.ebx, vendor.edx, vendor.ecx]
            .map(u32::to_le_bytes)
            .as_flattened()
            == b"AuthenticAMD"
    }
}

/// An expression of AVX-512 instructions.
macro_rules! avx512 {
    ($($instructions:tt)*) => {
        // SAFETY: used only in methods of `Avx512`, a value of which exists only where the processor has them.
        unsafe { $($instructions)* }
    };
}

/// Not the intrinsic: the compiler (LLVM 22) makes two instructions of every other one, to save a latency that nothing waits for.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn dpwssd(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    let mut sum = sum;
    // SAFETY: one instruction, which this function's features have, that changes nothing but its first operand.
    unsafe {
        std::arch::asm!(
            "vpdpwssd {0}, {1}, {2}",
            inout(zmm_reg) sum, in(zmm_reg) a, in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// A mask of the first `length` lanes, 15 at most.
#[inline(always)]
fn first(length: usize) -> __mmask16 {
    ((1u32 << length) - 1) as __mmask16
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
        if from.len() >= Self::N {
            return self.load(from);
        }
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
        if to.len() >= Self::N {
            return self.store(vector, to);
        }
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
    fn fraction(self, a: __m512) -> __m512 {
        avx512!(_mm512_reduce_ps::<
            { _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC },
        >(a))
    }
    #[inline(always)]
    fn times_power(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_scalef_ps(a, b))
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
    fn round_to_halves(self, a: __m512) -> __m512 {
        avx512!({
            let bits = _mm512_castps_si512(a);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            // Those that are no numbers might round to some.
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(a, a);
            let rounded = _mm512_mask_add_epi32(bits, number, bits, up);
            let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            _mm512_castsi512_ps(_mm512_and_si512(rounded, upper))
        })
    }
    #[inline(always)]
    fn halves(self, words: __m512i) -> [__m512; 2] {
        let upper = self.splat_word(0xffff_0000);
        [
            self.as_floats(avx512!(_mm512_slli_epi32::<16>(words))),
            self.as_floats(avx512!(_mm512_and_si512(words, upper))),
        ]
    }
    #[inline(always)]
    fn dot_halves(self, sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        assert!(BF16);
        // SAFETY: with BF16 `self` is the proof of that instruction too; the types differ in name only.
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        }
    }
    #[inline(always)]
    fn larger_size(self, before: __m512i, a: __m512) -> __m512i {
        avx512!(_mm512_max_epu32(
            before,
            _mm512_castps_si512(_mm512_abs_ps(a))
        ))
    }
    #[inline(always)]
    fn dot_shorts(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        avx512!(dpwssd(sum, a, b))
    }
    #[inline(always)]
    fn store_shorts(self, a: __m512, to: &mut [u16]) {
        // SAFETY: a `__m256i` is sixteen halves, and `self` is the proof of the instructions.
        let shorts: [u16; 16] = unsafe {
            std::mem::transmute::<__m256i, [u16; 16]>(_mm512_cvtepi32_epi16(_mm512_cvtps_epi32(a)))
        };
        lanes::put(shorts, to);
    }
    #[inline(always)]
    fn pair_shorts(self, first: __m512, second: __m512) -> __m512i {
        const UPPER: __mmask32 = 0xaaaa_aaaa;
        avx512!({
            let second = _mm512_slli_epi32::<16>(_mm512_cvtps_epi32(second));
            _mm512_mask_mov_epi16(_mm512_cvtps_epi32(first), UPPER, second)
        })
    }
    #[inline(always)]
    fn store_bytes(self, a: __m512, to: &mut [u8]) {
        // SAFETY: a `__m128i` is sixteen bytes, and `self` is the proof of the instructions.
        let bytes: [u8; 16] = unsafe {
            std::mem::transmute::<__m128i, [u8; 16]>(_mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)))
        };
        lanes::put(bytes, to);
    }
    #[inline(always)]
    fn store_halves(self, a: __m512, to: &mut [u16]) {
        assert!(BF16);
        // SAFETY: a `__m256bh` is sixteen halves, and with BF16 `self` is the proof of the instruction.
        let halves: [u16; 16] =
            unsafe { std::mem::transmute::<__m256bh, [u16; 16]>(_mm512_cvtneps_pbh(a)) };
        lanes::put(halves, to);
    }
}
