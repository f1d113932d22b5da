//! A model in an ONNX file: tensors by name in, tensors by name out.

use super::session::read_all;
use super::{Session, check_feeds};
use crate::backend::cpu::CpuBackend;
use crate::backend::gpu::{GpuBackend, GpuDevice};
use crate::backend::{Backend, Held, Profiled};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::onnx::{self, DimInfo, ValueInfo, ValueType};
use crate::graph::Graph;
use crate::import;
use crate::kernels::clock;
use crate::passes;
use crate::plan::Crossing;
use crate::tensor::Tensor;
use crate::types::DType;

/// An input or output, as the file declares it.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What kind of value it is.
    pub kind: PortKind,
    /// Its element type, where it is a tensor and the file says it.
    pub dtype: Option<DType>,
    /// Its dimensions, where the file says how many there are: numbers, names, or nothing.
    pub shape: Option<Vec<PortDim>>,
}

/// The kinds of values that networks take and give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PortKind {
    Tensor,
    Sequence,
    Optional,
    Map,
}

/// A dimension as the file declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortDim {
    /// A number.
    Known(usize),
    /// A name.
    Named(String),
    /// Anything.
    Unknown,
}

/// How long a run took on either device.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// Milliseconds on the GPU, and on the CPU for what the GPU does not do.
    pub gpu_ms: f64,
    /// Milliseconds on the CPU alone.
    pub cpu_ms: f64,
}

impl Comparison {
    /// Whether the GPU goes on.
    pub fn keeps_gpu(&self) -> bool {
        self.gpu_ms <= self.cpu_ms
    }
}

/// A loaded ONNX model.
pub struct Network {
    session: Session,
    compares: bool,
    comparison: Option<Comparison>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    metadata: Vec<(String, String)>,
    n_nodes: usize,
}

impl Network {
    /// Reads a file and places its weights on the back end that `open` makes for its graph. Fails when the file is
    /// broken, or uses operators that are not supported: the error names them all.
    pub fn new(bytes: &[u8], open: impl FnOnce(&Graph) -> Result<Box<dyn Backend>>) -> Result<Self> {
        Self::with_session(bytes, |mut graph| {
            let backend = open(&graph)?;
            graph.release_constants(|id| backend.has_repacked(id))?;
            Ok(Session::new(graph, backend))
        })
    }

    /// Reads a file to run on a GPU whatever it has a kernel for and is worth a crossing, and the rest on the CPU.
    pub fn on_gpu(bytes: &[u8], device: GpuDevice, crossing: Crossing) -> Result<Self> {
        Self::with_session(bytes, |graph| {
            let gpu = Box::new(GpuBackend::new(&graph, device)?);
            let cpu = Box::new(CpuBackend::beside_another(&graph)?);
            Ok(Session::on_two(graph, gpu, cpu, crossing))
        })
    }

    /// Of a network on a GPU: lets the first run find out whether the CPU alone is faster, and stay with what is.
    pub fn compare_at_first_run(&mut self) {
        self.compares = true;
    }

    /// What the first run has found out, where it compared.
    pub fn comparison(&self) -> Option<&Comparison> {
        self.comparison.as_ref()
    }

    /// Runs on both, twice each: a first run compiles and repacks.
    async fn compare(
        &mut self,
        feeds: &[(&str, Held)],
        outputs: &[&str],
        keep: &[&str],
    ) -> Result<Vec<Held>> {
        let mut ms = [0.0; 2];
        let mut computed = Vec::new();
        for (host_only, ms) in [false, true].into_iter().zip(&mut ms) {
            self.session.use_host_only(host_only);
            for _ in 0..2 {
                let start = clock::now();
                computed = self.session.run_keeping(feeds.to_vec(), outputs, keep).await?;
                *ms = clock::now() - start;
            }
        }
        let [gpu_ms, cpu_ms] = ms;
        self.session.use_host_only(false);
        if cpu_ms < gpu_ms {
            self.session.free_device();
        }
        self.comparison = Some(Comparison { gpu_ms, cpu_ms });
        Ok(computed)
    }

    fn with_session(bytes: &[u8], open: impl FnOnce(Graph) -> Result<Session>) -> Result<Self> {
        let model = onnx::parse(bytes)?;
        let mut graph = import::onnx::build(&model)?;
        passes::optimise(&mut graph)?;
        let is_input =
            |info: &&ValueInfo| model.graph.initializers.iter().all(|tensor| tensor.name != info.name);
        let inputs = model.graph.inputs.iter().filter(is_input).map(port).collect();
        let outputs = model.graph.outputs.iter().map(port).collect();
        let metadata = model.metadata.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect();
        Ok(Self {
            n_nodes: graph.nodes().count(),
            session: with_bodies(graph, open)?,
            compares: false,
            comparison: None,
            inputs,
            outputs,
            metadata,
        })
    }

