//! Outputs that stay on the device between runs: bytes that cross are counted. The network is a recurrent cell without a
//! sequence, `state' = tanh(x · W + state · R)`, `y = state' · V`.

use homefire::backend::Held;
use homefire::backend::cpu::CpuBackend;
use homefire::backend::gpu::GpuDevice;
use homefire::plan::Crossing;
use homefire::session::Network;
use homefire::tensor::Tensor;
use pollster::block_on;
use std::path::Path;

fn bytes() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx/cell.onnx");
    std::fs::read(path).unwrap()
}

fn noise(shape: &[usize], seed: usize) -> Tensor {
    let n = shape.iter().product::<usize>();
    let value = |i: usize| ((i + seed * 1000) as f32 * 12.9898).sin();
    Tensor::new(shape, &(0..n).map(value).collect::<Vec<f32>>()).unwrap()
}

const BATCH: usize = 3;
const INPUT: usize = 8;
const STATE: usize = 64;

/// What the cell gives for each of some inputs, the state kept.
fn run(network: &mut Network, steps: usize, mut between: impl FnMut(usize)) -> (Vec<Vec<f32>>, Held) {
    let mut state = Held::Here(noise(&[BATCH, STATE], 9));
    let mut all = Vec::new();
    for step in 0..steps {
        let feeds = vec![("x", noise(&[BATCH, INPUT], step).into()), ("state", state)];
        let outputs = block_on(network.run_keeping(feeds, &["y", "next"], &["next"])).unwrap();
        let [y, next] = <[Held; 2]>::try_from(outputs).unwrap();
        all.push(block_on(y.read()).unwrap().data::<f32>().unwrap().to_vec());
        state = next;
        between(step);
    }
    (all, state)
}

fn near(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5)
}

#[test]
fn a_kept_state_never_crosses() {
    let Ok(device) = block_on(GpuDevice::request()) else {
        return eprintln!("SKIPPED: no GPU adapter, so nothing stayed on one");
    };
    let bytes = bytes();
    let mut cpu = Network::new(&bytes, |graph| Ok(Box::new(CpuBackend::new(graph, true)?))).unwrap();
    let (want, last) = run(&mut cpu, 4, |_| ());
    assert!(matches!(last, Held::Here(_)));
    let want_state = block_on(last.read()).unwrap();
    assert!(!near(&want[2], &want[3]));

    let mut gpu = Network::on_gpu(&bytes, device.clone(), Crossing::FREE).unwrap();
    let mut seen = vec![device.traffic()];
    let (got, last) = run(&mut gpu, 4, |_| seen.push(device.traffic()));
    assert!(got.iter().zip(&want).all(|(got, want)| near(got, want)));
    // What crosses in a run: x there, y back; the first state goes there too.
    let (there, back) = ((BATCH * INPUT * 4) as u64, (BATCH * 2 * 4) as u64);
    for (step, pair) in seen.windows(2).enumerate() {
        let first = if step == 0 { (BATCH * STATE * 4) as u64 } else { 0 };
        assert_eq!(pair[1].written - pair[0].written, there + first, "written by step {step}");
        assert_eq!(pair[1].read - pair[0].read, back, "read by step {step}");
    }

    // Read on demand, alone; and another shape of what stays is the same elements.
    assert!(matches!(last, Held::There(_)));
    let before = device.traffic();
    let turned = last.clone().reshaped(&[STATE, BATCH]).unwrap();
    let state = block_on(turned.read()).unwrap();
    assert_eq!(state.shape(), [STATE, BATCH]);
    assert!(near(state.data().unwrap(), want_state.data().unwrap()));
    assert_eq!(device.traffic().read - before.read, (BATCH * STATE * 4) as u64);
    assert!(last.clone().reshaped(&[STATE]).is_err());

    // Of another shape than the input wants, it is refused, and its name comes.
    let feeds = vec![
        ("x", noise(&[BATCH, INPUT], 0).into()),
        ("state", last.clone().reshaped(&[STATE, BATCH]).unwrap()),
    ];
    let error = block_on(gpu.run_keeping(feeds, &["y"], &[])).expect_err("a wrong shape");
    assert!(error.message().contains("'state'"), "{error}");

    // A network on the CPU takes what lies on the GPU, too.
    let feeds = || vec![("x", noise(&[BATCH, INPUT], 4).into()), ("state", last.clone())];
    let on_cpu = block_on(cpu.run_keeping(feeds(), &["y"], &[])).unwrap().swap_remove(0);
    let on_gpu = block_on(gpu.run_keeping(feeds(), &["y"], &[])).unwrap().swap_remove(0);
    let [on_cpu, on_gpu] = [on_cpu, on_gpu].map(|held| block_on(held.read()).unwrap());
    assert!(near(on_cpu.data().unwrap(), on_gpu.data().unwrap()));
}

#[test]
fn what_was_kept_outlives_its_network_and_its_successors() {
    let Ok(device) = block_on(GpuDevice::request()) else {
        return eprintln!("SKIPPED: no GPU adapter, so nothing stayed on one");
    };
    let mut network = Network::on_gpu(&bytes(), device, Crossing::FREE).unwrap();
    let feeds =
        |seed| vec![("x", noise(&[BATCH, INPUT], seed).into()), ("state", noise(&[BATCH, STATE], 1).into())];
    let mut keep =
        |seed| block_on(network.run_keeping(feeds(seed), &["next"], &["next"])).unwrap().swap_remove(0);
    let first = keep(1);
    let once = block_on(first.clone().read()).unwrap();
    // Buffers of those that are dropped are used anew; that of the first is not.
    for seed in 2..30 {
        keep(seed);
    }
    drop(network);
    assert!(block_on(first.read()).unwrap() == once);
}
