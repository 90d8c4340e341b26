// @ts-check
import './fakes/crypto.js';

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { WIRE_TEXT_UNITS } from '../../web/limits.js';
import { deriveKey, fromBase64, Seal, toBase64 } from '../../web/seal.js';

const file = new URL('../../../net/wire/testdata/chat-v1.json', import.meta.url);
const samples = JSON.parse(readFileSync(file, 'utf8'));
const WIRE_PREFIX = 'pm_e2ee:';

/** @param {any} vector @param {{ passphrase?: string }} [change] */
function sealOf(vector, { passphrase = vector.passphrase ?? '' } = {}) {
  const { rawRoom, room } = vector;
  const roomPrefix = room.slice(0, room.length - rawRoom.length);
  return Seal.create({ rawRoom, roomPrefix, wirePrefix: WIRE_PREFIX, passphrase });
}

const hex = (/** @type {Uint8Array} */ bytes) => Buffer.from(bytes).toString('hex');
const unhex = (/** @type {string} */ text) => Uint8Array.from(Buffer.from(text, 'hex'));

for (const vector of samples.vectors) {
  const user = vector.userId ?? '';

  test(`${vector.name}: salt and key are derived`, async () => {
    const { rawRoom, passphrase } = vector;
    const derived = await deriveKey({ rawRoom, passphrase: passphrase ?? '', extractable: true });
    assert.equal(hex(derived.salt), vector.salt_hex);
    const key = await crypto.subtle.exportKey('raw', derived.key);
    assert.equal(hex(new Uint8Array(key)), vector.key_hex);
  });

  test(`${vector.name}: sealing gives the wire text, of the length foretold`, async () => {
    const seal = await sealOf(vector);
    const wire = await seal.seal({ user, text: vector.plaintext, iv: unhex(vector.iv_hex) });
    assert.equal(wire, vector.wire);
    assert.equal(seal.wireUnits(vector.plaintext), wire.length);
  });

  test(`${vector.name}: opening gives the text back`, async () => {
    const opened = await (await sealOf(vector)).open({ from: user, message: vector.wire });
    const protection = vector.passphrase === null ? 'room-key-only' : 'sealed';
    assert.deepEqual(opened, { readable: true, text: vector.plaintext, protection });
  });

  test(`${vector.name}: a wrong passphrase and a wrong sender do not open it`, async () => {
    const wrong = await sealOf(vector, { passphrase: 'wrong' });
    const why = 'it was sealed with another passphrase';
    assert.deepEqual(await wrong.open({ from: user, message: vector.wire }), { readable: false, why });
    const right = await sealOf(vector);
    assert.deepEqual(await right.open({ from: 'mallory', message: vector.wire }), { readable: false, why });
  });
}

test('a message without the prefix is plain', async () => {
  const seal = await sealOf(samples.vectors[0]);
  const opened = await seal.open({ from: 'x', message: 'hello' });
  assert.deepEqual(opened, { readable: true, text: 'hello', protection: 'plain' });
});

test('damaged and unknown messages are unreadable, and say why', async () => {
  const seal = await sealOf(samples.vectors[0]);
  const cases = {
    '': 'it is damaged',
    '{': 'it is damaged',
    null: 'it is damaged',
    '[]': 'it was sealed in a way that this version does not know',
    '{"v":2,"alg":"AES-GCM","iv":"AAECAwQFBgcICQoL","content":"AAAA"}':
      'it was sealed in a way that this version does not know',
    '{"v":1,"alg":"AES-GCM","iv":"AAEC","content":"AAAA"}': 'it is damaged',
    '{"v":1,"alg":"AES-GCM","iv":"AAECAwQFBgcICQoL","content":"!!"}': 'it is damaged',
    '{"v":1,"alg":"AES-GCM","iv":7,"content":[]}': 'it is damaged',
    '{"v":1,"alg":"AES-GCM","iv":"AAECAwQFBgcICQoL","content":"AAAAAAAAAAAAAAAAAAAAAAAAAAAA"}':
      'it was sealed with another passphrase',
  };
  for (const [sealed, why] of Object.entries(cases)) {
    const opened = await seal.open({ from: 'x', message: WIRE_PREFIX + sealed });
    assert.deepEqual(opened, { readable: false, why }, sealed);
  }
});

test('each message has a nonce of its own', async () => {
  const seal = await sealOf(samples.vectors[0]);
  const wires = await Promise.all(Array.from({ length: 20 }, () => seal.seal({ user: 'u', text: 'x' })));
  assert.equal(new Set(wires).size, 20);
});

test('what fits the wire is known without sealing, as in the samples', async () => {
  const seal = await sealOf(samples.vectors[0]);
  assert.equal(seal.wireUnits('x'.repeat(3000)), samples.wireLenFor3000Ascii);
  for (const [character, most] of [['漢', samples.maxCJKChars], ['😀', samples.maxEmoji]]) {
    assert.ok(seal.wireUnits(character.repeat(most)) <= WIRE_TEXT_UNITS, character);
    assert.ok(seal.wireUnits(character.repeat(most + 1)) > WIRE_TEXT_UNITS, character);
  }
});

test('base64 goes both ways for all bytes', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
  assert.throws(() => fromBase64('*'));
  assert.throws(() => fromBase64(undefined));
});
