//! `Loader`: picks the device, takes a file's bytes in order, gives the model.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::prelude::*;

use super::encoder::Encoder;
use super::model::Model;
use super::network::Network;
use super::object::Object;
use super::options::Options;
use crate::backend::cpu::CpuBackend;
use crate::backend::gpu::{GpuDevice, self_test};
use crate::embed;
use crate::error::{Error, ErrorKind, Result, fail};
use crate::formats::safetensors::looks_like_safetensors;
use crate::generate::TextModel;
use crate::plan::Crossing;
use crate::session::{self, Comparison, HeaderState, LoaderOptions};
use crate::tensor::Chunk;

/// Bytes of a network up to which its first run tries both devices: a larger one is worth a GPU.
const MAX_COMPARED: usize = 64 << 20;

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
            .with("threads", 1)
    }
}

/// Reads a model file as it streams in.
#[wasm_bindgen]
pub struct Loader {
    wanted: String,
    device: Option<Device>,
    gpu: Option<GpuDevice>,
    inner: Option<session::Loader>,
    /// The bytes of an ONNX file, which is read when it is whole.
    network: Option<Vec<u8>>,
    begun: bool,
}

#[wasm_bindgen]
impl Loader {
    /// A loader for `{ device, contextLength, exact }`. Fails when one of them is out of its range.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &JsValue) -> std::result::Result<Loader, Error> {
        let options = Options(options);
        let inner = session::Loader::new(LoaderOptions {
            context_length: options.count("contextLength")?,
            exact: options.flag("exact", false)?,
        });
        let wanted = options.text("device")?.unwrap_or_else(|| "auto".to_string());
        Ok(Self { wanted, device: None, gpu: None, inner: Some(inner), network: None, begun: false })
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

    /// Says how many bytes the file has whose first bytes come next, where that is known.
    #[wasm_bindgen(js_name = beginFile)]
    pub fn begin_file(&mut self, bytes: Option<f64>) -> std::result::Result<(), Error> {
        self.inner()?.begin_file(bytes.map(|n| n as u64));
        Ok(())
    }

    /// Takes first bytes of the next file of several and says how far its header is: `more` is wanted, it is
    /// `whole`, or it was `all` of the file.
    #[wasm_bindgen(js_name = pushHeader)]
    pub fn push_header(&mut self, chunk: &[u8]) -> std::result::Result<String, Error> {
        let state = match self.inner()?.push_header(chunk)? {
            HeaderState::More => "more",
            HeaderState::Whole => "whole",
            HeaderState::All => "all",
        };
        Ok(state.into())
    }

    /// Takes the next bytes of the file.
    pub async fn push(&mut self, chunk: js_sys::Uint8Array) -> std::result::Result<(), Error> {
        if !std::mem::replace(&mut self.begun, true) && looks_like_onnx(&chunk.subarray(0, 16).to_vec()) {
            self.network = Some(Vec::new());
        }
        if let Some(bytes) = &mut self.network {
            let start = bytes.len();
            bytes.resize(start + chunk.length() as usize, 0);
            chunk.copy_to(&mut bytes[start..]);
            return Ok(());
        }
        self.inner()?.push(Chunk::Page(chunk))
    }

    /// The file ended. Fails when bytes of it are missing.
    #[wasm_bindgen(js_name = endOfFile)]
    pub fn end_of_file(&mut self) -> std::result::Result<(), Error> {
        if self.network.is_some() {
            return Ok(());
        }
        self.inner()?.end_file()
    }

    /// How far loading is: `{ loadedBytes, expectedBytes?, tensor? }`.
    pub fn progress(&mut self) -> std::result::Result<JsValue, Error> {
        if let Some(bytes) = &self.network {
            return Ok(Object::new().count("loadedBytes", bytes.len() as u64).into());
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
        let (Some(bytes), Some(device)) = (self.network.take(), self.device.clone()) else {
            return fail!(Internal, "finishNetwork() comes once, after the bytes of an ONNX file");
        };
        let Some(gpu) = self.gpu.take() else {
            let network =
                session::Network::new(&bytes, |graph| Ok(Box::new(CpuBackend::new(graph, false)?)))?;
            return Ok(Network::new(network, device, bytes.len() as u64));
        };
        let mut network = session::Network::on_gpu(&bytes, gpu, Crossing::TYPICAL)?;
        if self.wanted != "webgpu" && bytes.len() <= MAX_COMPARED {
            network.compare_at_first_run();
        }
        Ok(Network::new(network, device, bytes.len() as u64))
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

    /// The language model. Fails when bytes are missing.
    pub fn finish(&mut self) -> std::result::Result<Model, Error> {
        let (inner, device) = self.loaded()?;
        let model = TextModel::new(inner.finish()?)?;
        Ok(Model { facts: Rc::clone(model.facts()), inner: Rc::new(RefCell::new(model)), device })
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

/// Whether the first byte is the tag of a field with which ONNX files begin: the version, the producer, the graph,
/// the operators. Of the other formats only safetensors may begin with one of them, and shows itself further on.
fn looks_like_onnx(first: &[u8]) -> bool {
    let tags = [0x08, 0x12, 0x1a, 0x22, 0x3a, 0x42];
    first.first().is_some_and(|byte| tags.contains(byte)) && !looks_like_safetensors(first)
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
