//! The shape of the house: modules use only modules of their own tier or lower ones, and no file is too long to enjoy.

use std::path::{Path, PathBuf};

/// The modules by tier.
const TIERS: &[&[&str]] = &[
    &["error", "types"],
    &["tensor", "quant", "formats", "text"],
    &["kernels"],
    &["ops"],
    &["graph"],
    &["import", "passes", "plan"],
    &["backend"],
    &["session", "parity"],
    &["generate", "embed"],
    &["api"],
];

fn tier(module: &str) -> Option<usize> {
    TIERS.iter().position(|modules| modules.contains(&module))
}

/// The modules of a higher tier that the source of `module` names, tests at its end left out.
fn upward(module: &str, source: &str) -> Vec<String> {
    let own = tier(module).unwrap_or_else(|| panic!("the module {module} has no tier"));
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
    let named = code
        .split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>());
    named.filter(|other| tier(other).is_some_and(|tier| tier > own)).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below a folder, those of other projects and of builds left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if entry.is_symlink()
            || name.starts_with('.')
            || ["node_modules", "target", "dist", "out"].contains(&&*name)
        {
            continue;
        }
        if entry.is_dir() {
            found.extend(files(&entry));
        } else {
            found.push(entry);
        }
    }
    found
}

#[test]
fn modules_use_lower_tiers_only() {
    let source = root().join("crate/src");
    for file in files(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        let module = inside.iter().next().unwrap().to_string_lossy().replace(".rs", "");
        let is_test = inside.to_string_lossy().contains("tests");
        if module == "lib" || is_test || file.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let found = upward(&module, &std::fs::read_to_string(&file).unwrap());
        assert!(found.is_empty(), "{} reaches up to {found:?}", inside.display());
    }
    assert_eq!(upward("ops", "use crate::error::fail; use crate::graph::Graph;"), ["graph"]);
}

/// The most lines that a file may have.
fn limit(file: &Path) -> Option<usize> {
    match file.extension()?.to_str()? {
        "rs" | "ts" | "js" | "mjs" | "css" => Some(500),
        "wgsl" => Some(250),
        _ => None,
    }
}

#[test]
fn no_file_is_too_long() {
    let mut seen = 0;
    for folder in ["crate", "shaders", "www", "pkg-tests", "fuzz"] {
        for file in files(&root().join(folder)) {
            let Some(most) = limit(&file) else { continue };
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= most, "{} has {lines} lines, more than {most}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 150, "only {seen} files were found");
    assert_eq!(limit(Path::new("a/b.wgsl")), Some(250));
}
