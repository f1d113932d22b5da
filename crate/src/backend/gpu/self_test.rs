//! Known answers before a device is trusted: a small random layer of a language model, with every kind of
//! kernel that one uses, must come out of the GPU as out of the CPU. It takes two runs.

use super::{GpuBackend, GpuDevice};
use crate::backend::cpu::CpuBackend;
use crate::backend::{Backend, Feed};
use crate::error::{Result, ensure};
use crate::graph::{Graph, Source, ValueId};
use crate::ops::argmax::ArgMax;
use crate::ops::attention::Attention;
use crate::ops::gather::Gather;
use crate::ops::matmul::MatMul;
use crate::ops::rms_norm::RmsNorm;
use crate::ops::rope_cache::{RopeCache, RopeLayout};
use crate::plan::Plan;
use crate::quant::sample;
use crate::tensor::{Chunk, Tensor};
use crate::types::{Bindings, BlockFormat, DType, Dim, Shape, TensorType};
use std::collections::HashMap;

const HIDDEN: usize = 64;
const CONTEXT: usize = 8;

/// By how much of the largest value a device may differ: the cache rounds to f16 on both sides of a step.
const TOLERANCE: f32 = 5e-3;

/// Fails unless the device computes what the CPU does.
pub async fn self_test(device: &GpuDevice) -> Result<()> {
    let graph = layer()?;
    let mut gpu: Box<dyn Backend> = Box::new(GpuBackend::new(&graph, device.clone())?);
    let mut cpu: Box<dyn Backend> = Box::new(CpuBackend::new(&graph, true)?);
    for (id, value) in graph.values().filter(|(_, value)| matches!(value.source, Source::Weight(_))) {
        let n = value.known_ty()?.known_shape()?.iter().product();
        let bytes = sample(value.known_ty()?.dtype, n, u64::from(id.0));
        gpu.write_weight(id, 0, 0, &Chunk::Memory(&bytes))?;
        cpu.write_weight(id, 0, 0, &Chunk::Memory(&bytes))?;
    }
    for (position, tokens) in [(0, &[5, 60, 33, 2, 17][..]), (5, &[41])] {
        let want = run(&mut *cpu, &graph, position, tokens).await?;
        let got = run(&mut *gpu, &graph, position, tokens).await?;
        compare(&want, &got)?;
    }
    Ok(())
}

fn compare(want: &[Tensor], got: &[Tensor]) -> Result<()> {
    let (logits, best) = (want[0].data::<f32>()?, want[1].data::<i32>()?);
    let largest = logits.iter().fold(0.0f32, |a, x| a.max(x.abs()));
    for (i, (want, got)) in logits.iter().zip(got[0].data::<f32>()?).enumerate() {
        // Not "difference > …": a NaN must fail.
        let near = (want - got).abs() <= TOLERANCE * largest;
        ensure!(near, NoWebgpu, "the GPU computes wrong results (value {i} is {got}, not {want})");
    }
    let found = got[1].data::<i32>()?;
    // The maximum may be another where two are near.
    let score = |id: Option<&i32>| id.and_then(|id| logits.get(*id as usize)).copied().unwrap_or(f32::MIN);
    let short = score(best.first()) - score(found.first());
    let near = short <= TOLERANCE * largest;
    ensure!(near, NoWebgpu, "the GPU finds a wrong maximum ({found:?}, not {best:?})");
    Ok(())
}

async fn run(backend: &mut dyn Backend, graph: &Graph, position: i32, tokens: &[i32]) -> Result<Vec<Tensor>> {
    let n = tokens.len();
    let outputs: Vec<(String, ValueId)> =
        graph.outputs().iter().map(|(name, id)| (name.to_string(), *id)).collect();
    let sizes = Bindings::from([("s".into(), n), ("n".into(), 1)]);
    let plan = Plan::of_sizes(graph, &outputs, &sizes, backend.plan_options())?;
    let fed =
        [Tensor::new(&[n], tokens)?, Tensor::new(&[1], &[position])?, Tensor::new(&[1], &[n as i32 - 1])?];
    let feeds: HashMap<ValueId, Feed> = graph
        .inputs()
        .iter()
        .copied()
        .zip(fed.into_iter().map(|tensor| Feed::Tensor(tensor.into())))
        .collect();
    backend.submit(graph, &plan, feeds)?.await
}

