// Pixels of pictures as onnxruntime-web's Tensor.fromImage() gives them.

/** What has pixels: a picture of the page, or its address. */
export type ImageSource = ImageData | HTMLImageElement | ImageBitmap | string;

export interface FromImageOptions {
  /** The order of the channels in the tensor; RGBA for an image element. */
  tensorFormat?: "RGB" | "BGR" | "RBG" | "RGBA";
  tensorLayout?: "NCHW";
  dataType?: "float32";
  /** A pixel becomes `(pixel + bias) / mean`; one number for all channels, or one for each. */
  norm?: { mean?: number | readonly number[]; bias?: number | readonly number[] };
  /** The picture is scaled to this size. */
  resizedWidth?: number;
  resizedHeight?: number;
}

const ORDER = { RGB: [0, 1, 2], BGR: [2, 1, 0], RBG: [0, 2, 1], RGBA: [0, 1, 2, 3] };

export async function pixelsOf(
  image: ImageSource,
  { tensorFormat, tensorLayout = "NCHW", norm = {}, resizedWidth, resizedHeight }: FromImageOptions = {},
): Promise<{ data: Float32Array; dims: number[] }> {
  if (tensorLayout !== "NCHW") throw new Error(`${String(tensorLayout)} Tensor layout is not supported yet`);
  const isElement = typeof HTMLImageElement !== "undefined" && image instanceof HTMLImageElement;
  const format = tensorFormat ?? (isElement ? "RGBA" : "RGB");
  const pixels = await rgba(image, resizedWidth, resizedHeight);
  const { width, height, data: from } = pixels;
  const channels = ORDER[format];
  if (!channels) throw new Error(`tensorFormat is ${String(format)}; it may be RGB, BGR, RBG or RGBA.`);
  const of = (value: number | readonly number[] | undefined, i: number, otherwise: number): number =>
    typeof value === "number" ? value : (value?.[i] ?? otherwise);
  const stride = width * height;
  const data = new Float32Array(channels.length * stride);
  for (const [channel, plane] of channels.entries()) {
    // `channel` is that of the picture, `plane` its place in the tensor.
    const [mean, bias] = [of(norm.mean, channel, 255), of(norm.bias, channel, 0)];
    for (let i = 0; i < stride; i++) data[plane * stride + i] = ((from[4 * i + channel] ?? 0) + bias) / mean;
  }
  return { data, dims: [1, channels.length, height, width] };
}

/** The pixels of a picture, scaled where a size is given. */
async function rgba(image: ImageSource, width?: number, height?: number): Promise<ImageData> {
  if (image instanceof ImageData && width === undefined && height === undefined) return image;
  let source: CanvasImageSource & { width: number; height: number };
  if (typeof image === "string") {
    const answer = await fetch(image);
    if (!answer.ok) throw new Error(`The picture ${image} could not be fetched: status ${answer.status}.`);
    source = await createImageBitmap(await answer.blob());
  } else if (image instanceof ImageData) source = await createImageBitmap(image);
  else source = image;
  const canvas = new OffscreenCanvas(width ?? source.width, height ?? source.height);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("Can not access image data");
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}
