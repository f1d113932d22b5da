// The demo's tabs besides the chat, as a visitor uses them: each on its sample, and on files that are dropped.
import { at } from '../crate/xtask/node/paths.mjs';
import fs from 'node:fs';

function assert(condition, what) {
  if (!condition) throw new Error(what);
}

const panel = (page, name) => page.locator(`#panel-${name}`);
const settled = (page, name) => page.waitForFunction((name) => ['ready', 'failed'].includes(document.querySelector(`#panel-${name} .task-state`).dataset.state), name, { timeout: 180_000 });

/** Waits until a tab has done what it was asked; gives what it says. */
async function done(page, name) {
  await settled(page, name);
  const [state, said] = await panel(page, name).locator('.task-state').evaluate(({ dataset, innerText }) => [dataset.state, innerText.replaceAll('\n', ' ')]);
  assert(state === 'ready', `${name}: ${said}`);
  return said;
}

/** Drops a file on the page, as a browser tells of it. */
async function drop(page, name, type, bytes) {
  const data = await page.evaluateHandle(([name, type, bytes]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type }));
    return transfer;
  }, [name, type, bytes.toString('base64')]);
  for (const event of ['dragenter', 'dragover', 'drop']) await page.dispatchEvent('body', event, { dataTransfer: data });
  assert(await page.locator('[data-test="drop-overlay"]').isHidden(), 'the overlay stays');
}

const open = (page, name) => page.locator(`#tab-${name}`).click();
const texts = (page, name, test) => panel(page, name).locator(`[data-test="${test}"]`).allInnerTexts();
const shot = (page, folder, name) => page.screenshot({ path: `${folder}/demo-${name}.png` });

/** Tabs by keyboard: arrows move, Home and End go to the ends, one panel is shown. */
export async function keys(page) {
  await page.locator('#tab-chat').focus();
  const seen = [];
  for (const key of ['ArrowRight', 'ArrowRight', 'End', 'ArrowRight', 'ArrowLeft', 'Home']) {
    await page.keyboard.press(key);
    seen.push(await page.evaluate(() => document.activeElement.dataset.tab));
    assert((await page.locator('[role="tabpanel"]:visible').count()) === 1, 'not one panel is shown');
  }
  assert(seen.join() === 'search,ocr,network,chat,network,chat', seen.join());
}

export async function search(page, folder) {
  await open(page, 'search');
  await panel(page, 'search').locator('[data-test="query"]').fill('why dough gets bigger');
  await page.keyboard.press('Enter');
  const said = await done(page, 'search');
  const [best] = await texts(page, 'search', 'hit');
  assert(/Yeast/.test(best), `the best passage is ${best}`);
  await shot(page, folder, 'search');
  await drop(page, 'notes.txt', 'text/plain', Buffer.from('The harbour is closed in winter.\n\nOur cat is called Minka.'));
  await panel(page, 'search').locator('[data-test="query"]').fill('name of the pet');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => /Minka/.test(document.querySelector('#search-hits li')?.innerText), undefined, { timeout: 60_000 });
  return said;
}

export async function ocr(page, folder) {
  await open(page, 'ocr');
  await panel(page, 'ocr').locator('[data-test="sample"]').click();
  const said = await done(page, 'ocr');
  const lines = (await texts(page, 'ocr', 'line')).join('\n').replace(/ /g, '');
  for (const part of ['TheHearthCaf', '2Flatwhite', 'TOTALEUR', '24.60', 'upsidedown']) assert(lines.includes(part), `no ${part} in ${lines}`);
  assert(lines.indexOf('2Flatwhite') < lines.indexOf('7.80') && lines.indexOf('7.80') < lines.indexOf('1Applecake'), `not in reading order: ${lines}`);
  const marked = await page.evaluate(() => {
    const canvas = document.querySelector('#ocr-picture');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i] > 190 && data[i + 1] < 120 && data[i + 2] < 80) n++;
    return n;
  });
  assert(marked > 500, `${marked} pixels have the colour of boxes`);
  await shot(page, folder, 'ocr');
  await drop(page, 'page.png', 'image/png', fs.readFileSync(at('crate/tests/data/reference/page.png')));
  await page.waitForFunction(() => /Invoice No\. 20417/.test(document.querySelector('#ocr-lines').innerText), undefined, { timeout: 120_000 });
  await drop(page, 'broken.png', 'image/png', Buffer.from('no picture at all'));
  await page.waitForSelector('#panel-ocr .error', { timeout: 20_000 });
  assert(/no picture/.test(await panel(page, 'ocr').locator('.error').innerText()), 'a broken picture is not told');
  return said;
}

export async function voice(page, folder) {
  await open(page, 'voice');
  await panel(page, 'voice').locator('[data-test="sample"]').click();
  const said = await done(page, 'voice');
  assert((await texts(page, 'voice', 'segment')).length > 0, `no speech is found: ${said}`);
  await shot(page, folder, 'voice');
  return said;
}

/** The microphone: the browser plays the sample for it. */
export async function microphone(page) {
  await open(page, 'voice');
  await panel(page, 'voice').locator('[data-test="mic"]').click();
  await page.waitForFunction(() => Number(/over ([\d.]+)/.exec(document.querySelector('#voice-strip').getAttribute('aria-label'))?.[1]) > 4, undefined, { timeout: 90_000 });
  await panel(page, 'voice').locator('[data-test="mic-stop"]').click();
  const said = await done(page, 'voice');
  assert((await texts(page, 'voice', 'segment')).length > 0, `no speech is heard: ${said}`);
  return said;
}

export async function files(page, folder) {
  await open(page, 'files');
  for (const [chip, label] of [['Python', 'python'], ['HTML', 'html'], ['A picture', 'jpeg'], ['A sound', 'wav']]) {
    await panel(page, 'files').locator('.chip', { hasText: chip }).click();
    await page.waitForSelector(`#files-list tr:first-child[data-label="${label}"]`, { timeout: 60_000 });
  }
  await drop(page, 'holiday.jpg', 'image/jpeg', fs.readFileSync(at('crate/tests/data/reference/page.png')));
  await page.waitForSelector('#files-list tr:first-child[data-label="png"]', { timeout: 20_000 });
  await shot(page, folder, 'files');
  return (await texts(page, 'files', 'file'))[0].replaceAll('\n', ' ');
}

/** An .onnx file that is dropped on any tab shows its inputs and runs; one that is broken says so. */
export async function network(page, folder) {
  await drop(page, 'classifier.onnx', '', fs.readFileSync(at('crate/tests/data/onnx/classifier.onnx')));
  assert(await panel(page, 'network').isVisible(), 'the tab of networks is not shown');
  await done(page, 'network');
  const ports = await panel(page, 'network').locator('#network-ports').innerText();
  assert(/image/.test(ports) && /logits/.test(ports) && /float32/.test(ports), `ports: ${ports}`);
  await panel(page, 'network').locator('[data-test="run"]').click();
  await page.waitForSelector('#network-results:not([hidden])', { timeout: 60_000 });
  const said = await done(page, 'network');
  assert((await texts(page, 'network', 'output')).some((text) => /logits.*4\]/s.test(text)), 'no output is shown');
  assert(/\d ×/.test((await texts(page, 'network', 'profile')).join()), 'no profile is shown');
  await shot(page, folder, 'network');
  await drop(page, 'broken.onnx', '', Buffer.from('this is not a network'.repeat(9)));
  await page.waitForSelector('#panel-network .error', { timeout: 20_000 });
  return said;
}
