//! Each pass where it fires, and where it must not.

mod integers;
mod layouts;
mod lookups;
mod networks;
mod spellings;

use super::*;
use crate::ops::attention::Attention;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::reduce::{Reduce, ReduceFunction};
use crate::ops::rms_norm::RmsNorm;
use crate::ops::rope_cache::{RopeCache, RopeLayout};
use crate::ops::unary::{Unary, UnaryFunction};
use crate::tensor::Tensor;
use crate::types::{BlockFormat, DType, Dim};

fn weight(graph: &mut Graph, name: &str, dtype: DType, n: usize) -> ValueId {
    graph.weight(name, TensorType::new(dtype, [n, 64]))
}

fn activations(graph: &mut Graph) -> ValueId {
    graph.input("x", TensorType::f32(Shape(vec![Dim::symbol("s"), Dim::Known(64)])))
}

fn product(graph: &mut Graph, name: &str, x: ValueId, weight: ValueId) -> ValueId {
    graph.apply(name, MatMul::default(), &[Some(x), Some(weight), None, None]).unwrap()[0]
}

fn count(graph: &Graph, name: &str) -> usize {
    graph.nodes().filter(|(_, node)| node.op.name() == name).count()
}

fn swiglu_graph(up_dtype: DType, up_n: usize) -> Graph {
    let mut graph = Graph::new();
    let x = activations(&mut graph);
    let gate = weight(&mut graph, "gate", DType::F32, 32);
    let up = weight(&mut graph, "up", up_dtype, up_n);
    let gate = product(&mut graph, "g", x, gate);
    let up = product(&mut graph, "u", x, up);
    let gate = graph.apply1("silu", Unary { function: UnaryFunction::Silu }, &[gate]).unwrap();
    let y = graph.apply1("y", Binary { function: BinaryFunction::Mul }, &[up, gate]).unwrap();
    graph.output("y", y);
    graph
}

#[test]
fn swiglu_fuses_equal_weights_only() {
    let mut graph = swiglu_graph(DType::F32, 32);
    optimise(&mut graph).unwrap();
    assert_eq!((count(&graph, "matmul"), count(&graph, "binary"), count(&graph, "unary")), (1, 0, 0));
    let mut graph = swiglu_graph(DType::Block(BlockFormat::Q8_0), 32);
    optimise(&mut graph).unwrap();
    assert_eq!((count(&graph, "matmul"), count(&graph, "binary")), (2, 1));
}

fn qkv_graph(v_dtype: DType, k_used_again: bool) -> Graph {
    let mut graph = Graph::new();
    let x = activations(&mut graph);
    let q = weight(&mut graph, "q", DType::F32, 32);
    let k = weight(&mut graph, "k", DType::F32, 16);
    let v = weight(&mut graph, "v", v_dtype, 16);
    let (q, k, v) =
        (product(&mut graph, "q", x, q), product(&mut graph, "k", x, k), product(&mut graph, "v", x, v));
    let table = graph.constant("table", Tensor::zeros(DType::F32, &[8, 4, 2]).unwrap());
    let position = graph.input("position", TensorType::new(DType::I32, [1]));
    let cache = TensorType::f32([8, 16]);
    let (kc, vc) = (graph.state("kc", cache.clone()), graph.state("vc", cache));
    let op =
        RopeCache { n_heads: 4, n_kv_heads: 2, head_dim: 8, layout: RopeLayout::Halves, norm_epsilon: 1e-5 };
    let inputs = [Some(q), Some(k), Some(v), None, None, Some(table), Some(position), Some(kc), Some(vc)];
    let out = graph.apply("rope", op, &inputs).unwrap();
    graph.output("q", out[0]);
    if k_used_again {
        graph.output("k", k);
    }
    graph
}

#[test]
fn qkv_fuses_one_dtype_and_single_use_only() {
    for (v_dtype, k_used_again, products) in
        [(DType::F32, false, 1), (DType::F16, false, 3), (DType::F32, true, 3)]
    {
        let mut graph = qkv_graph(v_dtype, k_used_again);
        optimise(&mut graph).unwrap();
        assert_eq!(count(&graph, "matmul"), products, "{v_dtype} {k_used_again}");
        assert_eq!(count(&graph, "rope_cache"), 1);
    }
}

