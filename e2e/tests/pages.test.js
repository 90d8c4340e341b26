// @ts-check
// Two browsers in one call, no native peer.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { BROWSER_HZ, knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { noisePng, sha256 } from '../harness/media-files.js';
import { scenario } from '../harness/stage.js';

scenario('two pages that came by link share a call', { ms: 90_000 }, async (stage) => {
  const server = await stage.server({ tls: 'self' });
  const browser = await knownBrowser(stage);
  const room = `${stage.room} mit Ümläuten & %`;
  const passphrase = 'two words & a sign=';
  const gerda = await Guest.join(browser, server, { room, passphrase, name: 'Gerda', byLink: true });
  const gustav = await Guest.join(browser, server, { room, passphrase, name: 'Gustav', byLink: true });
  for (const { page } of [gerda, gustav]) {
    assert.ok(!page.url().includes('two'), 'the passphrase is gone from the address bar');
  }
  await gerda.people([gerda.user, gustav.user]);
  await Promise.all([gerda.counts(gustav.user), gustav.counts(gerda.user)]);
  await Promise.all([gerda.hears(gustav.user, BROWSER_HZ), gustav.hears(gerda.user, BROWSER_HZ)]);

  await gerda.page.locator('#chat-input').pressSequentially('hello');
  await gustav.page.waitForFunction(() =>
    document.getElementById('typing')?.textContent?.includes('Gerda'),
  );
  await gerda.say('<b>not bold</b> & 👋');
  await gustav.message({ from: gerda.user, text: '<b>not bold</b> & 👋', state: 'received' });

  const path = join(await stage.tempDir(), 'a.png');
  const bytes = noisePng(500, 400, 9);
  await writeFile(path, bytes);
  await gustav.sendImage(path);
  await gerda.image(gustav.user, sha256(bytes));

  await gustav.leave();
  await gerda.people([gerda.user]);
  await gerda.page.waitForSelector(gerda.tileSelector(gustav.user), { state: 'detached' });
  assert.deepEqual(browser.faults(), []);
});

scenario('a page without camera and microphone takes part', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const browser = await knownBrowser(stage);
  const { room } = stage;
  const gerda = await Guest.join(browser, server, { room, name: 'Gerda' });
  const poor = await Guest.join(browser, server, { room, name: 'Poor', noDevices: true });
  await poor.counts(gerda.user);
  await poor.hears(gerda.user, BROWSER_HZ);
  await poor.say('I only watch');
  await gerda.message({ from: poor.user, text: 'I only watch' });
  assert.deepEqual(browser.faults(), []);
});
