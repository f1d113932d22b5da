//! Tests of the sampler against a plain reference and against probability.

use super::fake::sorted;
use super::*;
use crate::error::ErrorKind;

fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|x| (x - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// The probability of each token, filter by filter as the options' documentation says it.
fn reference_probabilities(logits: &[f32], seen: &[u32], o: &SamplerOptions) -> Vec<f64> {
    let mut x: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
    let window = &seen[seen.len().saturating_sub(o.penalty_window)..];
    for (id, x) in x.iter_mut().enumerate() {
        let count = window.iter().filter(|&&s| s as usize == id).count() as f64;
        if count > 0.0 {
            let r = f64::from(o.repetition_penalty);
            *x = if *x > 0.0 { *x / r } else { *x * r };
            *x -= count * f64::from(o.frequency_penalty) + f64::from(o.presence_penalty);
        }
    }
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[b].total_cmp(&x[a]).then(a.cmp(&b)));
    if o.temperature == 0.0 {
        order.truncate(1);
    }
    if o.top_k > 0 {
        order.truncate(o.top_k);
    }
    let p = softmax(&order.iter().map(|&i| x[i]).collect::<Vec<_>>());
    let mut sum = 0.0;
    let enough = p.iter().position(|p| {
        sum += p;
        sum >= f64::from(o.top_p)
    });
    order.truncate(enough.map_or(order.len(), |n| n + 1));
    let max = x[order[0]];
    order.retain(|&i| (x[i] - max).exp() >= f64::from(o.min_p));
    let t = if o.temperature == 0.0 { 1.0 } else { f64::from(o.temperature) };
    let kept = softmax(&order.iter().map(|&i| x[i] / t).collect::<Vec<_>>());
    let mut out = vec![0.0; x.len()];
    order.iter().zip(kept).for_each(|(&i, p)| out[i] = p);
    out
}

const LOGITS: [f32; 10] = [1.5, -0.5, 2.25, 0.0, 2.0, -3.0, 1.0, 0.75, -1.25, 1.75];
const SEEN: [u32; 8] = [2, 9, 2, 5, 0, 2, 4, 0];

fn cases() -> Vec<SamplerOptions> {
    let o = SamplerOptions { temperature: 1.0, seed: 42, ..Default::default() };
    vec![
        o.clone(),
        SamplerOptions { temperature: 0.5, ..o.clone() },
        SamplerOptions { temperature: 2.0, top_k: 4, ..o.clone() },
        SamplerOptions { top_p: 0.7, ..o.clone() },
        SamplerOptions { top_k: 6, top_p: 0.8, min_p: 0.2, temperature: 1.5, ..o.clone() },
        SamplerOptions { min_p: 0.3, ..o.clone() },
        SamplerOptions {
            repetition_penalty: 1.5,
            frequency_penalty: 0.3,
            presence_penalty: 0.2,
            ..o.clone()
        },
        SamplerOptions { repetition_penalty: 0.8, penalty_window: 3, ..o.clone() },
        SamplerOptions { frequency_penalty: -0.4, top_k: 5, ..o },
    ]
}

/// Pearson's statistic of so many draws against the probabilities, and its degrees of freedom.
fn chi_square(options: &SamplerOptions, expected: &[f64], draws: usize) -> (f64, usize) {
    let mut sampler = Sampler::new(options.clone()).unwrap();
    SEEN.iter().for_each(|&id| sampler.accept(id));
    let mut counts = [0usize; LOGITS.len()];
    let scores = Scores::Logits(LOGITS.to_vec());
    for _ in 0..draws {
        counts[sampler.sample(&scores).unwrap().id as usize] += 1;
    }
    let mut statistic = 0.0;
    for (&count, &p) in counts.iter().zip(expected) {
        let e = p * draws as f64;
        // A token that cannot come and does is infinitely wrong.
        statistic += match (p > 0.0, count) {
            (true, _) => (count as f64 - e).powi(2) / e,
            (false, 0) => 0.0,
            (false, _) => f64::INFINITY,
        };
    }
    (statistic, expected.iter().filter(|&&p| p > 0.0).count().saturating_sub(1))
}

