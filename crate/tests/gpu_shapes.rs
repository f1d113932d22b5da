//! Shapes that are hard on a GPU: nothing in them, one number, eight dimensions, more workgroups than a dimension has,
//! more bytes than a binding may cover. Each node runs on the GPU with the CPU beside it, and gives what the CPU gives.

use homefire::backend::cpu::CpuBackend;
use homefire::backend::gpu::{GpuBackend, GpuDevice};
use homefire::graph::Graph;
use homefire::ops::Op;
use homefire::ops::arg_reduce::ArgReduce;
use homefire::ops::binary::{Binary, BinaryFunction};
use homefire::ops::cast::Cast;
use homefire::ops::cumulative::Cumulative;
use homefire::ops::expand::Expand;
use homefire::ops::gather_nd::GatherNd;
use homefire::ops::layer_norm::LayerNorm;
use homefire::ops::product::Product;
use homefire::ops::reduce::{Reduce, ReduceAxes, ReduceFunction};
use homefire::ops::scatter::{Scatter, ScatterBy, ScatterJoin};
use homefire::ops::select::Select;
use homefire::ops::softmax::{Softmax, SoftmaxFunction};
use homefire::ops::take::Take;
use homefire::ops::transpose::Transpose;
use homefire::ops::unary::{Unary, UnaryFunction};
use homefire::plan::Crossing;
use homefire::session::Session;
use homefire::tensor::Tensor;
use homefire::types::{DType, Shape, TensorType};
use pollster::block_on;

/// What a case is fed: at the run, or as a constant.
enum Given {
    Fed(Tensor),
    Known(Tensor),
}
use Given::{Fed, Known};

fn floats(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| ((i % 1013) as f32 * 0.37).sin();
    Tensor::new(shape, &(0..n).map(value).collect::<Vec<f32>>()).unwrap()
}

fn ints(shape: &[usize], below: i64) -> Tensor {
    let n = shape.iter().product::<usize>() as i64;
    Tensor::new(shape, &(0..n).map(|i| i * 7919 % (2 * below) - below).collect::<Vec<_>>()).unwrap()
}

fn truths(shape: &[usize]) -> Tensor {
    let mut tensor = Tensor::zeros(DType::Bool, shape).unwrap();
    tensor.view_mut().bytes.iter_mut().enumerate().for_each(|(i, x)| *x = u8::from(i % 3 == 0));
    tensor
}

fn graph(op: &Op, inputs: &[Given]) -> Graph {
    let mut graph = Graph::new();
    let ids = inputs.iter().enumerate().map(|(i, given)| match given {
        Fed(tensor) => {
            let ty = TensorType::new(tensor.dtype(), Shape::known(tensor.shape()));
            Some(graph.input(&format!("x{i}"), ty))
        }
        Known(tensor) => Some(graph.constant(&format!("x{i}"), tensor.clone())),
    });
    let ids: Vec<_> = ids.collect();
    let outputs = graph.defer("node", op.clone(), &ids, &["y"]);
    graph.output("y", outputs[0]);
    graph
}

fn run(session: &mut Session, inputs: &[Given]) -> Tensor {
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let feeds = inputs.iter().zip(&names).filter_map(|(given, name)| match given {
        Fed(tensor) => Some((name.as_str(), tensor.clone())),
        Known(_) => None,
    });
    block_on(session.run(feeds.collect(), &["y"])).unwrap().swap_remove(0)
}

/// Whether the node ran on the GPU; panics where the GPU gives something else than the CPU.
fn hold(what: &str, device: &GpuDevice, op: Op, inputs: Vec<Given>) -> bool {
    let of_cpu = graph(&op, &inputs);
    let backend = Box::new(CpuBackend::new(&of_cpu, true).unwrap());
    let want = run(&mut Session::new(of_cpu, backend), &inputs);
    let of_two = graph(&op, &inputs);
    let gpu = Box::new(GpuBackend::new(&of_two, device.clone()).unwrap());
    let cpu = Box::new(CpuBackend::beside_another(&of_two).unwrap());
    let mut session = Session::on_two(of_two, gpu, cpu, Crossing::FREE);
    let got = run(&mut session, &inputs);
    assert_eq!(got.ty(), want.ty(), "{what}");
    let (values, wanted) = (got.view().to_floats().unwrap(), want.view().to_floats().unwrap());
    let far = |(a, b): (&f64, &f64)| !((a - b).abs() <= 1e-4 + 1e-4 * b.abs() || a == b);
    let differs = values.iter().zip(&wanted).position(far);
    assert_eq!(
        differs,
        None,
        "{what}: {:?} and {:?}",
        differs.map(|i| values[i]),
        differs.map(|i| wanted[i])
    );
    device.check().unwrap();
    session.last_profile().iter().any(|node| node.device == "webgpu")
}

