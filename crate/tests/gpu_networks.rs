//! Real networks on the GPU, with the CPU for the rest, against the CPU alone. `HOMEFIRE_MODELS` names a folder with
//! them (`fetch-models.sh` of the benchmarks).

use homefire::backend::Profiled;
use homefire::backend::cpu::CpuBackend;
use homefire::backend::gpu::GpuDevice;
use homefire::plan::Crossing;
use homefire::session::Network;
use homefire::tensor::Tensor;
use pollster::block_on;
use std::collections::BTreeMap;
use std::path::Path;

/// Values in -1..1 that look random.
fn noise(shape: &[usize]) -> Tensor {
    let n = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..n).map(|i| ((i as f32 * 12.9898).sin() * 437.58).fract()).collect();
    Tensor::new(shape, &values).unwrap()
}

fn ids(shape: &[usize], below: i64) -> Tensor {
    let n = shape.iter().product::<usize>() as i64;
    Tensor::new(shape, &(0..n).map(|i| i * 7919 % below).collect::<Vec<_>>()).unwrap()
}

/// The file, what it is fed, and the least share of its launches that the GPU must have.
type Case = (&'static str, Vec<(&'static str, Tensor)>, f64);

fn cases() -> Vec<Case> {
    let tokens = |n: usize| {
        let ones = Tensor::new(&[2, n], &vec![1i64; 2 * n]).unwrap();
        let zeros = Tensor::new(&[2, n], &vec![0i64; 2 * n]).unwrap();
        vec![("input_ids", ids(&[2, n], 30_000)), ("attention_mask", ones), ("token_type_ids", zeros)]
    };
    let bytes: Vec<i32> = (0..2048).map(|i| i * 31 % 257).collect();
    let sixteen_thousand = Tensor::new(&[], &[16_000i64]).unwrap();
    let speech = || {
        vec![("input", noise(&[1, 576])), ("state", noise(&[2, 1, 128])), ("sr", sixteen_thousand.clone())]
    };
    vec![
        ("minilm-f32.onnx", tokens(24), 0.8),
        ("minilm-int8.onnx", tokens(24), 0.0),
        ("ocr-det.onnx", vec![("x", noise(&[1, 3, 64, 96]))], 0.9),
        ("ocr-rec.onnx", vec![("x", noise(&[1, 3, 48, 160]))], 0.9),
        ("ocr-cls.onnx", vec![("x", noise(&[1, 3, 48, 192]))], 0.9),
        ("magika.onnx", vec![("bytes", Tensor::new(&[1, 2048], &bytes).unwrap())], 0.0),
        ("silero-vad.onnx", speech(), 0.0),
        ("silero-vad-ifless.onnx", speech(), 0.0),
        ("ddddocr-det.onnx", vec![("images", noise(&[1, 3, 416, 416]))], 0.9),
    ]
}

