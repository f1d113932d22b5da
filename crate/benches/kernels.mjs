// Runs the CPU kernels in Chromium, built with plain and with relaxed SIMD, and prints their speed.
//   node crate/benches/kernels.mjs [path to chromium]
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? `${root}target`;
const executablePath = process.argv[2] ?? process.env.CHROME_PATH ?? "/usr/bin/chromium";
const variants = { plain: "+simd128", relaxed: "+simd128,+relaxed-simd" };
const formats = ["q4_1", "q8_0", "f32", "q4_0", "q6_k"];
// format, weights, n, k, m, exact
const cases = [
  [0, 60, 3072, 576, 1, 0],
  [0, 60, 576, 1536, 1, 0],
  [1, 1, 49152, 576, 1, 0],
  [0, 4, 3072, 576, 128, 0],
  [1, 2, 3072, 576, 128, 0],
  [4, 2, 3072, 768, 1, 0],
  [0, 4, 3072, 576, 1, 1],
  [0, 2, 3072, 576, 128, 1],
  [2, 2, 3072, 576, 128, 0],
];

function build(features) {
  const dir = `${target}/bench-${features.includes("relaxed") ? "relaxed" : "plain"}`;
  execFileSync("cargo", ["build", "-q", "--release", "-p", "kernel-bench", "--target", "wasm32-unknown-unknown"], {
    cwd: root,
    env: { ...process.env, CARGO_TARGET_DIR: dir, RUSTFLAGS: `-C target-feature=${features}` },
    stdio: "inherit",
  });
  return readFileSync(`${dir}/wasm32-unknown-unknown/release/kernel_bench.wasm`).toString("base64");
}

async function measure([bytes, work]) {
  const binary = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
  const module = await WebAssembly.compile(binary);
  // The crate's browser services are linked in and never called.
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
  const instance = await WebAssembly.instantiate(module, imports);
  const { prepare, multiply } = instance.exports;
  return work.map(([format, count, n, k, m, exact]) => {
    const size = prepare(format, count, n, k, m);
    let best = Infinity;
    let digest = 0;
    const end = performance.now() + 1500;
    for (let i = 0; i < 3 || performance.now() < end; i++) {
      const start = performance.now();
      digest = multiply(exact);
      best = Math.min(best, performance.now() - start);
    }
    return { ms: best, size, digest, ops: 2 * count * n * k * m };
  });
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
try {
  for (const [variant, features] of Object.entries(variants)) {
    if (process.env.VARIANT && process.env.VARIANT !== variant) continue;
    const wasm = build(features);
    for (const entry of cases) {
      const page = await browser.newPage();
      const [{ ms, size, digest, ops }] = await page.evaluate(measure, [wasm, [entry]]);
      await page.close();
      const [format, count, n, k, m, exact] = entry;
      const name = `${formats[format]} ${count} x [${n}, ${k}] x ${m}${exact ? " exact" : ""}`;
      const rate = `${(size / ms / 1e6).toFixed(1)} GB/s  ${(ops / ms / 1e6).toFixed(1)} GOP/s`;
      console.log(`${variant.padEnd(8)}${name.padEnd(36)}${ms.toFixed(2).padStart(8)} ms  ${rate}  ${digest.toFixed(3)}`);
    }
  }
} finally {
  await browser.close();
}
