// @ts-check
import './fakes/crypto.js';

import assert from 'node:assert/strict';
import test from 'node:test';

import { inviteLink, newRoomId, parseFragment, readRoomField, roomOnTheWire } from '../../web/invite.js';
import { describePassphrase, generatePassphrase, GENERATED_BITS, mostBits } from '../../web/passphrase.js';
import { WORDS } from '../../web/words.js';

const FP = 'ab'.repeat(32);

test('a link carries room, passphrase and certificate there and back', () => {
  const cases = [
    { room: 'demo', passphrase: '', fingerprint: null },
    { room: 'Räum 1/2 & more=#?', passphrase: 'pä§§ 🔐 & a=b#c', fingerprint: FP },
    { room: '%41', passphrase: '%', fingerprint: null },
  ];
  for (const invite of cases) {
    const link = inviteLink({ origin: 'https://host:8443', ...invite });
    assert.match(link, /^https:\/\/host:8443\/#\/room\/[^/]+$/u);
    assert.deepEqual(parseFragment(new URL(link).hash), invite);
    const read = (/** @type {string} */ origin) => readRoomField({ typed: ` ${link} `, origin });
    assert.deepEqual(read('https://host:8443'), { invite });
    assert.deepEqual(read('https://other'), { elsewhere: 'host:8443' });
  }
});

test('the order of the fields and unknown ones do not matter', () => {
  const invite = parseFragment(`#/room/x&lang=de&fp=${FP.toUpperCase()}&k=a%20b&`);
  assert.deepEqual(invite, { room: 'x', passphrase: 'a b', fingerprint: FP });
});

test('what is no invitation is none', () => {
  for (const fragment of ['', '#', '#/', '#/room/', '#/room/%20', '#/room/%E0%A4', '#/other/x', '#x']) {
    assert.equal(parseFragment(fragment), null, fragment);
  }
});

test('a broken passphrase or certificate is left out', () => {
  const invite = parseFragment('#/room/x&k=%E0%A4&fp=12');
  assert.deepEqual(invite, { room: 'x', passphrase: '', fingerprint: null });
});

test('what is typed as a room stays as it is', () => {
  for (const typed of ['demo', 'a#/room/b', 'http', '#1 room', 'https://host', 'http://[#/room/x']) {
    assert.deepEqual(readRoomField({ typed, origin: 'https://host' }), { room: typed });
  }
});

test('a room is counted in code points, with its prefix', () => {
  const prefix = 'pm_room:';
  assert.deepEqual(roomOnTheWire({ rawRoom: '  demo ', prefix }), { room: 'pm_room:demo' });
  assert.deepEqual(roomOnTheWire({ rawRoom: '🔐'.repeat(120), prefix }), {
    room: prefix + '🔐'.repeat(120),
  });
  const tooLong = roomOnTheWire({ rawRoom: 'x'.repeat(121), prefix });
  assert.deepEqual(tooLong, { problem: 'The room’s name is too long: 121 characters, and 120 fit.' });
  assert.ok('problem' in roomOnTheWire({ rawRoom: ' ', prefix }));
});

test('new rooms are random UUIDs of version 4', () => {
  const ids = Array.from({ length: 50 }, newRoomId);
  assert.equal(new Set(ids).size, 50);
  for (const id of ids) {
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/u);
  }
});

test('the word list has 7,776 different words, and a passphrase six of them', async () => {
  assert.equal(new Set(WORDS).size, 7776);
  assert.equal(WORDS.length, 7776);
  assert.equal(GENERATED_BITS, 77);
  const made = await generatePassphrase();
  const starts = WORDS.filter((word) => made.startsWith(`${word}-`));
  assert.ok(starts.length > 0, made); // some words have a hyphen of their own
  assert.ok(made.split('-').length >= 6);
  assert.notEqual(made, await generatePassphrase());
});

test('a passphrase is described without claiming too much', async () => {
  const level = (/** @type {string} */ passphrase, generated = false) =>
    describePassphrase({ passphrase, generated }).level;
  assert.equal(level(''), 'none');
  for (const weak of ['a', 'password', 'hunter2', 'aaaaaaaaaaaaaaaaaaaaaaaa', 'two words']) {
    assert.equal(level(weak), 'weak', weak);
  }
  assert.equal(level('correct horse battery staple zebra'), 'good');
  assert.equal(level(await generatePassphrase(), true), 'good');
  assert.ok(mostBits('same same same same same same') < 20);
  assert.match(describePassphrase({ passphrase: '', generated: false }).text, /not private/u);
});
