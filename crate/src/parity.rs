//! The parity suite: every case of the catalogue, on any back end, against the operator's naive reference. It
//! proves itself on canaries, wrong results that it must reject.

use crate::backend::{Backend, Feed};
use crate::error::{ErrorKind, Result};
use crate::graph::{Graph, ValueId};
use crate::ops::case::{Array, Case, Given};
use crate::ops::rope_cache::RopeLayout;
use crate::ops::{Op, cases};
use crate::plan::Plan;
use crate::types::{Bindings, Shape, TensorType};
use std::collections::{BTreeSet, HashMap};

/// Makes a back end for a graph.
pub type Open<'a> = &'a dyn Fn(&Graph) -> Result<Box<dyn Backend>>;

/// What came of all cases.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that agree.
    pub passed: usize,
    /// Cases without a kernel on this back end, with the reason.
    pub left_out: Vec<String>,
    /// Cases that do not agree, and canaries that were not rejected.
    pub failed: Vec<String>,
    /// The largest difference by operator, as a share of its output's largest value.
    pub worst: HashMap<&'static str, f64>,
    /// What was launched: operators on the CPU, variants of shaders on the GPU.
    pub kernels: BTreeSet<String>,
}

/// Runs every case on the back ends that `open` makes, then the canaries. `quantised` says that activations are 8
/// bits where weights are quantised.
pub async fn run(open: Open<'_>, quantised: bool) -> Report {
    let mut report = Report::default();
    for case in cases() {
        let name = format!("{} {}", case.op.name(), case.name);
        let tolerance = if quantised { case.tolerance.quantised } else { case.tolerance.exact };
        match compute(&case, open, &mut report.kernels).await {
            Ok(got) => match case.check(&got, tolerance) {
                Ok(error) => {
                    report.passed += 1;
                    let worst = report.worst.entry(case.op.name()).or_default();
                    *worst = worst.max(error);
                }
                Err(difference) => report.failed.push(format!("{name}: {difference}")),
            },
            Err(error) if error.kind() == ErrorKind::UnsupportedOp => {
                report.left_out.push(format!("{name}: {error}"))
            }
            Err(error) => report.failed.push(format!("{name}: {error}")),
        }
        for (what, wrong) in canaries(&case, tolerance) {
            if case.check(&wrong, tolerance).is_ok() {
                report.failed.push(format!("canary: {name} with {what} passes"));
            }
        }
        if let Some((what, wrong)) = impostor(&case)
            && let Ok(got) = compute(&wrong, open, &mut report.kernels).await
            && case.check(&got, tolerance).is_ok()
        {
            report.failed.push(format!("canary: {name} with {what} passes"));
        }
    }
    report
}

/// Right outputs made wrong.
fn canaries(case: &Case, tolerance: f64) -> Vec<(&'static str, Vec<Array>)> {
    let mut canaries = Vec::new();
    let mut add = |what, change: &dyn Fn(&mut Vec<f64>)| {
        let mut wrong = case.want.clone();
        change(&mut wrong[0].values);
        canaries.push((what, wrong));
    };
    let largest = case.want[0].values.iter().fold(1e-30f64, |a, x| a.max(x.abs()));
    add("one value off", &|values| values[0] += 1.01 * tolerance.max(1e-6) * largest);
    add("its last value missing", &|values| *values.last_mut().expect("an output has values") = f64::NAN);
    canaries
}

/// A case that computes something else than this one wants: what a kernel with a typical fault would do.
fn impostor(case: &Case) -> Option<(&'static str, Case)> {
    let mut wrong = case.clone();
    let what = match &mut wrong.op {
        Op::Attention(_) => {
            let Given::Fed(position) = &mut wrong.inputs[3] else { return None };
            position.data_mut::<i32>().ok()?[0] += 1;
            "a mask that is off by one"
        }
        Op::RmsNorm(op) => {
            op.epsilon += 0.3;
            "another epsilon"
        }
        Op::RopeCache(op) if op.layout == RopeLayout::Halves => {
            op.layout = RopeLayout::Interleaved;
            "other pairs"
        }
        _ => return None,
    };
    Some((what, wrong))
}

