//! Test support: the parity suite, callable natively and from a test wasm.
