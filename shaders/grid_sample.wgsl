// y [n, c, height, width]: an image read at places from -1 to 1, its pixels interpolated.

struct Params {
    n: u32,
    channels: u32,
    in_h: u32,
    in_w: u32,
    // Places of an image.
    places: u32,
    // 0: the nearest pixel; 1: linear; 2: cubic.
    by: u32,
    // Beyond the edge, 0: zeros; 1: the pixel at the edge; 2: the image, mirrored.
    beyond: u32,
    align_corners: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> grid: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

// A place mirrored at both ends until it lies between.
fn reflected(at: f32, low: f32, high: f32) -> f32 {
    let range = high - low;
    if range <= 0.0 {
        return low;
    }
    let below = at < low;
    if !below && !(at > high) {
        return at;
    }
    let over = select(at - high, low - at, below);
    let turns = floor(over / range);
    let rest = over - turns * range;
    let back = floor(0.5 * turns) * 2.0 == turns;
    return select(high - rest, low + rest, below == back);
}

// The place along a dimension of `size`, in pixels.
fn place(at: f32, size: f32) -> f32 {
    var here = ((at + 1.0) * size - 1.0) / 2.0;
    var low = -0.5;
    var high = size - 0.5;
    if params.align_corners != 0u {
        here = (at + 1.0) / 2.0 * (size - 1.0);
        low = 0.0;
        high = size - 1.0;
    }
    if params.by == 0u {
        here = round(here);
    }
    if !(here >= low && here <= high) {
        if params.beyond == 1u {
            here = clamp(here, 0.0, size - 1.0);
        }
        if params.beyond == 2u {
            here = reflected(here, low, high);
        }
    }
    // What is far away, or no number, is before all pixels.
    return select(-16.0, here, here > -16.0 && here < size + 16.0);
}

// The pixel of that number, or what lies beyond; -1 for zero.
fn pixel(number: f32, size: f32) -> i32 {
    var at = number;
    if !(at >= 0.0 && at < size) {
        if params.beyond == 0u {
            return -1;
        }
        if params.beyond == 2u {
            at = select(reflected(at, -0.5, size - 0.5), reflected(at, 0.0, size - 1.0), params.align_corners != 0u);
        }
    }
    return i32(clamp(at, 0.0, size - 1.0));
}

fn cubic_near(x: f32) -> f32 {
    return (1.25 * x - 2.25) * x * x + 1.0;
}

fn cubic_far(x: f32) -> f32 {
    return ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0;
}

fn weights(t: f32) -> vec4<f32> {
    if params.by == 0u {
        return vec4<f32>(1.0, 0.0, 0.0, 0.0);
    }
    if params.by == 1u {
        return vec4<f32>(1.0 - t, t, 0.0, 0.0);
    }
    return vec4<f32>(cubic_far(t + 1.0), cubic_near(t), cubic_near(1.0 - t), cubic_far(2.0 - t));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i >= params.n {
        return;
    }
    let image = i / params.places;
    let at = grid[image / params.channels * params.places + i % params.places];
    let column = place(at.x, f32(params.in_w));
    let row = place(at.y, f32(params.in_h));
    let start = vec2<f32>(floor(column), floor(row));
    let of_columns = weights(column - start.x);
    let of_rows = weights(row - start.y);
    let taps = select(1u << params.by, 1u, params.by == 0u);
    let before = select(0.0, 1.0, params.by == 2u);
    var sum = 0.0;
    for (var a = 0u; a < taps; a++) {
        let in_row = pixel(start.y - before + f32(a), f32(params.in_h));
        if in_row >= 0 {
            for (var b = 0u; b < taps; b++) {
                let in_column = pixel(start.x - before + f32(b), f32(params.in_w));
                if in_column >= 0 {
                    sum += of_rows[a] * of_columns[b] * x[(image * params.in_h + u32(in_row)) * params.in_w + u32(in_column)];
                }
            }
        }
    }
    y[i] = sum;
}
