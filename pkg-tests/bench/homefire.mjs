// The adapter of this package for a benchmark page that serves the repository (ENGINE_ROOT) and drives
// every engine by one contract: setup, createLlm, createOnnx. It uses the public API alone.
import { load } from '../../dist/index.js';

export const info = { name: 'homefire', formats: ['gguf', 'onnx', 'safetensors'] };

/** Nothing is shared between models: the worker and the wasm come with each load. */
export async function setup() {}

export async function createLlm({ url, context, backend, threads }) {
  const device = backend === 'webgpu' ? 'webgpu' : 'cpu';
  const model = await load(url, { contextLength: context, device, threads });
  return {
    info: { ...model.info.device, name: model.info.name, quantization: model.info.quantization },
    async complete({ ids, count, onToken }) {
      const options = { maxTokens: count, temperature: 0, ignoreEos: true, reusePrefix: false };
      const generation = model.complete(Uint32Array.from(ids), options);
      for await (const piece of generation) for (const _ of piece.ids) onToken?.();
      const { text, ids: made, usage, timings } = await generation;
      return {
        ids: made,
        text,
        promptTokens: usage.promptTokens,
        drafted: usage.draftedTokens / usage.completionTokens,
        engine: { prompt: timings.promptTokensPerSecond, decode: timings.decodeTokensPerSecond },
      };
    },
    release: () => model.close(),
  };
}

export async function createOnnx({ bytes, backend, threads }) {
  const model = await load(bytes, { device: backend === 'webgpu' ? 'webgpu' : 'cpu', threads });
  return {
    inputs: model.info.inputs.map(({ name }) => name),
    outputs: model.info.outputs.map(({ name }) => name),
    run: (feeds) => model.run(feeds),
    release: () => model.close(),
  };
}

/** Texts to vectors, of MiniLM as its authors publish it. */
export async function createEncoder({ models, threads }) {
  const files = ['minilm.config.json', 'minilm.tokenizer.json', 'minilm.safetensors'];
  const model = await load(files.map((file) => models + file), { device: 'cpu', threads });
  return { embed: (texts) => model.embed(texts), release: () => model.close() };
}

/** What makes ids of texts, and texts of ids. */
export const tokenizer = (url) => load(url, { device: 'cpu' });
