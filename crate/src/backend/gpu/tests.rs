//! Kernels on the real device of this machine, each beside a naive reference.

use super::{GpuDevice, Launch, ReadBack, Recording};
use crate::quant::{AffineBlock, codec, decode_row};
use crate::types::BlockFormat;

/// The device, or a loud word that nothing was tested.
fn device() -> Option<GpuDevice> {
    match pollster::block_on(GpuDevice::request()) {
        Ok(device) => Some(device),
        Err(error) => {
            eprintln!("SKIPPED: no GPU adapter, so no GPU kernel was tested ({error})");
            None
        }
    }
}

fn upload<T: bytemuck::Pod>(device: &GpuDevice, data: &[T]) -> wgpu::Buffer {
    let buffer = device.buffer("test", size_of_val(data));
    device.write(&buffer, 0, bytemuck::cast_slice(data));
    buffer
}

/// Runs the launches and gives the first `n` values of a buffer.
fn run(device: &GpuDevice, launches: &[Launch], written: &wgpu::Buffer, n: usize) -> Vec<f32> {
    let mut encoder = device.device.create_command_encoder(&Default::default());
    Recording::new(device, launches).unwrap().encode(&mut encoder);
    let read = ReadBack::encode(device, &mut encoder, &[(written, n * 4)]);
    device.queue.submit([encoder.finish()]);
    read.request();
    bytemuck::pod_collect_to_vec(&pollster::block_on(read.take(device)).unwrap()[..n * 4])
}

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut random = oorandom::Rand32::new(seed);
    (0..n).map(|_| random.rand_float() * 2.0 - 1.0).collect()
}

fn close(got: &[f32], want: &[f64], tolerance: f64) -> bool {
    let scale = want.iter().fold(1e-9f64, |a, x| a.max(x.abs()));
    got.len() == want.len()
        && got.iter().zip(want).all(|(got, want)| (f64::from(*got) - want).abs() <= tolerance * scale)
}

fn words(params: &[u32]) -> Vec<u8> {
    bytemuck::cast_slice(params).to_vec()
}

fn reference_rms_norm(x: &[f32], weight: &[f32]) -> Vec<f64> {
    let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| f64::from(*x) / (mean + 1e-5).sqrt() * f64::from(*w)).collect()
}

#[test]
fn a_chain_of_a_norm_and_a_quantised_product_runs_in_one_submit() {
    let Some(device) = device() else { return };
    let (n, k) = (70, 96);
    let format = BlockFormat::Q4_1;
    let mut random = oorandom::Rand32::new(3);
    let mut raw: Vec<u8> =
        (0..n * k / format.block_len() * format.block_bytes()).map(|_| random.rand_u32() as u8).collect();
    let (mut levels, mut scales, mut mins) = (vec![0u32; n * k / 8], Vec::new(), Vec::new());
    for (b, block) in raw.chunks_exact_mut(format.block_bytes()).enumerate() {
        block[..4].copy_from_slice(&[0x66, 0x2e, 0x00, 0xb4]);
        let mut affine = AffineBlock::default();
        (codec(format).affine)(block, &mut affine);
        scales.push(affine.scales[0]);
        mins.push(affine.mins[0]);
        for (i, level) in affine.levels[..32].iter().enumerate() {
            levels[b * 4 + i / 8] |= u32::from(*level) << (4 * (i % 8));
        }
    }
    let mut dense = vec![0.0; n * k];
    decode_row(format, &raw, &mut dense);
    let (x, weight) = (values(k, 1), values(k, 2));
    let normal = reference_rms_norm(&x, &weight);
    let want: Vec<f64> = dense
        .chunks_exact(k)
        .map(|row| row.iter().zip(&normal).map(|(w, x)| f64::from(*w) * x).sum())
        .collect();

    let (x, weight) = (upload(&device, &x), upload(&device, &weight));
    let (levels, scales, mins) = (upload(&device, &levels), upload(&device, &scales), upload(&device, &mins));
    let (normal, y) = (device.buffer("normal", k * 4), device.buffer("y", n * 4));
    let launches = [
        Launch {
            shader: "rms_norm",
            buffers: vec![(0, &x), (1, &weight), (2, &normal)],
            params: words(&[k as u32, 1e-5f32.to_bits()]),
            groups: [1, 1, 1],
        },
        Launch {
            shader: "matmul-levels4-mins",
            buffers: vec![(0, &normal), (1, &levels), (2, &scales), (3, &mins), (6, &y)],
            params: words(&[1, n as u32, k as u32, k as u32 / 32, 32, 0, 0, 0]),
            groups: [n.div_ceil(4) as u32, 1, 1],
        },
    ];
    assert_eq!(Recording::new(&device, &launches).unwrap().len(), 2);
    let got = run(&device, &launches, &y, n);
    assert!(close(&got, &want, 1e-5), "{got:?}\n{want:?}");
    let canary: Vec<f64> = want.iter().map(|w| w * 1.01).collect();
    assert!(!close(&got, &canary, 1e-5), "a result that is one per cent off passes");
}

