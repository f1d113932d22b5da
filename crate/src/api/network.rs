//! `Network`: a loaded ONNX model, run by name.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;

use super::loader::Device;
use super::model::busy;
use super::object::{Object, array};
use crate::backend::Held;
use crate::error::{Error, Result, ensure, fail};
use crate::formats::onnx::ElementType;
use crate::session::{self, Port, PortDim, PortKind};
use crate::tensor::Tensor;
use crate::types::{DType, TensorType};

#[wasm_bindgen]
extern "C" {
    /// A value as it is posted: `WireValue` of `js/wire.ts`. The glue reads and writes its fields directly, which
    /// costs a tenth of asking for them by name.
    type Wire;
    #[wasm_bindgen(method, getter)]
    fn kept(this: &Wire) -> Option<u32>;
    #[wasm_bindgen(method, setter)]
    fn set_kept(this: &Wire, kept: u32);
    #[wasm_bindgen(method, getter, js_name = type)]
    fn dtype(this: &Wire) -> String;
    #[wasm_bindgen(method, setter, js_name = type)]
    fn set_dtype(this: &Wire, dtype: &str);
    #[wasm_bindgen(method, getter)]
    fn dims(this: &Wire) -> Vec<f64>;
    #[wasm_bindgen(method, setter)]
    fn set_dims(this: &Wire, dims: Vec<f64>);
    #[wasm_bindgen(method, getter)]
    fn data(this: &Wire) -> Uint8Array;
    #[wasm_bindgen(method, setter)]
    fn set_data(this: &Wire, data: Uint8Array);
    #[wasm_bindgen(method, getter, js_name = data)]
    fn texts(this: &Wire) -> Vec<String>;
    #[wasm_bindgen(method, setter, js_name = data)]
    fn set_texts(this: &Wire, texts: Vec<String>);
}

/// Sequences in sequences that are taken at most.
const MAX_DEPTH: usize = 16;

/// A dtype's name in JavaScript, which is ONNX's.
fn name_of(dtype: DType) -> &'static str {
    ElementType::of(dtype).map_or("", ElementType::name)
}

/// A model that is ready to run.
#[wasm_bindgen]
pub struct Network {
    inner: RefCell<session::Network>,
    /// Outputs of earlier runs that stay here, by number.
    kept: RefCell<HashMap<u32, Held>>,
    device: Device,
    bytes: u64,
}

impl Network {
    pub(super) fn new(inner: session::Network, device: Device, bytes: u64) -> Self {
        Self { inner: RefCell::new(inner), kept: RefCell::default(), device, bytes }
    }

    /// Where it runs, as far as is known: the first run may have found out.
    fn device_of(&self, network: &session::Network) -> Device {
        match network.comparison() {
            Some(found) => self.device.after(found),
            None => self.device.clone(),
        }
    }

    fn kept(&self, number: u32) -> Result<Held> {
        match self.kept.borrow().get(&number) {
            Some(held) => Ok(held.clone()),
            None => fail!(InvalidInput, "no tensor of the number {number} is kept"),
        }
    }

    /// A value of JavaScript for the input `name`, inside `depth` sequences.
    fn read_value(&self, name: &str, value: &JsValue, depth: usize) -> Result<Tensor> {
        ensure!(depth < MAX_DEPTH, InvalidInput, "the input '{name}' has sequences in {MAX_DEPTH} sequences");
        if value.is_null() {
            return Ok(Arc::unwrap_or_clone(Tensor::absent()));
        }
        if let Some(items) = value.dyn_ref::<Array>() {
            let items = items.iter().map(|item| Ok(Arc::new(self.read_value(name, &item, depth + 1)?)));
            return Ok(Tensor::list(items.collect::<Result<_>>()?));
        }
        let wire: &Wire = value.unchecked_ref();
        match wire.kept() {
            Some(number) => match self.kept(number)? {
                Held::Here(tensor) => Ok(tensor),
                Held::There(_) => fail!(
                    InvalidInput,
                    "the input '{name}' has a tensor on the device inside a sequence: give what its read() gives"
                ),
            },
            None => read(name, wire),
        }
    }

    /// The same, of the input itself: it may lie on the device.
    fn read_input(&self, name: &str, value: &JsValue) -> Result<Held> {
        let is_wire = !value.is_null() && !value.is_instance_of::<Array>();
        match is_wire.then(|| value.unchecked_ref::<Wire>().kept()).flatten() {
            Some(number) => self.kept(number),
            None => self.read_value(name, value, 0).map(Held::Here),
        }
    }

    /// Keeps a tensor and gives what stands for it.
    fn keep(&self, held: Held) -> JsValue {
        let mut kept = self.kept.borrow_mut();
        let number = (1..).find(|number| !kept.contains_key(number)).unwrap_or(0);
        let wire = describe(&held.ty());
        wire.set_kept(number);
        kept.insert(number, held);
        wire.into()
    }
}

#[wasm_bindgen]
impl Network {
    /// What the model is and where it runs: `ModelInfo` of `js/types.ts`.
    pub fn info(&self) -> std::result::Result<JsValue, Error> {
        let network = self.inner.try_borrow().map_err(|_| busy())?;
        let info =
            Object::new().with("kind", "network").with("architecture", "onnx").count("bytes", self.bytes);
        let info =
            info.count("layers", network.n_nodes() as u64).with("device", self.device_of(&network).object());
        let metadata =
            network.metadata().iter().fold(Object::new(), |all, (key, text)| all.with(key, text.as_str()));
        let info = info.with("metadata", metadata);
        Ok(info.with("inputs", ports(network.inputs())).with("outputs", ports(network.outputs())).into())
    }

