// transformers.js, which runs MiniLM on onnxruntime-web.
let transformers;

export async function setup({ threads }) {
  transformers ??= await import('/peers/transformers/dist/transformers.min.js');
  const { env } = transformers;
  Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: '/hub/', useBrowserCache: false });
  Object.assign(env.backends.onnx.wasm, { numThreads: threads, wasmPaths: `${location.origin}/peers/transformers-ort/dist/` });
}

export async function createEncoder() {
  const extract = await transformers.pipeline('feature-extraction', 'minilm', { dtype: 'fp32', device: 'wasm' });
  return {
    async embed(sentences) {
      return (await extract(sentences, { pooling: 'mean', normalize: true })).tolist();
    },
  };
}
