//! [`Lanes`] for any processor: eight numbers in an array, which compilers turn into what vectors there are.

use super::lanes::{Lanes, pair};

/// The portable level.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Plain;

const N: usize = 8;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; N] {
    std::array::from_fn(f)
}

/// To the nearest, ties to even; a number that is none stays one.
pub(super) fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = if value.is_nan() {
        bits | 0x40_0000
    } else {
        bits.wrapping_add(0x7fff + ((bits >> 16) & 1))
    };
    (rounded >> 16) as u16
}

/// To the nearest 16-bit integer, ties to even.
fn short(value: f32) -> u16 {
    value.round_ties_even() as i16 as u16
}

impl Lanes for Plain {
    const N: usize = N;
    const ROWS: usize = 2;
    const HALVES: bool = false;
    type F = [f32; N];
    type W = [u32; N];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [value; N]
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::F {
        let from = &from[..N];
        each(|lane| from[lane])
    }
    #[inline(always)]
    fn load_part(self, from: &[f32], filler: f32) -> Self::F {
        each(|lane| from.get(lane).copied().unwrap_or(filler))
    }
    #[inline(always)]
    fn store(self, vector: Self::F, to: &mut [f32]) {
        to[..N].copy_from_slice(&vector);
    }
    #[inline(always)]
    fn store_part(self, vector: Self::F, to: &mut [f32]) {
        for (to, lane) in to.iter_mut().zip(vector) {
            *to = lane;
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        each(|lane| a[lane] + b[lane])
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        each(|lane| a[lane] - b[lane])
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        each(|lane| a[lane] * b[lane])
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        each(|lane| a[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        each(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        each(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    fn fraction(self, a: Self::F) -> Self::F {
        each(|lane| a[lane].max(-126.0) - a[lane].max(-126.0).floor())
    }
    #[inline(always)]
    fn times_power(self, a: Self::F, b: Self::F) -> Self::F {
        let power = |b: f32| f32::from_bits(((b.max(-126.0).floor() as i32 + 127) as u32) << 23);
        each(|lane| a[lane] * power(b[lane]))
    }
    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        a.into_iter().sum()
    }
    #[inline(always)]
    fn highest(self, a: Self::F) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn lowest(self, a: Self::F) -> f32 {
        a.into_iter().fold(f32::INFINITY, f32::min)
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> Self::W {
        [word; N]
    }
    #[inline(always)]
    fn load_words(self, from: &[u32]) -> Self::W {
        let from = &from[..N];
        std::array::from_fn(|lane| from[lane])
    }
    #[inline(always)]
    fn store_words(self, words: Self::W, to: &mut [u32]) {
        to[..N].copy_from_slice(&words);
    }
    #[inline(always)]
    fn as_floats(self, words: Self::W) -> Self::F {
        words.map(f32::from_bits)
    }
    #[inline(always)]
    fn as_words(self, floats: Self::F) -> Self::W {
        floats.map(f32::to_bits)
    }
    #[inline(always)]
    fn to_floats(self, words: Self::W) -> Self::F {
        words.map(|word| word as i32 as f32)
    }

    #[inline(always)]
    fn transpose(self, rows: &mut [Self::F]) {
        let columns = |column: usize| std::array::from_fn(|row| rows[row][column]);
        let turned: [Self::F; N] = std::array::from_fn(columns);
        rows.copy_from_slice(&turned);
    }

    #[inline(always)]
    fn dot_bytes(self, sum: Self::W, a: Self::W, b: Self::W) -> Self::W {
        let product = |a: u32, b: u32, byte: u32| {
            let (a, b) = (
                (a >> (8 * byte)) & 0xff,
                (b << (24 - 8 * byte)) as i32 >> 24,
            );
            a.wrapping_mul(b as u32)
        };
        std::array::from_fn(|lane| {
            let products = (0..4).map(|byte| product(a[lane], b[lane], byte));
            products.fold(sum[lane], u32::wrapping_add)
        })
    }
    #[inline(always)]
    fn larger_size(self, before: Self::W, a: Self::F) -> Self::W {
        std::array::from_fn(|lane| before[lane].max(a[lane].abs().to_bits()))
    }
    #[inline(always)]
    fn dot_shorts(self, sum: Self::W, a: Self::W, b: Self::W) -> Self::W {
        let [low, high] = [
            |word: u32| word as i16 as i32,
            |word: u32| (word as i32) >> 16,
        ];
        std::array::from_fn(|lane| {
            let products = low(a[lane]) * low(b[lane]) + high(a[lane]) * high(b[lane]);
            sum[lane].wrapping_add(products as u32)
        })
    }
    #[inline(always)]
    fn store_shorts(self, a: Self::F, to: &mut [u16]) {
        for (to, lane) in to.iter_mut().zip(a) {
            *to = short(lane);
        }
    }
    #[inline(always)]
    fn pair_shorts(self, first: Self::F, second: Self::F) -> Self::W {
        std::array::from_fn(|lane| pair(short(first[lane]), short(second[lane])))
    }
    #[inline(always)]
    fn store_bytes(self, a: Self::F, to: &mut [u8]) {
        for (to, lane) in to.iter_mut().zip(a) {
            *to = lane.round_ties_even() as u8;
        }
    }
    #[inline(always)]
    fn round_to_halves(self, a: Self::F) -> Self::F {
        each(|lane| f32::from_bits(u32::from(half(a[lane])) << 16))
    }
    #[inline(always)]
    fn halves(self, words: Self::W) -> [Self::F; 2] {
        [
            each(|lane| f32::from_bits(words[lane] << 16)),
            each(|lane| f32::from_bits(words[lane] & 0xffff_0000)),
        ]
    }
}
