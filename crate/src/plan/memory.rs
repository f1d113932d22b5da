//! Which slot each value lives in. Greedy in the order of the steps: a new value takes the free slot whose
//! size fits best, growing it if none is large enough; slots are freed after the last use.

use super::PlanOptions;
use super::lifetimes::Views;
use crate::graph::{Graph, NodeId, ValueId};
use crate::types::TensorType;
use std::collections::HashMap;

/// The outcome: slot sizes, the slot of each value, and the input that each in-place node overwrites.
pub struct Memory {
    pub slots: Vec<usize>,
    pub slot_of: HashMap<ValueId, usize>,
    pub in_place: HashMap<NodeId, usize>,
}

/// Assigns slots to all values that nodes of `order` compute, those left out that live `elsewhere`.
pub fn assign(
    graph: &Graph,
    order: &[NodeId],
    types: &HashMap<ValueId, TensorType>,
    last_use: &HashMap<ValueId, usize>,
    elsewhere: &dyn Fn(ValueId) -> bool,
    views: &Views,
    options: PlanOptions,
) -> Memory {
    let mut memory = Memory { slots: Vec::new(), slot_of: HashMap::new(), in_place: HashMap::new() };
    let mut free: Vec<usize> = Vec::new();
    for (position, &id) in order.iter().enumerate() {
        let node = graph.node(id);
        let dies_here = |value: ValueId| last_use.get(&views.root(value)) == Some(&position);
        let mut taken = None;
        if options.in_place && !views.is_view(node) {
            taken = node.op.def().in_place().iter().copied().find(|&(input, output)| {
                let (Some(Some(from)), Some(to)) = (node.inputs.get(input), node.outputs.get(output)) else {
                    return false;
                };
                let root = views.root(*from);
                let uses = node.inputs.iter().flatten().filter(|v| views.root(**v) == root).count();
                memory.slot_of.contains_key(&root)
                    && uses == 1
                    && dies_here(*from)
                    && types[from] == types[to]
            });
        }
        for (i, &output) in node.outputs.iter().enumerate() {
            if elsewhere(output) || views.root(output) != output {
                continue;
            }
            if let Some((input, _)) = taken.filter(|&(_, out)| out == i)
                && let Some(Some(from)) = node.inputs.get(input)
            {
                memory.in_place.insert(id, input);
                let slot = memory.slot_of[&views.root(*from)];
                memory.slot_of.insert(output, slot);
                continue;
            }
            let bytes = bytes_of(&types[&output]);
            let slot = take(&mut memory.slots, &mut free, bytes);
            memory.slot_of.insert(output, slot);
        }
        let mut dead: Vec<ValueId> =
            node.inputs.iter().flatten().chain(&node.outputs).map(|v| views.root(*v)).collect();
        dead.sort();
        dead.dedup();
        for value in dead.into_iter().filter(|&v| dies_here(v)) {
            let passed_on =
                taken.is_some_and(|(input, _)| node.inputs[input].map(|v| views.root(v)) == Some(value));
            if let Some(&slot) = memory.slot_of.get(&value)
                && !passed_on
            {
                free.push(slot);
            }
        }
    }
    memory
}

/// Bytes of a value, rounded up to whole 256-byte units, the alignment that GPUs want.
fn bytes_of(ty: &TensorType) -> usize {
    let len = ty.shape.to_known().map_or(0, |dims| dims.iter().product());
    ty.dtype.bytes_for(len).unwrap_or(0).max(1).next_multiple_of(256)
}

fn take(slots: &mut Vec<usize>, free: &mut Vec<usize>, bytes: usize) -> usize {
    let fitting =
        free.iter().enumerate().filter(|(_, s)| slots[**s] >= bytes).min_by_key(|(_, s)| slots[**s]);
    let largest = free.iter().enumerate().max_by_key(|(_, s)| slots[**s]);
    match fitting.or(largest).map(|(i, _)| i) {
        Some(i) => {
            let slot = free.swap_remove(i);
            slots[slot] = slots[slot].max(bytes);
            slot
        }
        None => {
            slots.push(bytes);
            slots.len() - 1
        }
    }
}
