// @ts-check
// A native peer and a real Chromium in one room, judged by content: the counter in the decoded
// picture, the pitch of the decoded sound, the hash of the image.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { BROWSER_HZ, NATIVE_HZ, knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { noisePng, sha256 } from '../harness/media-files.js';
import { scenario } from '../harness/stage.js';

/**
 * @typedef {import('../harness/stage.js').Stage} Stage
 * @typedef {import('../harness/native.js').Native} Native
 */

/**
 * Everything that two people do in a call.
 * @param {Stage} stage
 * @param {Native} native
 * @param {Guest} guest
 */
async function wholeCall(stage, native, guest) {
  await guest.people([native.user, guest.user]);
  await native.waitFor('roster', (e) => e.users.length === 2);

  native.send({ command: 'chat', text: 'Grüße from the desk 👋' });
  await guest.message({ from: native.user, text: 'Grüße from the desk 👋', state: 'received' });
  await native.waitFor('sent');
  await guest.say('and from the tab: 中文');
  await native.waitFor('chat', (e) => e.from === guest.user && e.text === 'and from the tab: 中文');
  await guest.message({ from: guest.user, text: 'and from the tab: 中文', state: 'sent' });

  const own = await guest.ownPicture();
  const seen = await native.sees(guest.user, { ...own, fps: 15, counter: true });
  await native.waitFor(
    'video',
    (e) => e.from === guest.user && e.counter !== null && e.counter !== seen.counter,
  );
  await native.hears(guest.user, BROWSER_HZ);

  const shown = await guest.sees(native.user);
  const counted = await guest.counts(native.user);
  const heard = await guest.hears(native.user, NATIVE_HZ);
  const first = await native.waitFor('first-frame', (e) => e.from === guest.user);
  stage.note(
    `native sees ${seen.width}×${seen.height} at ${seen.fps.toFixed(1)} fps ` +
      `${Math.round(seen.at - first.at)} ms after the first frame; the page sees ` +
      `${shown.width}×${shown.height}, counter ${counted.first} → ${counted.last}, ` +
      `hears ${heard.hz.toFixed(1)} Hz at ${heard.dbfs.toFixed(0)} dBFS`,
  );

  await imagesBothWays(stage, native, guest);
}

/**
 * @param {Stage} stage
 * @param {Native} native
 * @param {Guest} guest
 */
async function imagesBothWays(stage, native, guest) {
  const dir = await stage.tempDir();
  const [fromNative, fromGuest] = [noisePng(300, 200, 1), noisePng(400, 250, 2)];
  const [nativePath, guestPath] = [join(dir, 'desk.png'), join(dir, 'tab.png')];
  await writeFile(nativePath, fromNative);
  await writeFile(guestPath, fromGuest);
  native.send({ command: 'image', path: nativePath });
  await guest.image(native.user, sha256(fromNative));
  await native.waitFor('image-sent', (e) => e.to === guest.user);
  await guest.sendImage(guestPath);
  const image = await native.waitFor('image', (e) => e.from === guest.user);
  assert.equal(image.sha256, sha256(fromGuest));
  assert.equal(image.bytes, fromGuest.length);
}

/** @type {[string, 'self' | 'off', (native: string) => (id: string) => boolean][]} */
const ORDERS = [
  ['lower', 'self', (native) => (id) => native < id],
  ['higher', 'off', (native) => (id) => native > id],
];
for (const [order, tls, idWhere] of ORDERS) {
  const secured = tls === 'self' ? 'TLS by a self-made certificate' : 'plain HTTP on loopback';
  const name = `a native peer with the ${order} id and a browser share a call over ${secured}`;
  scenario(name, { ms: 120_000 }, async (stage) => {
    const server = await stage.server({ tls });
    const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
    const { room } = stage;
    const guest = await Guest.join(browser, server, { room, idWhere: idWhere(native.user) });
    const pictured = guest.sees(native.user).then(() => performance.now());
    const joined = (await pictured) - guest.pressedAt;
    stage.note(`a page's join → first decoded frame of a native peer: ${Math.round(joined)} ms`);
    await wholeCall(stage, native, guest);
    assert.deepEqual(browser.faults(), []);
  });
}

// Browsers hide their addresses behind .local names while no page may use camera or microphone.
scenario('a page without camera and microphone meets a native peer', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, native] = await Promise.all([stage.browser(), stage.native(server)]);
  const guest = await Guest.join(browser, server, { room: stage.room, noDevices: true });
  await Promise.all([guest.counts(native.user), guest.hears(native.user, NATIVE_HZ)]);
  await imagesBothWays(stage, native, guest);
});

scenario('another passphrase shows as unreadable on both sides', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, native] = await Promise.all([stage.browser(), stage.native(server)]);
  const options = { room: stage.room, passphrase: 'wrong horse' };
  const guest = await Guest.join(browser, server, options);
  await guest.people([native.user, guest.user]);
  await guest.say('you can not read this');
  await native.waitFor('unreadable', (e) => e.from === guest.user);
  native.send({ command: 'chat', text: 'nor you this' });
  await guest.message({ from: native.user, state: 'unreadable' });
  assert.ok(!(await guest.texts()).some((text) => text.includes('nor you this')));
  assert.ok(!native.events.some((e) => e.event === 'chat'));
});

