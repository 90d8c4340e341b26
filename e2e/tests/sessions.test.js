// @ts-check
// Version 2 of the protocol, spoken by both of our clients: sessions outlive connections and chat
// arrives exactly once, whatever happens to the line or to the server; old members see none of it.

import assert from 'node:assert/strict';

import { knownBrowser } from '../harness/cast.js';
import { eventually } from '../harness/deadline.js';
import { Guest } from '../harness/guest.js';
import { scenario } from '../harness/stage.js';
import { Wire } from '../harness/wire.js';

/** @typedef {import('../harness/native.js').Native} Native */

/** The texts with this beginning that a native peer has heard, in order.
 * @param {Native} native @param {string} from @param {string} prefix */
function heard(native, from, prefix) {
  const chat = native.events.filter((e) => e.event === 'chat' && e.from === from);
  return chat.map((e) => e.text).filter((text) => text.startsWith(prefix));
}

/** The same for a guest. @param {Guest} guest @param {string} from @param {string} prefix */
async function shown(guest, from, prefix) {
  const texts = await guest.page.$$eval(
    `#chat-log .message[data-from="${from}"] .text`,
    (lines) => lines.map((line) => line.textContent ?? ''),
  );
  return texts.filter((text) => text.startsWith(prefix));
}

/** @param {string} prefix @param {number} count */
function numbered(prefix, count) {
  return Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(3, '0')}`);
}

/**
 * Both sides talk, while something happens to the line; then each has heard everything once.
 * @param {Native} native @param {Guest} guest @param {(step: number) => unknown} happens
 */
async function talk(native, guest, happens) {
  const [ours, theirs] = [numbered('n', 24), numbered('g', 24)];
  const since = native.mark();
  for (let step = 0; step < 24; step += 1) {
    native.send({ command: 'chat', text: ours[step] });
    await guest.say(theirs[step] ?? '');
    await happens(step);
  }
  await eventually(30_000, 'everything has arrived on both sides', async () => {
    const there = (await shown(guest, native.user, 'n')).length;
    return heard(native, guest.user, 'g').length >= 24 && there >= 24;
  });
  assert.deepEqual(heard(native, guest.user, 'g').sort(), theirs, 'the native peer heard each once');
  assert.deepEqual((await shown(guest, native.user, 'n')).sort(), ours, 'the guest heard each once');
  const sent = native.events.slice(since).filter((e) => e.event === 'sent');
  assert.equal(new Set(sent.map((e) => e.id)).size, 24, 'each was acknowledged');
  assert.equal(sent.length, 24, 'and once');
  await guest.page.waitForFunction(
    () => document.querySelectorAll('#chat-log .message[data-state="sent"]').length >= 24,
  );
}

scenario('cuts of the line lose no message and double none, and nobody seems to leave', { ms: 120_000 }, async (stage) => {
  const server = await stage.server();
  const [near, far] = [await Wire.to(server), await Wire.to(server)];
  stage.onClose(() => near.close());
  stage.onClose(() => far.close());
  const browser = await knownBrowser(stage);
  const { room } = stage;
  const native = await stage.native(server, { server: near.url });
  const guest = await Guest.join(browser, Object.assign(Object.create(server), { url: far.url }), { room });
  await native.sees(guest.user, { counter: true });
  const since = native.mark();
  await talk(native, guest, async (step) => {
    if (step % 6 === 2) near.cut();
    if (step % 6 === 4) far.cut();
    if (step === 11) near.die();
    if (step === 13) near.revive();
  });
  const later = native.events.slice(since);
  assert.ok(later.some((e) => e.event === 'server' && e.state === 'reconnecting'), 'it was cut');
  for (const event of ['joined', 'missed', 'not-sent']) {
    assert.deepEqual(later.filter((e) => e.event === event), [], event);
  }
  assert.deepEqual(later.filter((e) => e.event === 'roster' && e.users.length !== 2), []);
  assert.deepEqual(later.filter((e) => e.event === 'peer'), [], 'the connection was never touched');
  const lines = await guest.page.$$eval('#chat-log li', (all) => all.map((l) => l.textContent ?? ''));
  assert.deepEqual(lines.filter((line) => /(left|joined|did not arrive)$/u.test(line)), []);
  await native.sees(guest.user, { counter: true, since: native.mark() });
  await guest.counts(native.user);
});

scenario('a killed server comes back: nothing is lost or doubled, and pictures go on', { ms: 120_000 }, async (stage) => {
  const server = await stage.server();
  const browser = await knownBrowser(stage);
  const native = await stage.native(server);
  const guest = await Guest.join(browser, server, { room: stage.room });
  const seen = await native.sees(guest.user, { counter: true });
  await guest.counts(native.user);
  const since = native.mark();
  await talk(native, guest, async (step) => {
    if (step !== 8) return;
    await server.cut();
    await stage.serverAgain(server);
  });
  const after = await native.sees(guest.user, { counter: true, since: native.mark() });
  await guest.counts(native.user);
  assert.ok(after.frames > seen.frames && after.track === seen.track, 'the same track went on');
  const later = native.events.slice(since);
  assert.deepEqual(later.filter((e) => e.event === 'peer' || e.event === 'joined'), []);
});

scenario('who is muted is seen on both sides', { ms: 90_000 }, async (stage) => {
  const server = await stage.server();
  const browser = await knownBrowser(stage);
  const native = await stage.native(server);
  const guest = await Guest.join(browser, server, { room: stage.room });
  await native.sees(guest.user, { counter: true });
  const says = (/** @type {Record<string, boolean>} */ state, since = 0) =>
    native.waitFor(
      'devices',
      (e) => e.from === guest.user && Object.entries(state).every(([device, on]) => e[device] === on),
      { since },
    );
  await says({ microphone: true, camera: true, screen: false });
  let since = native.mark();
  await guest.page.click('#toggle-microphone');
  await says({ microphone: false }, since);
  since = native.mark();
  await guest.page.click('#toggle-microphone');
  await says({ microphone: true }, since);

  const mark = `${guest.tileSelector(native.user)} .muted`;
  await guest.page.waitForSelector(mark, { state: 'hidden' });
  native.send({ command: 'microphone', on: false });
  await guest.page.waitForSelector(mark, { state: 'visible' });
  native.send({ command: 'microphone', on: true });
  await guest.page.waitForSelector(mark, { state: 'hidden' });
});

scenario('an old member in the same room sees nothing of version 2', { ms: 90_000 }, async (stage) => {
  const server = await stage.server();
  const browser = await knownBrowser(stage);
  const { room } = stage;
  const old = await stage.rawMember(server, 'Otto');
  old.send('chat.join', `pm_room:${room}`);
  await old.waitFor('room.users');
  const native = await stage.native(server);
  const guest = await Guest.join(browser, server, { room });
  await native.sees(guest.user, { counter: true });
  native.send({ command: 'chat', text: 'from the native peer' });
  await guest.message({ from: native.user, text: 'from the native peer' });
  await guest.say('from the guest');
  await native.waitFor('chat', (e) => e.text === 'from the guest');
  await guest.page.click('#toggle-microphone');
  await native.waitFor('devices', (e) => e.microphone === false);
  await old.waitFor('chat.message', (m) => m.from === guest.user);
  await old.waitFor('room.users', (m) => m.data.users.length === 3);
  await guest.leave();
  await native.waitFor('roster', (e) => e.users.length === 2);
  await old.waitFor('room.users', (m) => m.data.users.length === 2);

  const known = ['chat.message', 'chat.typing', 'room.users', 'webrtc.offer', 'webrtc.answer', 'webrtc.iceCandidate'];
  for (const message of old.messages) {
    assert.ok(known.includes(message.type), message.type);
    assert.deepEqual(Object.keys(message).sort(), ['data', 'from', 'room', 'type']);
  }
  const snapshots = old.messages.filter((m) => m.type === 'room.users');
  assert.ok(snapshots.length >= 3, 'it gets snapshots as ever');
});