#[test]
fn a_buffer_that_is_read_and_written_is_refused_before_the_device_sees_it() {
    let Some(device) = device() else { return };
    let x = device.buffer("x", 64);
    let launch = |shader, buffers| Launch { shader, buffers, params: words(&[16, 0]), groups: [1, 1, 1] };
    let aliased = [launch("rms_norm", vec![(0, &x), (2, &x)])];
    assert!(Recording::new(&device, &aliased).is_err());
    assert!(Recording::new(&device, &[launch("rms_norm", vec![(0, &x)])]).is_err());
    assert!(Recording::new(&device, &[launch("no_such_kernel", vec![])]).is_err());
    device.check().unwrap();
}

#[test]
fn attention_agrees_with_the_reference_on_both_sides_of_a_tile() {
    let Some(device) = device() else { return };
    let (heads, kv_heads, d, context) = (4usize, 2usize, 80usize, 140usize);
    for (position, rows) in [(0usize, 1usize), (62, 3), (130, 2)] {
        let q = values(rows * heads * d, 1);
        let half =
            |seed| values(context * kv_heads * d, seed).iter().map(|x| half::f16::from_f32(*x)).collect();
        let (k, v): (Vec<half::f16>, Vec<half::f16>) = (half(2), half(3));
        let mut want = Vec::new();
        for (row, head) in (0..rows).flat_map(|row| (0..heads).map(move |head| (row, head))) {
            let query = &q[(row * heads + head) * d..][..d];
            let at = |key: usize| (key * kv_heads + head / (heads / kv_heads)) * d;
            let dot = |key: usize| (0..d).map(|i| f64::from(query[i]) * k[at(key) + i].to_f64()).sum::<f64>();
            let weights: Vec<f64> = (0..=position + row).map(|key| (dot(key) * 0.125).exp()).collect();
            let total: f64 = weights.iter().sum();
            want.extend((0..d).map(|i| {
                weights.iter().enumerate().map(|(key, w)| w * v[at(key) + i].to_f64()).sum::<f64>() / total
            }));
        }
        let wide = |x: &[half::f16]| x.iter().map(|x| x.to_f32()).collect::<Vec<f32>>();
        let caches = [
            ("attention-half_cache", upload(&device, &k), upload(&device, &v)),
            ("attention", upload(&device, &wide(&k)), upload(&device, &wide(&v))),
        ];
        for (shader, k, v) in &caches {
            let (q, at) = (upload(&device, &q), upload(&device, &[position as i32, 0, 0, 0]));
            let y = device.buffer("y", want.len() * 4);
            let shape = [heads as u32, kv_heads as u32, d as u32, context as u32, 0.125f32.to_bits()];
            let launch = Launch {
                shader,
                buffers: vec![(0, &q), (1, k), (2, v), (3, &at), (4, &y)],
                params: words(&shape),
                groups: [heads as u32, rows as u32, 1],
            };
            let got = run(&device, &[launch], &y, want.len());
            assert!(close(&got, &want, 1e-5), "{shader} at {position}");
        }
    }
}

#[test]
fn argmax_takes_the_lowest_of_equals_and_never_nan() {
    let Some(device) = device() else { return };
    let n = 49_152;
    let mut x = values(3 * n, 4);
    (x[40_000], x[77]) = (9.0, 9.0);
    (x[n + 5], x[n + 600]) = (f32::NAN, 9.0);
    x[2 * n..].fill(f32::NEG_INFINITY);
    let (x, y) = (upload(&device, &x), device.buffer("y", 12));
    let launch = Launch {
        shader: "argmax",
        buffers: vec![(0, &x), (1, &y)],
        params: words(&[n as u32]),
        groups: [3, 1, 1],
    };
    let got: Vec<u32> = run(&device, &[launch], &y, 3).iter().map(|x| x.to_bits()).collect();
    assert_eq!(got, [77, 600, 0]);
}

#[test]
fn top_k_is_the_best_of_a_sort() {
    let Some(device) = device() else { return };
    let (n, k) = (49_152, 128);
    let mut x = values(3 * n, 5);
    (x[40_000], x[77], x[9]) = (9.0, 9.0, f32::NAN);
    x[n..2 * n].iter_mut().enumerate().for_each(|(i, x)| *x = (i % 7) as f32 - 3.0);
    x[2 * n..].fill(f32::NEG_INFINITY);
    let (input, y, ids) =
        (upload(&device, &x), device.buffer("y", 3 * k * 4), device.buffer("ids", 3 * k * 4));
    let launch = || Launch {
        shader: "top_k",
        buffers: vec![(0, &input), (1, &y), (2, &ids)],
        params: words(&[n as u32, k as u32]),
        groups: [3, 1, 1],
    };
    let got = run(&device, &[launch()], &ids, 3 * k);
    let values = run(&device, &[launch()], &y, 3 * k);
    for (row, (got, values)) in x.chunks(n).zip(got.chunks(k).zip(values.chunks(k))) {
        let key = |i: usize| if row[i].is_nan() { f32::NEG_INFINITY } else { row[i] };
        let mut want: Vec<usize> = (0..n).collect();
        want.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
        let got: Vec<usize> = got.iter().map(|x| x.to_bits() as usize).collect();
        assert_eq!(got, want[..k]);
        assert!(got.iter().zip(values).all(|(&i, &x)| row[i] == x));
    }
}
