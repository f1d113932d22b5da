//! What operators compute with: SIMD, packed matrices, attention and threads on the CPU; shaders, the layout
//! of weights and launches for the GPU. Nothing here knows an operator.

pub mod attention;
pub mod clock;
pub mod conv;
pub mod conv_launch;
pub mod conv_wide;
pub mod dispatch;
pub mod fourier;
pub mod full_attention;
pub mod gemm;
pub mod halves;
pub mod indexed;
pub mod integer_conv_launch;
pub mod integer_launch;
pub mod levels;
pub mod levels_launch;
pub mod math;
pub mod planes;
pub mod pool;
pub mod product;
pub mod product_launch;
pub mod resize;
pub mod rope_table;
mod scratch;
pub mod shaders;
pub mod simd;
pub mod strided;
pub mod threads;
pub mod trial;
pub mod walk;
pub mod window;
