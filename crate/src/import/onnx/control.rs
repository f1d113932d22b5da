//! Operators that have graphs of their own, and sequences and optional values.

use super::{Use, unsupported};
use crate::error::{Result, ensure, fail};
use crate::formats::onnx::{DimInfo, Graph as Subgraph, ValueInfo, ValueType};
use crate::graph::ValueId;
use crate::ops::choose::Choose;
use crate::ops::iterate::{Along, Iterate};
use crate::ops::list::List;
use crate::tensor::Tensor;
use crate::types::DType;

/// A graph that is an attribute.
fn subgraph<'n, 'a>(of: &Use<'n, 'a>, name: &str) -> Result<&'n Subgraph<'a>> {
    match of.node.graph(name)? {
        Some(graph) => Ok(graph),
        None => fail!(InvalidGraph, "the attribute '{name}' is missing"),
    }
}

/// Both branches become part of the graph; a plan visits one.
pub(super) fn choose(of: &mut Use) -> Result<Vec<ValueId>> {
    let condition = of.input(0)?;
    let then = of.import.branch(subgraph(of, "then_branch")?)?;
    let or = of.import.branch(subgraph(of, "else_branch")?)?;
    let names = &of.node.outputs;
    let n = names.len();
    ensure!(then.len() >= n && or.len() >= n, InvalidGraph, "a branch gives less than the node");
    let both = names.iter().zip(then.into_iter().zip(or));
    Ok(both
        .map(|(name, (then, or))| {
            let inputs = [Some(condition), Some(then), Some(or)];
            of.import.graph.defer(of.name, Choose, &inputs, &[name])[0]
        })
        .collect())
}

/// The type that a graph declares for an output, as far as it does.
fn declared(info: &ValueInfo) -> (DType, Vec<usize>) {
    let Some(ValueType::Tensor { elem, shape }) = &info.ty else { return (DType::F32, Vec::new()) };
    let size = |dim: &DimInfo| if let DimInfo::Known(n) = dim { *n } else { 0 };
    let dtype = elem.and_then(|elem| elem.dtype()).unwrap_or(DType::F32);
    (dtype, shape.as_ref().map_or(Vec::new(), |shape| shape.iter().map(size).collect()))
}

pub(super) fn repeat(of: &mut Use) -> Result<Vec<ValueId>> {
    let graph = subgraph(of, "body")?;
    let carried = of.inputs.len().saturating_sub(2);
    ensure!(
        graph.inputs.len() == carried + 2 && graph.outputs.len() > carried,
        InvalidGraph,
        "a loop carries {carried} values, and its body has {} inputs and {} outputs",
        graph.inputs.len(),
        graph.outputs.len()
    );
    let stacked = graph.outputs[carried + 1..].iter().map(declared).collect();
    let (body, captured) = of.import.body(graph)?;
    let mut inputs = of.inputs.clone();
    inputs.resize(2 + carried, None);
    inputs.extend(captured.into_iter().map(Some));
    of.outputs(Iterate::Loop { body, carried, stacked }, &inputs)
}

pub(super) fn scan(of: &mut Use) -> Result<Vec<ValueId>> {
    let graph = subgraph(of, "body")?;
    let batched = of.import.opset < 9;
    let sliced = of.node.int("num_scan_inputs")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let mut inputs = of.inputs.clone();
    if !batched {
        inputs.insert(0, None);
    }
    let carried = inputs.len().checked_sub(1).and_then(|n| n.checked_sub(sliced));
    let Some(carried) = carried.filter(|n| *n <= graph.outputs.len()) else {
        return fail!(
            InvalidGraph,
            "a scan slices {sliced} inputs, and has fewer, or its body gives less than it takes"
        );
    };
    let stacked = graph.outputs.len() - carried;
    let directions = if batched { "directions" } else { "scan_input_directions" };
    let sliced = along(of, sliced, "scan_input_axes", directions)?;
    let stacked = along(of, stacked, "scan_output_axes", "scan_output_directions")?;
    let (body, captured) = of.import.body(graph)?;
    inputs.extend(captured.into_iter().map(Some));
    of.outputs(Iterate::Scan { body, carried, sliced, stacked, batched }, &inputs)
}

fn along(of: &Use, n: usize, axes: &str, directions: &str) -> Result<Vec<Along>> {
    let (axes, directions) = (of.node.ints(axes)?.unwrap_or(&[]), of.node.ints(directions)?.unwrap_or(&[]));
    let one = |i: usize| Along {
        axis: axes.get(i).copied().unwrap_or(0),
        backwards: directions.get(i).is_some_and(|direction| *direction == 1),
    };
    Ok((0..n).map(one).collect())
}

/// A loop over the first sequence, whose body takes one value of each, and adds what it gives to sequences.
pub(super) fn map(of: &mut Use) -> Result<Vec<ValueId>> {
    let graph = subgraph(of, "body")?;
    let n = graph.outputs.len();
    ensure!(graph.inputs.len() == of.inputs.len(), InvalidGraph, "the body takes other values than the node");
    let first = of.input(0)?;
    let length = of.step("length", List::Length, &[Some(first)]);
    let taken = of.inputs.clone();
    let taken: Vec<ValueId> = taken.into_iter().flatten().collect();
    ensure!(taken.len() == graph.inputs.len(), InvalidGraph, "an input is missing");
    let (body, captured) = of.import.map_body(graph, of.name, &taken)?;
    let empty = of.constant("empty", Tensor::list(Vec::new()));
    let mut inputs = vec![Some(length), None];
    inputs.extend(std::iter::repeat_n(Some(empty), n));
    inputs.extend(captured.into_iter().map(Some));
    of.outputs(Iterate::Loop { body, carried: n, stacked: Vec::new() }, &inputs)
}

pub(super) fn list(of: &mut Use) -> Result<Vec<ValueId>> {
    let axis = of.node.int("axis")?.unwrap_or(0);
    let op = match of.node.op_type {
        "ConcatFromSequence" => List::Join { axis, new: of.flag("new_axis")? },
        "OptionalGetElement" => List::Get,
        "OptionalHasElement" => List::IsThere,
        "SequenceAt" => List::At,
        "SequenceConstruct" => List::Of,
        "SequenceErase" => List::Erase,
        "SequenceInsert" => List::Insert,
        "SequenceLength" => List::Length,
        "SplitToSequence" => List::Split { axis, keep: of.node.int("keepdims")?.unwrap_or(1) != 0 },
        other => return unsupported(format!("{other} is no operator on sequences")),
    };
    of.as_is(op)
}

pub(super) fn empty(of: &mut Use) -> Result<Vec<ValueId>> {
    Ok(vec![of.constant("empty", Tensor::list(Vec::new()))])
}

pub(super) fn optional(of: &mut Use) -> Result<Vec<ValueId>> {
    Ok(vec![match of.optional(0) {
        Some(value) => value,
        None => of.constant("absent", Tensor::clone(&Tensor::absent())),
    }])
}
