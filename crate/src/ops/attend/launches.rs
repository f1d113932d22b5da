//! Attention under masks on the GPU: what is new goes behind its past, one launch for keys and one for values, and then it is
//! attention without a cache.

use super::Attend;
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand, params};
use crate::kernels::full_attention::{Heads, Sizes};
use crate::ops::full_attention::heads_of_items;
use crate::ops::full_attention::launch::{Launch, MAX_DEPTH, words_of};
use crate::ops::{GpuCaps, Lowered, Types};
use crate::types::DType;

pub(super) fn lower(op: &Attend, caps: &GpuCaps, types: &Types) -> Result<Lowered> {
    let [q, k, v] = [types.input(0)?, types.input(1)?, types.input(2)?];
    let past = if types.has(4) { Some(types.input(4)?) } else { None };
    let Some(s) = op.sizes(&q, &k, &v, past.as_deref()) else {
        return Lowered::not_on_gpu("its inputs do not fit each other");
    };
    if op.outputs > 3 {
        return Lowered::not_on_gpu("no kernel gives its scores");
    }
    if types.has(6) {
        return Lowered::not_on_gpu("no kernel knows how long its sequences are");
    }
    let floats = [0, 1, 2, 4, 5, 8].iter().all(|i| types.dtype(*i).is_none_or(|dtype| dtype == DType::F32));
    let mask = matches!(types.dtype(3), None | Some(DType::F32 | DType::Bool));
    let starts = matches!(types.dtype(7), None | Some(DType::I32 | DType::I64));
    if !(floats && mask && starts) {
        return Lowered::not_on_gpu("no kernel takes inputs of these dtypes");
    }
    if s.head.max(s.value) > MAX_DEPTH {
        return Lowered::not_on_gpu("no kernel has heads of so many elements");
    }
    // Places that are known are looked at now: the kernel cannot fail.
    let given = types.ints(7)?.unwrap_or_default();
    let within = given.iter().all(|start| (0..=s.past as i64).contains(start));
    ensure!(within, InvalidInput, "sequences that go on at {given:?} of a past of {}", s.past);
    let starts = types.has(7).then_some(7);
    let (_, of_q) = heads_of_items(&q, s.heads)?;
    let (_, of_y) = heads_of_items(&types.output(0)?, s.heads)?;
    let mut launches = Vec::new();
    let mut parts = Vec::with_capacity(2);
    for (i, shape, depth) in [(1, &k, s.head), (2, &v, s.value)] {
        let (_, of_new) = heads_of_items(shape, s.kv_heads)?;
        if s.past == 0 && op.outputs == 1 {
            parts.push((Operand::Input(i), of_new));
            continue;
        }
        let row = (s.past + s.new) * depth;
        let n = s.batch * s.kv_heads * row;
        if (n * 4) as u64 > caps.max_binding_bytes {
            return Lowered::not_on_gpu("its keys or values are larger than the GPU's bindings");
        }
        let place = if i < op.outputs { Operand::Output(i) } else { Operand::Scratch(i, n * 4) };
        let params = Params {
            n: n as u32,
            heads: s.kv_heads as u32,
            depth: depth as u32,
            past_keys: s.past as u32,
            new_keys: s.new as u32,
            start_words: starts.map_or(0, |input| words_of(types, input)),
            batch: of_new.batch as u32,
            head: of_new.head as u32,
            row: of_new.row as u32,
        };
        let mut bindings = vec![(0, Operand::Input(i)), (3, place)];
        bindings.extend(types.has(i + 3).then_some((1, Operand::Input(i + 3))));
        bindings.extend(starts.map(|input| (2, Operand::Input(input))));
        launches.push(Dispatch::of_each("attend_present", &[], bindings, params.bytes(), n)?);
        parts.push((place, Heads { batch: s.kv_heads * row, head: row, row: depth }));
    }
    let launch = Launch {
        sizes: Sizes {
            batch: s.batch,
            heads: s.heads,
            kv_heads: s.kv_heads,
            queries: s.queries,
            keys: s.past + s.new,
            depth: s.head,
            value_depth: s.value,
        },
        scale: op.scale.unwrap_or(1.0 / (s.head as f32).sqrt()),
        softcap: op.softcap,
        window: (op.window.0, if op.causal { Some(0) } else { op.window.1 }),
        new_keys: s.new,
        starts,
        sinks: types.has(8).then_some(8),
        q: of_q,
        k: parts[0],
        v: parts[1],
        y: of_y,
    };
    launches.push(launch.dispatch(types)?);
    Ok(Lowered::Dispatches(launches))
}

params!("attend_present": n: u32, heads: u32, depth: u32, past_keys: u32, new_keys: u32, start_words: u32, batch: u32,
    head: u32, row: u32);
