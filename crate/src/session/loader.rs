//! Loading in constant memory: bytes are pushed in file order and each goes to its place at once. Only the
//! header is kept whole, and of each weight no more than a row.

use super::Session;
use crate::backend::Backend;
use crate::backend::cpu::CpuBackend;
use crate::backend::gpu::{GpuBackend, GpuDevice};
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::formats::gguf::{Gguf, Parsed};
use crate::generate::TextModel;
use crate::graph::{Graph, Source, ValueId};
use crate::import::arch::{self, ArchOptions, LanguageModel};
use crate::passes;
use crate::plan::{Plan, PlanOptions};
use crate::text::Tokenizer;
use crate::types::Bindings;
use std::collections::HashMap;

/// What the caller wants of the model.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoaderOptions {
    /// Tokens that the KV cache shall hold.
    pub context_length: Option<usize>,
    /// Whether activations and the KV cache stay f32.
    pub exact: bool,
}

/// How far loading is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Bytes taken.
    pub loaded_bytes: u64,
    /// Bytes of the file, as its header has it.
    pub expected_bytes: Option<u64>,
}

/// Where a tensor of the file goes.
struct Target {
    value: ValueId,
    first_row: usize,
}

/// What the header has given.
struct Loading {
    gguf: Gguf,
    model: LanguageModel,
    session: Session,
    targets: HashMap<Box<str>, Vec<Target>>,
    /// Tensors by offset, as indices.
    order: Vec<usize>,
    /// The tensor that comes next, as a position in `order`.
    next: usize,
}

/// Takes a GGUF file's bytes and makes a model of them.
pub struct Loader {
    options: LoaderOptions,
    gpu: Option<GpuDevice>,
    /// Why the GPU does not serve this model, where it was to.
    obstacle: Option<String>,
    header: Vec<u8>,
    /// The length of `header` at which parsing is tried again.
    retry_at: usize,
    taken: u64,
    loading: Option<Loading>,
}

impl Loader {
    /// A loader that has no bytes yet.
    pub fn new(options: LoaderOptions) -> Self {
        let gpu = None;
        Self { options, gpu, obstacle: None, header: Vec::new(), retry_at: 0, taken: 0, loading: None }
    }

    /// Loads to this device, if it has a kernel for every operator of the model; else to the CPU.
    pub fn use_gpu(&mut self, device: GpuDevice) {
        self.gpu = Some(device);
    }

    /// Why the model is not on the GPU that it was to use, once the header is there.
    pub fn gpu_obstacle(&self) -> Option<&str> {
        self.obstacle.as_deref()
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(loading) = &mut self.loading {
            loading.take(self.taken, bytes)?;
            self.taken += bytes.len() as u64;
            return Ok(());
        }
        self.header.extend_from_slice(bytes);
        self.taken += bytes.len() as u64;
        if self.header.len() >= self.retry_at {
            self.try_header()?;
        }
        Ok(())
    }

    fn try_header(&mut self) -> Result<()> {
        match Gguf::parse(&self.header, None)? {
            Parsed::NeedMore => self.retry_at = self.header.len() * 3 / 2,
            Parsed::Complete(gguf) => {
                let (mut loading, obstacle) = Loading::new(*gguf, self.options, self.gpu.take())?;
                self.obstacle = obstacle;
                let bytes = std::mem::take(&mut self.header);
                loading.take(0, &bytes)?;
                self.loading = Some(loading);
            }
        }
        Ok(())
    }

    /// How far loading is.
    pub fn progress(&self) -> Progress {
        let expected_bytes = self.loading.as_ref().map(Loading::file_bytes);
        Progress { loaded_bytes: self.taken, expected_bytes }
    }

    /// The model, once all bytes are there. Fails, naming the first missing tensor, when they are not.
    pub fn finish(mut self) -> Result<TextModel> {
        if self.loading.is_none() && !self.header.is_empty() {
            self.try_header()?;
        }
        let Some(loading) = self.loading else {
            return fail!(
                Format,
                "the file ended after {} bytes, inside its header: download it again",
                self.taken
            );
        };
        if self.taken < loading.file_bytes() {
            let missing = loading.order.get(loading.next).map(|&i| &loading.gguf.tensors[i].name);
            let message = format!(
                "the file ended after {} of {} bytes: download it again",
                self.taken,
                loading.file_bytes()
            );
            return Err(Error::new(ErrorKind::Format, message).at(missing.map_or("end", |name| name)));
        }
        let tokenizer = Tokenizer::from_gguf(&loading.gguf)?;
        TextModel::new(loading.session, tokenizer, loading.gguf, &loading.model)
    }
}

