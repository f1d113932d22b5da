//! Loading takes time in proportion to a network's nodes. (`cargo run --release --example large_network` prints how much.)

mod large;

use homefire::backend::cpu::CpuBackend;
use homefire::session::Network;
use homefire::tensor::Tensor;
use std::time::{Duration, Instant};

fn load(bytes: &[u8]) -> (Network, Duration) {
    let start = Instant::now();
    let network = Network::new(bytes, |graph| Ok(Box::new(CpuBackend::new(graph, true)?))).unwrap();
    (network, start.elapsed())
}

#[test]
fn two_thousand_nodes_load_and_run() {
    let (mut network, _) = load(&large::network(2000));
    // Of the 25 nodes of a block about half are left.
    assert!((400..1200).contains(&network.n_nodes()), "{}", network.n_nodes());
    let name = network.outputs()[0].name.clone();
    let x: Vec<f32> = (0..8 * 6 * 5).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let x = Tensor::new(&[1, 8, 6, 5], &x).unwrap();
    let y = pollster::block_on(network.run(vec![("x", x)], &[&name])).unwrap().swap_remove(0);
    assert_eq!(y.shape(), [1, 8, 6, 5]);
    assert!(y.data::<f32>().unwrap().iter().all(|y| y.is_finite()));
}

#[test]
fn load_time_grows_with_the_nodes_and_not_with_their_square() {
    let (small, large) = (large::network(1000), large::network(8000));
    let best = |bytes: &[u8]| (0..3).map(|_| load(bytes).1).min().unwrap();
    let (small, large) = (best(&small), best(&large));
    // Eight times the nodes: 64 would be the square.
    assert!(large < small * 28, "{small:?} for 1000 nodes, {large:?} for 8000");
}
