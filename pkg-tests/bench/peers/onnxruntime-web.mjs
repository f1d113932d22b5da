// onnxruntime-web on its wasm back end.
let ort;

export async function setup({ threads }) {
  const folder = `${location.origin}/peers/onnxruntime-web/dist/`;
  ort ??= await import(`${folder}ort.wasm.min.mjs`);
  Object.assign(ort.env.wasm, { wasmPaths: folder, numThreads: threads });
  ort.env.logLevel = 'error';
}

export async function createOnnx({ bytes }) {
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] });
  return {
    async run(inputs) {
      const fed = Object.entries(inputs).map(([name, { type, data, dims }]) => [name, new ort.Tensor(type, data, dims)]);
      const outputs = await session.run(Object.fromEntries(fed));
      return Object.fromEntries(Object.entries(outputs).map(([name, { type, data, dims }]) => [name, { type, data, dims }]));
    },
  };
}
