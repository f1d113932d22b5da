//! `Loader`: picks the device, takes a file's bytes in order, gives the model.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use wasm_bindgen::prelude::*;

use super::encoder::Encoder;
use super::layers::{Elsewhere, Layers};
use super::model::Model;
use super::network::Network;
use super::object::Object;
use super::options::Options;
use crate::backend::cpu::CpuBackend;
use crate::backend::gpu::{GpuDevice, self_test};
use crate::embed;
use crate::error::{Error, ErrorKind, Result, fail};
use crate::formats::onnx::{self, DataFiles};
use crate::generate::{self, LaterLayers, TextModel};
use crate::import::arch::Part;
use crate::kernels::threads::Threads;
use crate::plan::Crossing;
use crate::session::{self, Comparison, HeaderState, Kind, LoaderOptions, NetworkFile};
use crate::tensor::Chunk;

/// Bytes of a network up to which its first run tries both devices: a larger one is worth a GPU.
const MAX_COMPARED: u64 = 64 << 20;

/// The device of a model, as its `info` tells it.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) kind: &'static str,
    pub(super) adapter: Option<String>,
    pub(super) reason: String,
    pub(super) variant: &'static str,
}

impl Device {
    fn cpu(reason: String) -> Self {
        let variant = if cfg!(target_feature = "relaxed-simd") { "relaxed-simd" } else { "simd" };
        Self { kind: "cpu", adapter: None, reason, variant }
    }

    fn webgpu(gpu: &GpuDevice, reason: String) -> Self {
        Self { kind: "webgpu", adapter: gpu.name().map(str::to_string), reason, variant: "baseline" }
    }

    /// What becomes of it after a first run on both.
    pub(super) fn after(&self, found: &Comparison) -> Self {
        let Comparison { gpu_ms, cpu_ms } = found;
        let reason = format!("the first run took {gpu_ms:.1} ms on the GPU and {cpu_ms:.1} ms on the CPU");
        if found.keeps_gpu() { Self { reason, ..self.clone() } } else { Self::cpu(reason) }
    }

    /// This as JavaScript sees it.
    pub(super) fn object(&self) -> Object {
        Object::new()
            .with("kind", self.kind)
            .with("reason", self.reason.as_str())
            .maybe("adapter", self.adapter.as_deref())
            .with("variant", self.variant)
            .with("threads", Threads::shared().count() as u32)
    }
}

/// Reads a model file as it streams in.
#[wasm_bindgen]
pub struct Loader {
    wanted: String,
    exact: bool,
    device: Option<Device>,
    gpu: Option<GpuDevice>,
    inner: Option<session::Loader>,
    /// An ONNX file, which is read when it is whole.
    network: Option<Onnx>,
    /// The length of the file whose bytes come, where it is known.
    file_len: Option<u64>,
    begun: bool,
    /// Whether the next header bytes are the first of their file.
    first_of_file: bool,
}

/// The bytes of an ONNX file, and once it is whole those of the files beside it.
#[derive(Default)]
struct Onnx {
    bytes: Vec<u8>,
    data: Option<DataFiles>,
}

impl Onnx {
    /// Where the bytes of files beside it go.
    fn data(&mut self) -> Result<&mut DataFiles> {
        if self.data.is_none() {
            self.data = Some(DataFiles::of(&onnx::parse(&self.bytes)?)?);
        }
        match &mut self.data {
            Some(data) => Ok(data),
            None => fail!(Internal, "the data were just there"),
        }
    }
}

