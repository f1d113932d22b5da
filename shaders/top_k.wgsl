// The k largest elements of each row with their indices, the largest first and of equal ones the lowest index
// first; NaN counts as the least. One workgroup per row. The k-th largest pair (value, index) is found byte by
// byte from the top, by counting; then all pairs from it on are collected and put in order.

struct Params {
    // At most 2^24.
    columns: u32,
    // At most 256 and at most `columns`.
    k: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> indices: array<i32>;
@group(0) @binding(8) var<uniform> params: Params;

const THREADS: u32 = 256u;
// Bytes of a value, then those of an index but the highest.
const DIGITS: u32 = 7u;

var<workgroup> counts: array<atomic<u32>, 256>;
// What is known of the k-th pair, and its rank among the pairs that share that.
var<workgroup> known: vec2<u32>;
var<workgroup> rank: u32;
var<workgroup> n_found: atomic<u32>;
var<workgroup> found: array<vec2<u32>, 256>;

// A pair of which a larger one is larger in the order of its two numbers: the value as a number that rises
// with it, and the index as one that falls with it.
fn pair_at(row: u32, i: u32) -> vec2<u32> {
    let bits = bitcast<u32>(x[row + i]);
    let rising = select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
    let is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return vec2<u32>(select(rising, 0u, is_nan), 0xffffffu - i);
}

fn is_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x < b.x || (a.x == b.x && a.y < b.y);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = group.x * params.columns;
    if thread == 0u {
        known = vec2<u32>(0u);
        rank = params.k;
    }
    for (var digit = 0u; digit < DIGITS; digit++) {
        atomicStore(&counts[thread], 0u);
        workgroupBarrier();
        let of_value = digit < 4u;
        let shift = select(48u - 8u * digit, 24u - 8u * digit, of_value);
        // The bits above the digit.
        let above = select(0xffffffffu << (shift + 8u), 0u, digit == 0u);
        let prefix = known;
        for (var i = thread; i < params.columns; i += THREADS) {
            let pair = pair_at(row, i);
            if of_value {
                if (pair.x & above) == prefix.x {
                    atomicAdd(&counts[(pair.x >> shift) & 255u], 1u);
                }
            } else if pair.x == prefix.x && (pair.y & above) == prefix.y {
                atomicAdd(&counts[(pair.y >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        if thread == 0u {
            var left = rank;
            var byte = 255u;
            for (; byte > 0u; byte--) {
                let n = atomicLoad(&counts[byte]);
                if n >= left {
                    break;
                }
                left -= n;
            }
            rank = left;
            if of_value {
                known.x |= byte << shift;
            } else {
                known.y |= byte << shift;
            }
        }
        workgroupBarrier();
    }
    let last = known;
    for (var i = thread; i < params.columns; i += THREADS) {
        let pair = pair_at(row, i);
        if !is_less(pair, last) {
            found[min(atomicAdd(&n_found, 1u), 255u)] = pair;
        }
    }
    workgroupBarrier();
    if thread < params.k {
        let own = found[thread];
        var place = 0u;
        for (var j = 0u; j < params.k; j++) {
            place += select(0u, 1u, is_less(own, found[j]));
        }
        let i = 0xffffffu - own.y;
        values[group.x * params.k + place] = x[row + i];
        indices[group.x * params.k + place] = i32(i);
    }
}
