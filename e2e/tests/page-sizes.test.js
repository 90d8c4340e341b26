// @ts-check
// The web client on a phone and on a desk: nothing is cut off, everything can be reached.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { artifactsDir } from '../harness/paths.js';
import { scenario } from '../harness/stage.js';

/** @typedef {import('playwright-core').Page} Page */

const FORM = ['#name', '#room', '#passphrase', '#join'];
const TOOLS = ['#leave', '#toggle-microphone', '#toggle-camera'];

/** @param {Page} page */
async function noSidewaysScroll(page) {
  const { wide, view } = await page.evaluate(() => ({
    wide: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),
    view: window.innerWidth,
  }));
  assert.ok(wide <= view, `the page is ${wide} pixels wide on a screen of ${view}`);
}

/**
 * A person can bring it into view and press it: nothing lies over it.
 * @param {Page} page
 * @param {string} selector
 */
async function reachable(page, selector) {
  const element = page.locator(selector);
  if (!(await element.isVisible())) {
    // Phones may keep the chat behind a button of its own.
    await page.click('#toggle-chat');
  }
  await element.scrollIntoViewIfNeeded();
  await element.click({ trial: true });
  const box = await element.boundingBox();
  const view = page.viewportSize();
  assert.ok(box && view, `${selector} is on the page`);
  assert.ok(box.x >= 0 && box.x + box.width <= view.width + 1, `${selector} is within the width`);
  assert.ok(box.width >= 24 && box.height >= 24, `${selector} is large enough for a finger`);
}

/** @type {[string, { width: number, height: number }, boolean][]} */
const SIZES = [
  ['phone', { width: 390, height: 844 }, true],
  ['desktop', { width: 1440, height: 900 }, false],
];

for (const [size, viewport, mobile] of SIZES) {
  scenario(`on a ${size} everything fits and can be reached`, { ms: 90_000 }, async (stage) => {
    const server = await stage.server();
    const browser = await knownBrowser(stage, { width: 320, height: 240, fps: 15 });
    await mkdir(artifactsDir, { recursive: true });
    const { room } = stage;

    const home = await browser.page('home', { viewport, mobile });
    await home.goto(server.url);
    await noSidewaysScroll(home);
    for (const selector of FORM) await reachable(home, selector);
    await home.screenshot({ path: join(artifactsDir, `${size}-home.png`) });
    await home.close();

    const other = await Guest.join(browser, server, { room, name: 'Gerda' });
    const guest = await Guest.join(browser, server, { room, name: 'Gustav', viewport, mobile });
    await guest.sees(other.user);
    const long = `${'a long word without any space '.repeat(3)}${'x'.repeat(120)}`;
    await other.say(long);
    await guest.message({ from: other.user, text: long });
    await noSidewaysScroll(guest.page);
    for (const selector of TOOLS) await reachable(guest.page, selector);
    await reachable(guest.page, '#chat-input');
    await guest.page.fill('#chat-input', 'typed on this screen');
    await reachable(guest.page, '#chat-send');
    await guest.page.click('#chat-send');
    await other.message({ from: guest.user, text: 'typed on this screen' });
    await noSidewaysScroll(guest.page);
    await guest.page.screenshot({ path: join(artifactsDir, `${size}-meeting.png`) });
    if (mobile) await guest.page.click('#panel-close'); // on phones the chat lies over the tiles
    await guest.page.screenshot({ path: join(artifactsDir, `${size}-tiles.png`) });
    await reachable(guest.page, '#leave');
    await guest.leave();
    assert.deepEqual(browser.faults(), []);
  });
}
