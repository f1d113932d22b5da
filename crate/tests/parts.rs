//! Models whose layers are in several sessions: they must answer to the bit as one session does, whatever comes between.

use homefire::error::{Error, ErrorKind, Result};
use homefire::generate::{
    Generation, GenerationOptions, LaterLayers, Layers, PendingRows, Rows, Scoring, TextModel,
};
use homefire::import::arch::Part;
use homefire::session::{Loaded, Loader, LoaderOptions};
use homefire::tensor::Tensor;
use pollster::block_on;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

const MODELS: [&str; 6] = ["llama-f32", "qwen2-f16", "qwen3-f16", "qwen3-q8_0", "smollm3-f16", "llama3-f16"];

fn tiny(name: &str) -> Vec<u8> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny"));
    std::fs::read(folder.join(format!("{name}.gguf"))).unwrap()
}

/// Loads a part of a model, which gets the bytes that it wants behind the header and no others.
fn load_part(bytes: &[u8], exact: bool, part: Part) -> Result<Loaded> {
    const HEADER: usize = 1000;
    let mut loader =
        Loader::new(LoaderOptions { context_length: Some(64), exact, ..LoaderOptions::default() });
    loader.set_part(part)?;
    let mut at = 0;
    let wanted = loop {
        loader.push(&bytes[at..at + HEADER])?;
        at += HEADER;
        if let Some(wanted) = loader.wanted() {
            break wanted;
        }
    };
    for (file, range) in wanted {
        assert_eq!(file, 0);
        let (start, end) = ((range.start as usize).max(at), range.end as usize);
        if start < end {
            loader.skip((start - at) as u64);
            bytes[start..end].chunks(777).try_for_each(|chunk| loader.push(chunk))?;
            at = end;
        }
    }
    loader.skip((bytes.len() - at) as u64);
    loader.finish()
}

/// Layers beside this model, as if they were far away: what is sent waits until a result is asked for.
struct Beside {
    shared: Rc<Shared>,
}

struct Shared {
    layers: RefCell<Vec<Layers>>,
    waiting: RefCell<VecDeque<(usize, Tensor, Vec<i32>)>>,
    done: RefCell<VecDeque<Result<Tensor>>>,
    most_waiting: Cell<usize>,
    /// After how many runs one fails.
    fails_in: Cell<usize>,
}

impl Shared {
    /// Computes the oldest that waits.
    fn work(&self) {
        let Some((position, mut hidden, rows)) = self.waiting.borrow_mut().pop_front() else { return };
        self.fails_in.set(self.fails_in.get().wrapping_sub(1));
        let result = if self.fails_in.get() == 0 {
            Err(Error::new(ErrorKind::Internal, "the worker ended"))
        } else {
            self.layers.borrow_mut().iter_mut().try_for_each(|layers| {
                hidden = layers.run(position, hidden.clone(), &rows)?;
                Ok(())
            })
        };
        self.done.borrow_mut().push_back(result.map(|()| hidden));
    }
}

impl LaterLayers for Beside {
    fn send(&mut self, position: usize, hidden: Tensor, rows: Vec<i32>) -> Result<PendingRows> {
        let shared = Rc::clone(&self.shared);
        shared.waiting.borrow_mut().push_back((position, hidden, rows));
        shared.most_waiting.set(shared.most_waiting.get().max(shared.waiting.borrow().len()));
        Ok(Box::pin(async move {
            shared.work();
            shared.done.borrow_mut().pop_front().unwrap()
        }))
    }
}

/// A model in so many parts, or one that is whole.
fn load(name: &str, exact: bool, of: usize) -> (TextModel, Rc<Shared>) {
    let bytes = tiny(name);
    let mut parts = (0..of).map(|index| load_part(&bytes, exact, Part { index, of }).unwrap());
    let first = parts.next().unwrap();
    let shared = Rc::new(Shared {
        layers: RefCell::new(parts.map(|loaded| Layers::new(loaded).unwrap()).collect()),
        waiting: RefCell::default(),
        done: RefCell::default(),
        most_waiting: Cell::new(0),
        fails_in: Cell::new(0),
    });
    let later = Beside { shared: Rc::clone(&shared) };
    let later = (of > 1).then(|| Box::new(later) as Box<dyn LaterLayers>);
    (TextModel::with_later(first, later).unwrap(), shared)
}

fn prompt(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + 11) % 250).collect()
}

fn logits(model: &mut TextModel, batch: usize) -> Vec<u32> {
    model.truncate(0);
    let feed = |ids: &[u32]| block_on(model.feed_rows(ids, Rows::All)).unwrap();
    let scores: Vec<Tensor> = prompt(24).chunks(batch).map(feed).collect();
    scores.iter().flat_map(|s| s.data::<f32>().unwrap().iter().map(|x| x.to_bits())).collect()
}

fn generate(model: &mut TextModel, prompt: &[u32], options: GenerationOptions) -> Result<Vec<u32>> {
    let mut generation = Generation::new(model, prompt, options)?;
    let mut ids = Vec::new();
    loop {
        let step = generation.next(model)?;
        ids.extend(step.id);
        if step.done.is_some() {
            return Ok(ids);
        }
    }
}

fn greedy(n: usize) -> GenerationOptions {
    GenerationOptions { max_tokens: Some(n), ignore_eos: true, ..GenerationOptions::default() }
}

