// @ts-check
// Makes docs/screenshot.png: the window on a display of its own, in a call with two pages.
//   npm run screenshot

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { eventually } from './harness/deadline.js';
import { Guest } from './harness/guest.js';
import { writeTone } from './harness/media-files.js';
import { projectDir } from './harness/paths.js';
import { writePortrait } from './harness/portrait.js';
import { Screen } from './harness/screen.js';
import { Stage } from './harness/stage.js';

const room = 'Tuesday stand-up';
const stage = new Stage('screenshot');
try {
  const dir = await stage.tempDir();
  const quiet = join(dir, 'quiet.wav');
  await writeTone(quiet, { hz: 440, dbfs: -80 });
  const face = async (/** @type {string} */ name, /** @type {Parameters<typeof writePortrait>[1]} */ colours) => {
    const path = join(dir, `${name}.y4m`);
    await writePortrait(path, colours);
    return path;
  };
  const nadia = await face('nadia', {
    wall: [196, 208, 214],
    floor: [140, 156, 168],
    skin: [232, 190, 160],
    hair: [92, 52, 34],
    shirt: [44, 110, 120],
  });
  const gustav = await face('gustav', {
    wall: [226, 210, 184],
    floor: [176, 150, 120],
    skin: [244, 208, 184],
    hair: [208, 164, 92],
    shirt: [62, 74, 110],
  });
  const mei = await face('mei', {
    wall: [176, 196, 180],
    floor: [120, 146, 132],
    skin: [240, 204, 172],
    hair: [36, 32, 38],
    shirt: [168, 72, 72],
  });
  const server = await stage.server({ tls: 'self' });
  const screen = await Screen.start(stage);
  await writeFile(join(dir, 'passphrase'), 'six random words make it strong');
  const passphrase = 'six random words make it strong';
  screen.window(stage, {
    dir,
    env: { ICED_BACKEND: 'tiny-skia' },
    args: [
      ...['--server', server.url, '--fingerprint', String(server.fingerprint)],
      ...['--room', room, '--name', 'Nadia', '--passphrase-file', join(dir, 'passphrase')],
      ...['--join', '--camera', `file:${nadia}`, '--microphone', 'none', '--speaker', 'none'],
    ],
  });
  const guests = [];
  for (const [name, video] of [
    ['Gustav', gustav],
    ['Mei', mei],
  ]) {
    const browser = await stage.browser({ video, audio: quiet });
    guests.push(await Guest.join(browser, server, { room, name, passphrase }));
  }
  const [g, m] = guests;
  await g.page.waitForFunction(() => document.querySelectorAll('#people li').length === 3);
  await g.say('Good morning! Who has seen the new release notes?');
  await m.message({ from: g.user });
  await m.say('I have. The German part needs one more look.');
  await g.message({ from: m.user });
  await eventually(20_000, 'the messages on the display', async () =>
    /German/.test(await screen.words(dir)),
  );
  await screen.type('I can do that after lunch.');
  await g.message({ text: 'I can do that after lunch.' });
  await g.say('Thank you, Nadia');
  await eventually(20_000, 'the last message on the display', async () =>
    /Thank you/.test(await screen.words(dir)),
  );
  const path = process.argv[2] ?? join(projectDir, 'docs', 'screenshot.png');
  await screen.saveWindow('Private Meet', path);
  process.stdout.write(`${path}\n`);
} catch (error) {
  process.stderr.write(`${await stage.evidence()}\n`);
  throw error;
} finally {
  await stage.close();
}