#[test]
fn a_cache_of_halves_becomes_levels_on_the_cpu_and_one_of_f32_stays() {
    for (dtype, levels) in [(DType::F16, 2), (DType::F32, 0)] {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(Shape(vec![Dim::symbol("s"), Dim::Known(64)])));
        let table = graph.constant("table", Tensor::zeros(DType::F32, &[8, 4, 2]).unwrap());
        let position = graph.input("position", TensorType::new(DType::I32, [1]));
        let [k, v] = ["k", "v"].map(|name| graph.state(name, TensorType::new(dtype, [8, 16])));
        let rope = RopeCache {
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 8,
            layout: RopeLayout::Halves,
            norm_epsilon: 1e-5,
        };
        let inputs = [Some(x), None, None, None, None, Some(table), Some(position), Some(k), Some(v)];
        let of_rope = graph.apply("rope", rope, &inputs).unwrap();
        let attention = Attention { n_heads: 4, n_kv_heads: 2, head_dim: 8, scale: 0.5 };
        let inputs = [of_rope[0], of_rope[1], of_rope[2], position];
        let y = graph.apply1("attention", attention, &inputs).unwrap();
        graph.output("y", y);
        optimise(&mut graph).unwrap();
        optimise_for_cpu(&mut graph).unwrap();
        assert_eq!((count(&graph, "rope_cache"), count(&graph, "attention")), (1, 1));
        let used = |(id, value): &(ValueId, &crate::graph::Value)| {
            matches!(value.source, Source::State) && !graph.consumers(*id).is_empty()
        };
        let states: Vec<_> =
            graph.values().filter(used).map(|(_, value)| value.known_ty().unwrap()).collect();
        let wanted = TensorType::new(DType::I16, [2, 8, 9]);
        assert_eq!(states.iter().filter(|ty| ***ty == wanted).count(), levels, "{dtype}");
        assert_eq!(states.len(), 2);
    }
}

#[test]
fn a_residual_fuses_unless_the_product_is_used_again() {
    for used_again in [false, true] {
        let mut graph = Graph::new();
        let x = activations(&mut graph);
        let w = weight(&mut graph, "w", DType::F32, 64);
        let p = product(&mut graph, "p", x, w);
        let y = graph.apply1("y", Binary { function: BinaryFunction::Add }, &[x, p]).unwrap();
        graph.output("y", y);
        if used_again {
            graph.output("p", p);
        }
        optimise(&mut graph).unwrap();
        assert_eq!(count(&graph, "binary"), usize::from(used_again));
    }
}

#[test]
fn an_illegal_replacement_is_refused() {
    let mut graph = swiglu_graph(DType::F32, 32);
    let (x, y) = (graph.inputs()[0], graph.outputs()[0].1);
    assert!(graph.replace(y, x).unwrap_err().message().contains("would replace"));
}

fn known(graph: &mut Graph, name: &str, values: &[f32]) -> ValueId {
    graph.constant(name, Tensor::new(&[values.len()], values).unwrap())
}

#[test]
fn what_is_known_is_computed_once_and_what_is_fed_is_not() {
    let mut graph = Graph::new();
    let (a, b) = (known(&mut graph, "a", &[1.0, -2.0]), known(&mut graph, "b", &[3.0, 5.0]));
    let add = Binary { function: BinaryFunction::Add };
    let sum = graph.apply1("sum", add.clone(), &[a, b]).unwrap();
    let negative = graph.apply1("negative", Unary { function: UnaryFunction::Neg }, &[sum]).unwrap();
    let x = graph.input("x", TensorType::f32([2]));
    let y = graph.apply1("y", add, &[x, negative]).unwrap();
    graph.output("y", y);
    graph.output("known", negative);
    optimise(&mut graph).unwrap();
    assert_eq!((count(&graph, "binary"), count(&graph, "unary")), (1, 0));
    let Source::Const(folded) = &graph.value(graph.outputs()[1].1).source else {
        panic!("it was not folded")
    };
    assert_eq!(folded.data::<f32>().unwrap(), [-4.0, -3.0]);
}

#[test]
fn what_nobody_needs_goes_and_the_rest_stays() {
    let mut graph = Graph::new();
    let x = activations(&mut graph);
    let neg = Unary { function: UnaryFunction::Neg };
    let kept = graph.apply1("kept", neg.clone(), &[x]).unwrap();
    graph.apply1("unused", neg, &[kept]).unwrap();
    graph.output("kept", kept);
    optimise(&mut graph).unwrap();
    assert_eq!(graph.nodes().map(|(_, node)| &*node.name).collect::<Vec<_>>(), ["kept"]);
}

