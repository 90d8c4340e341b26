// @ts-check
// A screen is shared beside the camera, and disappears again.

import assert from 'node:assert/strict';

import { knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { Screen } from '../harness/screen.js';
import { scenario } from '../harness/stage.js';

scenario('a native peer shares its screen beside its camera', { ms: 90_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, screen] = await Promise.all([knownBrowser(stage), Screen.start(stage)]);
  const native = await stage.native(server, { env: { DISPLAY: screen.display } });
  const guest = await Guest.join(browser, server, { room: stage.room });
  await guest.counts(native.user);
  native.send({ command: 'screen', on: true });
  const size = await guest.sees(native.user, { source: 'screen' });
  stage.note(`the shared screen is ${size.width}×${size.height} on the page`);
  await guest.counts(native.user);
  native.send({ command: 'screen', on: false });
  await guest.page.waitForSelector(guest.tileSelector(native.user, 'screen'), { state: 'detached' });
  await guest.counts(native.user);
  assert.deepEqual(browser.faults(), []);
});

/** @type {['lower' | 'higher', (native: string) => (id: string) => boolean][]} */
const ORDERS = [
  ['lower', (native) => (id) => native < id],
  ['higher', (native) => (id) => native > id],
];
for (const [order, idWhere] of ORDERS) {
  scenario(`a page shares its screen with a native peer of ${order} id`, { ms: 60_000 }, async (stage) => {
    const server = await stage.server();
    const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
    const guest = await Guest.join(browser, server, { room: stage.room, idWhere: idWhere(native.user) });
    await native.sees(guest.user, { counter: true });
    // A browser without a display has no screen to give: a canvas stands in for it.
    await guest.page.evaluate(() => {
      navigator.mediaDevices.getDisplayMedia = async () => {
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [800, 600];
        const context = canvas.getContext('2d');
        let n = 0;
        setInterval(() => {
          n += 1;
          if (!context) return;
          context.fillStyle = `hsl(${n % 360} 80% 50%)`;
          context.fillRect(0, 0, 800, 600);
        }, 50);
        return canvas.captureStream(20);
      };
    });
    await guest.page.click('#toggle-screen');
    const shown = await native.sees(guest.user, { track: 'screen' });
    stage.note(`the native peer sees the page's screen at ${shown.width}×${shown.height}`);
    const since = native.mark();
    await guest.page.click('#toggle-screen');
    await native.waitFor('track-removed', (e) => e.track === 'screen', { since });
    await native.sees(guest.user, { counter: true, since: native.mark() });
    assert.deepEqual(browser.faults(), []);
  });
}
