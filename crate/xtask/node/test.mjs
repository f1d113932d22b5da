// `npm test` runs every step; `npm run check` (argument "check") the quick ones.
import fs from 'node:fs';
import { ensureModels } from './get_models.mjs';
import { at } from './paths.mjs';
import { fail, run } from './run.mjs';
import { setUpBrowser, setUpBuild, setUpOnnxSuite } from './setup.mjs';

const quick = process.argv[2] === 'check';
const step = async (name, work) => {
  const start = Date.now();
  console.log(`\n── ${name}`);
  await work();
  console.log(`── ${name}: ok, ${((Date.now() - start) / 1000).toFixed(0)} s`);
};
const cargo = (...args) => run('cargo', args);

try {
  await step('set-up', () => {
    setUpBuild();
    if (quick) return;
    setUpBrowser();
    setUpOnnxSuite();
  });
  if (!quick) {
    await step('models', async () => {
      const failures = await ensureModels();
      if (failures.length > 0) throw new Error(failures.join('\n\n'));
    });
  }
  await step('format', () => {
    cargo('fmt', '--all', '--check');
    // These modules are declared by a macro, which cargo does not look into.
    const operators = fs.readdirSync(at('crate/src/ops')).filter((file) => file.endsWith('.rs') && file !== 'mod.rs');
    run('rustfmt', ['--edition', '2024', '--check', ...operators.map((file) => at('crate/src/ops', file))]);
  });
  await step('clippy', () => {
    cargo('clippy', '-q', '--workspace', '--all-targets', '--', '-D', 'warnings');
    cargo('clippy', '-q', '-p', 'homefire', '--lib', '--target', 'wasm32-unknown-unknown', '--', '-D', 'warnings');
  });
  await step('types', () => run(process.execPath, [at('node_modules/typescript/bin/tsc'), '-p', at('tsconfig.json'), '--noEmit']));
  const scope = quick ? ['--lib'] : [];
  await step('cargo test', () => cargo('test', '-q', '-p', 'homefire', ...scope));
  if (!quick) {
    await step('build', () => cargo('run', '-q', '-p', 'xtask', '--', 'build'));
    await step('sizes', () => run(process.execPath, [at('crate/xtask/node/sizes.mjs')]));
    await step('package in the browser', () => run(process.execPath, [at('pkg-tests/run.mjs')]));
  }
} catch (error) {
  fail(error);
}
