// Where the text is: a network of the DB family gives each pixel's probability of lying in text, and each connected area
// of likely pixels becomes a rectangle (Liao et al., Real-time Scene Text Detection with Differentiable Binarization).
import type { Model, Tensor } from "../index.js";
import { distance, grown, smallestRectangle, type Point, type Quad } from "./geometry.js";
import type { Pace } from "./pace.js";
import type { Picture } from "./picture.js";
import { resized, type Region } from "./sample.js";

/** How boxes are found; the defaults are those of PP-OCR. */
export interface DetectionOptions {
  /** The longer side of the picture that the network sees, in pixels (960). More finds smaller print and takes longer. */
  side?: number;
  /** From which probability on a pixel counts as text (0.3). */
  threshold?: number;
  /** The least mean probability within a box (0.5). */
  boxThreshold?: number;
  /** How far a box grows beyond the area found, which is thinner than the text: times area over circumference (1.6). */
  unclip?: number;
}

/** The network wants sides that are multiples of this. */
const STRIDE = 32;
/** Flatter pictures than this get room above and below: the network was trained on pages. */
const FLATTEST = 8;

/** The boxes of a picture, in its pixels, in reading order. */
export async function findBoxes(model: Model, picture: Picture, options: DetectionOptions, pace: Pace, signal?: AbortSignal): Promise<Quad[]> {
  const { side = 960 } = options;
  const region = roomAround(picture);
  const scale = Math.min(1, side / Math.max(region.width, region.height));
  const snapped = (length: number): number => Math.max(STRIDE, Math.round((length * scale) / STRIDE) * STRIDE);
  const [width, height] = [snapped(region.width), snapped(region.height)];
  const planes = await resized(picture, region, width, height, pace);
  const input = model.info.inputs[0]?.name ?? "x";
  pace.pause();
  const outputs = await model.run({ [input]: { type: "float32", dims: [1, 3, height, width], data: planes } }, { transfer: true, ...(signal ? { signal } : {}) });
  pace.resume();
  const { data } = Object.values(outputs)[0] as Tensor;
  const found = await boxesOf(data as Float32Array, width, height, options, pace);
  const [sx, sy] = [region.width / width, region.height / height];
  const inside = (at: number, limit: number): number => Math.min(Math.max(at, 0), limit);
  const placed = found.map((quad) =>
    quad.map(([x, y]): Point => [inside(x * sx + region.x, picture.width), inside(y * sy + region.y, picture.height)]) as unknown as Quad);
  return readingOrder(placed.filter(([tl, tr, , bl]) => distance(tl, tr) > 3 && distance(tl, bl) > 3));
}

function roomAround({ width, height }: Picture): Region {
  const wanted = Math.max(height, Math.ceil(width / FLATTEST), STRIDE);
  const above = height < wanted ? Math.ceil((2 * wanted - height) / 2) : 0;
  return { x: 0, y: -above, width, height: height + 2 * above };
}

/** The boxes of a map `[height, width]` of probabilities. */
export async function boxesOf(map: Float32Array, width: number, height: number, options: DetectionOptions, pace: Pace): Promise<Quad[]> {
  const { threshold = 0.3, boxThreshold = 0.5, unclip = 1.6 } = options;
  const quads: Quad[] = [];
  for await (const outline of areas(map, width, height, threshold, pace)) {
    const core = smallestRectangle(outline);
    if (Math.min(core.width, core.height) < 3) continue;
    if (meanWithin(map, width, height, core.quad) < boxThreshold) continue;
    const by = (core.width * core.height * unclip) / (2 * (core.width + core.height));
    if (Math.min(core.width, core.height) + 2 * by < 5) continue;
    quads.push(grown(core.quad, by));
  }
  return quads;
}

/**
 * The connected areas (eight neighbours) of pixels above the threshold, each as the first and the last pixel of its rows.
 * A pixel counts as well when its left, upper or upper left neighbour does: it closes gaps of one pixel.
 */
