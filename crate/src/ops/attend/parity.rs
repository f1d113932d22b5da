//! The naive reference of attention under masks, and cases.

use super::*;
use crate::ops::case::{Array, Case, Given, Tolerance, indices};
use crate::tensor::Tensor;

/// Keys or values of head `h` of item `b`, row by row: so much of the past as counts, what is new, zeros.
fn rows_of(
    x: &Array,
    past: Option<&Array>,
    start: Option<usize>,
    heads: Option<usize>,
    [b, h]: [usize; 2],
) -> Vec<Vec<f64>> {
    let (new, depth) = match heads {
        Some(heads) => (x.shape[1], x.shape[2] / heads),
        None => (x.shape[2], x.shape[3]),
    };
    let n_past = past.map_or(0, |past| past.shape[2]);
    let start = start.unwrap_or(n_past);
    let element = |t: usize, i: usize| match (past, heads) {
        (Some(past), _) if t < start => past.at(&[b, h, t, i]),
        _ if t >= start + new => 0.0,
        (_, Some(_)) => x.at(&[b, t - start, h * depth + i]),
        (_, None) => x.at(&[b, h, t - start, i]),
    };
    (0..n_past + new).map(|t| (0..depth).map(|i| element(t, i)).collect()).collect()
}

/// The outputs but scores: no lengths of sequences.
fn reference_attend(op: &Attend, x: &[Option<Array>], bool_mask: bool) -> Vec<Array> {
    let given = |i: usize| x.get(i).and_then(Option::as_ref);
    let [q, k, v] = [0, 1, 2].map(|i| given(i).expect("it is there"));
    let (mask, starts, sinks) = (given(3), given(7), given(8));
    let batch = q.shape[0];
    let (heads, kv_heads) = op.heads.unwrap_or((q.shape[1], k.shape[1]));
    let (of_q, of_kv) = (op.heads.map(|of| of.0), op.heads.map(|of| of.1));
    let new = k.shape[k.shape.len() - 2];
    let n_past = given(4).map_or(0, |past| past.shape[2]);
    let start = |b: usize| starts.map(|starts| starts.values[b] as usize);
    let keys = |b: usize, h: usize| rows_of(k, given(4), start(b), of_kv, [b, h]);
    let values = |b: usize, h: usize| rows_of(v, given(5), start(b), of_kv, [b, h]);
    let queries = q.shape[q.shape.len() - 2];
    let mut y = Vec::new();
    for (b, h) in (0..batch).flat_map(|b| (0..heads).map(move |h| (b, h))) {
        let kv = h * kv_heads / heads;
        let (q, k, v) = (rows_of(q, None, None, of_q, [b, h]), keys(b, kv), values(b, kv));
        let scale = op.scale.map_or(1.0 / (q[0].len() as f64).sqrt(), f64::from);
        let first = start(b).unwrap_or(n_past);
        for (s, q) in q.iter().enumerate() {
            let weight = |t: usize| {
                let own = (first + s) as i64;
                let mut score = q.iter().zip(&k[t]).map(|(q, k)| q * k).sum::<f64>() * scale;
                if op.softcap > 0.0 {
                    score = f64::from(op.softcap) * (score / f64::from(op.softcap)).tanh();
                }
                let masked = mask.map_or(0.0, |mask| {
                    let index = [b, h, s, t];
                    let at: Vec<usize> = (index[4 - mask.shape.len()..].iter().zip(&mask.shape))
                        .map(|(i, n)| if *n == 1 { 0 } else { *i })
                        .collect();
                    match mask.shape.last() {
                        Some(n) if *n > 1 && t >= *n => f64::NEG_INFINITY,
                        _ if bool_mask => mask.at(&at).ln(),
                        _ => mask.at(&at),
                    }
                });
                let (before, after) = (op.window.0.map(|n| n as i64), op.window.1.map(|n| n as i64));
                let hidden = t >= first + new
                    || op.causal && t as i64 > own
                    || before.is_some_and(|n| own - t as i64 > n)
                    || after.is_some_and(|n| t as i64 - own > n);
                if hidden { 0.0 } else { (score + masked).exp() }
            };
            let weights: Vec<f64> = (0..k.len()).map(weight).collect();
            let sum = weights.iter().sum::<f64>() + sinks.map_or(0.0, |sinks| sinks.values[h].exp());
            let mean = |i: usize| weights.iter().zip(&v).map(|(w, v)| w * v[i]).sum::<f64>();
            y.push((0..v[0].len()).map(|i| if sum == 0.0 { 0.0 } else { mean(i) / sum }).collect::<Vec<_>>());
        }
    }
    let depth = y[0].len();
    let row = |b: usize, h: usize, s: usize| &y[(b * heads + h) * queries + s];
    let shape = match op.heads {
        Some(_) => vec![batch, queries, heads * depth],
        None => vec![batch, heads, queries, depth],
    };
    let of = |at: Vec<usize>| match at[..] {
        [b, s, i] => row(b, i / depth, s)[i % depth],
        _ => row(at[0], at[1], at[2])[at[3]],
    };
    let mut outputs = vec![Array::new(&shape, indices(&shape).map(of).collect())];
    let mut present = |rows: &dyn Fn(usize, usize) -> Vec<Vec<f64>>| {
        let shape = [batch, kv_heads, n_past + new, rows(0, 0)[0].len()];
        let all = (0..batch).flat_map(|b| (0..kv_heads).map(move |h| (b, h)));
        outputs.push(Array::new(&shape, all.flat_map(|(b, h)| rows(b, h).concat()).collect()));
    };
    present(&keys);
    present(&values);
    outputs.truncate(op.outputs);
    outputs
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, op: &Attend, inputs: Vec<Given>| {
        let reference = op.clone();
        let tolerance = Tolerance::of(3e-6);
        let bool_mask = inputs.get(3).is_some_and(|mask| mask.dtype() == Some(DType::Bool));
        cases.push(Case::new(name, op.clone(), inputs, tolerance, move |x| {
            reference_attend(&reference, x, bool_mask)
        }));
    };
    let noise = Given::noise;
    let none = || Given::Absent;
    let op = Attend {
        heads: None,
        scale: None,
        causal: false,
        softcap: 0.0,
        window: (None, None),
        scores: Scores::Products,
        outputs: 1,
    };
    let causal = Attend { causal: true, ..op.clone() };
    let apart = || vec![noise(&[2, 4, 3, 8], 1), noise(&[2, 2, 5, 8], 2), noise(&[2, 2, 5, 6], 3)];
    let with = |inputs: Vec<Given>, more: Vec<Given>| [inputs, more].concat();
    // Sinks on either side of the scores, and one that counts for nothing.
    let sinks = || Given::fed(&[4], &[0.5f32, -1.0, 30.0, f32::NEG_INFINITY]);
    add("two heads share keys", &op, apart());
    add("causal", &causal, apart());
    add("a mask that is added", &op, with(apart(), vec![noise(&[3, 5], 4)]));
    add("a mask of fewer keys", &op, with(apart(), vec![noise(&[2, 1, 3, 4], 4)]));
    add("sinks", &op, with(apart(), vec![none(), none(), none(), none(), none(), sinks()]));
    let hidden = Given::fed(&[3, 1], &[0.0f32, f32::NEG_INFINITY, 0.0]);
    add("sinks where a query sees nothing", &op, {
        with(apart(), vec![hidden, none(), none(), none(), none(), sinks()])
    });
    // Sequences that go on at different places of their pasts, heads side by side, everything at once.
    let grouped = Attend { heads: Some((4, 2)), causal: true, outputs: 3, ..op.clone() };
    let beside = |queries: usize, depth: usize, past: usize| {
        vec![
            noise(&[2, queries, 4 * depth], 1),
            noise(&[2, queries, 2 * depth], 2),
            noise(&[2, queries, 2 * depth], 3),
            none(),
            noise(&[2, 2, past, depth], 4),
            noise(&[2, 2, past, depth], 5),
        ]
    };
    add("a past", &grouped, beside(3, 8, 6));
    add("a past that is not given on", &Attend { outputs: 1, ..grouped.clone() }, beside(3, 8, 6));
    let starts = |a: i64, b: i64| vec![none(), Given::fed(&[2], &[a, b])];
    add("starts", &grouped, with(beside(3, 8, 6), starts(2, 6)));
    let narrow = vec![none(), Given::fed(&[2], &[0i32, 5]), sinks()];
    let all = Attend { softcap: 0.7, window: (Some(2), None), scale: Some(1.5), ..grouped.clone() };
    add("starts, sinks, a cap and a window", &all, with(beside(3, 8, 6), narrow));
    let many = |more: Vec<Given>| with(beside(70, 20, 33), more);
    add("many queries, starts and sinks", &grouped, many([starts(0, 31), vec![sinks()]].concat()));
    let both = Attend { causal: false, window: (Some(9), Some(20)), softcap: 2.0, ..grouped.clone() };
    add("many queries, a window to both sides", &both, many(starts(33, 12)));
    let mut seen = Tensor::zeros(DType::Bool, &[2, 1, 70, 90]).expect("a small tensor");
    (seen.view_mut().bytes.iter_mut().enumerate()).for_each(|(i, x)| *x = u8::from(i > 100 && i % 5 != 0));
    let mut masked = many(vec![none(), none(), sinks()]);
    masked[3] = Given::Fed(seen);
    add("many queries, sinks and a mask of bool of fewer keys", &grouped, masked);
    let long = Attend { heads: Some((4, 2)), window: (Some(100), None), ..causal };
    add("one query of a long past", &long, {
        with(beside(1, 80, 200), vec![none(), Given::fed(&[2], &[200i64, 130]), sinks()])
    });
    cases
}
