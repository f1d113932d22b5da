//! The kernels that inference spends its time in, each as a case that a page calls and times (`../kernels.mjs`), and
//! beside them what the machine can do at most: multiplications and additions in registers, and bytes from memory.

mod cases;
mod networks;
mod peaks;
mod transformers;

use cases::Case;
use homefire::kernels::threads::Threads;
use std::cell::RefCell;
use wasm_bindgen::prelude::*;

thread_local! {
    static PREPARED: RefCell<Option<cases::Call>> = const { RefCell::new(None) };
}

fn all() -> Vec<Case> {
    [peaks::cases(), transformers::cases(), networks::cases()].concat()
}

/// The cases, each as `kind\tname`; peaks come first, and are of the kind `peak`.
#[wasm_bindgen]
pub fn names() -> Vec<String> {
    all().into_iter().map(|case| format!("{}\t{}", case.kind, case.name)).collect()
}

/// What one call of each case does, four numbers each: operations of floats, operations of products of 8-bit integers,
/// bytes from memory, bytes to and from the nearest cache.
#[wasm_bindgen]
pub fn works() -> Vec<f64> {
    all().into_iter().flat_map(|case| [case.floats, case.integers, case.memory, case.cache]).collect()
}

/// Makes what case `index` works on, in place of that of another; `None` only frees that.
///
/// # Errors
/// The message of the kernel that refused.
#[wasm_bindgen]
pub fn prepare(index: Option<usize>) -> Result<(), String> {
    PREPARED.with_borrow_mut(|prepared| *prepared = None);
    if let Some(case) = index.and_then(|index| all().into_iter().nth(index)) {
        let call = (case.make)().map_err(|error| error.message().to_string())?;
        PREPARED.with_borrow_mut(|prepared| *prepared = Some(call));
    }
    Ok(())
}

/// Calls the prepared case `times` times, on all threads that serve.
#[wasm_bindgen]
pub fn run(times: usize) {
    PREPARED.with_borrow_mut(|prepared| {
        if let Some(call) = prepared {
            (0..times).for_each(|_| call(Threads::shared()));
        }
    });
}