async function* areas(map: Float32Array, width: number, height: number, threshold: number, pace: Pace): AsyncGenerator<Point[]> {
  const open = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if ((map[y * width + x] as number) <= threshold) continue;
      for (let v = y; v <= Math.min(y + 1, height - 1); v++) {
        for (let u = x; u <= Math.min(x + 1, width - 1); u++) open[v * width + u] = 1;
      }
    }
    if (pace.due) await pace.breathe();
  }
  const first = new Int32Array(height).fill(width);
  const last = new Int32Array(height).fill(-1);
  const stack: number[] = [];
  for (let start = 0; start < open.length; start++) {
    if (start % width === 0 && pace.due) await pace.breathe();
    if (!open[start]) continue;
    let [top, bottom] = [height, -1];
    open[start] = 0;
    stack.push(start);
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      const y = Math.floor(at / width);
      const x = at - y * width;
      first[y] = Math.min(first[y] as number, x);
      last[y] = Math.max(last[y] as number, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
      for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, height - 1); v++) {
        for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, width - 1); u++) {
          const next = v * width + u;
          if (!open[next]) continue;
          open[next] = 0;
          stack.push(next);
        }
      }
    }
    const outline: Point[] = [];
    for (let y = top; y <= bottom; y++) {
      outline.push([first[y] as number, y], [last[y] as number, y]);
      first[y] = width;
      last[y] = -1;
    }
    yield outline;
  }
}

/** The mean of a map within a convex quadrangle, its edge included. */
function meanWithin(map: Float32Array, width: number, height: number, quad: Quad): number {
  const corners = quad.map(([x, y]): Point => [Math.trunc(x), Math.trunc(y)]);
  const ys = corners.map(([, y]) => y);
  let [sum, n] = [0, 0];
  for (let y = Math.max(0, Math.min(...ys)); y <= Math.min(height - 1, Math.max(...ys)); y++) {
    let [left, right] = [Infinity, -Infinity];
    for (const [i, [x0, y0]] of corners.entries()) {
      const [x1, y1] = corners[(i + 1) % 4] as Point;
      if (y < Math.min(y0, y1) || y > Math.max(y0, y1)) continue;
      const ends = y0 === y1 ? [x0, x1] : [x0 + ((x1 - x0) * (y - y0)) / (y1 - y0)];
      left = Math.min(left, ...ends);
      right = Math.max(right, ...ends);
    }
    for (let x = Math.max(0, Math.round(left)); x <= Math.min(width - 1, Math.round(right)); x++) {
      sum += map[y * width + x] as number;
      n++;
    }
  }
  return n === 0 ? 0 : sum / n;
}

/** From top to bottom, boxes on one line from left to right, in the direction in which most of the text lies. */
export function readingOrder(quads: readonly Quad[]): Quad[] {
  const long = quads.filter(([tl, tr, , bl]) => distance(tl, tr) > 1.5 * distance(tl, bl));
  const slants = long.map(([[x0, y0], [x1, y1]]) => Math.atan2(y1 - y0, x1 - x0)).sort((a, b) => a - b);
  const slant = slants[Math.floor(slants.length / 2)] ?? 0;
  const [cos, sin] = [Math.cos(slant), Math.sin(slant)];
  const boxes = quads.map((quad) => {
    const [x, y] = [(quad[0][0] + quad[3][0]) / 2, (quad[0][1] + quad[3][1]) / 2];
    return { quad, x: x * cos + y * sin, y: y * cos - x * sin, height: distance(quad[0], quad[3]) };
  });
  boxes.sort((a, b) => a.y - b.y || a.x - b.x);
  for (let i = 1; i < boxes.length; i++) {
    for (let j = i; j > 0; j--) {
      const [above, box] = [boxes[j - 1], boxes[j]] as [(typeof boxes)[0], (typeof boxes)[0]];
      if (box.y - above.y >= Math.min(above.height, box.height) / 2 || box.x >= above.x) break;
      [boxes[j - 1], boxes[j]] = [box, above];
    }
  }
  return boxes.map(({ quad }) => quad);
}
