//! The one place that knows how the wasm is made: `cargo run -p xtask -- build` compiles every variant of
//! the crate, passes each through wasm-bindgen as a library, and has the TypeScript face bundled into
//! `dist/`. The other subcommands (`model`, `serve`, `sizes`) are Node scripts beside this crate.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, thread};

/// One wasm build of the crate: its name in `dist/`, and whether it uses relaxed SIMD and shares its memory with threads.
struct Variant {
    name: &'static str,
    relaxed: bool,
    threads: bool,
}

/// Every variant. The worker picks one at run time.
const VARIANTS: [Variant; 4] = [
    Variant { name: "simd", relaxed: false, threads: false },
    Variant { name: "relaxed", relaxed: true, threads: false },
    Variant { name: "simd-threads", relaxed: false, threads: true },
    Variant { name: "relaxed-threads", relaxed: true, threads: true },
];

/// What the linker needs for a memory that threads share: 4 GiB at most, and a place for what each thread has alone.
const SHARED: [&str; 7] = [
    "--shared-memory",
    "--import-memory",
    "--max-memory=4294967296",
    "--export=__wasm_init_tls",
    "--export=__tls_size",
    "--export=__tls_align",
    "--export=__tls_base",
];

/// How LLVM makes code for engines that take it as it is. They keep its order when they give out registers, of which kernels
/// are written to use all: the source's order, not one of LLVM's. Strength reduction of loops makes additions of what are
/// offsets of loads.
const CODE: [&str; 2] = ["-pre-RA-sched=source", "-disable-lsr"];

impl Variant {
    /// A target folder of its own, so that building one variant never evicts the other.
    fn target(&self) -> PathBuf {
        target_dir().join(format!("wasm-{}", self.name))
    }

    fn rust_flags(&self) -> String {
        let mut flags = "-Ctarget-feature=+simd128,+bulk-memory,+nontrapping-fptoint,+sign-ext".to_string();
        if self.relaxed {
            flags += ",+relaxed-simd";
        }
        if self.threads {
            flags += ",+atomics,+mutable-globals";
            SHARED.iter().for_each(|arg| flags += &format!(" -Clink-arg={arg}"));
        }
        CODE.iter().for_each(|arg| flags += &format!(" -Cllvm-args={arg}"));
        flags
    }
}

const USAGE: &str =
    "usage: cargo run -p xtask -- build [VARIANT…] | parity | kernels | model | serve | sizes";

fn main() -> ExitCode {
    let task = env::args().nth(1).unwrap_or_default();
    let outcome = match task.as_str() {
        "build" => build(&env::args().skip(2).collect::<Vec<_>>()),
        "parity" => parity(),
        "kernels" => kernels(),
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

/// Builds all variants, or those named, beside what an earlier build left of the others.
fn build(named: &[String]) -> Result<(), String> {
    let dist = root().join("dist");
    fs::create_dir_all(&dist).map_err(|e| format!("cannot make {}: {e}", dist.display()))?;
    let wanted = |variant: &Variant| named.is_empty() || named.iter().any(|name| name == variant.name);
    two_at_a_time(wanted, |variant| {
        let glue = build_variant(variant, "glue", "homefire", &[])?;
        let shipped = dist.join(format!("homefire.{}.wasm", variant.name));
        fs::copy(glue.join("homefire_bg.wasm"), &shipped)
            .map_err(|e| format!("cannot write {}: {e}", shipped.display()))
    })?;
    let glue_dirs: Vec<PathBuf> = VARIANTS.iter().map(|variant| variant.target().join("glue")).collect();
    let args: Vec<&str> = glue_dirs.iter().filter_map(|p| p.to_str()).collect();
    node("bundle.mjs", &args)
}

/// Builds each variant without threads with the parity suite in it and prints the folders, for the tests in a browser.
/// That threads change no bit of what is computed is tested elsewhere.
fn parity() -> Result<(), String> {
    let features = ["--features", "parity"];
    print_folders(&two_at_a_time(
        |variant| !variant.threads,
        |variant| build_variant(variant, "parity", "homefire", &features),
    )?);
    Ok(())
}

/// Builds the micro-benchmarks of the kernels with relaxed SIMD, without threads and with them, and prints the folders.
fn kernels() -> Result<(), String> {
    print_folders(&two_at_a_time(
        |variant| variant.relaxed,
        |variant| build_variant(variant, "kernels", "kernel-bench", &[]),
    )?);
    Ok(())
}

fn print_folders(folders: &[PathBuf]) {
    folders.iter().for_each(|folder| println!("{}", folder.display()));
}

/// What `work` makes of the variants that are `wanted`, in their order: most of a build is work of one thread, and takes
/// a gigabyte or two.
fn two_at_a_time<T: Send>(
    wanted: impl Fn(&Variant) -> bool,
    work: impl Fn(&'static Variant) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let variants: Vec<_> = VARIANTS.iter().filter(|variant| wanted(variant)).collect();
    let mut made = Vec::new();
    for pair in variants.chunks(2) {
        thread::scope(|scope| {
            let running: Vec<_> = pair.iter().map(|variant| scope.spawn(|| work(variant))).collect();
            made.extend(running.into_iter().map(|build| build.join().expect("a build does not panic")));
        });
    }
    made.into_iter().collect()
}

/// Compiles one variant of a package and returns the folder, named `glue`, of its wasm and what goes with it.
fn build_variant(variant: &Variant, glue: &str, package: &str, features: &[&str]) -> Result<PathBuf, String> {
    let target = variant.target();
    let mut cargo = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo
        .current_dir(root())
        .env_remove("RUSTFLAGS")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", variant.rust_flags())
        .args(["build", "--release", "-p", package, "--lib", "--target", "wasm32-unknown-unknown"])
        .args(features)
        .arg("--target-dir")
        .arg(&target);
    if variant.threads {
        // The standard library that rustup brings cannot share its memory: it is compiled anew, which stable Rust only
        // does when asked this way.
        cargo.env("RUSTC_BOOTSTRAP", "1").args(["-Z", "build-std=std,panic_abort"]);
    }
    run(&mut cargo)?;
    let compiled =
        target.join("wasm32-unknown-unknown/release").join(format!("{}.wasm", package.replace('-', "_")));
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
