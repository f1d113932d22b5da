// What a page runs: cases of the ONNX project's backend tests through the public API, several models in one worker.
import { difference, value } from './messages.mjs';

const bytes = async (url) => {
  const answer = await fetch(url);
  return answer.ok ? new Uint8Array(await answer.arrayBuffer()) : null;
};

/** Runs one case. With `wrong`, an element of each output is changed first, which the comparison must see. */
async function run(runtime, { kind, name, sets, inputs, outputs, rtol, atol }, { device, wrong }) {
  const folder = `/suite/${kind}/${name}`;
  const model = await runtime.load(await bytes(`${folder}/model.onnx`), { device });
  try {
    for (const set of sets.keys()) {
      const feeds = {};
      for (const [i, [input, type]] of inputs.entries()) {
        const stored = await bytes(`${folder}/test_data_set_${set}/input_${i}.pb`);
        if (stored) feeds[input] = value(stored, type);
      }
      const got = await model.run(feeds, { outputs: outputs.map(([output]) => output) });
      for (const [i, [output, type]] of outputs.entries()) {
        const want = value(await bytes(`${folder}/test_data_set_${set}/output_${i}.pb`), type);
        if (wrong && got[output]?.data?.length > 0) got[output] = spoilt(got[output]);
        const found = difference(got[output], want, rtol, atol);
        if (found) return { result: 'differs', why: `${output}: ${found}` };
      }
    }
    return { result: 'pass', why: '' };
  } finally {
    await model.close();
  }
}

/** A tensor with another last element. */
function spoilt({ type, dims, data }) {
  const other = data.slice();
  const last = other[other.length - 1];
  other[other.length - 1] = type === 'string' ? `${last}?` : typeof last === 'bigint' ? last ^ 64n : /^b?float(16|[48])/.test(type) ? last ^ 0x41 : last === 0 ? 1 : -2 * last - 1;
  return { type, dims, data: other };
}

/** The outcomes of cases: `pass`, `differs`, `unsupported` (said at load), `error`, `no answer`. */
export async function conformance({ Runtime }, { cases, device, wrong = false, seconds = 60, lanes = 2 }) {
  const outcomes = [];
  let next = 0;
  const lane = async () => {
    let runtime = new Runtime();
    try {
      for (let at = next++; at < cases.length; at = next++) {
        const late = Symbol('late');
        let timer;
        const limit = new Promise((resolve) => { timer = setTimeout(resolve, seconds * 1000, late); });
        const outcome = await Promise.race([run(runtime, cases[at], { device, wrong }), limit]).catch((error) => ({
          result: /^unsupported/.test(error.kind) ? 'unsupported' : 'error',
          why: `${error.kind ?? error.name}: ${error.message}`,
        }));
        clearTimeout(timer);
        outcomes[at] = outcome === late ? { result: 'no answer', why: `none in ${seconds} s` } : outcome;
        if (outcome === late) {
          await runtime.close();
          runtime = new Runtime();
        }
      }
    } finally {
      await runtime.close();
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return outcomes;
}