#[test]
fn networks_on_the_gpu_compute_what_the_cpu_does() {
    let Ok(folder) = std::env::var("HOMEFIRE_MODELS") else {
        return eprintln!("SKIPPED: HOMEFIRE_MODELS names no folder with networks");
    };
    let Ok(device) = block_on(GpuDevice::request()) else {
        return eprintln!("SKIPPED: no GPU adapter, so no network ran on one");
    };
    let only = std::env::var("HOMEFIRE_ONLY").unwrap_or_default();
    let mut ran = 0;
    for (file, feeds, least) in cases().into_iter().filter(|(file, ..)| file.contains(&only)) {
        let Ok(bytes) = std::fs::read(Path::new(&folder).join(file)) else {
            eprintln!("SKIPPED: {file} is not there");
            continue;
        };
        let mut cpu = match Network::new(&bytes, |graph| Ok(Box::new(CpuBackend::new(graph, true)?))) {
            Ok(cpu) => cpu,
            Err(error) => {
                eprintln!("SKIPPED: {file}: {error}");
                continue;
            }
        };
        let mut gpu = Network::on_gpu(&bytes, device.clone(), Crossing::TYPICAL).unwrap();
        let names: Vec<String> = cpu.outputs().iter().map(|port| port.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let want = block_on(cpu.run(feeds.clone(), &names)).unwrap();
        let mut worst = 0.0f64;
        // The second run replays what the first one recorded.
        for _ in 0..2 {
            let got = block_on(gpu.run(feeds.clone(), &names)).unwrap();
            for (got, want) in got.iter().zip(&want) {
                assert_eq!(got.ty(), want.ty(), "{file}");
                let (got, want) = (got.view().to_floats().unwrap(), want.view().to_floats().unwrap());
                let largest = want.iter().fold(1e-9f64, |a, x| a.max(x.abs()));
                let error = |(got, want): (&f64, &f64)| (got - want).abs() / largest;
                worst = got
                    .iter()
                    .zip(&want)
                    .map(error)
                    .fold(worst, |a, x| if x > a || x.is_nan() { x } else { a });
            }
        }
        let profile = gpu.profile();
        let there = profile.iter().filter(|node| node.device == "webgpu").count();
        let changes = profile.windows(2).filter(|pair| pair[0].device != pair[1].device).count();
        eprintln!(
            "{file}: off by {worst:.1e}; {there} of {} launches on the GPU, {changes} crossings",
            profile.len()
        );
        left_on_cpu(&profile).iter().for_each(|line| eprintln!("    {line}"));
        assert!(worst < 1e-3, "{file} is off by {worst}");
        assert!(there as f64 >= least * profile.len() as f64, "{file}: {there} of {}", profile.len());
        ran += 1;
    }
    assert!(ran > 0, "no network was there");
}

/// Which operators the CPU had, how often, and why.
fn left_on_cpu(profile: &[Profiled]) -> Vec<String> {
    let mut why = BTreeMap::<(&str, &str), usize>::new();
    for node in profile.iter().filter(|node| node.device == "cpu") {
        let reason = node.reason.as_deref().unwrap_or("nothing goes to the GPU");
        *why.entry((&node.kernel, reason)).or_default() += 1;
    }
    why.iter().map(|((kernel, reason), n)| format!("{n} {kernel}: {reason}")).collect()
}

fn small() -> (Vec<u8>, Vec<(&'static str, Tensor)>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx/classifier.onnx");
    (std::fs::read(path).unwrap(), vec![("image", noise(&[1, 3, 8, 8]))])
}

#[test]
fn a_timed_run_says_where_each_node_ran_and_how_long() {
    let Ok(device) = block_on(GpuDevice::request()) else {
        return eprintln!("SKIPPED: no GPU adapter, so nothing was timed on one");
    };
    let (bytes, feeds) = small();
    let mut network = Network::on_gpu(&bytes, device, Crossing::FREE).unwrap();
    block_on(network.run(feeds.clone(), &["logits"])).unwrap();
    let on_gpu = |network: &Network| -> Vec<Option<f64>> {
        network.profile().iter().filter(|node| node.device == "webgpu").map(|node| node.ms).collect()
    };
    assert!(!on_gpu(&network).is_empty() && on_gpu(&network).iter().all(Option::is_none));
    network.time_launches(true);
    let timed = block_on(network.run(feeds.clone(), &["logits"])).unwrap();
    assert!(on_gpu(&network).iter().flatten().any(|ms| *ms > 0.0), "{:?}", network.profile());
    network.time_launches(false);
    let plain = block_on(network.run(feeds, &["logits"])).unwrap();
    assert_eq!(timed[0].bytes(), plain[0].bytes());
}

#[test]
fn a_first_run_that_compares_keeps_the_faster_device() {
    let Ok(device) = block_on(GpuDevice::request()) else {
        return eprintln!("SKIPPED: no GPU adapter, so nothing was compared");
    };
    let (bytes, feeds) = small();
    let mut network = Network::on_gpu(&bytes, device, Crossing::FREE).unwrap();
    network.compare_at_first_run();
    let first = block_on(network.run(feeds.clone(), &["logits"])).unwrap();
    let found = *network.comparison().expect("the first run compared");
    assert!(found.gpu_ms > 0.0 && found.cpu_ms > 0.0);
    let second = block_on(network.run(feeds, &["logits"])).unwrap();
    let on_gpu = network.profile().iter().any(|node| node.device == "webgpu");
    assert_eq!(on_gpu, found.keeps_gpu());
    let far = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-5;
    let (first, second) = (first[0].view(), second[0].view());
    assert!(!first.data::<f32>().unwrap().iter().zip(second.data::<f32>().unwrap()).any(far));
}
