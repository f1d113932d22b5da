//! Loading in constant memory: bytes are pushed in file order and each goes to its place at once. Only the
//! header is kept whole, and of each weight no more than a row.

use super::Session;
use super::headers::{Description, HeaderState, Headers, in_file};
use crate::backend::Backend;
use crate::backend::cpu::CpuBackend;
use crate::backend::gpu::{GpuBackend, GpuDevice};
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::formats::TensorInfo;
use crate::formats::gguf::Gguf;
use crate::formats::hf_config::HfConfig;
use crate::graph::{Derivation, Graph, Source, ValueId};
use crate::import::arch::{self, ArchOptions, EncoderModel, LanguageModel, Part};
use crate::passes;
use crate::plan::{Plan, PlanOptions};
use crate::tensor::Chunk;
use crate::text::Tokenizer;
use crate::types::Bindings;
use std::collections::HashMap;
use std::ops::Range;

/// What the caller wants of the model.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoaderOptions {
    /// Tokens that the KV cache shall hold.
    pub context_length: Option<usize>,
    /// Whether activations and the KV cache stay f32.
    pub exact: bool,
    /// The part of a language model to be loaded. Of the files' bytes only those of its [`wanted`](Loader::wanted)
    /// tensors are needed. Only a whole model can be on a GPU.
    pub part: Part,
}

/// How far loading is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Bytes taken.
    pub loaded_bytes: u64,
    /// Bytes of all files, as their headers have it.
    pub expected_bytes: Option<u64>,
    /// The tensor that is being read.
    pub tensor: Option<Box<str>>,
}

/// A model whose bytes are all in their place.
pub struct Loaded {
    /// Its graph, ready to run.
    pub session: Session,
    /// What it is.
    pub kind: Kind,
    /// Its tensors, as the files have them.
    pub tensors: Vec<TensorInfo>,
}

/// The kinds of models that are loaded tensor by tensor.
pub enum Kind {
    /// One that goes on with a text: its header, what the token loop needs to know of the graph, and its tokenizer.
    Language(Gguf, LanguageModel, Tokenizer),
    /// Layers of such a model, which are not the first.
    Layers(LanguageModel),
    /// One that turns texts into vectors: its configuration, what batches need to know of the graph, and its tokenizer.
    Encoder(HfConfig, EncoderModel, Tokenizer),
}

impl Kind {
    fn graph_mut(&mut self) -> &mut Graph {
        match self {
            Self::Language(_, model, _) | Self::Layers(model) => &mut model.graph,
            Self::Encoder(_, model, _) => &mut model.graph,
        }
    }

    /// The sizes of a run that stands for all when the GPU is asked whether it can.
    fn sample_sizes(&self) -> Bindings {
        match self {
            Self::Language(..) | Self::Layers(_) => token_sizes(2),
            Self::Encoder(..) => Bindings::from([("b".into(), 2), ("s".into(), 8)]),
        }
    }
}

/// Where a tensor of the file goes.
struct Target {
    value: ValueId,
    first_row: usize,
    derived: Option<Derived>,
}

/// A weight that is computed from a tensor, and the bytes of that tensor so far.
struct Derived {
    derivation: Derivation,
    bytes: Vec<u8>,
}

/// What the headers have given.
struct Loading {
    /// Bytes of each file's header.
    header_bytes: Vec<u64>,
    kind: Kind,
    tensors: Vec<TensorInfo>,
    session: Session,
    targets: HashMap<Box<str>, Vec<Target>>,
    /// Tensors by file and offset, as indices.
    order: Vec<usize>,
    /// The tensor that comes next, as a position in `order`.
    next: usize,
}

/// Takes the bytes of a GGUF or safetensors model and makes a model of them.
///
/// One file: [`push`](Self::push) all bytes, [`finish`](Self::finish). Several: first the header of each, by
/// [`begin_file`](Self::begin_file) and [`push_header`](Self::push_header) until it says that it is whole; then,
/// file by file, `begin_file`, `push` from the file's first byte on, [`end_file`](Self::end_file).
pub struct Loader {
    options: LoaderOptions,
    gpu: Option<GpuDevice>,
    /// Why the GPU does not serve this model, where it was to.
    obstacle: Option<String>,
    headers: Headers,
    /// The length of the file that the bytes are of, where it is known.
    file_len: Option<u64>,
    /// The file that the next bytes are of, and where they go on in it.
    file: usize,
    at: u64,
    taken: u64,
    loading: Option<Loading>,
}

