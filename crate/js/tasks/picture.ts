// Pictures as pixels: whatever the page has becomes RGBA bytes, and parts of it become planes for a network.
import { HomefireError } from "../index.js";
import type { Pace } from "./pace.js";

/** Anything that holds a picture. A `File` or `Blob` is decoded; what is at a URL is for the caller to fetch. */
export type ImageSource = Blob | ImageBitmap | ImageData | HTMLCanvasElement | OffscreenCanvas | HTMLImageElement | HTMLVideoElement | VideoFrame;

/** RGBA bytes, row by row. Transparent parts lie on white. */
export interface Picture {
  width: number;
  height: number;
  data: Uint8ClampedArray;
}

/** The most bytes of a picture that are read from the device at once: reading waits for the GPU and copies. */
const STRIP_BYTES = 1 << 20;

function sizeOf(source: Exclude<ImageSource, Blob | ImageData>): [number, number] {
  if ("videoWidth" in source) return [source.videoWidth, source.videoHeight];
  if ("naturalWidth" in source) return [source.naturalWidth, source.naturalHeight];
  if ("displayWidth" in source) return [source.displayWidth, source.displayHeight];
  return [source.width, source.height];
}

/** The pixels of a source, made smaller where its longer side is above `maxSide`; and by which factor. */
export async function pictureOf(source: ImageSource, maxSide: number, pace: Pace): Promise<{ picture: Picture; scale: number }> {
  let drawable: Exclude<ImageSource, Blob | ImageData> | undefined;
  let opened: ImageBitmap | undefined;
  if (source instanceof ImageData) {
    if (Math.max(source.width, source.height) <= maxSide) return { picture: await onWhite(source, pace), scale: 1 };
    drawable = opened = await createImageBitmap(source);
  } else if (source instanceof Blob) {
    pace.pause();
    try {
      drawable = opened = await createImageBitmap(source);
    } catch (thrown) {
      const name = source instanceof File ? `“${source.name}”` : "This";
      throw new HomefireError("format", `${name} is no picture that this browser can decode (${thrown instanceof Error ? thrown.message : String(thrown)}).`);
    } finally {
      pace.resume();
    }
  } else drawable = source;
  try {
    const [fullWidth, fullHeight] = sizeOf(drawable);
    if (!(fullWidth > 0 && fullHeight > 0)) throw new HomefireError("invalid-input", "The picture is empty: it has no pixels, or is not loaded yet.");
    const scale = Math.min(1, maxSide / Math.max(fullWidth, fullHeight));
    const [width, height] = [Math.max(1, Math.round(fullWidth * scale)), Math.max(1, Math.round(fullHeight * scale))];
    const data = new Uint8ClampedArray(width * height * 4);
    const rows = Math.max(1, Math.min(height, Math.floor(STRIP_BYTES / (width * 4))));
    const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true, alpha: false });
    if (!context) throw new HomefireError("out-of-memory", `There is no memory for a picture of ${width} × ${height} pixels.`);
    context.imageSmoothingQuality = "high";
    for (let y = 0; y < height; y += rows) {
      const n = Math.min(rows, height - y);
      context.fillStyle = "#fff";
      context.fillRect(0, 0, width, rows);
      context.drawImage(drawable, 0, -y, width, height);
      data.set(pixelsOf(context, width, n), y * width * 4);
      if (pace.due) await pace.breathe();
    }
    return { picture: { width, height, data }, scale: width / fullWidth };
  } finally {
    opened?.close();
  }
}

function pixelsOf(context: OffscreenCanvasRenderingContext2D, width: number, height: number): Uint8ClampedArray {
  try {
    return context.getImageData(0, 0, width, height).data;
  } catch (thrown) {
    if ((thrown as Error).name !== "SecurityError") throw thrown;
    throw new HomefireError(
      "invalid-input",
      'The picture comes from another origin, so the page may not read its pixels. Load it with crossOrigin = "anonymous" from a server that allows ' +
        "that (CORS), or fetch it and give the Blob.",
    );
  }
}

/** The same picture where all of it is opaque, else one on white. */
async function onWhite(picture: ImageData, pace: Pace): Promise<Picture> {
  const { width, height, data } = picture;
  let own: Uint8ClampedArray | undefined;
  for (let at = 0; at < data.length; at += 4) {
    if (at % (width * 4) === 0 && pace.due) await pace.breathe();
    const alpha = data[at + 3] as number;
    if (alpha === 255) continue;
    own ??= data.slice();
    for (let i = at; i < at + 3; i++) own[i] = 255 + (((data[i] as number) - 255) * alpha) / 255;
  }
  return own ? { width, height, data: own } : picture;
}
