//! Arithmetic on a processor's vector units: matrix products in int8, bf16 and f32, attention, normalisation.
//!
//! Every kernel is written once, over [`Lanes`](lanes::Lanes), and compiled for every [`Level`] of processor; which
//! runs is chosen at run time. All levels give the same result up to rounding: `tests.rs` holds them to it.
//!
//! All of squall's `unsafe` code is in this module: instructions that not every processor has (`avx2.rs`, `avx512.rs`),
//! calls of functions compiled for them (the macro `at_every_level` below), and the rows that a tile of a product reads
//! and the lines it has brought near (`product.rs`).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
mod plain;

/// Makes a function that chooses a kernel's level out of the kernel itself, which is generic over its first argument.
macro_rules! at_every_level {
    ($(#[$doc:meta])* $name:ident = $kernel:ident ($($argument:ident: $type:ty),* $(,)?)) => {
        $(#[$doc])*
        pub(in crate::model) fn $name(level: $crate::model::kernels::Level, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            use $crate::model::kernels::{avx2::Avx2, avx512::Avx512};
            use $crate::model::kernels::{Level, plain::Plain};

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma")]
            fn with_bf16(lanes: Avx512<true>, $($argument: $type),*) {
                $kernel(lanes, $($argument),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
            fn with_vnni(lanes: Avx512<false>, $($argument: $type),*) {
                $kernel(lanes, $($argument),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn with_avx2(lanes: Avx2, $($argument: $type),*) {
                $kernel(lanes, $($argument),*);
            }
            match level {
                // SAFETY: in each arm the lanes exist, so the processor has these instructions.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512Bf16(lanes) => unsafe { with_bf16(lanes, $($argument),*) },
                #[cfg(target_arch = "x86_64")]
                Level::Avx512(lanes) => unsafe { with_vnni(lanes, $($argument),*) },
                #[cfg(target_arch = "x86_64")]
                Level::Avx2(lanes) => unsafe { with_avx2(lanes, $($argument),*) },
                Level::Portable => $kernel(Plain, $($argument),*),
            }
        }
    };
}

mod attention;
mod product;
mod rows;
#[cfg(test)]
mod tests;

use crate::config::Precision;
pub(super) use attention::{Heads, Scratch, Strided, attention};
pub(super) use product::{Epilogue, Operand, Packed, int8_step, product};
pub(super) use rows::normalise;

/// How the numbers of a matrix product are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Eight bits: weights scaled per output channel, activations scaled and shifted per row; sums in 32 bits.
    Int8,
    /// Sixteen bits with the exponent of an f32; sums in f32.
    Bf16,
    /// As they are.
    F32,
}

impl Format {
    /// That of a precision in the configuration; none for one that only GPUs have.
    pub(super) fn of(precision: Precision) -> Option<Self> {
        match precision {
            Precision::Int8 => Some(Self::Int8),
            Precision::F16 => None,
            Precision::Bf16 => Some(Self::Bf16),
            Precision::F32 => Some(Self::F32),
        }
    }
}

/// What the processor can do. A level with vector instructions holds the proof that this processor has them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    /// AVX-512 with VNNI and BF16: AMD from Zen 4, where it is the fastest; Intel from Cooper Lake, where it is not.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(avx512::Avx512<true>),
    /// AVX-512 with VNNI: Intel from Cascade Lake.
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512<false>),
    /// AVX2 and FMA: nearly every x86 of the last ten years.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    /// Any processor.
    Portable,
}

impl Level {
    /// All levels this processor has, the one with most instructions first.
    pub(super) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let vectors = [
            avx512::Avx512::with_bf16().map(Self::Avx512Bf16),
            avx512::Avx512::without_bf16().map(Self::Avx512),
            avx2::Avx2::new().map(Self::Avx2),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let vectors: [Option<Self>; 0] = [];
        vectors
            .into_iter()
            .flatten()
            .chain([Self::Portable])
            .collect()
    }

    /// The fastest level of this processor.
    pub(super) fn best() -> Self {
        let mut levels = Self::all().into_iter();
        levels
            .find(|level| level.is_worth_it())
            .unwrap_or(Self::Portable)
    }

    fn is_worth_it(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(lanes) => lanes.is_worth_it(),
            _ => true,
        }
    }

    /// Its name, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(_) => "AVX-512 VNNI BF16",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "AVX2",
            Self::Portable => "portable",
        }
    }
}
