//! The time, for profiles.

/// Milliseconds since some moment that does not change.
#[cfg(not(target_arch = "wasm32"))]
pub fn now() -> f64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds since some moment that does not change.
#[cfg(target_arch = "wasm32")]
pub fn now() -> f64 {
    use js_sys::{Reflect, global};
    use wasm_bindgen::JsCast;
    thread_local! {
        /// On a page and in a worker the same name.
        static CLOCK: Option<web_sys::Performance> =
            Reflect::get(&global(), &"performance".into()).ok().and_then(|found| found.dyn_into().ok());
    }
    CLOCK.with(|clock| clock.as_ref().map_or(0.0, web_sys::Performance::now))
}
