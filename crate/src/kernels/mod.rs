//! What the CPU computes with: SIMD, packed matrices, attention, threads. Nothing here knows an operator.

pub mod attention;
pub mod dispatch;
pub mod gemm;
pub mod math;
pub mod rope_table;
#[cfg(feature = "gpu")]
pub mod shaders;
pub mod simd;
pub mod threads;