/// A norm spelt out; `inverse` multiplies with a reciprocal, `other` squares another value, `shown` has the mean as an
/// output.
fn norm_graph(inverse: bool, other: bool, shown: bool) -> Graph {
    let mut graph = Graph::new();
    let g = &mut graph;
    let x = activations(g);
    let z = g.input("z", TensorType::f32(Shape(vec![Dim::symbol("s"), Dim::Known(64)])));
    let binary = |function| Binary { function };
    let squares = g.apply1("squares", binary(BinaryFunction::Mul), &[x, if other { z } else { x }]).unwrap();
    let mean = g.apply1("mean", Reduce::last(ReduceFunction::Mean), &[squares]).unwrap();
    let epsilon = known(g, "epsilon", &[1e-6]);
    let sum = g.apply1("sum", binary(BinaryFunction::Add), &[mean, epsilon]).unwrap();
    let root = g.apply1("root", Unary { function: UnaryFunction::Sqrt }, &[sum]).unwrap();
    let scaled = if inverse {
        let inverse = g.apply1("inverse", Unary { function: UnaryFunction::Reciprocal }, &[root]).unwrap();
        g.apply1("scaled", binary(BinaryFunction::Mul), &[x, inverse]).unwrap()
    } else {
        g.apply1("scaled", binary(BinaryFunction::Div), &[x, root]).unwrap()
    };
    let weight = g.weight("weight", TensorType::f32([64]));
    let y = g.apply1("y", binary(BinaryFunction::Mul), &[scaled, weight]).unwrap();
    g.output("y", y);
    if shown {
        g.output("mean", mean);
    }
    graph
}

#[test]
fn a_norm_is_seen_in_its_parts_unless_they_are_of_use_elsewhere() {
    for inverse in [false, true] {
        let mut graph = norm_graph(inverse, false, false);
        optimise(&mut graph).unwrap();
        assert_eq!((count(&graph, "rms_norm"), graph.nodes().count()), (1, 1));
        let (_, node) = graph.nodes().next().unwrap();
        assert_eq!(node.op, Op::RmsNorm(RmsNorm { epsilon: 1e-6 }));
    }
    for (other, shown) in [(true, false), (false, true)] {
        let mut graph = norm_graph(false, other, shown);
        optimise(&mut graph).unwrap();
        assert_eq!(count(&graph, "rms_norm"), 0);
    }
}

/// `x · W` in integers, cast, scaled and shifted; the scale is the quantisation's times one of `scale_len` numbers.
fn integer_graph(scale_len: usize, sums_are_output: bool) -> Graph {
    use crate::ops::cast::Cast;
    use crate::ops::integer_product::IntegerProduct;
    use crate::ops::quantize::Quantize;
    let mut graph = Graph::new();
    let x = activations(&mut graph);
    let quantised = graph.defer("quantised", Quantize::Dynamic, &[Some(x)], &["levels", "scale", "zero"]);
    let weight = graph.constant("weight", Tensor::new(&[64, 8], &[3i8; 512]).unwrap());
    let zero = graph.constant("zero", Tensor::new(&[], &[0i8]).unwrap());
    let inputs = [Some(quantised[0]), Some(weight), Some(quantised[2]), Some(zero)];
    let sums = graph.defer("sums", IntegerProduct::default(), &inputs, &["sums"])[0];
    let cast = graph.defer("cast", Cast::to(DType::F32), &[Some(sums)], &["cast"])[0];
    let own = graph.constant("own", Tensor::new(&[scale_len], &vec![0.5f32; scale_len]).unwrap());
    let mut binary =
        |name: &str, function, a, b| graph.defer(name, Binary { function }, &[Some(a), Some(b)], &[name])[0];
    let scale = binary("times", BinaryFunction::Mul, quantised[1], own);
    let scaled = binary("scaled", BinaryFunction::Mul, cast, scale);
    let bias = graph.constant("bias", Tensor::new(&[8], &[1.0f32; 8]).unwrap());
    let add = Binary { function: BinaryFunction::Add };
    let y = graph.defer("y", add, &[Some(bias), Some(scaled)], &["y"])[0];
    graph.output("y", y);
    if sums_are_output {
        graph.output("sums", sums);
    }
    graph
}

#[test]
fn integer_sums_are_scaled_where_they_are_made() {
    for len in [1, 8] {
        let mut graph = integer_graph(len, false);
        optimise(&mut graph).unwrap();
        let counts = ["integer_product", "cast", "binary"].map(|name| count(&graph, name));
        assert_eq!(counts, [1, 0, 1], "only the scales still meet");
    }
    for (len, output) in [(2, false), (1, true)] {
        let mut graph = integer_graph(len, output);
        optimise(&mut graph).unwrap();
        assert_eq!((count(&graph, "cast"), count(&graph, "binary")), (1, 3));
    }
}