/// The scores of a prompt.
fn scores(model: &mut TextModel, n: u32) -> Vec<f32> {
    let mut work = Scoring::new(model, &prompt(n)).unwrap();
    while block_on(work.step(model)).unwrap() {}
    work.into_scores()
}

#[test]
fn parts_have_the_bits_of_the_whole() {
    for name in MODELS {
        for exact in [true, false] {
            let (mut whole, _) = load(name, exact, 1);
            // More than there are layers: some parts have none.
            for of in 2..=whole.facts().n_layers() + 1 {
                let (mut parts, _) = load(name, exact, of);
                assert_eq!(parts.facts().n_parameters(), whole.facts().n_parameters());
                for batch in [24, 5, 1] {
                    let (got, want) = (logits(&mut parts, batch), logits(&mut whole, batch));
                    assert!(got == want, "{name} in {of} parts, {batch} tokens at a time");
                }
                assert_eq!(scores(&mut parts, 60), scores(&mut whole, 60));
            }
        }
    }
}

#[test]
fn answers_are_the_same_whatever_came_before() {
    let (mut whole, _) = load("smollm3-f16", false, 1);
    for of in [2, 3, 4] {
        let (mut parts, shared) = load("smollm3-f16", false, of);
        for options in [greedy(8), GenerationOptions { sampler: Default::default(), ..greedy(4) }] {
            for n in [50, 40, 55, 3] {
                let want = generate(&mut whole, &prompt(n), options.clone()).unwrap();
                assert_eq!(generate(&mut parts, &prompt(n), options.clone()).unwrap(), want, "{n} tokens");
            }
        }
        // Chunks were under way together, in a bounded number.
        assert!((2..=2 * of).contains(&shared.most_waiting.get()), "{}", shared.most_waiting.get());
        // A prompt that is left half way, with chunks under way, and then others that share some of it.
        let mut left = Generation::new(&parts, &prompt(60)[5..], greedy(4)).unwrap();
        left.next(&mut parts).unwrap();
        drop(left);
        assert_eq!(shared.waiting.borrow().len(), 1);
        for skip in [0, 5] {
            let want = generate(&mut whole, &prompt(60)[skip..], greedy(4)).unwrap();
            assert_eq!(generate(&mut parts, &prompt(60)[skip..], greedy(4)).unwrap(), want);
        }
        // One that is run for the cache alone is done when it says so.
        assert!(generate(&mut parts, &prompt(64)[10..], greedy(0)).unwrap().is_empty());
        assert!(shared.waiting.borrow().is_empty());
    }
}

#[test]
fn a_failure_of_later_layers_ends_the_answer_and_nothing_more() {
    let (mut parts, shared) = load("qwen3-q8_0", false, 2);
    let want = generate(&mut parts, &prompt(60), greedy(4)).unwrap();
    for fails_in in 1..=5 {
        parts.truncate(0);
        shared.fails_in.set(fails_in);
        let error = generate(&mut parts, &prompt(60), greedy(4)).unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Internal, "the worker ended"));
        assert!(parts.cached().is_empty());
        while !shared.waiting.borrow().is_empty() {
            shared.work();
        }
        shared.done.borrow_mut().clear();
        assert_eq!(generate(&mut parts, &prompt(60), greedy(4)).unwrap(), want);
    }
}

#[test]
fn parts_hold_together_what_the_whole_holds() {
    let (whole, _) = load("qwen3-q8_0", false, 1);
    let bytes = tiny("qwen3-q8_0");
    let part = |index| load_part(&bytes, false, Part { index, of: 2 }).unwrap().session.memory_bytes();
    let all = whole.session().memory_bytes();
    // Each has a table of RoPE's angles, 64 positions by 32 elements, and the embedding is in one of them alone.
    assert!((all..=all + 64 * 32 * 4).contains(&(part(0) + part(1))), "{} and {} of {all}", part(0), part(1));
}

#[test]
fn a_profile_has_every_layer_once() {
    let (mut parts, shared) = load("smollm3-f16", false, 3);
    let [mut nodes, head] = parts.profile().unwrap();
    shared.layers.borrow_mut().iter_mut().for_each(|layers| nodes.extend(layers.profile().unwrap()));
    nodes.extend(head);
    let nodes: Vec<String> = nodes.into_iter().map(|node| node.node).collect();
    let [whole, _] = load("smollm3-f16", false, 1).0.profile().unwrap();
    assert_eq!(nodes, whole.into_iter().map(|node| node.node).collect::<Vec<_>>());
}

#[test]
fn wrong_parts_are_refused() {
    let bytes = tiny("qwen3-q8_0");
    assert!(TextModel::new(load_part(&bytes, false, Part { index: 0, of: 2 }).unwrap()).is_err());
    assert!(TextModel::new(load_part(&bytes, false, Part { index: 1, of: 2 }).unwrap()).is_err());
    assert!(Layers::new(load_part(&bytes, false, Part::WHOLE).unwrap()).is_err());
    let (_, shared) = load("qwen3-q8_0", false, 2);
    let few = Tensor::new(&[3, 7], &[0.0f32; 21]).unwrap();
    let error = shared.layers.borrow_mut()[0].run(0, few, &[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShapeMismatch);
}
