// Drives the playground of a running server with Chromium.
//
//   RETRO_URL    address of the server, for instance http://127.0.0.1:8080
//   CHROMIUM     the browser (default /usr/bin/chromium)
//   SCREENSHOTS  folder for screenshots (default: none are made)
//
// Documents go into collections of their own, so the server may hold others. With an empty database the first visit is tested too.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

const base = process.env.RETRO_URL;
const shots = process.env.SCREENSHOTS;
const collection = 'playground-test';

const article = [
  'The Ferrano Observatory stands on Mount Ferrano, 2140 metres above the sea. It was founded in 1911 by the astronomer Ines ' +
    'Calder, who had seen the comet of 1910 from the same place. Its great telescope has a mirror of 180 centimetres, ground in ' +
    'the workshop of Otto Brandt.',
  'In the winter of 1926 the road was closed by snow for 97 days. The observers burned the old dome to keep warm, and lived on ' +
    'rice and dried apples. When the road was open again, they had discovered eleven small planets. The largest of these, Caldera,' +
    ' is named after the founder.',
  'The observatory was given to the town of Lower Ferrano in 1988. Visitors are let in on clear nights, when the telescope is ' +
    'turned to the moon and to the rings of Saturn. In the library the notebooks of Ines Calder are kept, with her drawings of the' +
    ' comet and of the surface of Mars.',
].join('\n\n');

const prompt = article.slice(0, article.indexOf(' in 1988'));

const visible = (page, selector) => page.locator(selector).first().waitFor({ state: 'visible' });
const done = (page) => page.waitForFunction(() => (
  document.getElementById('complete-result').getAttribute('aria-busy') === 'false' && document.getElementById('complete-status').textContent.includes('token')
));

