// Threads in a page: the same answers on any number of them, and what the model says about them.
function assert(condition, what) {
  if (!condition) throw new Error(what);
}

const prompt = Uint32Array.from({ length: 40 }, (_, i) => (i * 37 + 11) % 250);

/** The tokens that a small model makes, and its device. */
async function answer(load, tiny, threads) {
  const model = await load(tiny, { device: 'cpu', contextLength: 128, threads });
  try {
    const { ids } = await model.complete(prompt, { maxTokens: 30, temperature: 0, ignoreEos: true });
    return { ids: ids.join(), device: model.info.device };
  } finally {
    await model.close();
  }
}

/** In a page that is isolated: as many threads as asked, the same tokens. */
export async function threads({ load }, { tiny }) {
  assert(crossOriginIsolated, 'the page is not isolated');
  const one = await answer(load, tiny, 1);
  assert(one.device.threads === 1 && !/thread/.test(one.device.reason), `one thread: ${JSON.stringify(one.device)}`);
  for (const count of [2, 3, 5]) {
    const many = await answer(load, tiny, count);
    assert(many.device.threads === count, `${count} threads: ${JSON.stringify(many.device)}`);
    assert(many.ids === one.ids, `${count} threads make ${many.ids}, one makes ${one.ids}`);
  }
  const free = await answer(load, tiny, undefined);
  const cores = navigator.hardwareConcurrency;
  const usual = cores <= 4 ? cores : Math.min(8, Math.ceil(cores / 2));
  assert(free.device.threads === usual, `by default: ${JSON.stringify(free.device)}`);
  for (const wrong of [0, 1.5, 65, 'two']) {
    const error = await answer(load, tiny, wrong).then(() => null, (e) => e);
    assert(error?.kind === 'invalid-input' && /threads/.test(error.message), `threads: ${wrong} gave ${error}`);
  }
  return `${free.device.threads} by default`;
}

/** A thread that traps fails the answer that it was working on; what is loaded after it works. */
export async function threadTraps({ load }, { url }) {
  const error = await answer(load, url, 2).then(() => null, (e) => e);
  assert(error?.kind === 'internal' && /worker failed/.test(error.message), `not the expected error: ${error}`);
  const { device } = await answer(load, url, 1);
  assert(device.threads === 1, JSON.stringify(device));
  return error.message;
}

/** Where there can be no threads, or fewer: the model runs on what there is, and says why. */
export async function fewerThreads({ load }, { tiny, count, wanted, saying }) {
  const { device } = await answer(load, tiny, wanted);
  assert(device.threads === count && new RegExp(saying).test(device.reason), JSON.stringify(device));
  return device.reason;
}