#[wasm_bindgen]
impl Loader {
    /// A loader for `{ device, contextLength, exact }`. Fails when one of them is out of its range.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &JsValue) -> std::result::Result<Loader, Error> {
        let options = Options(options);
        let exact = options.flag("exact", false)?;
        let context_length = options.count("contextLength")?;
        let inner = session::Loader::new(LoaderOptions { context_length, exact, ..Default::default() });
        let wanted = options.text("device")?.unwrap_or_else(|| "auto".to_string());
        Ok(Self {
            wanted,
            exact,
            device: None,
            gpu: None,
            inner: Some(inner),
            network: None,
            file_len: None,
            begun: false,
            first_of_file: true,
        })
    }

    /// Picks the device and says which and why. Fails with `no-webgpu` where WebGPU was demanded and cannot run.
    #[wasm_bindgen(js_name = openDevice)]
    pub async fn open_device(&mut self) -> std::result::Result<JsValue, Error> {
        let (gpu, reason) = choose(&self.wanted).await?;
        let device = match &gpu {
            Some(gpu) => Device::webgpu(gpu, reason),
            None => Device::cpu(reason),
        };
        if let Some(gpu) = gpu {
            self.gpu = Some(gpu.clone());
            self.inner()?.use_gpu(gpu);
        }
        let object = device.object().into();
        self.device = Some(device);
        Ok(object)
    }

    /// Loads of a language model the part `index` of `of` alone; before the first byte.
    pub fn share(&mut self, index: usize, of: usize) -> std::result::Result<(), Error> {
        self.inner()?.set_part(Part { index, of })
    }

    /// The bytes that are wanted behind the headers, once these are there: file, start and end of each range, in order.
    pub fn wanted(&mut self) -> std::result::Result<Option<Vec<f64>>, Error> {
        let ranges = self.inner()?.wanted();
        let flat = |(file, range): (usize, Range<u64>)| [file as f64, range.start as f64, range.end as f64];
        Ok(ranges.map(|ranges| ranges.into_iter().flat_map(flat).collect()))
    }

    /// Passes over bytes of the file that are not wanted.
    pub fn skip(&mut self, n: f64) -> std::result::Result<(), Error> {
        self.inner()?.skip(n as u64);
        Ok(())
    }

    /// Whether a file of that name is wanted beside the ONNX file that has come.
    #[wasm_bindgen(js_name = wantsFile)]
    pub fn wants_file(&mut self, name: Option<String>) -> std::result::Result<bool, Error> {
        match &mut self.network {
            Some(network) => network.data()?.wants(name.as_deref()),
            None => Ok(true),
        }
    }

    /// Says which file comes next, and how many bytes it has, where that is known.
    #[wasm_bindgen(js_name = beginFile)]
    pub fn begin_file(&mut self, bytes: Option<f64>, name: Option<String>) -> std::result::Result<(), Error> {
        self.file_len = bytes.map(|n| n as u64);
        self.first_of_file = true;
        match &mut self.network {
            Some(network) => network.data()?.begin(name.as_deref(), self.file_len)?,
            None => {
                let len = self.file_len;
                self.inner()?.begin_file(len);
            }
        }
        Ok(())
    }

    /// Takes first bytes of the next file of several and says how far its header is: `more` is wanted, it is
    /// `whole`, or it was `all` of the file. Of an ONNX file, which is a `network`, nothing is taken yet.
    #[wasm_bindgen(js_name = pushHeader)]
    pub fn push_header(&mut self, chunk: &[u8]) -> std::result::Result<String, Error> {
        if std::mem::take(&mut self.first_of_file) && onnx::looks_like_onnx(chunk) {
            return Ok("network".into());
        }
        let state = match self.inner()?.push_header(chunk)? {
            HeaderState::More => "more",
            HeaderState::Whole => "whole",
            HeaderState::All => "all",
        };
        Ok(state.into())
    }

    /// Takes the next bytes of the file.
    pub async fn push(&mut self, chunk: js_sys::Uint8Array) -> std::result::Result<(), Error> {
        if !std::mem::replace(&mut self.begun, true) && onnx::looks_like_onnx(&chunk.subarray(0, 16).to_vec())
        {
            let mut bytes = Vec::new();
            // Where there is no room, growing says so.
            let _ = bytes.try_reserve_exact(self.file_len.unwrap_or(0) as usize);
            self.network = Some(Onnx { bytes, data: None });
        }
        match &mut self.network {
            Some(Onnx { data: Some(data), .. }) => return data.push(&Chunk::Page(chunk)),
            Some(Onnx { bytes, data: None }) => {
                let start = bytes.len();
                let n = chunk.length() as usize;
                if bytes.try_reserve(n).is_err() {
                    return Err(Error::new(
                        ErrorKind::OutOfMemory,
                        "no memory for the bytes of the ONNX file",
                    ));
                }
                bytes.resize(start + n, 0);
                chunk.copy_to(&mut bytes[start..]);
                return Ok(());
            }
            None => {}
        }
        self.inner()?.push(Chunk::Page(chunk))
    }

    /// The file ended. Fails when bytes of it are missing.
    #[wasm_bindgen(js_name = endOfFile)]
    pub fn end_of_file(&mut self) -> std::result::Result<(), Error> {
        match &mut self.network {
            Some(Onnx { data: Some(data), .. }) => data.end(),
            Some(_) => Ok(()),
            None => self.inner()?.end_file(),
        }
    }

    /// How far loading is: `{ loadedBytes, expectedBytes?, tensor? }`.
    pub fn progress(&mut self) -> std::result::Result<JsValue, Error> {
        if let Some(Onnx { bytes, data }) = &self.network {
            let tensor = data.as_ref().and_then(DataFiles::next_tensor);
            return Ok(Object::new().count("loadedBytes", bytes.len() as u64).maybe("tensor", tensor).into());
        }
        let progress = self.inner()?.progress();
        let expected = progress.expected_bytes.map(|n| n as f64);
        let object = Object::new().count("loadedBytes", progress.loaded_bytes);
        Ok(object.maybe("expectedBytes", expected).maybe("tensor", progress.tensor.as_deref()).into())
    }

    /// Whether the bytes are an ONNX file, of which [`finish_network`](Self::finish_network) makes a model.
    #[wasm_bindgen(js_name = isNetwork)]
    pub fn is_network(&self) -> bool {
        self.network.is_some()
    }

    /// The model of an ONNX file. Fails when the file is broken, and when operators are not supported, naming them all.
    #[wasm_bindgen(js_name = finishNetwork)]
    pub fn finish_network(&mut self) -> std::result::Result<Network, Error> {
        let (Some(Onnx { bytes, data }), Some(device)) = (self.network.take(), self.device.clone()) else {
            return fail!(Internal, "finishNetwork() comes once, after the bytes of an ONNX file");
        };
        let n_bytes = bytes.len() as u64 + data.as_ref().map_or(0, DataFiles::n_bytes);
        let file = NetworkFile { bytes: &bytes, data };
        let Some(gpu) = self.gpu.take() else {
            let exact = self.exact;
            let network = session::Network::new(file, |graph| Ok(Box::new(CpuBackend::new(graph, exact)?)))?;
            return Ok(Network::new(network, device, n_bytes));
        };
        let mut network = session::Network::on_gpu(file, gpu, Crossing::TYPICAL)?;
        if self.wanted != "webgpu" && n_bytes <= MAX_COMPARED {
            network.compare_at_first_run();
        }
        Ok(Network::new(network, device, n_bytes))
    }

    /// Whether the model turns texts into vectors: [`finish_encoder`](Self::finish_encoder) then gives it.
    #[wasm_bindgen(js_name = isEncoder)]
    pub fn is_encoder(&self) -> bool {
        self.inner.as_ref().is_some_and(session::Loader::is_encoder)
    }

    /// The model that turns texts into vectors. Fails when bytes are missing.
    #[wasm_bindgen(js_name = finishEncoder)]
    pub fn finish_encoder(&mut self) -> std::result::Result<Encoder, Error> {
        let (inner, device) = self.loaded()?;
        Ok(Encoder::new(embed::Encoder::new(inner.finish()?)?, device))
    }

    /// The language model; of its first part, with the function that takes activations to the `later` ones. Fails when bytes
    /// are missing.
    pub fn finish(&mut self, later: Option<js_sys::Function>) -> std::result::Result<Model, Error> {
        let (inner, device) = self.loaded()?;
        let loaded = inner.finish()?;
        let later = match (later, &loaded.kind) {
            (Some(send), Kind::Language(_, model, _)) => {
                Some(Box::new(Elsewhere { send, hidden_dim: model.hidden_dim }) as Box<dyn LaterLayers>)
            }
            _ => None,
        };
        let model = TextModel::with_later(loaded, later)?;
        Ok(Model { facts: Rc::clone(model.facts()), inner: Rc::new(RefCell::new(model)), device })
    }

    /// The part of a language model that is not its first. Fails when bytes are missing.
    #[wasm_bindgen(js_name = finishLayers)]
    pub fn finish_layers(&mut self) -> std::result::Result<Layers, Error> {
        let (inner, _) = self.loaded()?;
        Ok(Layers::new(generate::Layers::new(inner.finish()?)?))
    }
}

