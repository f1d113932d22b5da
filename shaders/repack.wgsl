// Takes blocks of a quantised weight apart into the planes that kernels read, one group of values an invocation.

@if(q4_0) import package::shared::blocks::q4_0::level;
@if(q4_1) import package::shared::blocks::q4_1::level;
@if(q5_0) import package::shared::blocks::q5_0::level;
@if(q5_1) import package::shared::blocks::q5_1::level;
@if(q8_0) import package::shared::blocks::q8_0::level;
@if(q2_k) import package::shared::blocks::q2_k::level;
@if(q3_k) import package::shared::blocks::q3_k::level;
@if(q4_k) import package::shared::blocks::q4_k::level;
@if(q5_k) import package::shared::blocks::q5_k::level;
@if(q6_k) import package::shared::blocks::q6_k::level;
@if(iq4_nl) import package::shared::blocks::iq4_nl::level;
@if(iq4_xs) import package::shared::blocks::iq4_xs::level;

struct Params {
    // The first group that is written, and how many are.
    first: u32,
    n: u32,
}

@group(0) @binding(1) var<storage, read_write> levels: array<u32>;
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;
@if(mins) @group(0) @binding(3) var<storage, read_write> mins: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let index = (group.z * groups.x + group.x) * 64u + thread;
    if index >= params.n {
        return;
    }
    let each = BLOCK_LEN / GROUP;
    let block = index / each * BLOCK_BYTES;
    let within = index % each;
    let to = params.first + index;
    let per_word = 32u / BITS;
    for (var w = 0u; w < GROUP / per_word; w++) {
        var word = 0u;
        for (var j = 0u; j < per_word; j++) {
            word |= level(block, within * GROUP + w * per_word + j) << (BITS * j);
        }
        levels[to * (GROUP / per_word) + w] = word;
    }
    scales[to] = scale(block, within);
    @if(mins) mins[to] = minimum(block, within);
}
