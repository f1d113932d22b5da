//! Tests of the token loop on a model whose scores depend on its whole cache.

use super::fake::{Fake, Whole, generator, rest, run, text_of};
use super::*;
use crate::error::ErrorKind;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

const PROMPT: [u32; 10] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];

fn greedy(max_tokens: usize) -> GenerationOptions {
    GenerationOptions { max_tokens: Some(max_tokens), ..Default::default() }
}

/// The greedy answer, each token by running everything before it afresh.
fn naive(prompt: &[u32], n: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..n {
        let mut model = Fake::new(1000);
        model.max_batch = 1000;
        let scores = pollster::block_on(model.feed(&tokens, 0, Want::Argmax, Rows::Last)).unwrap();
        let [Scores::Argmax(id)] = scores[..] else { panic!() };
        tokens.push(id);
    }
    tokens.split_off(prompt.len())
}

fn done(step: &Whole) -> Done {
    step.done.unwrap()
}

#[test]
fn greedy_equals_the_naive_answer_in_any_chunks_and_any_depth() {
    let want = naive(&PROMPT, 30);
    for max_batch in [1, 2, 3, 4, 9, 10, 11, 100] {
        for depth in 1..5 {
            let mut model = Fake::new(64);
            (model.max_batch, model.depth) = (max_batch, depth);
            let got = run(&mut model, &PROMPT, &greedy(30));
            assert_eq!(got.ids, want, "batch {max_batch}, depth {depth}");
            assert_eq!(got.text, text_of(&want));
            assert_eq!(done(&got).reason, FinishReason::Length);
            assert_eq!(model.begun > 0, depth > 1);
            assert_eq!(model.fed, 39, "no step past max_tokens");
            assert_eq!(model.kv.tokens(), [&PROMPT[..], &want[..29]].concat());
        }
    }
}

#[test]
fn the_harness_sees_a_cache_that_is_off_by_one() {
    let mut model = Fake::new(64);
    let mut generator = generator(&model, &PROMPT, &greedy(30));
    for _ in 0..8 {
        pollster::block_on(generator.step(&mut model)).unwrap();
    }
    // A wrong token in the cache that the bookkeeping does not know of.
    let at = model.kv.len() - 1;
    pollster::block_on(model.feed(&[49], at, Want::Nothing, Rows::Last)).unwrap();
    assert_ne!(rest(&mut generator, &mut model).ids[..], naive(&PROMPT, 30)[6..]);
}

#[test]
fn a_stop_token_ends_the_answer_and_overrun_is_taken_back() {
    let want = naive(&PROMPT, 30);
    let stop = want[12];
    let n = want.iter().position(|&id| id == stop).unwrap();
    for depth in 1..5 {
        let mut model = Fake::new(64);
        (model.depth, model.stop_ids) = (depth, vec![stop]);
        let options = greedy(30);
        let got = run(&mut model, &PROMPT, &options);
        assert_eq!(got.ids, want[..n]);
        assert_eq!(done(&got).reason, FinishReason::Stop);
        assert_eq!(done(&got).completion_tokens, n);
        assert_eq!(model.kv.tokens(), [&PROMPT[..], &want[..n]].concat());
        // The cache is sound: what follows is as from a fresh one.
        let next = [&PROMPT[..], &want[..n], &[7, 8]].concat();
        model.stop_ids.clear();
        let second = run(&mut model, &next, &greedy(10));
        assert_eq!(second.ids, naive(&next, 10), "depth {depth}");
        assert_eq!(done(&second).reused_tokens, PROMPT.len() + n);
        model.stop_ids.push(stop);
        let ignoring = GenerationOptions { ignore_eos: true, ..options };
        assert_eq!(run(&mut model, &PROMPT, &ignoring).ids, want);
    }
}

#[test]
fn reuse_of_a_prefix_changes_the_work_and_not_the_answer() {
    let mut model = Fake::new(64);
    let first = run(&mut model, &PROMPT, &greedy(5));
    let prompt = [&PROMPT[..], &first.ids, &[11, 12, 13]].concat();
    for (reuse_prefix, reused) in [(true, 14), (false, 0), (true, 17)] {
        model.fed = 0;
        let got = run(&mut model, &prompt, &GenerationOptions { reuse_prefix, ..greedy(8) });
        assert_eq!(got.ids, naive(&prompt, 8));
        let done = done(&got);
        assert_eq!((done.prompt_tokens, done.reused_tokens, done.completion_tokens), (18, reused, 8));
        assert_eq!(model.fed, 18 - reused + 7);
    }
    // A prompt that parts from the cache half way.
    let mut other = prompt.clone();
    other[6] = 40;
    let got = run(&mut model, &other, &greedy(8));
    assert_eq!((got.ids, got.done.unwrap().reused_tokens), (naive(&other, 8), 6));
}

