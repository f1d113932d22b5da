//! Prints how long a network takes to load, in milliseconds: one of so many nodes, which goes to the path that is given too,
//! for a browser to load, or the ONNX file that is named.
//! `cargo run --release --example large_network -- [nodes [path] | file.onnx]`

#[path = "../tests/large/mod.rs"]
mod large;

use homefire::backend::cpu::CpuBackend;
use homefire::session::Network;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or("2000".into());
    let bytes = match what.parse() {
        Ok(n_nodes) => large::network(n_nodes),
        Err(_) => std::fs::read(&what)?,
    };
    if let Some(path) = arguments.next() {
        std::fs::write(path, &bytes)?;
    }
    let mut times = Vec::new();
    let mut left = 0;
    for _ in 0..7 {
        let start = Instant::now();
        let network = Network::new(&bytes, |graph| Ok(Box::new(CpuBackend::new(graph, false)?)))?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        left = network.n_nodes();
    }
    times.sort_by(f64::total_cmp);
    println!("{what} becomes {left} nodes: {:.1} ms (median of {})", times[times.len() / 2], times.len());
    Ok(())
}