/// Above the 99.9 % quantile for up to 9 degrees of freedom.
const QUANTILE: [f64; 10] = [1e-9, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.12, 27.88];

#[test]
fn draws_follow_the_distribution() {
    for options in cases() {
        let expected = reference_probabilities(&LOGITS, &SEEN, &options);
        let (statistic, freedom) = chi_square(&options, &expected, 50_000);
        assert!(statistic <= QUANTILE[freedom], "{statistic} at {freedom} for {options:?}");
    }
}

#[test]
fn the_harness_rejects_a_wrong_sampler() {
    let right = &cases()[6];
    let expected = reference_probabilities(&LOGITS, &SEEN, right);
    for wrong in [
        SamplerOptions { temperature: 1.1, ..right.clone() },
        SamplerOptions { frequency_penalty: 0.25, ..right.clone() },
        SamplerOptions { repetition_penalty: 1.4, ..right.clone() },
        SamplerOptions { penalty_window: 7, ..right.clone() },
        SamplerOptions { top_k: 9, ..right.clone() },
        SamplerOptions { top_p: 0.98, ..right.clone() },
    ] {
        let (statistic, freedom) = chi_square(&wrong, &expected, 50_000);
        assert!(statistic > QUANTILE[freedom], "{statistic} at {freedom} for {wrong:?}");
    }
}

#[test]
fn the_least_scores_give_the_same_choice_as_all() {
    let mut random = oorandom::Rand32::new(1);
    let (mut tops, mut argmaxes, mut differ) = (0, 0, 0);
    for round in 0..2000 {
        let mut pick = |n: u32| random.rand_u32() % n;
        let vocab = 20 + pick(200) as usize;
        let options = SamplerOptions {
            temperature: [0.0, 0.7, 1.0, 1.6][pick(4) as usize],
            top_k: [0, 1, 3, 20, 40][pick(5) as usize],
            top_p: [1.0, 0.9, 0.5][pick(3) as usize],
            min_p: [0.0, 0.1][pick(2) as usize],
            repetition_penalty: [1.0, 1.2, 3.0, 0.9][pick(4) as usize],
            frequency_penalty: [0.0, 0.5][pick(2) as usize],
            presence_penalty: [0.0, 1.0, -0.5][pick(3) as usize],
            penalty_window: [0, 5, 64][pick(3) as usize],
            seed: round,
            logprobs: None,
        };
        let mut least = Sampler::new(options.clone()).unwrap();
        for _ in 0..pick(30) {
            least.accept(pick(vocab as u32));
        }
        let mut all = least.clone();
        // Many ties, and the best among the tokens that occurred.
        let mut logits: Vec<f32> = (0..vocab).map(|_| pick(30) as f32 / 4.0 - 3.0).collect();
        (0..10).for_each(|i| logits[i] += 2.0);
        let top = sorted(&logits);
        let scores = match least.want(vocab, 64) {
            Want::Argmax => Scores::Argmax(top[0].0),
            Want::TopK(k) => {
                tops += 1;
                let (ids, logits) = top.iter().copied().take(k).unzip();
                Scores::TopK(TopScores { ids, logits })
            }
            _ => continue,
        };
        argmaxes += usize::from(matches!(scores, Scores::Argmax(_)));
        let full = Scores::Logits(logits);
        for _ in 0..4 {
            let want = all.sample(&full).unwrap();
            assert_eq!(least.sample(&scores).unwrap(), want, "{options:?}");
            differ += usize::from(want.id != top[0].0);
        }
    }
    assert!(tops > 200 && argmaxes > 100 && differ > 500, "{tops} {argmaxes} {differ}");
}

