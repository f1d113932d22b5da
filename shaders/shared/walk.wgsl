// Entry d of eight: sizes and strides of a walk over up to eight dimensions, the innermost first.

fn entry(d: u32, first: vec4<u32>, second: vec4<u32>) -> u32 {
    return select(second[d & 3u], first[d & 3u], d < 4u);
}