    /// What it wants.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What it gives.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// What its file says beside the graph: keys and texts, such as the characters that a recogniser knows.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// How many operators its graph has.
    pub fn n_nodes(&self) -> usize {
        self.n_nodes
    }

    /// Computes the outputs named, in that order. Fails, naming the input and listing them, when one is missing,
    /// unknown, given twice, or of another type or shape than the file declares.
    pub async fn run(&mut self, feeds: Vec<(&str, Tensor)>, outputs: &[&str]) -> Result<Vec<Tensor>> {
        let feeds = feeds.into_iter().map(|(name, tensor)| (name, tensor.into())).collect();
        read_all(self.run_keeping(feeds, outputs, &[]).await?).await
    }

    /// The same, where feeds may lie on the device, and the outputs named in `keep` stay on it if they are computed
    /// there: fed to a later run, they do not cross.
    pub async fn run_keeping(
        &mut self,
        feeds: Vec<(&str, Held)>,
        outputs: &[&str],
        keep: &[&str],
    ) -> Result<Vec<Held>> {
        let types: Vec<_> = feeds.iter().map(|(name, held)| (*name, held.ty())).collect();
        let clash = check_feeds::check(&self.inputs, &types)?;
        let missing = self.inputs.iter().find(|port| feeds.iter().all(|(name, _)| *name != port.name));
        let missing = missing.map(|port| check_feeds::missing(port, &self.inputs));
        let outcome = match self.compares {
            true => self.compare(&feeds, outputs, keep).await,
            false => self.session.run_keeping(feeds, outputs, keep).await,
        };
        self.compares &= outcome.is_err();
        // An input that the outputs do not need may be missing; sizes of one name may differ where that does no harm.
        match (outcome, missing.or(clash)) {
            (Err(error), Some(likelier)) if is_about_inputs(&error) => Err(likelier),
            (outcome, _) => outcome,
        }
    }

    /// Whether runs measure each launch from now on, which makes them slower on the GPU.
    pub fn time_launches(&mut self, on: bool) {
        self.session.time_launches(on);
    }

    /// What the last run launched, step by step.
    pub fn profile(&self) -> Vec<Profiled> {
        self.session.last_profile()
    }

    /// Bytes of weights and buffers.
    pub fn memory_bytes(&self) -> usize {
        self.session.memory_bytes()
    }
}

/// The session of a graph, and those of its bodies, which run on the CPU: each round is short, and waits for the one
/// before.
fn with_bodies(mut graph: Graph, open: impl FnOnce(Graph) -> Result<Session>) -> Result<Session> {
    let bodies = std::mem::take(graph.bodies());
    let bodies = bodies.into_iter().map(|body| with_bodies(body, on_cpu)).collect::<Result<_>>()?;
    Ok(open(graph)?.with_bodies(bodies))
}

fn on_cpu(mut graph: Graph) -> Result<Session> {
    let backend = Box::new(CpuBackend::new(&graph, true)?);
    graph.release_constants(|id| backend.has_repacked(id))?;
    Ok(Session::new(graph, backend))
}

/// Whether a run may have failed for want of an input.
fn is_about_inputs(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::ShapeMismatch)
}

fn port(info: &ValueInfo) -> Port {
    let dim = |dim: &DimInfo| match dim {
        DimInfo::Known(n) => PortDim::Known(*n),
        DimInfo::Named(name) => PortDim::Named(name.to_string()),
        DimInfo::Unknown => PortDim::Unknown,
    };
    let (dtype, shape) = match &info.ty {
        Some(ValueType::Tensor { elem, shape }) => (elem.and_then(|elem| elem.dtype()), shape.as_ref()),
        _ => (None, None),
    };
    let kind = match &info.ty {
        Some(ValueType::Sequence(_)) => PortKind::Sequence,
        Some(ValueType::Optional(_)) => PortKind::Optional,
        Some(ValueType::Map { .. }) => PortKind::Map,
        _ => PortKind::Tensor,
    };
    Port {
        name: info.name.to_string(),
        kind,
        dtype,
        shape: shape.map(|shape| shape.iter().map(dim).collect()),
    }
}
