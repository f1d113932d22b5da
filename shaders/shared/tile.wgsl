// A tile of a product of matrices in a workgroup of 256: TILE_M × TILE_N sums, four rows and four columns a thread.
// Steps of k go through workgroup memory: `tile_a` holds four rows, `tile_b` four columns of each k in a vector.
// Where there are few rows (narrow), the tile is wide instead.

@if(!narrow) const TILE_M: u32 = 64u;
@if(!narrow) const TILE_N: u32 = 64u;
@if(!narrow) const STEP: u32 = 16u;
@if(narrow) const TILE_M: u32 = 16u;
@if(narrow) const TILE_N: u32 = 256u;
@if(narrow) const STEP: u32 = 8u;
const ROWS: u32 = TILE_M / 4u;
const COLUMNS: u32 = TILE_N / 4u;

var<workgroup> tile_a: array<vec4<f32>, STEP * ROWS>;
var<workgroup> tile_b: array<vec4<f32>, STEP * COLUMNS>;

// The sums of this thread, by row.
var<private> sums: array<vec4<f32>, 4>;

// Adds the products of a step.
fn add_step(thread: u32) {
    let row = thread / COLUMNS;
    let column = thread % COLUMNS;
    for (var k = 0u; k < STEP; k++) {
        let a = tile_a[k * ROWS + row];
        let b = tile_b[k * COLUMNS + column];
        sums[0] += a.x * b;
        sums[1] += a.y * b;
        sums[2] += a.z * b;
        sums[3] += a.w * b;
    }
}
