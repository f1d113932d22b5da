// Pixels of a picture on the grid of a network: bilinear, straight or through a perspective.
import { perspective, type Quad } from "./geometry.js";
import type { Pace } from "./pace.js";
import type { Picture } from "./picture.js";

/** The PP-OCR models were trained on planes of blue, green and red, `(v / 255 - 0.5) / 0.5`. */
const BGR = [2, 1, 0] as const;
const SCALE = 2 / 255;

/** A part of a picture, in its pixels; what lies outside of the picture repeats its edge. */
export interface Region {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** For each of `n` grid positions, the two pixels between which it lies and the share of the second. */
function taps(n: number, from: number, extent: number, limit: number): { near: Int32Array; far: Int32Array; share: Float32Array } {
  const near = new Int32Array(n);
  const far = new Int32Array(n);
  const share = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const at = Math.min(Math.max(from + ((i + 0.5) * extent) / n - 0.5, 0), limit - 1);
    near[i] = Math.floor(at);
    far[i] = Math.min(Math.floor(at) + 1, limit - 1);
    share[i] = at - Math.floor(at);
  }
  return { near, far, share };
}

/** A region as `[3, height, width]`, as OpenCV's linear resize has it. */
export async function resized(picture: Picture, region: Region, width: number, height: number, pace: Pace): Promise<Float32Array> {
  const planes = new Float32Array(3 * height * width);
  const { data } = picture;
  const columns = taps(width, region.x, region.width, picture.width);
  const rows = taps(height, region.y, region.height, picture.height);
  for (let y = 0; y < height; y++) {
    const top = (rows.near[y] as number) * picture.width;
    const bottom = (rows.far[y] as number) * picture.width;
    const down = rows.share[y] as number;
    for (let x = 0; x < width; x++) {
      const [left, right, across] = [columns.near[x] as number, columns.far[x] as number, columns.share[x] as number];
      for (let c = 0; c < 3; c++) {
        const channel = BGR[c] as number;
        const at = (pixel: number): number => data[pixel * 4 + channel] as number;
        const upper = at(top + left) * (1 - across) + at(top + right) * across;
        const lower = at(bottom + left) * (1 - across) + at(bottom + right) * across;
        planes[(c * height + y) * width + x] = (upper * (1 - down) + lower * down) * SCALE - 1;
      }
    }
    if (pace.due) await pace.breathe();
  }
  return planes;
}

/**
 * A quadrangle as `width` × `height` pixels, written to the left of one item of a batch `[n, 3, height, batchWidth]`; what
 * is right of it stays as it is. Where the picture is much finer than the grid, several of its pixels make one.
 */
export async function straightened(
  picture: Picture,
  quad: Quad,
  size: { width: number; height: number; fineness: number },
  batch: Float32Array,
  item: number,
  batchWidth: number,
  pace: Pace,
): Promise<void> {
  const { width, height, fineness } = size;
  const [a, b, c, d, e, f, g, h] = perspective(width, height, quad) as [number, number, number, number, number, number, number, number];
  const { data } = picture;
  const [maxX, maxY] = [picture.width - 1, picture.height - 1];
  const weight = SCALE / (fineness * fineness);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let [blue, green, red] = [0, 0, 0];
      for (let part = 0; part < fineness * fineness; part++) {
        const u = x + ((part % fineness) + 0.5) / fineness;
        const v = y + (Math.floor(part / fineness) + 0.5) / fineness;
        const w = g * u + h * v + 1;
        const px = Math.min(Math.max((a * u + b * v + c) / w - 0.5, 0), maxX);
        const py = Math.min(Math.max((d * u + e * v + f) / w - 0.5, 0), maxY);
        const [left, top] = [Math.floor(px), Math.floor(py)];
        const [across, down] = [px - left, py - top];
        const right = left < maxX ? 4 : 0;
        const below = top < maxY ? picture.width * 4 : 0;
        const at = (top * picture.width + left) * 4;
        const between = (i: number): number => {
          const upper = (data[i] as number) * (1 - across) + (data[i + right] as number) * across;
          const lower = (data[i + below] as number) * (1 - across) + (data[i + below + right] as number) * across;
          return upper * (1 - down) + lower * down;
        };
        red += between(at);
        green += between(at + 1);
        blue += between(at + 2);
      }
      const into = (item * 3 * height + y) * batchWidth + x;
      batch[into] = blue * weight - 1;
      batch[into + height * batchWidth] = green * weight - 1;
      batch[into + 2 * height * batchWidth] = red * weight - 1;
    }
    if (pace.due) await pace.breathe();
  }
}