const EXP: Unary = Unary { function: UnaryFunction::Exp };

fn binary(function: BinaryFunction) -> Op {
    Op::from(Binary { function })
}

fn sum(keep: bool) -> Op {
    let axes = ReduceAxes::Given { none_is_none: false };
    Op::from(Reduce { function: ReduceFunction::Sum, axes, keep })
}

#[test]
fn shapes_that_are_hard_on_a_gpu() {
    let Ok(device) = block_on(GpuDevice::request()) else {
        return eprintln!("SKIPPED: no GPU adapter, so no shape was hard on one");
    };
    let most = 65_535;
    let eight = [2, 1, 3, 2, 2, 1, 3, 2];
    let norm = LayerNorm { axis: -1, centre: true, epsilon: 1e-3, outputs: 1 };
    let softmax = |axis| Softmax { function: SoftmaxFunction::Softmax, axis, flatten: false };
    let argmax = |axis| ArgReduce { axis, keep: false, largest: true, last: false };
    let replace = |by| Scatter { by, join: ScatterJoin::Replace };
    let axes = |axes: &[i64]| Known(Tensor::new(&[axes.len()], axes).unwrap());
    // What, the operator, its inputs, and whether the GPU has it.
    let cases: Vec<(&str, Op, Vec<Given>, bool)> = vec![
        ("nothing", EXP.into(), vec![Fed(floats(&[0, 3]))], false),
        ("a sum of nothing", sum(false), vec![Fed(floats(&[3, 0])), axes(&[1])], false),
        (
            "a product over nothing",
            Product::default().into(),
            vec![Fed(floats(&[3, 0])), Fed(floats(&[0, 2]))],
            false,
        ),
        ("one number", EXP.into(), vec![Fed(floats(&[]))], true),
        (
            "one number and many",
            binary(BinaryFunction::Add),
            vec![Fed(floats(&[])), Fed(floats(&[2, 3]))],
            true,
        ),
        ("one truth", Cast::to(DType::F32).into(), vec![Fed(truths(&[]))], true),
        ("five truths", binary(BinaryFunction::And), vec![Fed(truths(&[5])), Fed(truths(&[1]))], true),
        (
            "eight dimensions, all of which broadcast",
            binary(BinaryFunction::Mul),
            vec![Fed(floats(&[2, 1, 3, 1, 2, 1, 3, 1])), Fed(floats(&[1, 2, 1, 2, 1, 3, 1, 2]))],
            true,
        ),
        (
            "nine dimensions, all of which broadcast",
            binary(BinaryFunction::Mul),
            vec![Fed(floats(&[2, 1, 3, 1, 2, 1, 3, 1, 2])), Fed(floats(&[1, 2, 1, 2, 1, 3, 1, 2, 1]))],
            false,
        ),
        ("eight dimensions turned around", Transpose { order: None }.into(), vec![Fed(floats(&eight))], true),
        ("a sum along some of eight", sum(true), vec![Fed(floats(&eight)), axes(&[0, 3, 6])], true),
        (
            "eight dimensions of two words",
            Transpose { order: Some(vec![7, 0, 6, 1, 5, 2, 4, 3]) }.into(),
            vec![Fed(ints(&eight, 1 << 40))],
            true,
        ),
        ("more workgroups than a dimension has", EXP.into(), vec![Fed(floats(&[64 * most + 65]))], true),
        (
            "truths of as many",
            binary(BinaryFunction::Greater),
            vec![Fed(floats(&[4 * 64 * most + 67])), Fed(floats(&[1]))],
            true,
        ),
        (
            "more rows than that",
            norm.into(),
            vec![Fed(floats(&[most + 3, 5])), Fed(floats(&[5])), Fed(floats(&[5]))],
            true,
        ),
        ("rows that sum to one", softmax(-1).into(), vec![Fed(floats(&[most + 3, 5]))], true),
        ("columns that sum to one", softmax(0).into(), vec![Fed(floats(&[5, most + 3]))], true),
        ("where the largest of many rows are", argmax(1).into(), vec![Fed(floats(&[most + 3, 65]))], true),
        ("where the largest of columns are", argmax(0).into(), vec![Fed(floats(&[3, most + 3]))], true),
        (
            "more matrices than that",
            Product::default().into(),
            vec![Fed(floats(&[most + 3, 1, 2])), Fed(floats(&[2, 3]))],
            true,
        ),
        (
            "as many, each by its own",
            Product::default().into(),
            vec![Fed(floats(&[most + 3, 1, 2])), Fed(floats(&[most + 3, 2, 1]))],
            false,
        ),
        ("integers that no f32 holds", Cast::to(DType::I32).into(), vec![Fed(ints(&[1001], 1 << 30))], true),
        ("integers of two words", Cast::to(DType::F32).into(), vec![Fed(ints(&[1001], 1 << 50))], true),
        (
            "sums of them stay",
            binary(BinaryFunction::Add),
            vec![Fed(ints(&[7], 1 << 40)), Fed(ints(&[7], 1 << 40))],
            false,
        ),
        (
            "slices of two words",
            Take { axis: 1 }.into(),
            vec![Fed(ints(&[3, 4, 5], 1 << 40)), Fed(ints(&[2, 3], 4))],
            true,
        ),
        (
            "slices of truths stay",
            Take { axis: 0 }.into(),
            vec![Fed(truths(&[9])), Fed(ints(&[4], 9))],
            false,
        ),
        (
            "a choice along eight dimensions",
            Select.into(),
            vec![
                Fed(truths(&[2, 1, 3, 1, 2, 1, 3, 1])),
                Fed(floats(&[1, 2, 1, 2, 1, 3, 1, 2])),
                Fed(floats(&[])),
            ],
            true,
        ),
        (
            "one number repeated",
            Expand::Broadcast.into(),
            vec![Fed(floats(&[])), Known(Tensor::new(&[3], &[5i64, 7, 9]).unwrap())],
            true,
        ),
        (
            "whole indices",
            GatherNd { batch_dims: 0 }.into(),
            vec![Fed(floats(&[3, 3, 3])), Fed(ints(&[70_000, 3], 3))],
            true,
        ),
        (
            "every slice anew",
            replace(ScatterBy::Slice).into(),
            vec![
                Fed(floats(&[3, 4])),
                Known(Tensor::new(&[3, 1], &[2i64, -3, 1]).unwrap()),
                Fed(floats(&[3, 4])),
            ],
            true,
        ),
        ("too many in one number", sum(false), vec![Fed(floats(&[64 * most + 1])), axes(&[0])], false),
        (
            "sums along a long line",
            Cumulative { product: false, exclusive: false, reverse: true }.into(),
            vec![Fed(floats(&[100_000])), Known(Tensor::new(&[], &[0i32]).unwrap())],
            true,
        ),
    ];
    for (what, op, inputs, there) in cases {
        assert_eq!(hold(what, &device, op, inputs), there, "{what}: whether it ran on the GPU");
    }
}

#[test]
fn what_no_binding_covers_stays_on_the_cpu() {
    let Ok(device) = block_on(GpuDevice::request()) else {
        return eprintln!("SKIPPED: no GPU adapter, so nothing was too large for one");
    };
    let most = device.caps().max_binding_bytes;
    if most > 1 << 28 {
        return eprintln!("SKIPPED: this adapter binds {most} bytes, which takes a test too long to fill");
    }
    let n = most as usize / 4 + 1;
    let x = floats(&[n]);
    let function = UnaryFunction::Neg;
    assert!(!hold("too large", &device, Unary { function }.into(), vec![Fed(x.clone())]));
    let axis = Known(Tensor::new(&[1], &[0i64]).unwrap());
    assert!(!hold("too large to sum", &device, sum(false), vec![Fed(x), axis]));
    assert!(hold("just not", &device, Unary { function }.into(), vec![Fed(floats(&[n - 1]))]));
}
