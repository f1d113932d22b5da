// One head of queries, keys or values in shared memory, and its rotation by a position (RoPE).

const MAX_HEAD_DIM: u32 = 256u;

@group(0) @binding(1) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> position: array<i32>;

var<workgroup> head: array<f32, MAX_HEAD_DIM>;

// The position of a row of the batch.
fn position_of(row: u32) -> u32 {
    return u32(max(position[0], 0)) + row;
}

// Rotates the pairs of the head. Pairing 0: (2 i, 2 i + 1); 1: (i, i + d / 2); 2: none.
fn rotate(thread: u32, d: u32, pairing: u32, at: u32) {
    if pairing >= 2u {
        return;
    }
    for (var i = thread; i < d / 2u; i += 64u) {
        let a = select(i, 2u * i, pairing == 0u);
        let b = select(i + d / 2u, 2u * i + 1u, pairing == 0u);
        let angle = table[at * (d / 2u) + i];
        let x = head[a];
        let y = head[b];
        head[a] = x * angle.x - y * angle.y;
        head[b] = x * angle.y + y * angle.x;
    }
}
