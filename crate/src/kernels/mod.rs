//! What the CPU computes with: SIMD, packed matrices, attention, threads. Nothing here knows an operator.

pub mod attention;
pub mod dispatch;
pub mod gemm;
pub mod math;
pub mod simd;
pub mod threads;
