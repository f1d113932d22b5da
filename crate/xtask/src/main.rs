//! The one place that knows how the wasm is made: `cargo run -p xtask -- build` compiles every variant of
//! the crate, passes each through wasm-bindgen as a library, and has the TypeScript face bundled into
//! `dist/`. The other subcommands (`model`, `serve`, `sizes`) are Node scripts beside this crate.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

/// One wasm build of the crate: its name in `dist/` and the CPU features it may use.
struct Variant {
    name: &'static str,
    features: &'static str,
}

/// Every variant, weakest first. The worker picks one at run time.
const VARIANTS: [Variant; 2] = [
    Variant { name: "simd", features: "+simd128,+bulk-memory,+nontrapping-fptoint,+sign-ext" },
    Variant {
        name: "relaxed",
        features: "+simd128,+relaxed-simd,+bulk-memory,+nontrapping-fptoint,+sign-ext",
    },
];

const USAGE: &str = "usage: cargo run -p xtask -- build | parity | model | serve | sizes";

fn main() -> ExitCode {
    let task = env::args().nth(1).unwrap_or_default();
    let outcome = match task.as_str() {
        "build" => build(),
        "parity" => parity(),
        "model" | "serve" | "sizes" => node(&format!("{task}.mjs"), &[]),
        _ => Err(USAGE.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository: this crate lies two folders below it.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where cargo and the glue of each variant go.
fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn build() -> Result<(), String> {
    let dist = root().join("dist");
    fs::create_dir_all(&dist).map_err(|e| format!("cannot make {}: {e}", dist.display()))?;
    let mut glue_dirs = Vec::new();
    for variant in &VARIANTS {
        let glue = build_variant(variant, "glue", &[])?;
        let shipped = dist.join(format!("homefire.{}.wasm", variant.name));
        fs::copy(glue.join("homefire_bg.wasm"), &shipped)
            .map_err(|e| format!("cannot write {}: {e}", shipped.display()))?;
        glue_dirs.push(glue);
    }
    let args: Vec<&str> = glue_dirs.iter().filter_map(|p| p.to_str()).collect();
    node("bundle.mjs", &args)
}

/// Builds each variant with the parity suite in it and prints the folders, for the tests in a browser.
fn parity() -> Result<(), String> {
    for variant in &VARIANTS {
        let glue = build_variant(variant, "parity", &["--features", "parity"])?;
        println!("{}", glue.display());
    }
    Ok(())
}

/// Compiles one variant and returns the folder, named `glue`, of its wasm and what goes with it.
fn build_variant(variant: &Variant, glue: &str, features: &[&str]) -> Result<PathBuf, String> {
    // A target folder of its own, so that building one variant never evicts the other.
    let target = target_dir().join(format!("wasm-{}", variant.name));
    run(Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .current_dir(root())
        .env_remove("RUSTFLAGS")
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            format!("-Ctarget-feature={}", variant.features),
        )
        .args(["build", "--release", "-p", "homefire", "--lib", "--target", "wasm32-unknown-unknown"])
        .args(features)
        .arg("--target-dir")
        .arg(&target))?;
    let compiled = target.join("wasm32-unknown-unknown/release/homefire.wasm");
    let glue = target.join(glue);
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(&compiled)
        .typescript(true)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .web(true)
        .and_then(|bindgen| bindgen.generate(&glue))
        .map_err(|e| format!("wasm-bindgen refused {}: {e:#}", compiled.display()))?;
    Ok(glue)
}

/// Runs one of the Node scripts beside this crate.
fn node(script: &str, args: &[&str]) -> Result<(), String> {
    let path = root().join("crate/xtask/node").join(script);
    run(Command::new("node").arg(path).args(args).current_dir(root()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{} …", command.get_program().to_string_lossy());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed: {status}")),
        Err(e) => Err(format!("`{shown}` could not start: {e}")),
    }
}
