//! Damaged ONNX files are refused or run, and never panic: bytes of whole networks are changed, one to three at a time.
//! Files of one operator each are among them where the ONNX project's backend tests have been made (`target/onnx-suite`).

use homefire::backend::cpu::CpuBackend;
use homefire::session::{Network, PortDim};
use homefire::tensor::Tensor;
use homefire::types::DType;
use pollster::block_on;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The networks of this crate, and some of the suite's.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let is_onnx = |path: &PathBuf| path.extension().is_some_and(|e| e == "onnx");
    let own = list(root.join("tests/data/onnx")).chain(list(root.join("tests/data/onnx/flow")));
    let default = root.join("../target/onnx-suite");
    let suite = std::env::var("HOMEFIRE_ONNX_SUITE").map_or(default, PathBuf::from).join("node");
    let cases = list(suite).map(|case| case.join("model.onnx")).filter(|path| path.exists());
    let mut files: Vec<_> = own.filter(is_onnx).chain(cases).collect();
    files.sort();
    files
}

/// Loads a file and runs it once on zeros of small sizes. Says whether it ran.
fn runs(bytes: &[u8]) -> bool {
    let Ok(mut network) = Network::new(bytes, |graph| Ok(Box::new(CpuBackend::new(graph, true)?))) else {
        return false;
    };
    let size = |dim: &PortDim| if let PortDim::Known(n) = dim { *n } else { 2 };
    let ports: Vec<_> = network.inputs().to_vec();
    let feeds = ports.iter().filter_map(|port| {
        let shape: Vec<usize> = port.shape.as_ref()?.iter().map(size).collect();
        let few = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim)).is_some_and(|n| n < 1 << 16);
        let dtype = port.dtype.unwrap_or(DType::F32);
        Some((port.name.as_str(), Tensor::zeros(dtype, &shape).ok().filter(|_| few)?))
    });
    let outputs: Vec<_> = network.outputs().iter().map(|port| port.name.clone()).collect();
    let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
    block_on(network.run(feeds.collect(), &names)).is_ok()
}

#[test]
fn damaged_networks_never_panic() {
    let rounds: usize = std::env::var("HOMEFIRE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let mut random = oorandom::Rand32::new(23);
    let (mut ran, mut refused, mut panicked) = (0, 0, Vec::new());
    for path in files() {
        let whole = std::fs::read(&path).expect("a network");
        if whole.len() > 1 << 16 {
            continue;
        }
        for round in 0..rounds {
            let mut bytes = whole.clone();
            // First as it is.
            let changes = if round == 0 { 0 } else { random.rand_range(1..4) };
            for _ in 0..changes {
                let at = random.rand_range(0..bytes.len() as u32) as usize;
                bytes[at] = match random.rand_range(0..4) {
                    0 => random.rand_u32() as u8,
                    1 => bytes[at] ^ (1 << random.rand_range(0..8)),
                    2 => [0, 1, 2, 0x7f, 0x80, 0xff][random.rand_range(0..6) as usize],
                    _ => bytes[at].wrapping_add(1),
                };
            }
            match catch_unwind(AssertUnwindSafe(|| runs(&bytes))) {
                Ok(true) => ran += 1,
                Ok(false) => refused += 1,
                Err(_) => panicked.push(format!("{} in round {round}", path.display())),
            }
        }
    }
    assert!(panicked.is_empty(), "{} panics: {panicked:#?}", panicked.len());
    assert!(ran > 20 && refused > 20, "{ran} ran and {refused} were refused");
}