#[test]
fn two_generations_at_once_both_give_their_answer() {
    for depth in [1, 3] {
        let mut model = Fake::new(64);
        model.depth = depth;
        let prompts = [&PROMPT[..], &[3, 1, 4, 8]];
        let mut both = prompts.map(|prompt| generator(&model, prompt, &greedy(12)));
        let mut got = [vec![], vec![]];
        for _ in 0..40 {
            for (generator, ids) in both.iter_mut().zip(&mut got) {
                ids.extend(pollster::block_on(generator.step(&mut model)).unwrap().id);
            }
            // One at a time makes progress only while the other rests.
            for (generator, ids) in both.iter_mut().zip(&mut got) {
                for _ in 0..8 {
                    ids.extend(pollster::block_on(generator.step(&mut model)).unwrap().id);
                }
            }
        }
        assert_eq!(got, prompts.map(|prompt| naive(prompt, 12)), "depth {depth}");
    }
}

#[test]
fn stop_strings_lie_across_tokens() {
    let want = naive(&PROMPT, 30);
    let text = text_of(&want);
    // From the middle of one token to the middle of another.
    let stop = text[9..13].to_string();
    let at = text.find(&stop).unwrap();
    for depth in [1, 3] {
        let mut model = Fake::new(64);
        model.depth = depth;
        let options = GenerationOptions { stop: vec!["never".into(), stop.clone()], ..greedy(30) };
        let got = run(&mut model, &PROMPT, &options);
        assert_eq!((got.text.as_str(), done(&got).reason), (&text[..at], FinishReason::Stop));
        assert_eq!(got.ids, want[..(at + stop.len()).div_ceil(2)]);
    }
    // Text held back for a stop string that does not come is not lost.
    let options = GenerationOptions { stop: vec![format!("{}!", &text[57..])], ..greedy(30) };
    let mut model = Fake::new(64);
    assert_eq!(run(&mut model, &PROMPT, &options).text, text);
    // Nor what the detokenizer held back; and a stop string may end in it.
    for (stop, tail, reason) in [("?", "…", FinishReason::Length), ("…", "", FinishReason::Stop)] {
        let options = GenerationOptions { stop: vec![stop.into()], ..greedy(3) };
        model.tail = "…";
        let got = run(&mut model, &PROMPT, &options);
        assert_eq!((got.text.clone(), done(&got).reason), (text[..6].to_string() + tail, reason));
    }
}

#[test]
fn a_full_context_stops_with_its_reason() {
    for depth in 1..4 {
        let mut model = Fake::new(16);
        model.depth = depth;
        let got = run(&mut model, &PROMPT, &GenerationOptions::default());
        // Positions 10 to 15 take six tokens, and the seventh needs none.
        assert_eq!((got.ids, got.done.unwrap().reason), (naive(&PROMPT, 7), FinishReason::Context));
        let got = run(&mut model, &[1; 16], &GenerationOptions::default());
        assert_eq!((got.ids, got.done.unwrap().reason), (naive(&[1; 16], 1), FinishReason::Context));
    }
}

#[test]
fn a_shift_forgets_the_older_half_and_goes_on() {
    let options = GenerationOptions { on_context_full: OnContextFull::Shift, ..greedy(50) };
    // By hand: whenever 17 tokens are there for 16 positions, 6 go after the first 4.
    let mut tokens = PROMPT.to_vec();
    let mut want = vec![];
    while want.len() < 50 {
        if tokens.len() > 16 {
            tokens.drain(4..10);
        }
        let id = naive(&tokens, 1)[0];
        tokens.push(id);
        want.push(id);
    }
    for depth in 1..4 {
        for shifts in [false, true] {
            let mut model = Fake::new(16);
            (model.depth, model.shifts) = (depth, shifts);
            let got = run(&mut model, &PROMPT, &options);
            assert_eq!(got.ids, want, "depth {depth}, shifts {shifts}");
            // What a shift moved is not reused.
            let prompt = model.kv.tokens().to_vec();
            let again = run(&mut model, &prompt, &greedy(1));
            let reused = done(&again).reused_tokens;
            assert_eq!(reused, if shifts { 4 } else { prompt.len() - 1 });
        }
    }
    let mut tiny = Fake::new(1);
    assert_eq!(run(&mut tiny, &[5], &options).ids.len(), 50);
}

