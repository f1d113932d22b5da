//! The kernels of transformers: products with weights, attention, norms, softmax, functions of elements.

use crate::cases::{Case, SET, floats, weight_bytes};
use homefire::error::Result;
use homefire::kernels::attention::{AttentionShape, Cache, attention, levels};
use homefire::kernels::full_attention::{Heads, Scoring, Sizes, attend};
use homefire::kernels::gemm::tile::Epilogue;
use homefire::kernels::gemm::{PackedMatrix, Packer, QUANTIZED_TILE, Tiles};
use homefire::kernels::product::{Matrix, Multiplier};
use homefire::kernels::threads::Threads;
use homefire::ops::layer_norm::LayerNorm;
use homefire::ops::rms_norm::RmsNorm;
use homefire::ops::softmax::{Softmax, SoftmaxFunction};
use homefire::ops::unary::{Unary, UnaryFunction};
use homefire::ops::{CpuContext, Input, OpDef};
use homefire::quant::codec;
use homefire::tensor::{Tensor, TensorView};
use homefire::types::{BlockFormat::*, DType};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let formats = [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K].map(DType::Block);
    let mut cases = vec![
        with_weights("f32 GEMM", DType::F32, 16, [384, 1536], 1),
        with_weights("f32 GEMM", DType::F32, 128, [384, 1536], 1),
        with_weights("f32 GEMM", DType::F32, 128, [1536, 384], 1),
        with_weights("f32 GEMM", DType::F32, 512, [512, 512], 1),
        of_two(256, 256, 256),
        streamed("f32 GEMV", DType::F32, 1, [1536, 1536]),
    ];
    cases.extend(formats.map(|format| streamed("mat-vec", format, 1, [768, 2048])));
    cases.push(streamed("mat-mat from memory", formats[1], 4, [768, 2048]));
    cases.extend(
        [formats[1], formats[4]].map(|format| with_weights("mat-vec in cache", format, 1, [768, 1024], 1)),
    );
    cases.extend(formats.map(|format| with_weights("mat-mat", format, 128, [768, 2048], 1)));
    cases.extend([quantized_rows(128, 768), packing(DType::Block(Q4_1), [768, 2048])]);
    cases.extend([causal(512, 0), causal(1, 1023), full(12, 128, 32), full(8, 512, 64)]);
    let one = |x: f32, n: usize| Tensor::new(&[n], &vec![x; n]);
    let rms = RmsNorm { epsilon: 1e-5 };
    let layer = LayerNorm { axis: -1, centre: true, epsilon: 1e-5, outputs: 1 };
    let softmax = Softmax { function: SoftmaxFunction::Softmax, axis: -1, flatten: false };
    cases.extend([
        of_rows("norm", "RMS", rms, [128, 576], 4, move |n| Ok(vec![one(0.5, n)?])),
        of_rows("norm", "layer", layer, [128, 384], 8, move |n| Ok(vec![one(0.5, n)?, one(0.1, n)?])),
        of_rows("softmax", "", softmax, [128, 512], 24, |_| Ok(vec![])),
    ]);
    let functions = [
        ("exp", UnaryFunction::Exp, 21),
        ("SiLU", UnaryFunction::Silu, 24),
        ("tanh", UnaryFunction::Tanh, 23),
        ("erf", UnaryFunction::Erf, 48),
        ("GELU", UnaryFunction::Gelu { tanh: false }, 52),
    ];
    cases.extend(functions.map(|(name, function, each)| {
        of_rows("function", name, Unary { function }, [64, 1024], each, |_| Ok(vec![]))
    }));
    cases
}

fn packed(dtype: DType, [k, n]: [usize; 2], bytes: &[u8]) -> Result<PackedMatrix> {
    let mut matrix = PackedMatrix::new(dtype, n, k)?;
    Packer::new(dtype, k).push(&mut matrix, bytes)?;
    Ok(matrix)
}

/// `m` rows of activations by each of `count` weights.
fn with_weights(kind: &'static str, dtype: DType, m: usize, [k, n]: [usize; 2], count: usize) -> Case {
    let name = match (dtype, m) {
        (DType::F32, _) => format!("{m} × {k} × {n}"),
        (_, 1) => format!("{dtype}, {k} × {n}"),
        _ => format!("{dtype}, {m} × {k} × {n}"),
    };
    let case = Case::new(kind, name, move || {
        let bytes = weight_bytes(dtype.bytes_for(n * k).unwrap_or(0));
        let packed = (0..count).map(|_| packed(dtype, [k, n], &bytes));
        let weights = packed.collect::<Result<Vec<_>>>()?;
        let (a, mut y) = (floats(m * k), vec![0.0; m * n]);
        Ok(Box::new(move |threads| {
            for weight in &weights {
                weight.matmul(threads, &a, m, &mut y, &Epilogue::default(), false);
            }
        }))
    });
    let ops = 2 * count * m * k * n;
    if dtype == DType::F32 { case.floats(ops) } else { case.integers(ops) }
}

/// A weight on its way from the bytes of a file to panels.
fn packing(dtype: DType, [k, n]: [usize; 2]) -> Case {
    let bytes = dtype.bytes_for(n * k).unwrap_or(0);
    Case::new("pack", format!("{dtype}, {k} × {n}"), move || {
        let bytes = weight_bytes(bytes);
        Ok(Box::new(move |_| {
            let packed = packed(dtype, [k, n], &bytes);
            std::hint::black_box(packed.unwrap_or_else(|error| panic!("{error}")));
        }))
    })
    .cache(bytes)
}

