//! Prints a table of networks: how many nodes each has as it is read, and how many the rewrites leave, by operator. With
//! `--show` it prints the graphs that are left too.
//! `cargo run --release --example network_nodes -- [--show] file.onnx…`

use homefire::error::{Error, ErrorKind};
use homefire::formats::onnx;
use homefire::{import, passes};
use std::collections::BTreeMap;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (options, paths): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    println!("| network | nodes | left | of them |\n| --- | --- | --- | --- |");
    for path in paths {
        let bytes = std::fs::read(&path)?;
        let model = onnx::parse(&bytes)?;
        let mut graph = import::onnx::build(&model, &|_, _, _| {
            Err(Error::new(ErrorKind::InvalidInput, "its data lies in other files"))
        })?;
        let before = graph.nodes().count();
        passes::optimise(&mut graph)?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        graph.nodes().for_each(|(_, node)| *counts.entry(node.op.name()).or_default() += 1);
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), *name));
        let counts: Vec<_> = counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
        let name = std::path::Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        println!("| {name} | {before} | {} | {} |", graph.nodes().count(), counts.join(", "));
        if options.iter().any(|option| option == "--show") {
            println!("{graph}");
        }
    }
    Ok(())
}