impl Loader {
    /// A loader that has no bytes yet.
    pub fn new(options: LoaderOptions) -> Self {
        Self {
            options,
            gpu: None,
            obstacle: None,
            headers: Headers::default(),
            file_len: None,
            file: 0,
            at: 0,
            taken: 0,
            loading: None,
        }
    }

    /// Loads to this device, if it has a kernel for every operator of the model; else to the CPU.
    pub fn use_gpu(&mut self, device: GpuDevice) {
        self.gpu = Some(device);
    }

    /// Loads this part of a language model alone.
    pub fn set_part(&mut self, part: Part) -> Result<()> {
        ensure!(
            self.headers.len() == 0 && self.loading.is_none(),
            Internal,
            "the part of a model comes before its header"
        );
        self.options.part = part;
        Ok(())
    }

    /// The file, start and end of each range of bytes that is needed behind the headers, in order; nothing before the
    /// headers are there. What lies between may be [`skip`](Self::skip)ped.
    pub fn wanted(&self) -> Option<Vec<(usize, Range<u64>)>> {
        self.loading.as_ref().map(Loading::wanted)
    }

    /// Passes over bytes that are not wanted.
    pub fn skip(&mut self, n: u64) {
        self.at += n;
        self.taken += n;
    }

    /// Why the model is not on the GPU that it was to use, once the header is there.
    pub fn gpu_obstacle(&self) -> Option<&str> {
        self.obstacle.as_deref()
    }

    /// Says how long the file is whose first bytes come next, where it is known: a header that counts more than
    /// the file can hold is then refused at once.
    pub fn begin_file(&mut self, len: Option<u64>) {
        self.file_len = len;
    }

    /// Takes first bytes of the next file and says whether its header is whole. Only a model in several files
    /// needs it: a weight may be made of tensors of more than one.
    pub fn push_header(&mut self, bytes: &[u8]) -> Result<HeaderState> {
        ensure!(self.loading.is_none(), Internal, "headers come before the first tensor");
        let state = self.headers.push(bytes, self.file_len)?;
        if state != HeaderState::More {
            self.headers.take_bytes();
        }
        Ok(state)
    }

    /// Takes the next bytes of the file.
    pub fn push<'a>(&mut self, chunk: impl Into<Chunk<'a>>) -> Result<()> {
        let chunk = chunk.into();
        self.taken += chunk.len() as u64;
        if self.loading.is_none() && self.headers.len() == 0 {
            return match self.headers.push(&chunk.read(), self.file_len)? {
                HeaderState::More => Ok(()),
                _ => {
                    let bytes = self.headers.take_bytes();
                    self.take(&bytes[..].into())
                }
            };
        }
        self.take(&chunk)
    }

    fn take(&mut self, chunk: &Chunk) -> Result<()> {
        if self.loading.is_none() {
            let headers = std::mem::take(&mut self.headers);
            let (loading, obstacle) = Loading::new(headers, self.options, self.gpu.take())?;
            (self.loading, self.obstacle) = (Some(loading), obstacle);
        }
        if let Some(loading) = &mut self.loading {
            loading.take(self.file, self.at, chunk)?;
            self.at += chunk.len() as u64;
        }
        Ok(())
    }

    /// Ends the file. Fails, naming the first missing tensor, when its bytes are not all there.
    pub fn end_file(&mut self) -> Result<()> {
        if self.loading.is_none() && self.headers.open_bytes() > 0 {
            self.file_len = Some(self.headers.open_bytes() as u64);
            self.push(&[][..])?;
        }
        if self.loading.is_none() && self.headers.len() > 0 {
            self.take(&[][..].into())?;
        }
        let Some(loading) = &self.loading else { return Ok(()) };
        let expected = loading.file_bytes(self.file);
        if self.at < expected {
            let missing = loading.next_tensor();
            let message = format!("the file ended after {} of {expected} bytes: download it again", self.at);
            let error = Error::new(ErrorKind::Format, message).at(missing.unwrap_or("end"));
            return Err(in_file(error, self.file));
        }
        (self.file, self.at) = (self.file + 1, 0);
        Ok(())
    }

    /// Whether the model turns texts into vectors, once the headers are there.
    pub fn is_encoder(&self) -> bool {
        self.loading.as_ref().is_some_and(|loading| matches!(loading.kind, Kind::Encoder(..)))
    }

    /// How far loading is.
    pub fn progress(&self) -> Progress {
        let loading = self.loading.as_ref();
        Progress {
            loaded_bytes: self.taken,
            expected_bytes: loading.map(Loading::expected_bytes),
            tensor: loading.and_then(|l| l.next_tensor().map(Box::from)),
        }
    }

    /// The model, once all bytes are there. Fails, naming the first missing tensor, when they are not.
    pub fn finish(mut self) -> Result<Loaded> {
        if self.at > 0 || self.loading.is_none() {
            self.end_file()?;
        }
        let Some(loading) = self.loading else {
            return fail!(Format, "the file is empty: check that the source gives the file itself");
        };
        ensure!(
            self.file == loading.n_files(),
            Format,
            "the bytes of file {} of {} did not come",
            self.file + 1,
            loading.n_files()
        );
        let Loading { session, kind, tensors, .. } = loading;
        Ok(Loaded { session, kind, tensors })
    }
}

