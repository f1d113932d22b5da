// `npm start`: installs what is missing, builds, gets the models, serves the demo.
import { ensureModels } from './get_models.mjs';
import { fail, run } from './run.mjs';
import { serveDemo } from './serve.mjs';
import { setUpBuild } from './setup.mjs';

try {
  setUpBuild();
  console.log('Building (the first time takes some minutes) …');
  run('cargo', ['run', '-q', '-p', 'xtask', '--', 'build']);
  // A model that cannot be had takes its tab away, not the demo.
  for (const failure of await ensureModels()) console.warn(`\n!!! ${failure}`);
  await serveDemo();
} catch (error) {
  fail(error);
}
