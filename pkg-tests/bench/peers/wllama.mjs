// wllama: llama.cpp as wasm. It takes and gives text alone.
let wllama;

export async function setup() {
  wllama ??= await import('/peers/wllama/esm/index.min.js');
}

export async function createLlm({ url, context, threads }) {
  const silent = { debug() {}, log() {}, warn() {}, error: (...all) => console.error(...all) };
  const engine = new wllama.Wllama({ default: `${location.origin}/peers/wllama/esm/wasm/wllama.wasm` }, { logger: silent });
  const file = await (await fetch(url)).blob();
  await engine.loadModel([file], { n_ctx: context, n_threads: threads, n_gpu_layers: 0, n_parallel: 1 });
  return {
    info: { threads: engine.getNumThreads() },
    async complete({ text: prompt, count, onToken }) {
      let promptTokens;
      await engine.createCompletion({
        prompt, max_tokens: count, temperature: 0, top_k: 1, ignore_eos: true, cache_prompt: false, stream: true,
        onData({ choices, timings }) {
          promptTokens = timings?.prompt_n ?? promptTokens;
          if (choices?.[0] && !choices[0].finish_reason) onToken();
        },
      });
      return { promptTokens };
    },
  };
}
