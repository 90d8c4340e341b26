// @ts-check
// The window itself, on a display without a GPU, in a call with a real Chromium.

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { NATIVE_HZ, knownBrowser } from '../harness/cast.js';
import { eventually } from '../harness/deadline.js';
import { Guest } from '../harness/guest.js';
import { artifactsDir } from '../harness/paths.js';
import { Screen, changed, region, softwareVulkan } from '../harness/screen.js';
import { scenario } from '../harness/stage.js';

/** The guest's camera shows a strong purple that no theme of ours has. */
const PURPLE = /** @type {[number, number]} */ ([190, 190]);
const isPurple = (/** @type {number} */ r, /** @type {number} */ g, /** @type {number} */ b) =>
  r > g + 70 && b > g + 70;

/** @type {[string, () => Record<string, string>][]} */
const RENDERERS = [
  ['the software renderer', () => ({ ICED_BACKEND: 'tiny-skia' })],
  [
    'wgpu on a software adapter',
    () => {
      const driver = softwareVulkan();
      assert.ok(driver, 'Mesa has a software Vulkan driver (mesa-vulkan-drivers)');
      return { ICED_BACKEND: 'wgpu', VK_ICD_FILENAMES: driver, VK_DRIVER_FILES: driver };
    },
  ],
];

for (const [renderer, env] of RENDERERS) {
  scenario(`the window shows a moving guest and the chat, with ${renderer}`, { ms: 150_000 }, async (stage) => {
    const server = await stage.server({ tls: 'self' });
    const [screen, browser, dir] = await Promise.all([
      Screen.start(stage),
      knownBrowser(stage, { chroma: PURPLE }),
      stage.tempDir(),
    ]);
    await writeFile(join(dir, 'passphrase'), 'right horse');
    const window = screen.window(stage, {
      dir,
      env: env(),
      args: [
        ...['--server', server.url, '--fingerprint', String(server.fingerprint)],
        ...['--room', stage.room, '--name', 'Nadia', '--passphrase-file', join(dir, 'passphrase')],
        ...['--join', '--camera', 'pattern', '--microphone', 'tone', '--speaker', 'none'],
      ],
    });
    const { room } = stage;
    const guest = await Guest.join(browser, server, { room, name: 'Gustav' });
    const native = await guest.other(60_000);
    await guest.say('umbrella lighthouse');

    // The guest sees and hears the window's camera and microphone.
    await guest.counts(native);
    await guest.hears(native, NATIVE_HZ);

    // The window shows the guest's picture, and it moves.
    const tile = await eventually(30_000, 'the guest’s picture on the display', async () => {
      const found = region(await screen.shot(), isPurple);
      return found.count > 20_000 && found;
    });
    const moved = [];
    let before = await screen.shot();
    while (moved.length < 3) {
      const last = before;
      moved.push(
        await eventually(10_000, 'the guest’s picture moves', async () => {
          before = await screen.shot();
          const count = changed(last, before, tile);
          return count > 200 && count;
        }),
      );
    }
    stage.note(
      `the tile is ${tile.right - tile.left + 1}×${tile.bottom - tile.top + 1}; pixels that ` +
        `changed between screenshots: ${moved.join(', ')}`,
    );

    const read = await eventually(40_000, 'the chat text on the display', async () => {
      const words = await screen.words(dir);
      return /umbrella/i.test(words) && /lighthouse/i.test(words) && words;
    });
    assert.match(read, /Gustav/, 'the guest’s name is there, too');
    await screen.type('typed with keys');
    await guest.message({ from: native, text: 'typed with keys', state: 'received' });

    await mkdir(artifactsDir, { recursive: true });
    await screen.save(join(artifactsDir, `window-${renderer.replace(/\W+/g, '-')}.png`));

    await guest.page.click('#leave');
    await eventually(20_000, 'the guest’s picture disappears', async () => {
      return region(await screen.shot(), isPurple).count < 500;
    });
    assert.equal(window.code, undefined, 'the window is still there');
    assert.doesNotMatch(window.stderr.join('\n'), /panicked/);
    await window.stop('SIGTERM');
  });
}
