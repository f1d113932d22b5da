/**
 * Tasks on top of models: text in pictures, voice activity, the type of files, search by meaning. Each takes models as
 * their authors published them, from where the caller says.
 * @module
 */
export { loadFileType, FileTypes, type FileType, type FileTypeModels, type JsonSource } from "./file_type.js";
export type { Point, Quad } from "./geometry.js";
export type { ModelSource, TaskOptions } from "./load.js";
export { openMicrophone, type Microphone } from "./microphone.js";
export { loadOcr, Ocr, type OcrModels, type OcrOptions, type ReadOptions, type TextLine } from "./ocr.js";
export type { ImageSource } from "./picture.js";
export { loadSearch, passagesOf, Search, type Hit, type IndexOptions } from "./search.js";
export type { Segment, SegmentOptions } from "./segments.js";
export type { DetectionOptions } from "./text_boxes.js";
export { loadVad, Vad, VadStream, type Heard, type SoundSource, type StreamOptions } from "./vad.js";
