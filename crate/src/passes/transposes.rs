//! Transposes sink: through functions, sums, reductions and whatever computes the same in another order of dimensions, past
//! constants that are transposed once and for all, until they meet others and are nothing together.
//!
//! What lies between transposes of one order and the first nodes that they cannot pass is a region. Where the transposes
//! around it move less once they are below it than above, all of it is computed in the order that lies before them.
//! So elements that move become fewer each time, whatever the sizes are, or what follows a convolution comes to it.

use super::matching::{dims, rank};
use super::permuted::{
    before, beside, compose, is_by_element, is_view, joins, order_after, order_of, put_beside,
};
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::Op;
use crate::ops::transpose::Transpose;
use std::collections::{HashMap, HashSet};

/// How often regions are looked for: those beside one that was rewritten wait for the next time.
const ROUNDS: usize = 4;

/// Sizes that stand for one that is open: what is saved is saved at both.
const SIZES: [usize; 2] = [1, 64];

/// Sinks every transpose that it is good to.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let mut made = 0;
    for _ in 0..ROUNDS {
        let found =
            if graph.nodes().any(|(_, node)| matches!(node.op, Op::Transpose(_))) { sink(graph)? } else { 0 };
        if found == 0 {
            break;
        }
        made += found;
        graph.drop_dead_nodes()?;
    }
    Ok(made)
}

/// A value of a region.
struct Label {
    /// The order it has: what a transpose does to the value as it lies before.
    order: Vec<usize>,
    /// What a transpose at the region's edge is of.
    entry: Option<ValueId>,
    region: usize,
}

/// Values and nodes of all regions.
#[derive(Default)]
struct Regions {
    labels: HashMap<ValueId, Label>,
    /// The region that each is part of now.
    joined: Vec<usize>,
    nodes: Vec<(NodeId, usize)>,
    members: HashSet<NodeId>,
}

impl Regions {
    fn root(&self, mut region: usize) -> usize {
        while self.joined[region] != region {
            region = self.joined[region];
        }
        region
    }

    fn find(graph: &Graph) -> Self {
        let mut regions = Self::default();
        for (id, node) in graph.nodes() {
            if let Some((value, label)) = regions.entry(graph, node) {
                regions.joined.push(label.region);
                regions.labels.insert(value, label);
            } else {
                regions.pass(graph, id, node);
            }
        }
        regions
    }

    fn entry(&self, graph: &Graph, node: &Node) -> Option<(ValueId, Label)> {
        let Op::Transpose(transpose) = &node.op else { return None };
        let x = node.input(0)?;
        let order = order_of(transpose, rank(graph, x)?)?;
        Some((*node.outputs.first()?, Label { order, entry: Some(x), region: self.joined.len() }))
    }

    /// Takes in a node whose inputs are in a region, or cost nothing beside it.
    fn pass(&mut self, graph: &Graph, id: NodeId, node: &Node) {
        let labels = &self.labels;
        let found = || {
            let label_of = |value: &Option<ValueId>| labels.get(value.as_ref()?);
            let first = if joins(&node.op) {
                node.inputs.iter().find_map(label_of)?
            } else {
                label_of(node.inputs.first()?)?
            };
            let order = &first.order;
            let after = order_after(graph, node, order)?;
            let mut parts = vec![first.region];
            if joins(&node.op) {
                for value in node.inputs.iter().flatten() {
                    match labels.get(value) {
                        Some(label) if label.order == *order => parts.push(label.region),
                        Some(_) => return None,
                        None => {
                            let whole = is_by_element(&node.op) || rank(graph, *value) == Some(order.len());
                            beside(graph, *value, order).filter(|_| whole)?;
                        }
                    }
                }
            }
            let known = |value: &ValueId| rank(graph, *value) == Some(after.len());
            node.outputs.iter().all(known).then_some((after, parts))
        };
        let Some((order, parts)) = found() else { return };
        let roots: Vec<usize> = parts.into_iter().map(|part| self.root(part)).collect();
        let Some(&region) = roots.iter().min() else { return };
        roots.into_iter().for_each(|root| self.joined[root] = region);
        self.nodes.push((id, region));
        self.members.insert(id);
        for output in &node.outputs {
            self.labels.insert(*output, Label { order: order.clone(), entry: None, region });
        }
    }
}