describe('playground', { skip: base ? false : 'RETRO_URL names no server' }, () => {
  let axe;
  let browser;
  let hasCompare = false;
  const faults = [];

  /** A page in a window of its own. What it writes to the console as an error is collected, violations of the security policy included. */
  async function open({ width = 1280, height = 800, scheme = 'light', hash = '' } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce' });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.on('console', (message) => { if (message.type() === 'error') faults.push(message.text()); });
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('request', (request) => { if (!request.url().startsWith(base)) faults.push(`asked for ${request.url()}`); });
    await page.goto(`${base}/${hash}`);
    await page.waitForSelector('html[data-ready]');
    return page;
  }

  async function checkAccess(page, what) {
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => window.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    }));
    const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    assert.deepEqual(grave.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), [], what);
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(sideways, 0, `${what}: the page is ${sideways} pixels too wide`);
  }

  async function shoot(page, name) {
    if (shots) await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
  }

  before(async () => {
    if (shots) await mkdir(shots, { recursive: true });
    // Only now, so that without a server the other tests run with nothing installed.
    axe = (await import('axe-core')).default;
    const { chromium } = await import('playwright-core');
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
    const answer = await fetch(`${base}/v1/complete`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ prompt: 'Tea', max_tokens: 1, compare: true, stream: true }),
    });
    await answer.text();
    hasCompare = answer.ok;
  });

  after(async () => { await browser?.close(); });

  test('a first visit shows retrieval at work', async (t) => {
    const page = await open();
    if (!await page.locator('#welcome').isVisible()) {
      t.skip('the database is not empty');
      await page.context().close();
      return;
    }
    for (const [width, scheme] of [[1280, 'light'], [1280, 'dark'], [390, 'light'], [390, 'dark']]) {
      const other = await open({ width, scheme });
      await checkAccess(other, `welcome, ${width}, ${scheme}`);
      await shoot(other, `welcome-${width}-${scheme}`);
      await other.context().close();
    }
    const begun = performance.now();
    await page.click('#welcome-run');
    await done(page);
    await visible(page, '#complete-neighbours .neighbour');
    assert.ok(performance.now() - begun < 10_000);
    assert.match(await page.textContent('#complete-neighbours'), /Mirel Island/);
    assert.equal(await page.locator('#welcome').isVisible(), false);
    await shoot(page, 'first-run-1280-light');
    await page.context().close();
  });

  test('a document is added', async () => {
    const page = await open();
    await page.click('#tab-add');
    await page.fill('#add-text', article);
    await page.fill('#add-title', 'Ferrano Observatory');
    await page.fill('#add-id', 'not an id');
    await page.fill('#add-collection', collection);
    await page.click('#add-form button[type=submit]');
    await visible(page, '#add-problem');
    assert.match(await page.textContent('#add-problem'), /id/);
    faults.splice(0, faults.length, ...faults.filter((fault) => !/422/.test(fault)));
    await page.fill('#add-id', 'ferrano');
    await page.fill('#add-source', 'https://example.org/ferrano');
    await page.click('#add-form button[type=submit]');
    await page.waitForFunction(() => document.getElementById('add-status').textContent.startsWith('1 of 1'));
    await page.setInputFiles('#add-files', [
      { name: 'tides.md', mimeType: 'text/markdown', buffer: Buffer.from('# Tides\n\nThe moon raises the tides of the sea twice a day.\n') },
      { name: 'two.jsonl', mimeType: 'application/json', buffer: Buffer.from('{"text": "Clocks of the harbour.", "title": "Clocks"}\nno json\n') },
    ]);
    await page.click('#add-form button[type=submit]');
    await page.waitForFunction(() => document.getElementById('add-status').textContent.startsWith('2 of 2'));
    assert.match(await page.textContent('#add-problems'), /two\.jsonl, line 2 is not JSON/);
    await shoot(page, 'add-done-1280-light');
    await page.context().close();
  });

  test('a completion shows its neighbours, by mouse and by keyboard, and a link shows it again', async () => {
    const page = await open();
    await page.selectOption('#complete-collection', collection);
    await page.fill('#prompt', 'The Ferrano Observatory was founded in 1911 by the astronomer');
    await page.fill('#max-tokens', '90');
    await page.fill('#seed', '11');
    await page.press('#prompt', 'Control+Enter');
    await done(page);
    assert.match(await page.textContent('#complete-neighbours'), /Ferrano Observatory/);
    assert.equal(await page.locator('#complete-neighbours a[href="https://example.org/ferrano"]').count() > 0, true);
    assert.equal(await page.locator('#with-text .chunk').count(), 3);
    assert.equal(await page.getAttribute('#with-text .chunk >> nth=0', 'aria-pressed'), 'true');
    await page.locator('#with-text .chunk').nth(1).focus();
    await page.keyboard.press('Enter');
    assert.match(await page.textContent('#complete-neighbours h2'), /Chunk 2/);
    await page.locator('#with-text .chunk').nth(2).click();
    assert.match(await page.textContent('#complete-neighbours'), /while it wrote Chunk 3\. It is not full/);
    await page.click('#complete-form .copy-link');
    const link = await page.evaluate(() => navigator.clipboard.readText());
    const text = await page.textContent('#with-text');

    await page.click('#complete-form .segments label:has([value=off])');
    await page.click('#run');
    await page.waitForFunction(() => document.getElementById('with-title').textContent === 'Without retrieval');
    await done(page);
    assert.equal(await page.locator('#complete-neighbours .neighbour').count(), 0);
    assert.match(await page.textContent('#complete-neighbours'), /Retrieval is off/);
    assert.notEqual(await page.textContent('#with-text'), text);

    assert.ok(link.startsWith(base) && link.length < 250, link);
    const other = await open({ hash: new URL(link).hash });
    await done(other);
    assert.equal(await other.textContent('#with-text'), text);
    assert.equal(await other.inputValue('#seed'), '11');
    assert.equal(await other.inputValue('#complete-collection'), collection);
    await other.context().close();
    await page.context().close();
  });

  test('a long completion can be stopped', async () => {
    const page = await open();
    await page.fill('#prompt', 'Once');
    await page.fill('#max-tokens', '500');
    // The first event has come, the last one has not: the button is pressed between two frames.
    await page.evaluate(() => new Promise((resolve) => {
      const look = new MutationObserver(() => {
        if (!document.querySelector('#with-text .written')) return;
        document.getElementById('stop').click();
        look.disconnect();
        resolve();
      });
      look.observe(document.getElementById('with-text'), { childList: true, subtree: true });
      document.getElementById('run').click();
    }));
    await done(page);
    assert.match(await page.textContent('#complete-status'), /Stopped after \d+ token/);
    await page.context().close();
  });

  test('on and off side by side', async (t) => {
    if (!hasCompare) {
      t.skip('the server cannot compare');
      return;
    }
    const page = await open();
    await page.selectOption('#complete-collection', collection);
    await page.click('#complete-form .segments label:has([value=compare])');
    await page.fill('#prompt', 'The Ferrano Observatory was founded in 1911 by the astronomer');
    await page.click('#run');
    await done(page);
    await visible(page, '#gain-view');
    assert.notEqual((await page.textContent('#without-text')).length, 0);
    await page.locator('#gain-text .token').first().focus();
    await page.keyboard.press('ArrowRight');
    assert.match(await page.textContent('#gain-readout'), /^[+\u22120-9.]+ .*retrieval\.$/);
    assert.match(await page.textContent('#complete-neighbours h2'), /Chunk 1/);
    await page.click('#shade label:has([value=chunk])');
    await visible(page, '#with-text .chunk');
    await page.context().close();
  });

  test('a search shows neighbours', async () => {
    const page = await open();
    await page.click('#tab-search');
    await page.selectOption('#search-collection', collection);
    await page.fill('#search-text', 'Who founded the observatory on Mount Ferrano?');
    await page.press('#search-text', 'Control+Enter');
    await visible(page, '#search-neighbours-list .neighbour');
    assert.match(await page.textContent('#search-neighbours-list h3'), /Ferrano Observatory/);
    await page.context().close();
  });

  test('a key is asked for and sent', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.route('**/v1/**', (route) => {
      if (route.request().headers().authorization === 'Bearer sesame') return route.continue();
      return route.fulfill({ status: 401, contentType: 'application/problem+json', body: '{"status": 401, "detail": "a key is wanted"}' });
    });
    await page.goto(`${base}/#v=1&p=Tea&n=4`);
    await visible(page, '#key-form');
    await page.fill('#key', 'wrong');
    await page.press('#key', 'Enter');
    await visible(page, '#key-again');
    await page.fill('#key', 'sesame');
    await page.press('#key', 'Enter');
    await done(page);
    assert.equal(await page.locator('#key-form').isVisible(), false);
    assert.equal(await page.evaluate(() => sessionStorage.getItem('retro-key')), 'sesame');
    assert.ok(!page.url().includes('sesame'));
    await context.close();
  });

  test('a link from another version is named, and its text is never markup', async () => {
    const page = await open({ hash: '#v=9&p=x' });
    assert.match(await page.textContent('#page-problem'), /another version/);
    await page.goto(`${base}/#v=1&p=${encodeURIComponent('<img src=x onerror=alert(1)>')}&n=4`);
    await done(page);
    assert.equal(await page.locator('#with-text img').count(), 0);
    await page.context().close();
  });

  test('tabs and the theme work by keyboard', async () => {
    const page = await open();
    await page.focus('#tab-complete');
    await page.keyboard.press('ArrowRight');
    await visible(page, '#panel-search');
    await page.keyboard.press('End');
    await visible(page, '#panel-add');
    await page.focus('#theme');
    await page.keyboard.press('Enter');
    assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
    await page.reload();
    await page.waitForSelector('html[data-ready]');
    assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
    await page.context().close();
  });

  for (const width of [1280, 390]) {
    for (const scheme of ['light', 'dark']) {
      test(`every tab at ${width} pixels, ${scheme}`, async () => {
        const fields = new URLSearchParams({ v: '1', p: prompt, n: '150', c: collection });
        const page = await open({ width, scheme, height: width === 390 ? 844 : 800, hash: `#${fields}` });
        await done(page);
        await checkAccess(page, 'complete');
        await shoot(page, `complete-${width}-${scheme}`);
        if (hasCompare) {
          await page.goto(`${base}/#${new URLSearchParams({ v: '1', p: 'The Ferrano Observatory was founded in 1911 by', n: '40', c: collection, m: 'compare' })}`);
          await visible(page, '#gain-view');
          await done(page);
          await page.locator('#gain-text .token').nth(3).focus();
          await checkAccess(page, 'compare');
          await shoot(page, `compare-${width}-${scheme}`);
        }
        await page.goto(`${base}/#${new URLSearchParams({ v: '1', tab: 'search', q: 'Who founded the observatory on Mount Ferrano?', c: collection })}`);
        await visible(page, '#search-neighbours-list .neighbour');
        await checkAccess(page, 'search');
        await shoot(page, `search-${width}-${scheme}`);
        await page.click('#tab-add');
        await checkAccess(page, 'add');
        await shoot(page, `add-${width}-${scheme}`);
        await page.context().close();
      });
    }
  }

  test('nothing was written to the console as an error', () => {
    assert.deepEqual(faults, []);
  });
});
