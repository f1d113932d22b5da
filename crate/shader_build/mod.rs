//! Shaders are WESL modules (wesl-lang.dev): WGSL with `import` and `@if(feature)`. This expands the subset
//! that they use: `import package::shared::x::name;` adds the whole module once, and `@if(a)` or `@if(!a)`
//! keeps or drops the declaration, statement or block that follows. The `wesl` crate does more, and takes
//! minutes to build, because it generates its parser on every machine.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

/// The Rust source of the table of all variants that `shaders/variants` names.
pub fn table(shaders: &Path) -> Result<String, String> {
    let mut rust = String::from("&[\n");
    for line in read(&shaders.join("variants"))?.lines() {
        let Some((kernel, variants)) = line.split_once(':').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        for variant in variants.split(',') {
            let features: Vec<&str> = variant.split_whitespace().filter(|f| *f != "-").collect();
            let name = [&[kernel], &features[..]].concat().join("-");
            let wgsl = expand(shaders, kernel, &features, &mut HashSet::new())?;
            let bindings = bindings(&wgsl).map_err(|e| format!("{name}: {e}"))?;
            writeln!(rust, "    Shader {{ name: {name:?}, wgsl: {wgsl:?}, bindings: &{bindings:?} }},")
                .map_err(|e| e.to_string())?;
        }
    }
    rust.push_str("]\n");
    Ok(rust)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// The text of a module with its imports, without comments.
fn expand(
    shaders: &Path,
    module: &str,
    features: &[&str],
    seen: &mut HashSet<String>,
) -> Result<String, String> {
    if !seen.insert(module.to_string()) {
        return Ok(String::new());
    }
    let source = read(&shaders.join(format!("{module}.wgsl")))?;
    let plain: String = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or("").trim())
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n");
    let kept = conditions(&plain, features).map_err(|e| format!("{module}: {e}"))?;
    let (mut imports, mut body) = (String::new(), String::new());
    for line in kept.lines() {
        match line.trim().strip_prefix("import package::") {
            Some(path) => {
                let (path, _) = path.rsplit_once("::").ok_or(format!("{module}: a bare import {path}"))?;
                imports.push_str(&expand(shaders, &path.replace("::", "/"), features, seen)?);
            }
            None => writeln!(body, "{line}").map_err(|e| e.to_string())?,
        }
    }
    Ok(imports + &body)
}

/// The text with every `@if` decided.
fn conditions(text: &str, features: &[&str]) -> Result<String, String> {
    let Some((before, rest)) = text.split_once("@if(") else { return Ok(text.to_string()) };
    let (condition, rest) = rest.split_once(')').ok_or("an @if is not closed")?;
    let (feature, wanted) = match condition.trim().strip_prefix('!') {
        Some(feature) => (feature, false),
        None => (condition.trim(), true),
    };
    let rest = rest.trim_start();
    let end = item_end(rest).ok_or(format!("nothing whole follows @if({condition})"))?;
    let (item, after) = rest.split_at(end);
    let mut out = before.to_string();
    if features.contains(&feature) == wanted {
        // A kept block is spliced in, so that what it returns and declares counts where it stands.
        let inner = item.strip_prefix('{').and_then(|item| item.strip_suffix('}')).unwrap_or(item);
        out.push_str(&conditions(inner, features)?);
    }
    out.push_str(&conditions(after, features)?);
    Ok(out)
}

/// Where the first declaration, statement or block ends: at the `;` or the closing `}` outside brackets.
fn item_end(text: &str) -> Option<usize> {
    let is_import = text.starts_with("import");
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && c == '}' && !is_import {
                    return Some(at + 1);
                }
            }
            ';' if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The bindings, in order: number, and what it is: 0 uniform, 1 read, 2 read and write.
fn bindings(wgsl: &str) -> Result<Vec<(u32, u8)>, String> {
    let mut found = Vec::new();
    for declaration in wgsl.split("@binding(").skip(1) {
        let (number, rest) = declaration.split_once(')').ok_or("a binding is not closed")?;
        let number = number.parse().map_err(|_| format!("a binding {number}"))?;
        let kind = match rest.trim_start() {
            rest if rest.starts_with("var<uniform>") => 0,
            rest if rest.starts_with("var<storage, read>") => 1,
            rest if rest.starts_with("var<storage, read_write>") => 2,
            _ => return Err(format!("binding {number} is neither uniform nor storage")),
        };
        found.push((number, kind));
    }
    found.sort_unstable();
    Ok(found)
}
