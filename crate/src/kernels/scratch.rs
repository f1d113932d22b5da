//! Memory for what a kernel computes on the way. It is kept for the next call, and need not be made anew nor cleared.

use std::cell::Cell;

/// Numbers that are kept at most: what is larger takes longer to fill than to make.
const MOST: usize = 1 << 22;

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with `n` numbers, whatever they are.
pub fn scratch<R>(n: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    // Where this is called inside of itself, there is none.
    let mut numbers = KEPT.take();
    if numbers.len() < n {
        numbers = vec![0.0; n];
    }
    if cfg!(test) {
        numbers.fill(f32::NAN);
    }
    let result = work(&mut numbers[..n]);
    if numbers.len() <= MOST {
        KEPT.set(numbers);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::scratch;

    #[test]
    fn it_is_kept_and_its_own_inside_of_itself() {
        let at = |numbers: &mut [f32]| numbers.as_ptr();
        let outer = scratch(100, |outer| {
            outer.fill(1.0);
            scratch(50, |inner| inner.fill(2.0));
            assert!(outer.iter().all(|&x| x == 1.0));
            at(outer)
        });
        assert_eq!(scratch(90, at), outer);
        assert_eq!(scratch(0, |none| none.len()), 0);
    }
}
