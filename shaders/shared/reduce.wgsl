// Sums and maxima over a workgroup of 64 by a tree in shared memory: no subgroups needed.
// Every invocation calls these in uniform control flow and gets the result.

const THREADS: u32 = 64u;

var<workgroup> partial: array<f32, THREADS>;

fn workgroup_sum(thread: u32, x: f32) -> f32 {
    partial[thread] = x;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half >>= 1u) {
        if thread < half {
            partial[thread] += partial[thread + half];
        }
        workgroupBarrier();
    }
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}

fn workgroup_max(thread: u32, x: f32) -> f32 {
    partial[thread] = x;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half >>= 1u) {
        if thread < half {
            partial[thread] = max(partial[thread], partial[thread + half]);
        }
        workgroupBarrier();
    }
    let largest = partial[0];
    workgroupBarrier();
    return largest;
}