#[test]
fn greedy_with_penalties_equals_the_reference() {
    for options in cases() {
        let options = SamplerOptions { temperature: 0.0, ..options };
        let mut sampler = Sampler::new(options.clone()).unwrap();
        SEEN.iter().for_each(|&id| sampler.accept(id));
        let want = reference_probabilities(&LOGITS, &SEEN, &options).iter().position(|&p| p > 0.0).unwrap();
        let got = sampler.sample(&Scores::Logits(LOGITS.to_vec())).unwrap();
        assert_eq!(got.id as usize, want, "{options:?}");
    }
}

#[test]
fn a_seed_always_gives_the_same_tokens() {
    let draw = |seed| {
        let options = SamplerOptions { temperature: 1.0, top_p: 0.95, seed, ..Default::default() };
        let mut sampler = Sampler::new(options).unwrap();
        let scores = Scores::Logits(LOGITS.to_vec());
        (0..16).map(|_| sampler.sample(&scores).unwrap().id).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), GOLDEN_1);
    assert_eq!(draw(2), GOLDEN_2);
}

/// From a second implementation of PCG32 and of the draw.
const GOLDEN_1: [u32; 16] = [4, 2, 4, 9, 9, 4, 0, 2, 9, 2, 2, 2, 9, 9, 4, 2];
const GOLDEN_2: [u32; 16] = [0, 0, 6, 2, 2, 6, 9, 7, 4, 2, 9, 9, 2, 6, 0, 2];

#[test]
fn log_probabilities_are_the_models_own() {
    let options = SamplerOptions { logprobs: Some(3), repetition_penalty: 9.0, ..Default::default() };
    let mut sampler = Sampler::new(options).unwrap();
    sampler.accept(2);
    assert_eq!(sampler.want(10, 64), Want::Logits);
    let got = sampler.sample(&Scores::Logits(LOGITS.to_vec())).unwrap().logprob.unwrap();
    let p = softmax(&LOGITS.map(f64::from));
    assert_eq!((got.id, got.top.iter().map(|t| t.0).collect::<Vec<_>>()), (4, vec![2, 4, 9]));
    for (id, logprob) in got.top.iter().copied().chain([(got.id, got.logprob)]) {
        assert!((f64::from(logprob) - p[id as usize].ln()).abs() < 1e-6);
    }
}

#[test]
fn scores_that_are_no_numbers_are_an_error() {
    for temperature in [0.0, 1.0] {
        let options = SamplerOptions { temperature, logprobs: Some(0), ..Default::default() };
        let mut sampler = Sampler::new(options).unwrap();
        for bad in [f32::NAN, f32::NEG_INFINITY, f32::INFINITY] {
            let error = sampler.sample(&Scores::Logits(vec![bad; 4])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
        assert!(sampler.sample(&Scores::Nothing).is_err());
        assert!(sampler.sample(&Scores::Logits(vec![])).is_err());
        assert_eq!(sampler.sample(&Scores::Logits(vec![f32::NAN, -1.0, f32::NAN])).unwrap().id, 1);
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let o = SamplerOptions::default();
    let bad = [
        ("temperature", SamplerOptions { temperature: -0.1, ..o.clone() }),
        ("temperature", SamplerOptions { temperature: f32::NAN, ..o.clone() }),
        ("topP", SamplerOptions { top_p: 0.0, ..o.clone() }),
        ("topP", SamplerOptions { top_p: 1.01, ..o.clone() }),
        ("topP", SamplerOptions { top_p: f32::NAN, ..o.clone() }),
        ("minP", SamplerOptions { min_p: -0.1, ..o.clone() }),
        ("repetitionPenalty", SamplerOptions { repetition_penalty: 0.0, ..o.clone() }),
        ("frequencyPenalty", SamplerOptions { frequency_penalty: f32::INFINITY, ..o.clone() }),
        ("presencePenalty", SamplerOptions { presence_penalty: f32::NAN, ..o.clone() }),
        ("logprobs", SamplerOptions { logprobs: Some(101), ..o.clone() }),
    ];
    for (name, options) in bad {
        let error = Sampler::new(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().starts_with(name), "{error}");
    }
    assert!(o.check().is_ok());
}
