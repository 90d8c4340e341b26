// @ts-check
// Old clients meet each other and both of ours.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { BROWSER_HZ, NATIVE_HZ, knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { noisePng, sha256 } from '../harness/media-files.js';
import { Old } from '../harness/old.js';
import { scenario } from '../harness/stage.js';

const picture = { name: 'noise.png', mime: 'image/png', bytes: noisePng(200, 150) };
const hash = sha256(picture.bytes);

scenario('two old clients meet through the server', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const browser = await knownBrowser(stage);
  const { room } = stage;
  const ada = await Old.join(browser, server, { room, name: 'Ada' });
  const bea = await Old.join(browser, server, { room, name: 'Bea' });
  await ada.people([ada.user, bea.user]);
  await Promise.all([ada.connected(bea.user), bea.connected(ada.user)]);

  await ada.say('hello, Bea');
  await bea.reads({ from: ada.user, text: 'hello, Bea' });
  await ada.reads({ from: ada.user, text: 'hello, Bea' }); // its own comes as an echo

  await Promise.all([ada.counts(bea.user), bea.counts(ada.user)]);
  await Promise.all([ada.hears(bea.user, BROWSER_HZ), bea.hears(ada.user, BROWSER_HZ)]);

  await ada.imageTo(bea.user, picture);
  await bea.hasImage(ada.user, hash);
  await bea.imageTo(ada.user, { ...picture, asText: true });
  await ada.hasImage(bea.user, hash);

  await ada.toggleMicrophone();
  await ada.say('still here');
  await bea.reads({ from: ada.user, text: 'still here' });
  assert.equal((await bea.about(ada.user))?.made, 1, 'the quirk tears nothing down');

  await ada.leave();
  await bea.people([bea.user]);
});

/** @type {['lower' | 'higher', (other: string) => (id: string) => boolean][]} */
const ORDERS = [
  ['lower', (other) => (id) => id < other],
  ['higher', (other) => (id) => id > other],
];

for (const [order, idWhere] of ORDERS) {
  scenario(`an old client with the ${order} id meets our web client`, { ms: 90_000 }, async (stage) => {
    const server = await stage.server();
    const browser = await knownBrowser(stage);
    const { room } = stage;
    const guest = await Guest.join(browser, server, { room });
    const old = await Old.join(browser, server, { room, idWhere: idWhere(guest.user) });
    await Promise.all([old.people([guest.user, old.user]), guest.people([guest.user, old.user])]);

    await old.say('hello from the past');
    await guest.message({ from: old.user, text: 'hello from the past', state: 'received' });
    await guest.say('hello from the present');
    await old.reads({ from: guest.user, text: 'hello from the present' });
    await guest.message({ from: guest.user, text: 'hello from the present', state: 'sent' });

    await Promise.all([guest.counts(old.user), old.counts(guest.user)]);
    await Promise.all([guest.hears(old.user, BROWSER_HZ), old.hears(guest.user, BROWSER_HZ)]);
    await old.connected(guest.user);

    const dir = await stage.tempDir();
    await writeFile(join(dir, picture.name), picture.bytes);
    await guest.sendImage(join(dir, picture.name));
    await old.hasImage(guest.user, hash);
    const second = { ...picture, bytes: noisePng(220, 150, 7) };
    await old.imageTo(guest.user, second);
    await guest.image(old.user, sha256(second.bytes));
    const third = { ...picture, bytes: noisePng(220, 150, 8), asText: true };
    await old.imageTo(guest.user, third);
    await guest.image(old.user, sha256(third.bytes));

    await quirk(old, guest.user, () => guest.counts(old.user));
    await guest.message({ from: old.user, text: 'still here' });
    const about = await old.about(guest.user);
    assertKnown(about?.strange);
    stage.note(JSON.stringify({ ...about, images: about?.images.length }));
    assert.deepEqual(browser.faults(), []);
  });

  scenario(`an old client with the ${order} id meets a native peer`, { ms: 90_000 }, async (stage) => {
    const server = await stage.server();
    const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
    const { room } = stage;
    const old = await Old.join(browser, server, { room, idWhere: idWhere(native.user) });
    await old.people([native.user, old.user]);

    await old.say('hello from the past');
    await native.waitFor('chat', (e) => e.from === old.user && e.text === 'hello from the past');
    native.send({ command: 'chat', text: 'hello from the desk' });
    await old.reads({ from: native.user, text: 'hello from the desk' });
    native.send({ command: 'typing', typing: true });
    await old.readsTyping(native.user);

    await Promise.all([native.sees(old.user, { counter: true, fps: 15 }), old.counts(native.user)]);
    await Promise.all([native.hears(old.user, BROWSER_HZ), old.hears(native.user, NATIVE_HZ)]);
    await old.connected(native.user);

    const dir = await stage.tempDir();
    await writeFile(join(dir, picture.name), picture.bytes);
    native.send({ command: 'image', path: join(dir, picture.name) });
    await old.hasImage(native.user, hash);
    for (const asText of [false, true]) {
      const since = native.mark();
      await old.imageTo(native.user, { ...picture, asText });
      const image = await native.waitFor('image', (e) => e.from === old.user, { since });
      assert.equal(image.sha256, hash);
    }

    const since = native.mark();
    await quirk(old, native.user, () => native.sees(old.user, { counter: true, since }));
    await native.waitFor('chat', (e) => e.text === 'still here');
    const lost = native.events.slice(since).filter((e) => e.event === 'peer' && e.id === old.user);
    assert.deepEqual(lost, [], 'the quirk changes no peer');
    const about = await old.about(native.user);
    assertKnown(about?.strange);
    stage.note(JSON.stringify({ ...about, images: about?.images.length }));
  });
}

/**
 * Old clients ignore receipts and cancellations; nothing else that they do not know may come.
 * @param {string[] | undefined} strange
 */
function assertKnown(strange) {
  const unknown = strange?.filter((text) => !/^\{"t":"img-(done|cancel)"/.test(text));
  assert.deepEqual(unknown, []);
}

/**
 * The microphone goes off and on, each time with a leave and a join, and the call lives on.
 * @param {Old} old
 * @param {string} other
 * @param {() => Promise<unknown>} picture
 */
async function quirk(old, other, picture) {
  for (let i = 0; i < 4; i += 1) await old.toggleMicrophone();
  await old.people([old.user, other]);
  await picture();
  // Longer than the second after which a member that is missing counts as gone.
  await old.page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 1500)));
  await old.say('still here');
  await picture();
  const about = await old.about(other);
  assert.equal(about?.made, 1, 'the old client kept its connection');
  assert.equal(about?.state, 'connected');
}
