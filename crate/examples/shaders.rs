//! Prints all variants of all shaders as JSON, `[{ name, wgsl }]`, for compilers other than those of `cargo test`.

fn main() {
    let shaders: Vec<_> = (homefire::kernels::shaders::SHADERS.iter())
        .map(|shader| serde_json::json!({ "name": shader.name, "wgsl": shader.wgsl }))
        .collect();
    println!("{}", serde_json::Value::Array(shaders));
}