#[test]
fn cancel_ends_at_the_next_step_and_the_cache_stays_sound() {
    for depth in [1, 3] {
        for steps in 0..8 {
            let mut model = Fake::new(64);
            model.depth = depth;
            let mut first = generator(&model, &PROMPT, &greedy(20));
            for _ in 0..steps {
                pollster::block_on(first.step(&mut model)).unwrap();
            }
            let fed = model.fed;
            if steps % 2 == 0 {
                first.cancel();
                let step = pollster::block_on(first.step(&mut model)).unwrap();
                assert_eq!(step.done.unwrap().reason, FinishReason::Cancelled);
                assert_eq!(pollster::block_on(first.step(&mut model)).unwrap().done, step.done);
            }
            drop(first);
            assert_eq!(model.fed, fed);
            assert!(steps != 2 || model.kv.len() == 8, "two chunks of the prompt stay");
            assert_eq!(run(&mut model, &PROMPT, &greedy(9)).ids, naive(&PROMPT, 9), "{depth} {steps}");
        }
    }
}

#[test]
fn a_future_dropped_half_way_costs_only_its_work() {
    for depth in [1, 2, 3] {
        let mut model = Fake::new(64);
        model.depth = depth;
        let mut generator = generator(&model, &PROMPT, &greedy(12));
        let mut ids = vec![];
        for _ in 0..100 {
            let waiting = {
                let mut future = pin!(generator.step(&mut model));
                future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            };
            assert!(waiting || ids.len() == 12);
            ids.extend(pollster::block_on(generator.step(&mut model)).unwrap().id);
        }
        assert_eq!(ids, naive(&PROMPT, 12), "depth {depth}");
    }
}

#[test]
fn an_error_of_the_model_comes_through_and_empties_the_cache() {
    for depth in [1, 3] {
        for at in [2, 9, 13] {
            let mut model = Fake::new(64);
            (model.depth, model.fails_at) = (depth, Some(at));
            let mut generator = generator(&model, &PROMPT, &greedy(12));
            let error = (0..20).find_map(|_| pollster::block_on(generator.step(&mut model)).err()).unwrap();
            assert_eq!(error.kind(), ErrorKind::DeviceLost);
            assert!(model.kv.is_empty());
            model.fails_at = None;
            assert_eq!(run(&mut model, &PROMPT, &greedy(12)).ids, naive(&PROMPT, 12));
        }
    }
}

#[test]
fn prompts_and_options_out_of_range_are_refused() {
    let model = Fake::new(16);
    let error =
        |prompt: &[u32], options: GenerationOptions| Generator::new(&model, prompt, options).err().unwrap();
    assert_eq!(error(&[], greedy(1)).kind(), ErrorKind::InvalidInput);
    assert_eq!(error(&[50], greedy(1)).kind(), ErrorKind::InvalidInput);
    assert_eq!(error(&[1; 17], greedy(1)).kind(), ErrorKind::ContextFull);
    let stop = GenerationOptions { stop: vec![String::new()], ..greedy(1) };
    assert_eq!(error(&[1], stop).kind(), ErrorKind::InvalidInput);
    let sampler = SamplerOptions { top_p: 0.0, ..Default::default() };
    assert_eq!(error(&[1], GenerationOptions { sampler, ..greedy(1) }).kind(), ErrorKind::InvalidInput);
}

#[test]
fn no_tokens_wanted_fills_the_cache() {
    for depth in [1, 3] {
        let mut model = Fake::new(64);
        model.depth = depth;
        for reused in [0, 10] {
            let got = run(&mut model, &PROMPT, &greedy(0));
            assert_eq!((got.text.as_str(), got.ids.len()), ("", 0));
            assert_eq!(done(&got).reason, FinishReason::Length);
            assert_eq!(done(&got).reused_tokens, reused);
            assert_eq!((model.kv.tokens(), model.fed), (&PROMPT[..], 10));
        }
    }
}

#[test]
fn sampling_from_the_top_equals_sampling_from_all() {
    let sampler = SamplerOptions {
        temperature: 0.9,
        top_k: 8,
        repetition_penalty: 1.3,
        presence_penalty: 0.2,
        penalty_window: 12,
        seed: 5,
        ..Default::default()
    };
    let options = GenerationOptions { sampler, ..greedy(40) };
    let mut plain = Fake::new(64);
    let mut top = Fake::new(64);
    top.max_top_k = 32;
    let want = run(&mut plain, &PROMPT, &options);
    assert_eq!(run(&mut top, &PROMPT, &options).ids, want.ids);
    assert!(plain.wants.contains(&Want::Logits) && !top.wants.contains(&Want::Logits));
    assert_ne!(want.ids, naive(&PROMPT, 40));
    let with = SamplerOptions { logprobs: Some(2), ..options.sampler };
    let got = run(&mut top, &PROMPT, &GenerationOptions { sampler: with, ..options });
    assert_eq!(got.ids, want.ids);
    assert!(got.logprobs.iter().map(|l| l.id).eq(got.ids.iter().copied()));
}