/// Embedding, one layer, and a head that shares the embedding.
fn layer() -> Result<Graph> {
    let mut graph = Graph::new();
    let g = &mut graph;
    let q4 = |rows: usize| TensorType::new(DType::Block(BlockFormat::Q4_1), [rows, HIDDEN]);
    let q8 = |rows: usize| TensorType::new(DType::Block(BlockFormat::Q8_0), [rows, HIDDEN]);
    let (n_heads, n_kv_heads, head_dim, epsilon) = (2, 1, HIDDEN / 2, 1e-5);
    let tokens = g.input("tokens", TensorType::new(DType::I32, Shape(vec![Dim::symbol("s")])));
    let position = g.input("position", TensorType::new(DType::I32, [1]));
    let rows = g.input("rows", TensorType::new(DType::I32, Shape(vec![Dim::symbol("n")])));
    let mut table = Tensor::zeros(DType::F32, &[CONTEXT, head_dim / 2, 2])?;
    for (i, angle) in table.data_mut::<f32>()?.chunks_exact_mut(2).enumerate() {
        let x = i as f32 * 0.37;
        angle.copy_from_slice(&[x.cos(), x.sin()]);
    }
    let table = g.constant("table", table);
    let cache = TensorType::new(DType::F16, [CONTEXT, n_kv_heads * head_dim]);
    let (k_cache, v_cache) = (g.state("k_cache", cache.clone()), g.state("v_cache", cache));
    let norm = g.weight("norm", TensorType::f32([HIDDEN]));
    let embedding = g.weight("embedding", q4(HIDDEN));
    let qkv = g.weight("qkv", q8((n_heads + 2 * n_kv_heads) * head_dim));
    let (out, gate_up, down) =
        (g.weight("out", q4(HIDDEN)), g.weight("gate_up", q8(2 * HIDDEN)), g.weight("down", q8(HIDDEN)));
    let x = g.apply1("x", Gather, &[embedding, tokens])?;
    let h = g.apply1("h", RmsNorm { epsilon }, &[x, norm])?;
    let qkv = g.apply("qkv", MatMul::default(), &[Some(h), Some(qkv), None, None])?[0];
    let rope = RopeCache { n_heads, n_kv_heads, head_dim, layout: RopeLayout::Halves, norm_epsilon: epsilon };
    let rotated = g.apply(
        "rope",
        rope,
        &[Some(qkv), None, None, None, None, Some(table), Some(position), Some(k_cache), Some(v_cache)],
    )?;
    let attention = Attention { n_heads, n_kv_heads, head_dim, scale: 0.2 };
    let y = g.apply1("attention", attention, &[rotated[0], rotated[1], rotated[2], position])?;
    let x = g.apply("out", MatMul::default(), &[Some(y), Some(out), None, Some(x)])?[0];
    let h = g.apply1("h2", RmsNorm { epsilon }, &[x, norm])?;
    let gated =
        g.apply("gate_up", MatMul { swiglu: true, activation: None }, &[Some(h), Some(gate_up), None, None])?
            [0];
    let x = g.apply("down", MatMul::default(), &[Some(gated), Some(down), None, Some(x)])?[0];
    let last = g.apply1("last", Gather, &[x, rows])?;
    let logits = g.apply("logits", MatMul::default(), &[Some(last), Some(embedding), None, None])?[0];
    let best = g.apply1("best", ArgMax, &[logits])?;
    g.output("logits", logits);
    g.output("best", best);
    Ok(graph)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_device_is_found_out() {
        let want = [Tensor::new(&[1, 3], &[1.0f32, 4.0, 2.0]).unwrap(), Tensor::new(&[1], &[1i32]).unwrap()];
        compare(&want, &want).unwrap();
        for logits in [[1.0f32, 4.1, 2.0], [1.0, f32::NAN, 2.0]] {
            let got = [Tensor::new(&[1, 3], &logits).unwrap(), want[1].clone()];
            assert!(compare(&want, &got).is_err(), "{logits:?}");
        }
        assert!(compare(&want, &[want[0].clone(), Tensor::new(&[1], &[2i32]).unwrap()]).is_err());
    }
}