    /// Runs on `values` for the inputs `names` and gives the outputs named, in that order; those also in `keep`
    /// stay here, and their number comes.
    #[allow(
        clippy::await_holding_refcell_ref,
        reason = "all others that borrow the model fail, and say it is busy"
    )]
    pub async fn run(
        &self,
        names: Vec<String>,
        values: Array,
        outputs: Vec<String>,
        keep: Vec<String>,
    ) -> std::result::Result<Array, Error> {
        let mut network = self.inner.try_borrow_mut().map_err(|_| busy())?;
        let given = names.iter().zip(values.iter());
        let feeds = given.map(|(name, value)| Ok((name.as_str(), self.read_input(name, &value)?)));
        let feeds = feeds.collect::<Result<Vec<_>>>()?;
        let wanted: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let stay: Vec<&str> = keep.iter().map(String::as_str).collect();
        let computed = network.run_keeping(feeds, &wanted, &stay).await?;
        let given_back = Array::new();
        for (name, held) in outputs.iter().zip(computed) {
            given_back.push(&if keep.contains(name) { self.keep(held) } else { write(&held.read().await?) });
        }
        Ok(given_back)
    }

    /// A copy of a kept tensor.
    pub async fn read(&self, kept: u32) -> std::result::Result<JsValue, Error> {
        Ok(write(&self.kept(kept)?.read().await?))
    }

    /// Frees a kept tensor; runs that have it still have it.
    pub fn drop(&self, kept: u32) {
        self.kept.borrow_mut().remove(&kept);
    }

    /// Whether runs measure each launch from now on.
    #[wasm_bindgen(js_name = timeLaunches)]
    pub fn time_launches(&self, on: bool) -> std::result::Result<(), Error> {
        self.inner.try_borrow_mut().map_err(|_| busy())?.time_launches(on);
        Ok(())
    }

    /// What the last run launched: `Profile` of `js/types.ts`.
    pub fn profile(&self) -> std::result::Result<JsValue, Error> {
        let network = self.inner.try_borrow().map_err(|_| busy())?;
        let nodes = network.profile();
        let nodes = nodes.iter().map(|launch| {
            let node =
                Object::new().with("node", launch.node.as_str()).with("kernel", launch.kernel.as_str());
            let node = node.with("device", launch.device).maybe("ms", launch.ms);
            node.maybe("reason", launch.reason.as_deref()).into()
        });
        Ok(Object::new().with("device", self.device_of(&network).object()).with("nodes", array(nodes)).into())
    }
}

fn ports(ports: &[Port]) -> JsValue {
    let dim = |dim: &PortDim| match dim {
        PortDim::Known(n) => JsValue::from(*n as f64),
        PortDim::Named(name) => JsValue::from(name.as_str()),
        PortDim::Unknown => JsValue::NULL,
    };
    array(ports.iter().map(|port| {
        let shape = port.shape.as_ref().map(|shape| array(shape.iter().map(dim)));
        let object = Object::new().with("name", port.name.as_str());
        let kind = match port.kind {
            PortKind::Tensor => None,
            PortKind::Sequence => Some("sequence"),
            PortKind::Optional => Some("optional"),
            PortKind::Map => Some("map"),
        };
        object.maybe("kind", kind).maybe("type", port.dtype.map(name_of)).maybe("dims", shape).into()
    }))
}

/// A tensor of JavaScript for the input `name`.
fn read(name: &str, wire: &Wire) -> Result<Tensor> {
    let ty = wire.dtype();
    let Some(dtype) = ElementType::named(&ty).and_then(ElementType::dtype) else {
        return fail!(
            UnsupportedOp,
            "the input '{name}' has the type '{ty}', whose elements are not supported"
        );
    };
    let dims = wire.dims();
    let whole = dims.iter().all(|dim| *dim >= 0.0 && dim.fract() == 0.0 && *dim < 4e9);
    ensure!(
        whole,
        InvalidInput,
        "the input '{name}' has the dimensions {dims:?}, which are not all whole numbers below 2^32"
    );
    let shape: Vec<usize> = dims.iter().map(|dim| *dim as usize).collect();
    if dtype == DType::Text {
        return Tensor::of_texts(&shape, wire.texts().into_iter().map(Into::into).collect());
    }
    let data = wire.data();
    let n = shape.iter().try_fold(dtype.block_bytes(), |n, dim| n.checked_mul(*dim));
    ensure!(
        n == Some(data.length() as usize),
        ShapeMismatch,
        "the input '{name}' has {} elements, and its dimensions {shape:?} want another number",
        data.length() as usize / dtype.block_bytes()
    );
    let mut tensor = Tensor::zeros(dtype, &shape)?;
    data.copy_to(tensor.view_mut().bytes);
    Ok(tensor)
}

/// An object with a tensor's type and dimensions, all of which are known.
fn describe(ty: &TensorType) -> Wire {
    let wire: Wire = js_sys::Object::new().unchecked_into();
    wire.set_dtype(name_of(ty.dtype));
    wire.set_dims(ty.shape.to_known().unwrap_or_default().iter().map(|n| *n as f64).collect());
    wire
}

/// A value for JavaScript. The bytes of a tensor are copied once, into a buffer that can be moved to the page.
fn write(value: &Tensor) -> JsValue {
    match value.dtype() {
        DType::Absent => return JsValue::NULL,
        DType::List => return array(value.items().unwrap_or_default().iter().map(|item| write(item))),
        _ => {}
    }
    let wire = describe(&value.ty());
    match value.texts() {
        Ok(texts) => wire.set_texts(texts.iter().map(|text| text.to_string()).collect()),
        Err(_) => wire.set_data(Uint8Array::from(value.bytes())),
    }
    wire.into()
}