/// Bytes of a value, at both sizes.
fn bytes(graph: &Graph, value: ValueId) -> [f64; 2] {
    let Some(ty) = &graph.value(value).ty else { return [0.0; 2] };
    let of = |open: usize| ty.shape.0.iter().map(|dim| dim.known().unwrap_or(open) as f64).product::<f64>();
    SIZES.map(|open| of(open) * ty.dtype.block_bytes() as f64)
}

/// What a transpose to a value's dimensions moves.
fn moved(graph: &Graph, value: ValueId, order: &[usize]) -> [f64; 2] {
    let ty = graph.value(value).ty.as_ref();
    if ty.is_some_and(|ty| is_view(&ty.shape.0, order)) { [0.0; 2] } else { bytes(graph, value) }
}

/// The order of the transpose that a node is.
fn own_order(graph: &Graph, node: NodeId) -> Option<(ValueId, Vec<usize>)> {
    let Node { op: Op::Transpose(transpose), outputs, .. } = graph.node(node) else { return None };
    let output = *outputs.first()?;
    Some((output, order_of(transpose, rank(graph, output)?)?))
}

/// What is saved when a value of a region is one that lies before its transpose.
fn saved(graph: &Graph, regions: &Regions, value: ValueId, label: &Label) -> [f64; 2] {
    let users = graph.consumers(value);
    let mut sum = [0.0; 2];
    let mut add =
        |bytes: [f64; 2], sign: f64| sum.iter_mut().zip(bytes).for_each(|(sum, n)| *sum += sign * n);
    let is_transpose = |id: &NodeId| matches!(graph.node(*id).op, Op::Transpose(_));
    let inside = |id: &NodeId| regions.members.contains(id);
    let outside = graph.is_output(value) || users.iter().any(|id| !inside(id) && !is_transpose(id));
    if label.entry.is_some() {
        // Transposes of it pass it by.
        if !outside && users.iter().any(inside) {
            add(moved(graph, value, &label.order), 1.0);
        }
        return sum;
    }
    if outside {
        add(moved(graph, value, &label.order), -1.0);
    }
    for (output, order) in users.iter().filter_map(|id| own_order(graph, *id)) {
        add(moved(graph, output, &order), 1.0);
        add(moved(graph, output, &compose(&order, &label.order)), -1.0);
    }
    sum
}

/// Whether what follows a convolution or a product comes to it.
fn follows_product(graph: &Graph, regions: &Regions, value: ValueId, label: &Label) -> bool {
    let made = label.entry.filter(|x| graph.used_once(*x)).and_then(|x| graph.producer(x));
    let is_fused = |id: &NodeId| {
        regions.members.contains(id)
            && matches!(&graph.node(*id).op, Op::Binary(_) | Op::Unary(_))
            && dims(graph, value).is_some()
    };
    made.is_some_and(|(_, node)| matches!(node.op, Op::Conv(_)))
        && graph.consumers(value).iter().any(is_fused)
}

