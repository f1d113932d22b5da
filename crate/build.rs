//! Expands every variant of every shader and writes them as one table, `$OUT_DIR/shaders.rs`.

#[path = "shader_build/mod.rs"]
mod shader_build;

fn main() {
    let shaders = std::path::Path::new("../shaders");
    println!("cargo:rerun-if-changed={}", shaders.display());
    println!("cargo:rerun-if-changed=shader_build");
    let out = std::env::var("OUT_DIR").expect("cargo names the output folder");
    let table = shader_build::table(shaders).unwrap_or_else(|message| panic!("shaders: {message}"));
    std::fs::write(std::path::Path::new(&out).join("shaders.rs"), table)
        .expect("the output folder is writable");
}