impl Loader {
    /// What has taken the bytes, and the device that it has placed them on.
    fn loaded(&mut self) -> Result<(session::Loader, Device)> {
        let (Some(inner), Some(mut device)) = (self.inner.take(), self.device.clone()) else {
            return fail!(Internal, "finish() comes once, after openDevice()");
        };
        if let Some(obstacle) = inner.gpu_obstacle() {
            let reason = format!("the GPU cannot run this model: {obstacle}");
            if self.wanted == "webgpu" {
                return Err(Error::new(
                    ErrorKind::UnsupportedOp,
                    format!("{reason}. Load it with device \"cpu\""),
                ));
            }
            device = Device::cpu(reason);
        }
        Ok((inner, device))
    }

    fn inner(&mut self) -> Result<&mut session::Loader> {
        match &mut self.inner {
            Some(inner) => Ok(inner),
            None => fail!(Internal, "the loader has finished"),
        }
    }
}

/// The GPU that serves, if one does, and why. Fails where one was demanded and none can.
async fn choose(wanted: &str) -> Result<(Option<GpuDevice>, String)> {
    if wanted == "cpu" {
        return Ok((None, "device: \"cpu\" was asked for".into()));
    }
    let demanded = wanted == "webgpu";
    let opened = match GpuDevice::request().await {
        Ok(gpu) if gpu.is_software() && !demanded => {
            return Ok((None, "the only WebGPU adapter is software, and slower than this".into()));
        }
        Ok(gpu) => self_test(&gpu).await.map(|()| gpu),
        Err(error) => Err(error),
    };
    match opened {
        Ok(gpu) => {
            let reason =
                if demanded { "device: \"webgpu\" was asked for" } else { "it passed its self-test" };
            Ok((Some(gpu), reason.into()))
        }
        Err(error) if demanded => {
            let message =
                format!("{}. Load with device \"auto\" or \"cpu\"", error.message().trim_end_matches('.'));
            Err(Error::new(ErrorKind::NoWebgpu, message))
        }
        Err(error) => Ok((None, format!("WebGPU is not used: {}", error.message()))),
    }
}
