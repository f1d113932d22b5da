/**
 * Homefire runs language models (GGUF), encoders (safetensors) and networks (ONNX) inside the web page.
 *
 * ```js
 * import { load } from "homefire";
 * const model = await load("/models/smollm2-135m-q4_1.gguf");
 * for await (const { text } of model.chat([{ role: "user", content: "Hello!" }])) console.log(text);
 * ```
 * @module
 */
export { HomefireError, type ErrorKind } from "./errors.js";
export { Generation } from "./generation.js";
export { DeviceTensor } from "./kept.js";
export { load, Runtime } from "./load.js";
export { Model } from "./model.js";
export { Tensor, type TensorData, type TensorLike, type TensorType, type Value } from "./tensor.js";
export type * from "./types.js";
