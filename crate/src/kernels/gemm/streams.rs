//! How many panels one row of activations goes through side by side. A product with a large weight waits for memory, and
//! processors differ in how many streams of it they fetch ahead: of 1, 2, 4 and 8, one was seen to need the most and another to be three
//! times slower with them. So the first products with large weights try each in turn, and the fastest is kept. The
//! number changes no sum.

use crate::kernels::clock;
use std::sync::{Mutex, PoisonError};

/// Powers of two up to 8, which the kernel has code for.
const CHOICES: [usize; 4] = [4, 2, 8, 1];
/// Products that try each choice: the browser still compiles during the first ones.
const TRIALS: usize = 6;
/// Bytes of a weight that is large: more than a cache keeps between two products.
const LARGE: usize = 8 << 20;

static TUNER: Mutex<Tuner> = Mutex::new(Tuner::new());

/// Calls `product` with the number of panels that is best for a weight of `bytes`, as far as is known.
pub fn choose(bytes: usize, product: impl FnOnce(usize)) {
    let tuner = || TUNER.lock().unwrap_or_else(PoisonError::into_inner);
    let (trial, chosen) = {
        let tuner = tuner();
        (tuner.trial().filter(|_| bytes >= LARGE), tuner.chosen())
    };
    let Some(choice) = trial else { return product(chosen) };
    let start = clock::now();
    product(CHOICES[choice]);
    let passed = clock::now() - start;
    tuner().tell(choice, passed / bytes as f64);
}

struct Tuner {
    told: usize,
    /// The least time a byte of each choice.
    least: [f64; CHOICES.len()],
}

impl Tuner {
    const fn new() -> Self {
        Self { told: 0, least: [f64::INFINITY; CHOICES.len()] }
    }

    /// The choice to try next, while there is one.
    fn trial(&self) -> Option<usize> {
        (self.told < TRIALS * CHOICES.len()).then_some(self.told % CHOICES.len())
    }

    fn tell(&mut self, choice: usize, time: f64) {
        self.told += 1;
        self.least[choice] = self.least[choice].min(time);
    }

    /// The fastest so far; the first where none was tried.
    fn chosen(&self) -> usize {
        let fastest = (0..CHOICES.len()).min_by(|&a, &b| self.least[a].total_cmp(&self.least[b]));
        CHOICES[fastest.unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_is_kept_however_slow_it_was_at_first() {
        let mut tuner = Tuner::new();
        assert_eq!(tuner.chosen(), CHOICES[0]);
        let times = [3.0, 2.0, 4.0, 5.0];
        while let Some(choice) = tuner.trial() {
            let compiling = if tuner.told < CHOICES.len() { 10.0 * times[3 - choice] } else { 0.0 };
            tuner.tell(choice, times[choice] + compiling);
        }
        assert_eq!((tuner.told, tuner.chosen()), (TRIALS * CHOICES.len(), CHOICES[1]));
    }
}
