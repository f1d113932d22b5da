//! The parity suite in a browser, for builds with the feature `parity`.

use wasm_bindgen::prelude::*;

use super::object::{Object, array};
use crate::backend::Backend;
use crate::backend::cpu::CpuBackend;
use crate::backend::gpu::{GpuBackend, GpuDevice};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::parity::run;

/// Runs all cases on `webgpu`, on `cpu`, or on `quantised`, the CPU with activations of 8 bits beside quantised
/// weights: `{ passed, leftOut, failed }`.
#[wasm_bindgen(js_name = runParity)]
pub async fn run_parity(device: String) -> std::result::Result<JsValue, Error> {
    let gpu = if device == "webgpu" { Some(GpuDevice::request().await?) } else { None };
    let quantised = device == "quantised";
    let open = |graph: &Graph| -> Result<Box<dyn Backend>> {
        Ok(match &gpu {
            Some(gpu) => Box::new(GpuBackend::new(graph, gpu.clone())?),
            None => Box::new(CpuBackend::new(graph, !quantised)?),
        })
    };
    let report = run(&open, quantised).await;
    let texts = |texts: Vec<String>| array(texts.into_iter().map(JsValue::from));
    Ok(Object::new()
        .count("passed", report.passed as u64)
        .with("leftOut", texts(report.left_out))
        .with("failed", texts(report.failed))
        .into())
}