/// The outputs of a graph of the case's operator alone; what was launched joins `kernels`.
async fn compute(case: &Case, open: Open<'_>, kernels: &mut BTreeSet<String>) -> Result<Vec<Array>> {
    let mut graph = Graph::new();
    let mut feeds = HashMap::new();
    let mut inputs = Vec::new();
    for (i, given) in case.inputs.iter().enumerate() {
        let name = format!("input {i}");
        inputs.push(match given {
            Given::Absent => None,
            Given::Fed(tensor) => {
                let id = graph.input(&name, TensorType::new(tensor.dtype(), Shape::known(tensor.shape())));
                feeds.insert(id, Feed::Tensor(tensor.clone().into()));
                Some(id)
            }
            Given::Known(tensor) => Some(graph.constant(&name, tensor.clone())),
            Given::Weight { dtype, shape, .. } => {
                Some(graph.weight(&name, TensorType::new(*dtype, Shape::known(shape))))
            }
            Given::State { dtype, shape } => {
                Some(graph.state(&name, TensorType::new(*dtype, Shape::known(shape))))
            }
        });
    }
    let names: Vec<_> = (0..case.want.len()).map(|i| format!("output {i}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let outputs = graph.defer("case", case.op.clone(), &inputs, &names);
    let wanted: Vec<(String, ValueId)> = outputs.iter().map(|id| (format!("output {}", id.0), *id)).collect();
    let mut backend = open(&graph)?;
    for (given, id) in case.inputs.iter().zip(&inputs) {
        if let (Given::Weight { bytes, .. }, Some(id)) = (given, id) {
            backend.write_weight(*id, 0, 0, &bytes[..].into())?;
        }
    }
    let plan = Plan::of_sizes(&graph, &wanted, &Bindings::new(), backend.plan_options())?;
    let got = backend.submit(&graph, &plan, feeds)?.await?;
    kernels.extend(backend.profile(&graph, &plan).into_iter().map(|launch| launch.kernel));
    Ok(got.iter().map(Array::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::CpuBackend;
    use crate::backend::gpu::{GpuBackend, GpuDevice};
    use crate::kernels::threads::{Threads, pool};
    use pollster::block_on;

    /// Operators that have a kernel.
    const GPU_OPERATORS: &[&str] = &[
        "arg_reduce",
        "argmax",
        "attend",
        "attention",
        "batch_norm",
        "binary",
        "cast",
        "concat",
        "conv",
        "cumulative",
        "depth_space",
        "dequantize",
        "expand",
        "full_attention",
        "gather",
        "gather_nd",
        "grid_sample",
        "group_norm",
        "integer_conv",
        "integer_product",
        "layer_norm",
        "lrn",
        "matmul",
        "pad",
        "pool",
        "product",
        "quantize",
        "recurrent",
        "reduce",
        "resize",
        "rms_norm",
        "rope_cache",
        "scatter",
        "select",
        "slice",
        "softmax",
        "split",
        "take",
        "take_along",
        "top_k",
        "transpose",
        "unary",
    ];

    fn hold(report: Report, on: &str) {
        let left_out: BTreeSet<_> =
            report.left_out.iter().filter_map(|case| case.split(' ').next()).collect();
        eprintln!(
            "parity on {on}: {} cases, left out {} of {left_out:?}, worst {:?}",
            report.passed,
            report.left_out.len(),
            report.worst
        );
        assert!(report.failed.is_empty(), "{on}: {:#?}", report.failed);
        let no_kernel = |left: &&String| left.contains("the GPU has no kernel for") && on == "the GPU";
        let wrong: Vec<_> = report.left_out.iter().filter(|left| !no_kernel(left)).collect();
        assert!(report.passed > 200 && wrong.is_empty(), "{on}: {} cases, left out {wrong:?}", report.passed);
    }

    #[test]
    fn threads_compute_the_same_bits() {
        for case in cases() {
            let on = |threads: Threads| {
                let open = |graph: &Graph| {
                    Ok(Box::new(CpuBackend::new(graph, false)?.on(threads)) as Box<dyn Backend>)
                };
                block_on(compute(&case, &open, &mut BTreeSet::new()))
                    .map(|got| got.into_iter().map(|array| array.values))
            };
            let (Ok(one), Ok(many)) = (on(Threads::single()), on(pool())) else { continue };
            let bits = |arrays: &mut dyn Iterator<Item = Vec<f64>>| {
                arrays.flatten().map(f64::to_bits).collect::<Vec<_>>()
            };
            let (mut one, mut many) = (one, many);
            assert_eq!(bits(&mut one), bits(&mut many), "{} {}", case.op.name(), case.name);
        }
    }

    #[test]
    fn the_cpu_agrees_with_the_references() {
        for exact in [true, false] {
            let report = block_on(run(&|graph| Ok(Box::new(CpuBackend::new(graph, exact)?)), !exact));
            hold(report, if exact { "the CPU" } else { "the CPU with quantised activations" });
        }
    }

    #[test]
    fn the_gpu_agrees_with_the_references() {
        let Ok(device) = block_on(GpuDevice::request()) else {
            return eprintln!("SKIPPED: no GPU adapter, so no parity on the GPU");
        };
        let report = block_on(run(&|graph| Ok(Box::new(GpuBackend::new(graph, device.clone())?)), false));
        // What networks are made of runs there, in some case at least.
        let lost: Vec<_> = GPU_OPERATORS.iter().filter(|op| !report.worst.contains_key(**op)).collect();
        assert!(lost.is_empty(), "no case of {lost:?} ran on the GPU");
        // Weights pass through these on their way: cases of all their dtypes have seen to them.
        let of_weights = |name: &str| name.starts_with("repack") || name.starts_with("widen");
        let names = crate::kernels::shaders::SHADERS.iter().map(|shader| shader.name);
        let unseen: Vec<_> =
            names.filter(|name| !of_weights(name) && !report.kernels.contains(*name)).collect();
        assert!(unseen.is_empty(), "no case launches {unseen:?}");
        hold(report, "the GPU");
    }
}