fn sink(graph: &mut Graph) -> Result<usize> {
    let regions = Regions::find(graph);
    let mut gains = vec![([0.0f64; 2], false); regions.joined.len()];
    for (value, label) in &regions.labels {
        let (sum, follows) = &mut gains[regions.root(label.region)];
        sum.iter_mut().zip(saved(graph, &regions, *value, label)).for_each(|(sum, n)| *sum += n);
        *follows |= follows_product(graph, &regions, *value, label);
    }
    let mut nodes: HashMap<usize, Vec<NodeId>> = HashMap::new();
    for (id, region) in &regions.nodes {
        nodes.entry(regions.root(*region)).or_default().push(*id);
    }
    let mut order: Vec<usize> = nodes.keys().copied().collect();
    order.sort_unstable();
    let mut made = 0;
    // Regions whose edge another has rewritten.
    let mut stale: HashSet<usize> = HashSet::new();
    for region in order {
        let (gain, follows) = gains[region];
        let is_good = gain.iter().all(|n| *n >= 0.0) && (gain.iter().any(|n| *n > 0.0) || follows);
        if !is_good || stale.contains(&region) || !rewrite(graph, &regions, &nodes[&region])? {
            continue;
        }
        made += 1;
        for id in &nodes[&region] {
            let Node { inputs, outputs, .. } = graph.node(*id).clone();
            let above = inputs.iter().flatten().filter_map(|value| regions.labels.get(value)?.entry);
            let users = outputs.iter().flat_map(|output| graph.consumers(*output));
            let below = users.filter_map(|id| own_order(graph, *id)).map(|(value, _)| value);
            let edges = above.chain(below).filter_map(|value| regions.labels.get(&value));
            stale.extend(edges.map(|label| regions.root(label.region)).filter(|other| *other != region));
        }
    }
    Ok(made)
}

/// Computes the nodes of a region in the order before its transposes, and transposes what is used outside.
fn rewrite(graph: &mut Graph, regions: &Regions, nodes: &[NodeId]) -> Result<bool> {
    let mut new: HashMap<ValueId, ValueId> = HashMap::new();
    for id in nodes {
        let node = graph.node(*id).clone();
        let label_of = |value: &Option<ValueId>| regions.labels.get(value.as_ref()?);
        let Some(label) = node.inputs.iter().find_map(label_of) else { return Ok(false) };
        let mut inputs = node.inputs.clone();
        let n_joined = if joins(&node.op) { inputs.len() } else { 1 };
        for input in inputs.iter_mut().take(n_joined) {
            let Some(value) = *input else { continue };
            *input = match regions.labels.get(&value) {
                Some(own) => own.entry.or_else(|| new.get(&value).copied()),
                None => match beside(graph, value, &label.order) {
                    Some(how) => put_beside(graph, &node, value, &label.order, how)?,
                    None => None,
                },
            };
            if input.is_none() {
                return Ok(false);
            }
        }
        let Some((op, inputs)) = before(graph, &node, &label.order, inputs)? else { return Ok(false) };
        let names: Vec<std::sync::Arc<str>> =
            node.outputs.iter().map(|id| graph.value(*id).name.clone()).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let outputs = graph.emit(&node.name, op, &inputs, &names)?;
        new.extend(node.outputs.iter().copied().zip(outputs));
    }
    // What takes the place of what, the last first: then what is left of the users of a value is outside.
    let mut places = Vec::new();
    for id in nodes.iter().rev() {
        for value in graph.node(*id).outputs.clone() {
            let (Some(label), Some(&now)) = (regions.labels.get(&value), new.get(&value)) else {
                return Ok(false);
            };
            let users = graph.consumers(value).to_vec();
            let mut outside = graph.is_output(value);
            for user in users {
                match own_order(graph, user) {
                    Some((output, order)) => {
                        let order = compose(&order, &label.order);
                        let turned = turned(graph, output, now, order)?;
                        places.push((output, turned));
                    }
                    None => outside |= !regions.members.contains(&user),
                }
            }
            if outside {
                let turned = turned(graph, value, now, label.order.clone())?;
                places.push((value, turned));
            }
        }
    }
    if places.iter().any(|(old, new)| !graph.fits(*old, *new)) {
        return Ok(false);
    }
    for (old, new) in places {
        graph.replace(old, new)?;
    }
    Ok(true)
}

/// A value transposed, in the place of another.
fn turned(graph: &mut Graph, old: ValueId, now: ValueId, order: Vec<usize>) -> Result<ValueId> {
    if order.is_sorted() {
        return Ok(now);
    }
    let name = graph.value(old).name.clone();
    graph.emit1(&name, Transpose { order: Some(order) }, &[Some(now)])
}
