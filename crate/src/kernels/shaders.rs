//! The compute shaders, every variant expanded by the build. A variant's name is its kernel's and its
//! features', joined by hyphens, in the order of `shaders/variants`: `matmul-levels4-mins-rows4`.

/// One variant of a compute shader. Its entry point is `main`, its bindings are all in group 0.
#[derive(Clone, Copy, Debug)]
pub struct Shader {
    /// The name.
    pub name: &'static str,
    /// The source, plain WGSL.
    pub wgsl: &'static str,
    /// The bindings: number, and 0 for the uniform block, 1 for storage that is read, 2 for storage that is
    /// written too.
    pub bindings: &'static [(u32, u8)],
}

/// All variants.
pub const SHADERS: &[Shader] = include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// The variant of that name.
pub fn shader(name: &str) -> Option<&'static Shader> {
    SHADERS.iter().find(|shader| shader.name == name)
}

#[cfg(test)]
mod tests {
    use super::SHADERS;
    use std::process::Command;

    /// Runs a shader compiler on one source. `None` when it is not installed.
    fn accepts(compiler: &str, arguments: &[&str], name: &str, wgsl: &str) -> Option<Result<(), String>> {
        let folder = std::env::temp_dir().join(format!("homefire-shaders-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.wgsl"));
        std::fs::write(&path, wgsl).unwrap();
        let out = Command::new(compiler).args(arguments).arg(&path).output();
        std::fs::remove_file(&path).unwrap();
        let out = out.ok()?;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        Some(if out.status.success() { Ok(()) } else { Err(text) })
    }

    #[test]
    fn every_variant_passes_both_shader_compilers() {
        assert!(SHADERS.len() > 30);
        for (compiler, arguments) in
            [("naga", &[][..]), ("tint", &["--format", "wgsl", "-o", "/dev/null"][..])]
        {
            let Some(canary) = accepts(compiler, arguments, "canary", "fn main() -> u32 { return 1.5; }")
            else {
                eprintln!("SKIPPED: {compiler} is not on PATH, so it has checked no shader");
                continue;
            };
            assert!(canary.is_err(), "{compiler} accepts nonsense");
            for shader in SHADERS {
                let result = accepts(compiler, arguments, shader.name, shader.wgsl).unwrap();
                assert!(result.is_ok(), "{compiler} rejects {}: {result:?}\n{}", shader.name, shader.wgsl);
            }
        }
    }

    #[test]
    fn every_variant_keeps_to_the_default_limits() {
        for shader in SHADERS {
            let storage = shader.bindings.iter().filter(|(_, kind)| *kind > 0).count();
            assert!(storage <= 8, "{} binds {storage} storage buffers", shader.name);
            assert!(!shader.wgsl.contains("@if") && !shader.wgsl.contains("import "), "{}", shader.name);
        }
    }
}
