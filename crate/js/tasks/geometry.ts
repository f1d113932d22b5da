// Plane geometry of text boxes: the smallest rectangle around points, a rectangle grown outwards, the perspective
// transform between two quadrangles.

/** A point of a picture, in pixels; x goes right, y goes down. */
export type Point = readonly [x: number, y: number];

/** Four corners: top left, top right, bottom right, bottom left, as the text is read. */
export type Quad = readonly [Point, Point, Point, Point];

/** Twice the area of a triangle, positive when `c` lies to the left of the way from `a` to `b` (y up). */
const cross = (a: Point, b: Point, c: Point): number => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);

export const distance = (a: Point, b: Point): number => Math.hypot(a[0] - b[0], a[1] - b[1]);

/** The convex hull (Andrew's monotone chain), without points on its edges. */
export function hull(points: readonly Point[]): Point[] {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (ordered: readonly Point[]): Point[] => {
    const chain: Point[] = [];
    for (const p of ordered) {
      while (chain.length >= 2 && cross(chain.at(-2) as Point, chain.at(-1) as Point, p) <= 0) chain.pop();
      chain.push(p);
    }
    return chain.slice(0, -1);
  };
  if (sorted.length < 2) return sorted;
  return [...half(sorted), ...half(sorted.reverse())];
}

/** The rectangle of least area around some points: one of its sides lies on a side of the hull. */
export function smallestRectangle(points: readonly Point[]): { quad: Quad; width: number; height: number } {
  const around = hull(points);
  const [first = [0, 0]] = around;
  let best = { quad: [first, first, first, first] as Quad, width: 0, height: 0 };
  let least = Infinity;
  for (const [i, a] of around.entries()) {
    const b = around[(i + 1) % around.length] as Point;
    const length = distance(a, b);
    if (length === 0) continue;
    const [ux, uy] = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
    let [u0, u1, v0, v1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const [x, y] of around) {
      const [u, v] = [x * ux + y * uy, y * ux - x * uy];
      [u0, u1, v0, v1] = [Math.min(u0, u), Math.max(u1, u), Math.min(v0, v), Math.max(v1, v)];
    }
    const [width, height] = [u1 - u0, v1 - v0];
    if (width * height >= least) continue;
    least = width * height;
    const at = (u: number, v: number): Point => [u * ux - v * uy, u * uy + v * ux];
    best = { quad: ordered([at(u0, v0), at(u1, v0), at(u1, v1), at(u0, v1)]), width, height };
  }
  return best;
}

/** Corners in reading order: of the two leftmost the upper is the top left one, of the others the upper the top right one. */
export function ordered(corners: readonly [Point, Point, Point, Point]): Quad {
  const [a, b, c, d] = [...corners].sort((p, q) => p[0] - q[0]) as [Point, Point, Point, Point];
  const [tl, bl] = b[1] > a[1] ? [a, b] : [b, a];
  const [tr, br] = d[1] > c[1] ? [c, d] : [d, c];
  return [tl, tr, br, bl];
}

/** A rectangle whose sides move outwards by `by`. */
export function grown(quad: Quad, by: number): Quad {
  const step = (from: Point, to: Point): Point => {
    const length = distance(from, to) || 1;
    return [((to[0] - from[0]) / length) * by, ((to[1] - from[1]) / length) * by];
  };
  const [tl, tr, , bl] = quad;
  const [[ux, uy], [vx, vy]] = [step(tl, tr), step(tl, bl)];
  const signs = [[-1, -1], [1, -1], [1, 1], [-1, 1]] as const;
  return quad.map(([x, y], i) => {
    const [s, t] = signs[i] as readonly [number, number];
    return [x + s * ux + t * vx, y + s * uy + t * vy];
  }) as unknown as Quad;
}

/**
 * The perspective transform that takes the rectangle `width` × `height` to a quadrangle: `[a b c; d e f; g h 1]`, which
 * maps `(x, y)` to `((a x + b y + c) / w, (d x + e y + f) / w)` with `w = g x + h y + 1`.
 */
export function perspective(width: number, height: number, [p0, p1, p2, p3]: Quad): number[] {
  // Heckbert, Fundamentals of Texture Mapping and Image Warping (1989), the square-to-quadrangle case.
  const [sx, sy] = [p0[0] - p1[0] + p2[0] - p3[0], p0[1] - p1[1] + p2[1] - p3[1]];
  const [dx1, dy1, dx2, dy2] = [p1[0] - p2[0], p1[1] - p2[1], p3[0] - p2[0], p3[1] - p2[1]];
  const det = dx1 * dy2 - dx2 * dy1 || 1;
  const g = (sx * dy2 - dx2 * sy) / det;
  const h = (dx1 * sy - sx * dy1) / det;
  return [
    (p1[0] - p0[0] + g * p1[0]) / width, (p3[0] - p0[0] + h * p3[0]) / height, p0[0],
    (p1[1] - p0[1] + g * p1[1]) / width, (p3[1] - p0[1] + h * p3[1]) / height, p0[1],
    g / width, h / height, 1,
  ];
}
