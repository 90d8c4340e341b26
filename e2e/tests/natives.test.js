// @ts-check
// Two native peers, no browser.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { noisePng, sha256 } from '../harness/media-files.js';
import { scenario } from '../harness/stage.js';

scenario('two native peers share a call', { ms: 90_000 }, async (stage) => {
  const server = await stage.server({ tls: 'self' });
  const [ada, bob] = await Promise.all([
    stage.native(server, { name: 'Ada', microphone: 'tone:523' }),
    stage.native(server, { name: 'Bob' }),
  ]);
  const first = await Promise.all([
    ada.waitFor('first-frame', (e) => e.from === bob.user),
    bob.waitFor('first-frame', (e) => e.from === ada.user),
  ]);
  const ms = Math.min(...first.map((event) => event.since_start_ms));
  stage.note(`a native peer's join → first decoded frame of another: ${ms} ms`);

  const [a, b] = await Promise.all([
    ada.sees(bob.user, { fps: 15, counter: true }),
    bob.sees(ada.user, { fps: 15, counter: true }),
  ]);
  await Promise.all([
    ada.waitFor('video', (e) => e.from === bob.user && e.counter > a.counter),
    bob.waitFor('video', (e) => e.from === ada.user && e.counter > b.counter),
    ada.hears(bob.user, 440),
    bob.hears(ada.user, 523),
  ]);
  stage.note(`${a.width}×${a.height} at ${a.fps.toFixed(1)} and ${b.fps.toFixed(1)} fps`);

  ada.send({ command: 'typing', typing: true });
  await bob.waitFor('typing', (e) => e.from === ada.user && e.typing === true);
  ada.send({ command: 'chat', text: 'good evening' });
  const chat = await bob.waitFor('chat', (e) => e.text === 'good evening');
  assert.equal(chat.name, 'Ada');
  await ada.waitFor('sent');

  const dir = await stage.tempDir();
  const bytes = noisePng(900, 700, 3);
  await writeFile(join(dir, 'large.png'), bytes);
  bob.send({ command: 'image', path: join(dir, 'large.png') });
  const image = await ada.waitFor('image', (e) => e.from === bob.user);
  assert.equal(image.sha256, sha256(bytes));
  assert.equal(sha256(await readFile(image.path)), sha256(bytes));

  const path = join(dir, 'seen.png');
  ada.send({ command: 'snapshot', from: bob.user, track: a.track, path });
  const snapshot = await ada.waitFor('snapshot');
  assert.deepEqual([snapshot.width, snapshot.height], [a.width, a.height]);
  assert.equal((await readFile(path)).subarray(1, 4).toString('latin1'), 'PNG');

  ada.send({ command: 'stats' });
  await ada.waitFor('stats');
  assert.equal(await ada.leave(), 0);
  await bob.waitFor('peer', (e) => e.id === ada.user && e.state === 'closed');
});

scenario('two native peers with different passphrases can not read', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const [ada, bob] = await Promise.all([
    stage.native(server, { name: 'Ada' }),
    stage.native(server, { name: 'Bob', passphrase: 'wrong horse' }),
  ]);
  await ada.waitFor('roster', (e) => e.users.length === 2);
  ada.send({ command: 'chat', text: 'secret' });
  await bob.waitFor('unreadable', (e) => e.from === ada.user);
  assert.ok(!bob.events.some((e) => e.event === 'chat'));
});

scenario('a malformed command gets an error and nothing else', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const ada = await stage.native(server, { name: 'Ada' });
  const lines = ['', 'hello', '[]', '{"command":"dance"}', '{"command":"chat"}', '{"text":"a"}'];
  for (const line of lines) {
    const since = ada.mark();
    ada.child.write(line);
    if (line !== '') await ada.waitFor('error', (e) => e.code !== '' && e.message !== '', { since });
  }
  const since = ada.mark();
  ada.send({ command: 'image', path: '/does/not/exist.png' });
  await ada.waitFor('error', undefined, { since });
  ada.send({ command: 'chat', text: 'alive' });
  await ada.waitFor('sent');
  ada.child.closeInput();
  await ada.waitFor('left');
  assert.equal(await ada.child.stop(), 0, 'the end of input leaves');
});