impl Loading {
    /// Places for everything the headers name; on the CPU, with the reason, when the GPU cannot run it.
    fn new(
        headers: Headers,
        options: LoaderOptions,
        gpu: Option<GpuDevice>,
    ) -> Result<(Self, Option<String>)> {
        let (description, header_bytes) = headers.join()?;
        let (mut kind, tensors) = build(description, options)?;
        let sizes = kind.sample_sizes();
        let graph = kind.graph_mut();
        passes::optimise(graph)?;
        let (mut backend, mut obstacle): (Option<Box<dyn Backend>>, _) = (None, None);
        if let Some(device) = gpu.filter(|_| options.part.is_whole()) {
            obstacle = gpu_obstacle(&device, graph, &sizes)?;
            if obstacle.is_none() {
                backend = Some(Box::new(GpuBackend::new(graph, device)?));
            }
        }
        let backend = match backend {
            Some(backend) => backend,
            None => {
                passes::optimise_for_cpu(graph)?;
                Box::new(CpuBackend::new(graph, options.exact)?)
            }
        };
        let graph = graph.clone();
        // A GPU compiles its kernels while the weights come. The CPU never looks for the best scores in the graph.
        let ahead: &[(&[&str], usize)] = match backend.is_device() {
            true => &[(&["argmax"], 1), (&["hidden"], 64), (&["top_logits", "top_ids"], 1)],
            false => &[(&["argmax"], 1)],
        };
        let mut session = Session::new(graph.clone(), backend);
        if let (Kind::Language(..), true) = (&kind, options.part.is_whole()) {
            for &(outputs, n) in ahead {
                session.prepare(outputs, token_sizes(n))?;
            }
        }
        let targets = targets(&tensors, &graph)?;
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&i| (tensors[i].file, tensors[i].offset));
        Ok((Self { header_bytes, kind, tensors, session, targets, order, next: 0 }, obstacle))
    }

    /// The bytes of the tensors that go somewhere: file, start and end.
    fn wanted(&self) -> Vec<(usize, Range<u64>)> {
        let mut ranges: Vec<(usize, Range<u64>)> = Vec::new();
        for tensor in self.order.iter().map(|&index| &self.tensors[index]) {
            if !self.targets.contains_key(&tensor.name) {
                continue;
            }
            let range = tensor.offset..tensor.offset + tensor.n_bytes;
            match ranges.last_mut() {
                Some((file, last)) if *file == tensor.file && last.end == range.start => last.end = range.end,
                _ => ranges.push((tensor.file, range)),
            }
        }
        ranges
    }

    fn n_files(&self) -> usize {
        self.header_bytes.len()
    }

    /// The name of the tensor whose bytes come next.
    fn next_tensor(&self) -> Option<&str> {
        self.order.get(self.next).map(|&index| &*self.tensors[index].name)
    }

    /// Bytes that a file has at least.
    fn file_bytes(&self, file: usize) -> u64 {
        let ends = self.tensors.iter().filter(|t| t.file == file).map(|t| t.offset + t.n_bytes);
        ends.max().unwrap_or(0)
    }

    /// Bytes of all files, one without tensors being as long as its header.
    fn expected_bytes(&self) -> u64 {
        self.header_bytes.iter().enumerate().map(|(file, &header)| self.file_bytes(file).max(header)).sum()
    }

    /// Gives bytes that start at `at` in a file to the tensors they belong to.
    fn take(&mut self, file: usize, at: u64, chunk: &Chunk) -> Result<()> {
        let end = at + chunk.len() as u64;
        while let Some(&index) = self.order.get(self.next) {
            let tensor = &self.tensors[index];
            if tensor.file > file {
                break;
            }
            if tensor.file < file {
                // The end of that file was skipped.
                self.next += 1;
                continue;
            }
            let (start, stop) = (tensor.offset.max(at), (tensor.offset + tensor.n_bytes).min(end));
            if start < stop {
                let piece = chunk.slice((start - at) as usize..(stop - at) as usize);
                for target in self.targets.get_mut(&tensor.name).into_iter().flatten() {
                    let offset = (start - tensor.offset) as usize;
                    let last = stop == tensor.offset + tensor.n_bytes;
                    target.write(&mut self.session, offset, &piece, last).map_err(|e| e.at(&*tensor.name))?;
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

/// The model that the headers describe, and its tensors.
fn build(description: Description, options: LoaderOptions) -> Result<(Kind, Vec<TensorInfo>)> {
    match description {
        Description::Gguf(mut gguf) => {
            let LoaderOptions { context_length, exact, part } = options;
            let model = arch::build(&gguf, ArchOptions { context_length, exact, part })?;
            let tensors = std::mem::take(&mut gguf.tensors);
            if !part.is_first() {
                return Ok((Kind::Layers(model), tensors));
            }
            let tokenizer = Tokenizer::from_gguf(&gguf)?;
            // That is the bulk of the metadata.
            gguf.metadata.retain(|key, _| !key.starts_with("tokenizer.ggml.") || key.ends_with("_id"));
            Ok((Kind::Language(gguf, model, tokenizer), tensors))
        }
        Description::Hf(mut config, tensors) => {
            let model = arch::build_encoder(&config, &tensors)?;
            let tokenizer = Tokenizer::from_json(&config.take_tokenizer().unwrap_or_default())?;
            ensure!(
                tokenizer.vocabulary_size() <= model.vocabulary_size,
                Format,
                "tokenizer.json has {} tokens, and the model {}: they are of two models",
                tokenizer.vocabulary_size(),
                model.vocabulary_size
            );
            Ok((Kind::Encoder(config, model, tokenizer), tensors))
        }
    }
}

/// The sizes of a run of `n` tokens.
fn token_sizes(n: usize) -> Bindings {
    Bindings::from([("s".into(), n), ("n".into(), 1)])
}

/// Why the device cannot run the graph, where it cannot.
fn gpu_obstacle(device: &GpuDevice, graph: &Graph, sizes: &Bindings) -> Result<Option<String>> {
    let wanted: Vec<(String, ValueId)> =
        graph.outputs().iter().map(|(name, id)| (name.to_string(), *id)).collect();
    let plan = Plan::of_sizes(graph, &wanted, sizes, PlanOptions { in_place: false })?;
    GpuBackend::obstacle(device, graph, &plan)
}

impl Target {
    /// Writes the bytes of a tensor that begin at `offset` in it.
    fn write(&mut self, session: &mut Session, offset: usize, chunk: &Chunk, last: bool) -> Result<()> {
        let Some(derived) = &mut self.derived else {
            return session.write_weight(self.value, self.first_row, offset, chunk);
        };
        derived.bytes.extend_from_slice(&chunk.read());
        if !last {
            return Ok(());
        }
        let (values, _) = derived.bytes.as_chunks::<4>();
        let values: Vec<f32> = values.iter().copied().map(f32::from_le_bytes).collect();
        session.write_weight(self.value, 0, 0, &derived.derivation.compute(&values)?.bytes().into())
    }
}

/// Where each tensor of the file goes: the weights that it is part of, and at which row.
fn targets(tensors: &[TensorInfo], graph: &Graph) -> Result<HashMap<Box<str>, Vec<Target>>> {
    let named: HashMap<&str, &TensorInfo> = tensors.iter().map(|tensor| (&*tensor.name, tensor)).collect();
    let mut targets: HashMap<Box<str>, Vec<Target>> = HashMap::new();
    for (value, description) in graph.values() {
        let Source::Weight(weight) = &description.source else { continue };
        let mut first_row = 0;
        for part in &weight.parts {
            let tensor = named.get(&**part);
            ensure!(tensor.is_some(), Internal, "the weight '{part}' is not in the file");
            let derived =
                weight.derivation.clone().map(|derivation| Derived { derivation, bytes: Vec::new() });
            targets.entry((&**part).into()).or_default().push(Target { value, first_row, derived });
            first_row += tensor.and_then(|t| t.shape.first().copied()).unwrap_or(0);
        }
    }
    Ok(targets)
}
