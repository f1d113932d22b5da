//! `Network`: a loaded ONNX model, run by name.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::loader::Device;
use super::model::busy;
use super::object::{Object, array};
use super::options::Options;
use crate::error::{Error, Result, ensure, fail};
use crate::session::{self, Port, PortDim};
use crate::tensor::Tensor;
use crate::types::DType;

/// The dtypes that JavaScript has a typed array for, by their names there.
const TYPES: &[(&str, DType)] = &[
    ("float32", DType::F32),
    ("float64", DType::F64),
    ("float16", DType::F16),
    ("bfloat16", DType::BF16),
    ("int8", DType::I8),
    ("int16", DType::I16),
    ("int32", DType::I32),
    ("int64", DType::I64),
    ("uint8", DType::U8),
    ("uint16", DType::U16),
    ("uint32", DType::U32),
    ("uint64", DType::U64),
    ("bool", DType::Bool),
];

fn name_of(dtype: DType) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == dtype).map_or("", |(name, _)| name)
}

/// A model that is ready to run.
#[wasm_bindgen]
pub struct Network {
    inner: Rc<RefCell<session::Network>>,
    device: Device,
    bytes: u64,
}

impl Network {
    pub(super) fn new(inner: session::Network, device: Device, bytes: u64) -> Self {
        Self { inner: Rc::new(RefCell::new(inner)), device, bytes }
    }
}

#[wasm_bindgen]
impl Network {
    /// What the model is and where it runs: `ModelInfo` of `js/types.ts`.
    pub fn info(&self) -> std::result::Result<JsValue, Error> {
        let network = self.inner.try_borrow().map_err(|_| busy())?;
        let info =
            Object::new().with("kind", "network").with("architecture", "onnx").count("bytes", self.bytes);
        let info = info.count("layers", network.n_nodes() as u64).with("device", self.device.object());
        Ok(info.with("inputs", ports(network.inputs())).with("outputs", ports(network.outputs())).into())
    }

    /// Runs on `[{ name, type, dims, data: Uint8Array }]` and gives the outputs named, in the same form; all of
    /// the model's where none are named.
    #[allow(
        clippy::await_holding_refcell_ref,
        reason = "all others that borrow the model fail, and say it is busy"
    )]
    pub async fn run(&self, inputs: Array, outputs: Vec<String>) -> std::result::Result<JsValue, Error> {
        let mut network = self.inner.try_borrow_mut().map_err(|_| busy())?;
        let feeds = inputs.iter().map(|input| read(&input)).collect::<Result<Vec<_>>>()?;
        let feeds = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        let all: Vec<String> = network.outputs().iter().map(|port| port.name.clone()).collect();
        let wanted = if outputs.is_empty() { all } else { outputs };
        let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let computed = network.run(feeds, &names).await?;
        Ok(array(wanted.iter().zip(&computed).map(|(name, tensor)| write(name, tensor))))
    }

    /// What the last run launched: `Profile` of `js/types.ts`.
    pub fn profile(&self) -> std::result::Result<JsValue, Error> {
        let network = self.inner.try_borrow().map_err(|_| busy())?;
        let nodes = network.profile();
        let nodes = nodes.iter().map(|launch| {
            let object =
                Object::new().with("node", launch.node.as_str()).with("kernel", launch.kernel.as_str());
            object.maybe("ms", launch.ms).into()
        });
        Ok(Object::new().with("device", self.device.object()).with("nodes", array(nodes)).into())
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
        object.maybe("type", port.dtype.map(name_of)).maybe("dims", shape).into()
    }))
}

/// A tensor of JavaScript with its name.
fn read(input: &JsValue) -> Result<(String, Tensor)> {
    let options = Options(input);
    let (Some(name), Some(ty)) = (options.text("name")?, options.text("type")?) else {
        return fail!(InvalidInput, "an input has no name or no type");
    };
    let Some((_, dtype)) = TYPES.iter().find(|(known, _)| *known == ty) else {
        let known: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        return fail!(InvalidInput, "the input '{name}' has the type '{ty}'; it may be {}", known.join(", "));
    };
    let field = |field: &str| Reflect::get(input, &field.into()).unwrap_or(JsValue::UNDEFINED);
    let dims: Vec<f64> = Array::from(&field("dims")).iter().map(|dim| dim.as_f64().unwrap_or(-1.0)).collect();
    let whole = dims.iter().all(|dim| *dim >= 0.0 && dim.fract() == 0.0 && *dim < 4e9);
    ensure!(
        whole,
        InvalidInput,
        "the input '{name}' has the dimensions {dims:?}, which are not all whole numbers"
    );
    let shape: Vec<usize> = dims.iter().map(|dim| *dim as usize).collect();
    let data: Uint8Array = field("data").unchecked_into();
    let n = shape.iter().try_fold(dtype.block_bytes(), |n, dim| n.checked_mul(*dim));
    ensure!(
        n == Some(data.length() as usize),
        ShapeMismatch,
        "the input '{name}' has {} elements, and its dimensions {shape:?} want another number",
        data.length() as usize / dtype.block_bytes()
    );
    let mut tensor = Tensor::zeros(*dtype, &shape)?;
    data.copy_to(tensor.view_mut().bytes);
    Ok((name, tensor))
}

/// A tensor with its name for JavaScript.
fn write(name: &str, tensor: &Tensor) -> JsValue {
    let dims = array(tensor.shape().iter().map(|n| JsValue::from(*n as f64)));
    let object = Object::new().with("name", name).with("type", name_of(tensor.dtype())).with("dims", dims);
    object.with("data", Uint8Array::from(tensor.bytes())).into()
}
