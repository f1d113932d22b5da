//! A node whose inputs are all known is computed once, now; so is one of whose few integers all follow from the dimensions
//! that are known already.

use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, Source, ValueId};
use crate::ops::choose::Choose;
use crate::ops::hint::Int;
use crate::ops::{Known, Op};
use crate::tensor::Tensor;
use crate::types::DType;

/// Bytes that a result may have that is larger than what it is made of: it is better computed from that.
const MAX_BYTES: usize = 1 << 20;

/// Replaces every node that it can, also those that become computable by it.
pub fn run(graph: &mut Graph) -> Result<usize> {
    replace(graph, false)
}

/// The same, but for the numbers of weights of 8 bits, whose levels a [product](super::integers) may want.
pub fn run_but_weights(graph: &mut Graph) -> Result<usize> {
    replace(graph, true)
}

fn replace(graph: &mut Graph, but_weights: bool) -> Result<usize> {
    let wanted: Vec<_> = graph.outputs().iter().map(|(_, id)| *id).collect();
    let mut made = 0;
    for id in graph.topological_order(&wanted)? {
        if graph.is_dead(id) || but_weights && super::integers::is_weight(graph, graph.node(id)) {
            continue;
        }
        if let Some((output, taken)) = choice(graph, id) {
            graph.replace(output, taken)?;
            made += 1;
            continue;
        }
        let mut results = fold(graph, id);
        if results.is_none() {
            graph.renew_hints(id);
            results = ints(graph, id)?;
        }
        let Some(results) = results else { continue };
        let node = graph.node(id).clone();
        for (output, result) in node.outputs.into_iter().zip(results) {
            let constant = graph.constant(&node.name, result);
            graph.replace(output, constant)?;
        }
        made += 1;
    }
    Ok(made)
}

/// The output of a choice whose condition is known, and what is taken for it.
fn choice(graph: &Graph, id: NodeId) -> Option<(ValueId, ValueId)> {
    let Node { op: Op::Choose(_), inputs, outputs, .. } = graph.node(id) else { return None };
    let Source::Const(condition) = &graph.value(inputs.first().copied()??).source else { return None };
    let taken = inputs.get(Choose::taken(condition.view()).ok()?).copied()??;
    Some((*outputs.first()?, taken))
}

/// The outputs of a node, where its inputs are constants. One that cannot be computed is left for the plan that needs it
/// to say so: it may be on a way that is never taken.
fn fold(graph: &Graph, id: NodeId) -> Option<Vec<Tensor>> {
    let Node { op, inputs, .. } = graph.node(id);
    let def = op.def();
    if inputs.is_empty() || !def.updates_state().is_empty() || def.varies() || def.body().is_some() {
        return None;
    }
    let mut known = Vec::new();
    for input in inputs {
        known.push(match input.map(|id| &graph.value(id).source) {
            None => None,
            Some(Source::Const(tensor)) => Some(&**tensor),
            Some(_) => return None,
        });
    }
    if def.needs_all_values() {
        return op.eval_now(&known).ok();
    }
    let types: Vec<_> = known.iter().map(|tensor| tensor.map(Tensor::ty)).collect();
    let types: Vec<_> = types.iter().map(Option::as_ref).collect();
    let outputs = def.infer(&Known::with_values(&types, &known)).ok()?;
    let bytes = outputs.iter().try_fold(0usize, |sum, ty| sum.checked_add(ty.n_bytes().ok()?))?;
    let had: usize = known.iter().flatten().map(|tensor| tensor.bytes().len()).sum();
    (bytes <= had.max(MAX_BYTES)).then(|| op.eval_now(&known).ok()).flatten()
}

/// The output of a node, where its integers are known without its inputs.
fn ints(graph: &Graph, id: NodeId) -> Result<Option<Vec<Tensor>>> {
    let [output] = graph.node(id).outputs[..] else { return Ok(None) };
    let value = graph.value(output);
    let (Some(ty), Some(ints)) = (&value.ty, &value.ints) else { return Ok(None) };
    let Some(ints) = ints.iter().map(Int::known).collect::<Option<Vec<i64>>>() else { return Ok(None) };
    let shape = if ty.shape.rank() == 0 { vec![] } else { vec![ints.len()] };
    let tensor = match ty.dtype {
        DType::I64 => Tensor::new(&shape, &ints)?,
        DType::Bool => {
            let mut tensor = Tensor::zeros(DType::Bool, &shape)?;
            let holds = ints.iter().map(|int| u8::from(*int != 0));
            tensor.view_mut().bytes.iter_mut().zip(holds).for_each(|(byte, holds)| *byte = holds);
            tensor
        }
        DType::I32 => {
            let Ok(ints) = ints.into_iter().map(i32::try_from).collect::<std::result::Result<Vec<_>, _>>()
            else {
                return Ok(None);
            };
            Tensor::new(&shape, &ints)?
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![tensor]))
}