/// Few rows of activations by so many weights that they come from memory.
fn streamed(kind: &'static str, dtype: DType, m: usize, [k, n]: [usize; 2]) -> Case {
    // As many bytes for every eight rows.
    let bytes = PackedMatrix::new(dtype, 8, k).map_or(1, |panel| panel.memory_bytes()) * n / 8;
    let count = SET / bytes;
    with_weights(kind, dtype, m, [k, n], count).memory(bytes * count)
}

/// A product of two matrices that are not weights.
fn of_two(m: usize, k: usize, n: usize) -> Case {
    Case::new("f32 GEMM", format!("{m} × {k} × {n}, both sides packed on the way"), move || {
        let (a, b, mut y) = (floats(m * k), floats(k * n), vec![0.0; m * n]);
        Ok(Box::new(move |threads| {
            let (a, b) = (Matrix { values: &a, steps: (k, 1) }, Matrix { values: &b, steps: (n, 1) });
            match Multiplier::new((m, k, n), 1.0) {
                Ok(mut multiplier) => multiplier.multiply(threads, a, b, &mut y),
                Err(error) => panic!("{error}"),
            }
        }))
    })
    .floats(2 * m * k * n)
}

/// Activations on their way to 8 bits.
fn quantized_rows(m: usize, k: usize) -> Case {
    Case::new("quantise", format!("activations {m} × {k} to 8 bits"), move || {
        let x = floats(m * k);
        let affine = codec(Q4_1).affine_layout;
        Ok(Box::new(move |threads| {
            drop(std::hint::black_box(Tiles::new::<QUANTIZED_TILE, false>(threads, affine, &x, k)));
        }))
    })
    .floats(6 * m * k)
    .cache(5 * m * k)
}

/// Attention of `rows` queries from `position` on, in the shape of SmolLM2-135M. One query sees cache after cache.
fn causal(rows: usize, position: usize) -> Case {
    let shape = AttentionShape { n_heads: 9, n_kv_heads: 3, head_dim: 64, scale: 0.125 };
    let (row, keys) = (9 * 64, position + rows);
    let elements = 3 * keys * levels::row(64);
    let count = if rows == 1 { SET / (4 * elements) } else { 1 };
    let pairs: usize = (position + 1..=keys).sum();
    let name = if rows == 1 { format!("1 query, {keys} keys") } else { format!("{rows} queries, causal") };
    let case = Case::new("attention", format!("{name}, 9 heads of 64, cache of levels"), move || {
        let mut cache = vec![0; elements];
        for (head, row) in floats(3 * keys * 64).chunks_exact(64).zip(cache.chunks_exact_mut(levels::row(64)))
        {
            levels::write(head, row);
        }
        let caches: Vec<[Vec<i16>; 2]> = (0..count).map(|_| [cache.clone(), cache.clone()]).collect();
        let (q, mut y) = (floats(rows * row), vec![0.0; rows * row]);
        Ok(Box::new(move |threads| {
            for [k, v] in &caches {
                attention(threads, &shape, &q, Cache::Levels([k, v]), position, &mut y);
            }
        }))
    })
    .floats(4 * row * pairs * count);
    if rows == 1 { case.memory(count * 4 * elements) } else { case }
}

/// Attention of all queries to all keys, as encoders have it.
fn full(heads: usize, n: usize, depth: usize) -> Case {
    Case::new("attention", format!("{n} queries, {n} keys, {heads} heads of {depth}"), move || {
        let sizes =
            Sizes { batch: 1, heads, kv_heads: heads, queries: n, keys: n, depth, value_depth: depth };
        let rows = Heads { batch: 0, head: depth, row: heads * depth };
        let scoring = Scoring { scale: 0.2, causal: false, mask: None };
        let (x, mut y) = (floats(n * heads * depth), vec![0.0; n * heads * depth]);
        Ok(Box::new(move |threads| {
            let done = attend(threads, sizes, &scoring, (&x, rows), [(&x, rows), (&x, rows)], (&mut y, rows));
            done.unwrap_or_else(|error| panic!("{error}"));
        }))
    })
    .floats(4 * heads * n * n * depth)
}

/// An operator on a tensor of rows, `ops` operations an element.
fn of_rows(
    kind: &'static str,
    name: &str,
    op: impl OpDef + Clone + 'static,
    shape: [usize; 2],
    ops: usize,
    weights: impl Fn(usize) -> Result<Vec<Tensor>> + 'static,
) -> Case {
    let n = shape[0] * shape[1];
    let name = format!("{name} {} × {}", shape[0], shape[1]);
    Case::new(kind, name.trim_start(), move || {
        let (op, x, mut y) =
            (op.clone(), Tensor::new(&shape, &floats(n))?, Tensor::zeros(DType::F32, &shape)?);
        let weights = weights(shape[1])?;
        Ok(Box::new(move |threads: Threads| {
            let views: Vec<TensorView> = [&x].into_iter().chain(&weights).map(Tensor::view).collect();
            let inputs: Vec<Input> = views.into_iter().map(Input::Tensor).collect();
            let done = op.eval_cpu(&CpuContext { threads, exact: false }, &inputs, &mut [y.view_mut()]);
            done.unwrap_or_else(|error| panic!("{error}"));
        }))
    })
    .floats(ops * n)
    .cache(8 * n)
}