impl Loading {
    /// Places for everything the header names; on the CPU, with the reason, when the GPU cannot run it.
    fn new(gguf: Gguf, options: LoaderOptions, gpu: Option<GpuDevice>) -> Result<(Self, Option<String>)> {
        if let Some(count) = gguf.uint("split.count").filter(|&count| count > 1) {
            return fail!(
                UnsupportedFormat,
                "this file is one of {count} shards, which are not read yet: merge them (llama-gguf-split --merge)"
            );
        }
        let arch = ArchOptions { context_length: options.context_length, exact: options.exact };
        let mut model = arch::build(&gguf, arch)?;
        passes::optimise(&mut model.graph)?;
        let (mut backend, mut obstacle): (Option<Box<dyn Backend>>, _) = (None, None);
        if let Some(device) = gpu {
            obstacle = gpu_obstacle(&device, &model.graph)?;
            if obstacle.is_none() {
                backend = Some(Box::new(GpuBackend::new(&model.graph, device)?));
            }
        }
        let backend = match backend {
            Some(backend) => backend,
            None => Box::new(CpuBackend::new(&model.graph, options.exact)?),
        };
        let mut session = Session::new(model.graph.clone(), backend);
        // A GPU compiles its kernels while the weights come.
        session.prepare(&["argmax"], token_sizes(1))?;
        let targets = targets(&gguf, &model.graph)?;
        let mut order: Vec<usize> = (0..gguf.tensors.len()).collect();
        order.sort_by_key(|&i| gguf.tensors[i].offset);
        Ok((Self { gguf, model, session, targets, order, next: 0 }, obstacle))
    }

    fn file_bytes(&self) -> u64 {
        self.gguf.tensors.iter().map(|t| t.offset + t.n_bytes).max().unwrap_or(self.gguf.data_start)
    }

    /// Gives bytes that start at `at` in the file to the tensors they belong to.
    fn take(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let end = at + bytes.len() as u64;
        while let Some(&index) = self.order.get(self.next) {
            let tensor = &self.gguf.tensors[index];
            let (start, stop) = (tensor.offset.max(at), (tensor.offset + tensor.n_bytes).min(end));
            if start < stop {
                let piece = &bytes[(start - at) as usize..(stop - at) as usize];
                for target in self.targets.get(&tensor.name).into_iter().flatten() {
                    let offset = (start - tensor.offset) as usize;
                    let written = self.session.write_weight(target.value, target.first_row, offset, piece);
                    written.map_err(|e| e.at(&*tensor.name))?;
                }
            }
            if tensor.offset + tensor.n_bytes > end {
                break;
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// The sizes of a run of `n` tokens.
fn token_sizes(n: usize) -> Bindings {
    Bindings::from([("s".into(), n), ("n".into(), 1)])
}

/// Why the device cannot run the graph, where it cannot.
fn gpu_obstacle(device: &GpuDevice, graph: &Graph) -> Result<Option<String>> {
    let wanted: Vec<(String, ValueId)> =
        graph.outputs().iter().map(|(name, id)| (name.to_string(), *id)).collect();
    let plan = Plan::new(graph, &wanted, &token_sizes(2), PlanOptions { in_place: false })?;
    GpuBackend::obstacle(device, graph, &plan)
}

/// Where each tensor of the file goes: the weights that it is part of, and at which row.
fn targets(gguf: &Gguf, graph: &Graph) -> Result<HashMap<Box<str>, Vec<Target>>> {
    let mut targets: HashMap<Box<str>, Vec<Target>> = HashMap::new();
    for (value, description) in graph.values() {
        let Source::Weight(weight) = &description.source else { continue };
        let mut first_row = 0;
        for part in &weight.parts {
            let tensor = gguf.tensor(part);
            ensure!(tensor.is_some(), Internal, "the weight '{part}' is not in the file");
            targets.entry((&**part).into()).or_default().push(Target { value, first_row });
            first_row += tensor.and_then(|t| t.shape.first().copied()).unwrap_or(0);
        }
    }
    Ok(targets)
}