/// Scores that depend on the last tokens alone go round; those that depend on all make drafts wrong.
const WINDOWS: [usize; 3] = [1, 2, usize::MAX];

fn drafting(draft_len: usize, window: usize) -> Fake {
    let mut model = Fake::new(256);
    (model.draft_len, model.window) = (draft_len, window);
    model
}

#[test]
fn drafts_change_the_runs_and_not_the_answer() {
    let sampler = SamplerOptions {
        temperature: 0.2,
        repetition_penalty: 1.05,
        penalty_window: 12,
        seed: 5,
        logprobs: Some(2),
        ..Default::default()
    };
    for (window, options) in WINDOWS.into_iter().flat_map(|window| {
        let sampled = GenerationOptions { sampler: sampler.clone(), ..greedy(150) };
        [(window, greedy(150)), (window, sampled)]
    }) {
        let mut plain = drafting(0, window);
        let want = run(&mut plain, &PROMPT, &options);
        assert_eq!(done(&want).drafted_tokens, 0);
        for draft_len in [1, 3] {
            let mut model = drafting(draft_len, window);
            let got = run(&mut model, &PROMPT, &options);
            assert_eq!((&got.ids, &got.logprobs, &got.text), (&want.ids, &want.logprobs, &want.text));
            assert_eq!(model.kv.tokens(), plain.kv.tokens());
            let saved = done(&got).drafted_tokens;
            assert_eq!(model.runs + saved, plain.runs);
            // The first drafts are tried whatever they cost, and here they are right; later ones depend on the clock.
            assert!(saved > 0 || window != 1 || options.sampler.temperature > 0.0, "no draft was right");
        }
    }
}

#[test]
fn drafts_end_where_the_answer_does() {
    for window in WINDOWS {
        let all = run(&mut drafting(0, window), &PROMPT, &greedy(60)).ids;
        for n in 1..60 {
            // By length, by a stop token, and by a full context.
            let mut model = drafting(3, window);
            assert_eq!(run(&mut model, &PROMPT, &greedy(n)).ids, all[..n]);
            let stop = all[n];
            let first = all.iter().position(|&id| id == stop).unwrap();
            let mut model = drafting(3, window);
            model.stop_ids = vec![stop];
            assert_eq!(run(&mut model, &PROMPT, &greedy(60)).ids, all[..first]);
            assert_eq!(model.kv.tokens(), [&PROMPT[..], &all[..first]].concat());
            model.context_len = PROMPT.len() + n;
            model.stop_ids.clear();
            let got = run(&mut model, &PROMPT, &GenerationOptions::default());
            assert_eq!((&got.ids[..], done(&got).reason), (&all[..=n], FinishReason::Context));
        }
    }
}

#[test]
fn drafts_of_two_generations_and_of_a_shifted_context_are_their_own() {
    let prompts = [&PROMPT[..], &[3, 1, 4, 8]];
    for window in WINDOWS {
        let mut model = drafting(3, window);
        model.max_batch = 100;
        let mut both = prompts.map(|prompt| generator(&model, prompt, &greedy(80)));
        let mut got = [vec![], vec![]];
        for turn in 0..80 {
            // Sometimes one goes on alone for a while.
            let n = if turn % 3 == 0 { 5 } else { 1 };
            for (generator, ids) in both.iter_mut().zip(&mut got) {
                for _ in 0..n {
                    ids.extend(pollster::block_on(generator.step(&mut model)).unwrap().id);
                }
            }
        }
        assert_eq!(got, prompts.map(|prompt| run(&mut drafting(0, window), prompt, &greedy(80)).ids));
        let options = GenerationOptions { on_context_full: OnContextFull::Shift, ..greedy(80) };
        let shifted = |draft_len: usize, shifts: bool| {
            let mut model = drafting(draft_len, window);
            (model.context_len, model.shifts) = (16, shifts);
            run(&mut model, &PROMPT, &options).ids
        };
        for shifts in [false, true] {
            assert_eq!(shifted(3, shifts), shifted(0, shifts), "window {window}");
        }
    }
}
