//! How passes see patterns: what computes a value, what constants hold, and the factors of a product. All by structure, never
//! by name. Where a pattern takes the place of several nodes, the values between them must be used once.

use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, Source, ValueId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::unary::{Unary, UnaryFunction};
use crate::tensor::Tensor;
use crate::types::{DType, Dim};

/// Offers each node to `rewrite`, inputs before users, and puts the value that it gives in the place of the node's first
/// output. What it gives is left alone where its type cannot be the same.
pub fn each(
    graph: &mut Graph,
    mut rewrite: impl FnMut(&mut Graph, &Node) -> Result<Option<ValueId>>,
) -> Result<usize> {
    let mut made = 0;
    for id in 0..graph.nodes().count() as u32 {
        let id = NodeId(id);
        if graph.is_dead(id) {
            continue;
        }
        let node = graph.node(id).clone();
        let Some(&old) = node.outputs.first() else { continue };
        if let Some(new) = rewrite(graph, &node)?
            && graph.fits(old, new)
        {
            graph.replace(old, new)?;
            made += 1;
        }
    }
    Ok(made)
}

/// The node that computes a value for one user.
pub fn sole(graph: &Graph, value: ValueId) -> Option<&Node> {
    graph.used_once(value).then(|| graph.producer(value)).flatten().map(|(_, node)| node)
}

/// The function and operands of a binary node.
pub fn binary_of(node: &Node) -> Option<(BinaryFunction, ValueId, ValueId)> {
    match node.op {
        Op::Binary(Binary { function }) => Some((function, node.input(0)?, node.input(1)?)),
        _ => None,
    }
}

/// The operands of a binary node of that function, in both orders.
pub fn either(node: &Node, wanted: BinaryFunction) -> impl Iterator<Item = (ValueId, ValueId)> {
    let found = binary_of(node).filter(|(function, ..)| *function == wanted);
    found.into_iter().flat_map(|(_, a, b)| [(a, b), (b, a)])
}

/// The function and operands of the binary node that computes a value for one user.
pub fn binary(graph: &Graph, value: ValueId) -> Option<(BinaryFunction, ValueId, ValueId)> {
    binary_of(sole(graph, value)?)
}

/// The function and operand of a unary node.
pub fn unary_of(node: &Node) -> Option<(UnaryFunction, ValueId)> {
    match node.op {
        Op::Unary(Unary { function }) => Some((function, node.input(0)?)),
        _ => None,
    }
}

/// The operand of the unary node of that function that computes a value for one user.
pub fn unary(graph: &Graph, value: ValueId, wanted: UnaryFunction) -> Option<ValueId> {
    unary_of(sole(graph, value)?).filter(|(function, _)| *function == wanted).map(|(_, x)| x)
}

/// The elements of a constant.
pub fn constant(graph: &Graph, value: ValueId) -> Option<&Tensor> {
    match &graph.value(value).source {
        Source::Const(tensor) => Some(tensor),
        _ => None,
    }
}

/// The integers of a constant.
pub fn ints(graph: &Graph, value: ValueId) -> Option<Vec<i64>> {
    let tensor = constant(graph, value)?;
    matches!(tensor.dtype(), DType::I64 | DType::I32).then(|| tensor.view().to_ints().ok()).flatten()
}

/// A constant of one f32.
pub fn scalar(graph: &Graph, value: ValueId) -> Option<f32> {
    match constant(graph, value)?.data::<f32>().ok()? {
        &[x] => Some(x),
        _ => None,
    }
}

/// A constant of one f32 that does not add dimensions to `x`.
pub fn scalar_beside(graph: &Graph, x: ValueId, value: ValueId) -> Option<f32> {
    let found = scalar(graph, value)?;
    (constant(graph, value)?.shape().is_empty() || constant(graph, value)?.shape().len() <= rank(graph, x)?)
        .then_some(found)
}

/// The constant beside which a function has one other operand, and that.
pub fn with_scalar(graph: &Graph, node: &Node, wanted: BinaryFunction) -> Option<(ValueId, f32)> {
    either(node, wanted).find_map(|(x, factor)| Some((x, scalar_beside(graph, x, factor)?)))
}

/// How many dimensions a value has.
pub fn rank(graph: &Graph, value: ValueId) -> Option<usize> {
    Some(graph.value(value).ty.as_ref()?.shape.rank())
}

/// The dimensions of an f32 value.
pub fn dims(graph: &Graph, value: ValueId) -> Option<&[Dim]> {
    let ty = graph.value(value).ty.as_ref()?;
    (ty.dtype == DType::F32).then_some(&ty.shape.0)
}

/// Whether two values have one type, whatever the sizes are.
pub fn same_type(graph: &Graph, a: ValueId, b: ValueId) -> bool {
    let (a, b) = (&graph.value(a).ty, &graph.value(b).ty);
    a.is_some() && a == b
}

/// Whether two numbers are the same but for how they were written.
pub fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * b.abs()
}

/// A product taken apart: a number, and the other factors.
#[derive(Debug)]
pub struct Factors {
    /// The constants together.
    pub number: f64,
    /// What is no constant.
    pub values: Vec<ValueId>,
}

impl Factors {
    /// The other of two factors, for each of both.
    pub fn pairs(&self) -> impl Iterator<Item = (ValueId, ValueId)> {
        let pair = if let [a, b] = self.values[..] { Some([(a, b), (b, a)]) } else { None };
        pair.into_iter().flatten()
    }
}

/// The factors of the product that a node computes, through products and quotients by constants that only it uses.
pub fn factors(graph: &Graph, node: &Node) -> Option<Factors> {
    let mut found = Factors { number: 1.0, values: Vec::new() };
    take_apart(graph, node, &mut found).then_some(found)
}

/// The factors of a value; itself alone where it is no product.
pub fn factors_of(graph: &Graph, value: ValueId) -> Factors {
    let product = sole(graph, value).and_then(|node| factors(graph, node));
    product.unwrap_or(Factors { number: 1.0, values: vec![value] })
}

fn take_apart(graph: &Graph, node: &Node, found: &mut Factors) -> bool {
    let Some((function, a, b)) = binary_of(node) else { return false };
    match function {
        BinaryFunction::Mul => {
            for (side, other) in [(a, b), (b, a)] {
                if let Some(number) = scalar_beside(graph, other, side) {
                    found.number *= f64::from(number);
                } else {
                    go_on(graph, side, found);
                }
            }
        }
        BinaryFunction::Div => {
            let Some(number) = scalar_beside(graph, a, b) else { return false };
            found.number /= f64::from(number);
            go_on(graph, a, found);
        }
        _ => return false,
    }
    true
}

fn go_on(graph: &Graph, value: ValueId, found: &mut Factors) {
    // Products of many are no pattern.
    let inner = if found.values.len() < 4 { sole(graph, value) } else { None };
    let open = found.values.len();
    let number = found.number;
    if !inner.is_some_and(|node| take_apart(graph, node, found)) {
        found.values.truncate(open);
        found.number = number;
        found.values.push(value);
    }
}
