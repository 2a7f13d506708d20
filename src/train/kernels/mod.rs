//! Arithmetic of training on the CPU, fused and by hand: what automatic differentiation does in many passes over
//! memory is one here. `network::composed` says the same in tensor operations, which other devices use; tests hold
//! the two to each other.

#![allow(
    clippy::needless_range_loop,
    clippy::excessive_precision,
    reason = "loops over several slices at once become vector code; constants stand as they are published"
)]

pub(super) mod adamw;
pub(super) mod attention;
pub(super) mod dropout;
pub(super) mod pointwise;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, StorageRef, Tensor, bail};
use std::cell::RefCell;
use std::ops::{Deref, Range};

/// Compiles a function over slices for the widest vectors the processor has, and chooses when it runs.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $type),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn wide($($arg: $type),*) $(-> $out)? { body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn middle($($arg: $type),*) $(-> $out)? { body($($arg),*) }
                if $crate::train::kernels::has_avx512() {
                    // SAFETY: the processor has what the function was compiled for.
                    return unsafe { wide($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: as above.
                    return unsafe { middle($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(super) use vectorised;

#[cfg(target_arch = "x86_64")]
pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
}

/// The values of a tensor while they are read.
pub(super) struct Values<'t> {
    storage: StorageRef<'t>,
    range: Range<usize>,
}

/// The values of an f32 tensor on the CPU, in order.
///
/// # Errors
/// When it is of another kind, elsewhere, or not contiguous.
pub(super) fn values(tensor: &Tensor) -> Result<Values<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a tensor of shape {:?} is not contiguous", tensor.shape());
    };
    match &*storage {
        Storage::Cpu(CpuStorage::F32(_)) => {}
        _ => bail!("a tensor is not one of f32 on the CPU"),
    }
    Ok(Values {
        storage,
        range: start..end,
    })
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => &[],
        }
    }
}

/// Lets `change` write the values of an f32 tensor on the CPU.
///
/// # Errors
/// As for [`values`].
pub(super) fn write(tensor: &Tensor, change: impl FnOnce(&mut [f32])) -> Result<()> {
    tensor.inplace_op1(&Write(RefCell::new(Some(change))))
}

struct Write<F>(RefCell<Option<F>>);

impl<F: FnOnce(&mut [f32])> InplaceOp1 for Write<F> {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("a tensor that is not contiguous cannot be written");
        };
        match (storage, self.0.borrow_mut().take()) {
            (CpuStorage::F32(values), Some(change)) => change(&mut values[start..end]),
            _ => bail!("a tensor that is not of f32 cannot be written"),
        }
        Ok(())
    }
}

/// Lanes of the sums below: floating-point sums become vector code only when their order is given.
const LANES: usize = 16;

/// Scalar product of two slices of one length.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Sum of a slice.
#[inline(always)]
pub(super) fn sum(a: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// `to += factor * from`.
#[inline(always)]
pub(super) fn add_scaled(to: &mut [f32], factor: f32, from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

/// e^x to 2 units in the last place, without branches, so that loops over it become vector code (Cody and Waite's
/// reduction, the polynomial of the Cephes library); what would underflow is about 1e-38.
#[inline(always)]
#[allow(clippy::excessive_precision)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding it leaves the nearest whole number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_375 + whole * 2.121_944_4e-4;
    let series = 1.987_569_15e-4;
    let series = series * rest + 1.398_199_95e-3;
    let series = series * rest + 8.333_451_9e-3;
    let series = series * rest + 4.166_579_6e-2;
    let series = series * rest + 1.666_666_5e-1;
    let series = series * rest + 0.5;
    let series = series * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    series * f32::from_bits(exponent.wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_that_of_the_library() {
        for step in -8_600..8_700 {
            let x = step as f32 * 0.01;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3e-7, "{x}: {error}");
        }
        assert!(exp(-1e9) < 1e-37 && exp(1e9).is_finite() && exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_are_those_in_order() {
        let a: Vec<f32> = (0..53).map(|i| i as f32 * 0.5).collect();
        let b: Vec<f32> = (0..53).map(|i| 26.0 - i as f32).collect();
        let expected: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a * b)).sum();
        assert!((f64::from(dot(&a, &b)) - expected).abs() < 1e-3);
        assert_eq!(sum(&a), 52.0 * 53.0 / 4.0);
    }

    #[test]
    fn what_is_written_is_read_and_other_tensors_are_refused() {
        let device = candle_core::Device::Cpu;
        let tensor = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &device).unwrap();
        write(&tensor, |values| values[1] = 5.0).unwrap();
        assert_eq!(&*values(&tensor).unwrap(), [1.0, 5.0, 3.0, 4.0]);
        assert!(values(&tensor.t().unwrap()).is_err());
        assert!(values(&Tensor::new(&[1u32], &device).unwrap()).is_err());
    }
}
