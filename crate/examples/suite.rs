//! Runs a folder of cases, as `pkg-tests/onnx/generate.py` writes it, and prints a line for each: how far the outputs are
//! from those stored, and how many milliseconds loading, the first run and a later run took.
//! `cargo run --release --example suite -- FOLDER [text in KIND/NAME] [--gpu] [--nodes] [--outputs]`; `--nodes` adds the
//! slowest operators, `--outputs` the difference of each output.

use homefire::backend::cpu::CpuBackend;
use homefire::backend::gpu::GpuDevice;
use homefire::error::Result;
use homefire::formats::onnx;
use homefire::plan::Crossing;
use homefire::session::Network;
use homefire::tensor::Tensor;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// How a case went.
#[derive(Default)]
struct Outcome {
    /// The largest difference of an element, and the largest over the largest magnitude of its output.
    apart: (f64, f64),
    /// Where an output has another type or shape.
    unlike: Option<String>,
    load_ms: f64,
    first_ms: f64,
    run_ms: f64,
}

fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn value(path: &Path, ty: &str) -> Result<Tensor> {
    let bytes = fs::read(path).expect("a stored value");
    let outside = |_: &str, _: u64, _: usize| panic!("a value has its data inside");
    match ty.split('(').next() {
        Some("sequence") => onnx::parse_sequence(&bytes)?.decode(&outside),
        Some("optional") => onnx::parse_optional(&bytes)?.decode(&outside),
        _ => onnx::parse_tensor(&bytes)?.decode(&outside),
    }
}

fn compare(got: &Tensor, want: &Tensor, outcome: &mut Outcome) {
    if got.ty() != want.ty() {
        outcome.unlike.get_or_insert(format!("{got:?} is not {want:?}"));
    } else if let (Ok(got), Ok(want)) = (got.items(), want.items()) {
        got.iter().zip(want).for_each(|(got, want)| compare(got, want, outcome));
    } else if got.dtype().has_bytes() {
        let floats = |tensor: &Tensor| tensor.view().to_floats().expect("numbers");
        let (got, want) = (floats(got), floats(want));
        let finite = want.iter().filter(|x| x.is_finite());
        let largest = finite.fold(1e-30f64, |a, x| a.max(x.abs()));
        for (got, want) in got.iter().zip(&want) {
            let same = got == want || got.is_nan() && want.is_nan();
            let apart = if same { 0.0 } else { (got - want).abs() };
            let apart = if apart.is_nan() { f64::INFINITY } else { apart };
            outcome.apart = (outcome.apart.0.max(apart), outcome.apart.1.max(apart / largest));
        }
    } else if got != want {
        outcome.unlike.get_or_insert(format!("{:?} is not {:?}", got.texts(), want.texts()));
    }
}

fn run(
    folder: &Path,
    case: &Value,
    device: Option<&GpuDevice>,
    flags: &dyn Fn(&str) -> bool,
) -> Result<Outcome> {
    let bytes = fs::read(folder.join("model.onnx")).expect("a model");
    let mut outcome = Outcome::default();
    let start = Instant::now();
    let mut network = match device {
        Some(device) => Network::on_gpu(&bytes, device.clone(), Crossing::TYPICAL)?,
        None => Network::new(&bytes, |graph| Ok(Box::new(CpuBackend::new(graph, false)?)))?,
    };
    outcome.load_ms = ms_since(start);
    let ports = |list: &str| -> Vec<(&str, &str)> {
        let list = case[list].as_array().expect("ports").iter();
        list.map(|pair| (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a type"))).collect()
    };
    let (inputs, outputs) = (ports("inputs"), ports("outputs"));
    let wanted: Vec<&str> = outputs.iter().map(|port| port.0).collect();
    for (set, _) in case["sets"].as_array().expect("sets").iter().enumerate() {
        let data = folder.join(format!("test_data_set_{set}"));
        let mut feeds = Vec::new();
        for (i, &(name, ty)) in inputs.iter().enumerate() {
            let path = data.join(format!("input_{i}.pb"));
            if path.exists() {
                feeds.push((name, value(&path, ty)?));
            }
        }
        let start = Instant::now();
        let got = pollster::block_on(network.run(feeds.clone(), &wanted))?;
        outcome.first_ms = ms_since(start);
        for (i, (got, &(name, ty))) in got.iter().zip(&outputs).enumerate() {
            let want = value(&data.join(format!("output_{i}.pb")), ty)?;
            compare(got, &want, &mut outcome);
            if flags("--outputs") {
                let mut own = Outcome::default();
                compare(got, &want, &mut own);
                let unlike = own.unlike.unwrap_or_default();
                println!(
                    "    {name}: off by {:.1e} ({:.1e} of the largest) {unlike}",
                    own.apart.0, own.apart.1
                );
            }
        }
        let (mut times, begun) = (Vec::new(), Instant::now());
        while times.len() < 2 || times.len() < 50 && begun.elapsed() < Duration::from_millis(300) {
            let start = Instant::now();
            let again = pollster::block_on(network.run(feeds.clone(), &wanted))?;
            times.push(ms_since(start));
            if set == 0 && times.len() == 1 && format!("{again:?}") != format!("{got:?}") {
                outcome.unlike.get_or_insert("the second run gives other shapes".into());
            }
        }
        times.sort_by(f64::total_cmp);
        outcome.run_ms = times[times.len() / 2];
    }
    if flags("--nodes") {
        network.time_launches(true);
        let mut by_label: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        for node in network.profile() {
            let entry = by_label.entry(format!("{} on {}", node.kernel, node.device)).or_default();
            *entry = (entry.0 + 1, entry.1 + node.ms.unwrap_or(0.0));
        }
        let mut slowest: Vec<_> = by_label.into_iter().collect();
        slowest.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
        slowest.iter().take(12).for_each(|(label, (n, ms))| println!("    {ms:9.2} ms  {n:4} × {label}"));
    }
    Ok(outcome)
}

fn main() {
    let (flags, arguments): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let suite = Path::new(arguments.first().expect("a folder with cases.json"));
    let only = arguments.get(1).map_or("", String::as_str);
    let device = has("--gpu").then(|| pollster::block_on(GpuDevice::request()).expect("a GPU"));
    let cases = fs::read(suite.join("cases.json")).expect("cases.json");
    let cases: Value = serde_json::from_slice(&cases).expect("JSON");
    for case in cases["cases"].as_array().expect("cases") {
        let id = format!("{}/{}", case["kind"].as_str().expect("kind"), case["name"].as_str().expect("name"));
        if !id.contains(only) {
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&suite.join(&id), case, device.as_ref(), &has)));
        match outcome {
            Ok(Ok(o)) => println!(
                "{id}: off by {:.1e} ({:.1e} of the largest); load {:.1}, first run {:.1}, run {:.2} ms{}",
                o.apart.0,
                o.apart.1,
                o.load_ms,
                o.first_ms,
                o.run_ms,
                o.unlike.map_or(String::new(), |why| format!("; UNLIKE: {why}"))
            ),
            Ok(Err(error)) => println!("{id}: {:?}: {error}", error.kind()),
            Err(_) => println!("{id}: PANIC"),
        }
    }
}
