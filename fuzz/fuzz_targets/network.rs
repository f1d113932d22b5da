//! An ONNX file all the way: into a graph, through every rewrite, and once run on zeros of small sizes. What follows the
//! byte 0xff for the first time are the bytes of the files beside it, whatever their names.
#![no_main]

use homefire::backend::cpu::CpuBackend;
use homefire::error::Result;
use homefire::formats::onnx::{self, DataFiles};
use homefire::session::{Network, NetworkFile, PortDim};
use homefire::tensor::Tensor;
use homefire::types::DType;
use libfuzzer_sys::fuzz_target;

fn run(bytes: &[u8], beside: &[u8]) -> Result<()> {
    let mut data = DataFiles::of(&onnx::parse(bytes)?)?;
    if data.wants(None)? {
        data.begin(None, Some(beside.len() as u64))?;
        beside.chunks(7).try_for_each(|piece| data.push(&piece.into()))?;
        data.end()?;
    }
    let file = NetworkFile { bytes, data: Some(data) };
    let mut network = Network::new(file, |graph| Ok(Box::new(CpuBackend::new(graph, true)?)))?;
    let ports = network.inputs().to_vec();
    let size = |dim: &PortDim| if let PortDim::Known(n) = dim { *n } else { 2 };
    let feeds = ports.iter().filter_map(|port| {
        let shape: Vec<usize> = port.shape.as_ref()?.iter().map(size).collect();
        let few = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim)).is_some_and(|n| n < 1 << 12);
        let zeros = Tensor::zeros(port.dtype.unwrap_or(DType::F32), &shape);
        Some((port.name.as_str(), zeros.ok().filter(|_| few)?))
    });
    let outputs: Vec<_> = network.outputs().iter().map(|port| port.name.clone()).collect();
    let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
    pollster::block_on(network.run(feeds.collect(), &names)).map(|_| ())
}

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len());
    let _ = run(bytes, &[]);
    let _ = run(&bytes[..cut], bytes.get(cut + 1..).unwrap_or(&[]));
});