scenario('each side leaves and comes back', { ms: 120_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
  const { room } = stage;
  const guest = await Guest.join(browser, server, { room });
  await Promise.all([native.sees(guest.user), guest.counts(native.user)]);

  const before = guest.user;
  const since = native.mark();
  await guest.leave();
  await native.waitFor('peer', (e) => e.id === before && e.state === 'closed', { since });
  await native.waitFor('roster', (e) => e.users.length === 1, { since });
  await guest.enter({ room, name: 'Gustav' });
  await Promise.all([
    native.sees(guest.user, { counter: true }),
    guest.counts(native.user),
    guest.hears(native.user, NATIVE_HZ),
  ]);

  assert.equal(await native.leave(), 0, 'it ends well');
  await guest.people([guest.user]);
  const again = await stage.native(server, { name: 'Nadia' });
  await Promise.all([again.sees(guest.user, { counter: true }), guest.counts(again.user)]);
  const first = await again.waitFor('first-frame', (e) => e.from === guest.user);
  stage.note(`a native peer's join → first decoded frame of a page: ${first.since_start_ms} ms`);
  again.send({ command: 'chat', text: 'back again' });
  await guest.message({ from: again.user, text: 'back again' });
});

scenario('who dies without a goodbye disappears', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
  const { room } = stage;
  const guest = await Guest.join(browser, server, { room });
  await Promise.all([native.sees(guest.user), guest.counts(native.user)]);
  await native.child.stop('SIGKILL');
  await guest.people([guest.user]);
  await guest.page.waitForSelector(guest.tileSelector(native.user), { state: 'detached' });
  const again = await stage.native(server);
  await Promise.all([again.sees(guest.user), guest.counts(again.user)]);
  await guest.page.close();
  await again.waitFor('peer', (e) => e.id === guest.user && e.state === 'closed');
});

scenario('camera and microphone go off and on again', { ms: 90_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
  const guest = await Guest.join(browser, server, { room: stage.room });
  await Promise.all([native.sees(guest.user, { counter: true }), guest.counts(native.user)]);
  await native.hears(guest.user, BROWSER_HZ);

  let since = native.mark();
  await guest.page.click('#toggle-microphone');
  await native.waitFor('audio', (e) => e.from === guest.user && e.level_dbfs < -60, { since });
  since = native.mark();
  await guest.page.click('#toggle-microphone');
  await native.hears(guest.user, BROWSER_HZ, { since });

  await guest.hears(native.user, NATIVE_HZ);
  native.send({ command: 'microphone', on: false });
  await guest.silent(native.user);
  native.send({ command: 'microphone', on: true });
  await guest.hears(native.user, NATIVE_HZ);

  native.send({ command: 'camera', on: false });
  await guest.stands(native.user);
  native.send({ command: 'camera', on: true });
  await guest.counts(native.user);

  await guest.page.click('#toggle-camera');
  await native.pictureGone(guest.user);
  since = native.mark();
  await guest.page.click('#toggle-camera');
  await native.sees(guest.user, { counter: true, since });
});

scenario('three native peers and two pages share one room', { ms: 150_000 }, async (stage) => {
  const server = await stage.server();
  const browser = await knownBrowser(stage, { width: 320, height: 240, fps: 15 });
  const { room } = stage;
  const natives = await Promise.all(
    ['Nadia', 'Nils', 'Noor'].map((name) => stage.native(server, { name })),
  );
  const guests = [
    await Guest.join(browser, server, { room, name: 'Gustav' }),
    await Guest.join(browser, server, { room, name: 'Gerda' }),
  ];
  const all = [...natives, ...guests].map((member) => member.user);
  await Promise.all([
    ...guests.map((guest) => guest.people(all)),
    ...natives.map((native) => native.waitFor('roster', (e) => e.users.length === 5)),
  ]);
  await Promise.all([
    ...natives.flatMap((native) =>
      all.filter((id) => id !== native.user).map((id) => native.sees(id, { counter: true, ms: 90_000 })),
    ),
    ...guests.flatMap((guest) =>
      all.filter((id) => id !== guest.user).map((id) => guest.sees(id, { ms: 90_000 })),
    ),
  ]);
  for (const guest of guests) {
    for (const native of natives) await guest.hears(native.user, NATIVE_HZ);
  }
  natives[0].send({ command: 'chat', text: 'all five here' });
  await Promise.all([
    ...guests.map((g) => g.message({ from: natives[0].user, text: 'all five here' })),
    ...natives.slice(1).map((n) => n.waitFor('chat', (e) => e.text === 'all five here')),
  ]);
  assert.deepEqual(browser.faults(), []);
});
