// The demo in a real browser, as a visitor uses it: both themes, a desktop's and a phone's width. Leaves a
// screenshot of each in pkg-tests/out/ to be looked at.
import path from 'node:path';
import { modelPath } from '../crate/xtask/node/models.mjs';
import { at } from '../crate/xtask/node/paths.mjs';
import { serve } from '../crate/xtask/node/serve.mjs';

function assert(condition, what) {
  if (!condition) throw new Error(what);
}

/** The demo on a page of that look; `use` gets the page. */
export async function visit(browser, { scheme, width, height }, use) {
  const roots = { '/': at('www'), '/dist/': at('dist'), '/models/': path.dirname(modelPath) };
  const server = await serve({ roots });
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme });
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  try {
    await page.goto(`${server.origin}/`);
    const told = await use(page);
    assert(faults.length === 0, `errors on the page: ${faults.join('; ')}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert(wide <= 0, `the page is ${wide} pixels wider than the screen`);
    return told;
  } finally {
    await page.close();
    server.close();
  }
}

const field = (page, name) => page.locator(`[data-test="${name}"]`);
const idle = (page) => field(page, 'stop').waitFor({ state: 'hidden', timeout: 120_000 });

async function ask(page, text) {
  await field(page, 'prompt').fill(text);
  await page.keyboard.press('Enter');
}

/** One message loads the model and is answered piece by piece; figures are shown; nothing more is requested. */
export async function chat(page, screenshot) {
  // The page samples, and with one seed in twelve this model does not name the city.
  await page.evaluate(() => { document.querySelector('#seed').value = '7'; });
  await ask(page, 'What is the capital of France?');
  await page.waitForSelector('.message.assistant[data-state="done"]', { timeout: 120_000 });
  await idle(page);
  const text = await field(page, 'conversation').innerText();
  assert(/Paris/.test(text), `another answer than expected: ${text}`);
  const meter = /[\d.]+ tok/.exec(text + (await page.locator('footer').innerText()));
  assert(meter, `no tokens per second are shown: ${text}`);
  assert(/^(0|no)\b/i.test((await field(page, 'requests').innerText()).trim()), `requests: ${await field(page, 'requests').innerText()}`);
  assert((await field(page, 'device-badge').innerText()).length > 2, 'the device is not shown');
  await page.screenshot({ path: screenshot });
  return text.replaceAll('\n', ' ').slice(0, 160);
}

/** Escape stops an answer under way, New chat empties the page, and the next message is answered. */
export async function stopAndBegin(page) {
  await ask(page, 'Count from one to five hundred in words, one number a line.');
  await field(page, 'stop').waitFor({ state: 'visible', timeout: 60_000 });
  await page.waitForFunction(() => document.querySelector('[data-test="conversation"]').innerText.length > 80, undefined, { timeout: 60_000 });
  await page.keyboard.press('Escape');
  await idle(page);
  const before = await field(page, 'conversation').innerText();
  await page.waitForTimeout(500);
  assert(before === (await field(page, 'conversation').innerText()), 'the answer went on after it was stopped');
  await field(page, 'new-chat').click();
  assert(!(await field(page, 'conversation').isVisible()), 'the old chat is still there');
}

/** A file that is no model gives a message that a person can read, and the page goes on. */
export async function badFile(page) {
  const file = { name: 'notes.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('these are only some notes'.repeat(50)) };
  await field(page, 'file').setInputFiles(file);
  const card = field(page, 'model-card');
  await page.waitForFunction(() => /GGUF/i.test(document.querySelector('.card-error, [data-test="model-card"]')?.innerText ?? '') &&
    document.querySelector('[data-test="model-card"]').dataset.state === 'failed', undefined, { timeout: 20_000 });
  assert(/gguf/i.test(await card.innerText()), `the message says too little: ${await card.innerText()}`);
  return (await card.innerText()).replaceAll('\n', ' ').slice(0, 200);
}

/** Asked to run on a GPU where there is none, the page says so and can go back. */
export async function noGpu(page) {
  await field(page, 'device-select').selectOption('webgpu');
  await ask(page, 'Hello');
  await page.waitForFunction(() => document.querySelector('[data-test="model-card"]')?.dataset.state === 'failed', undefined, { timeout: 30_000 });
  const said = await page.locator('body').innerText();
  assert(/WebGPU|GPU/.test(said), 'the page does not say that there is no GPU');
  await field(page, 'device-select').selectOption('cpu');
}
