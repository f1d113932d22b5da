//! What JavaScript sees of the wasm: `Loader`, `Model`, `Generation`, and errors as `Error` objects with
//! their `kind` and `node`. The TypeScript twins of these exports are in `js/glue.ts`.

mod error;
mod loader;
