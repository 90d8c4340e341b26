// @ts-check
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { waitIn } from '../../web/comeback.js';
import { Hearing } from '../../web/hearing.js';
import { IceServers, readServers } from '../../web/ice.js';
import { Roster } from '../../web/roster.js';
import { parseMessage } from '../../web/wire.js';
import { FakeClock } from './fakes/clock.js';

const file = new URL('../../../net/wire/testdata/messages-v2.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8'));

/** A message as the vectors have it. @param {any} parsed */
function means(parsed) {
  if (parsed === null) return null;
  const { member, user, ice, state, rooms, ...rest } = parsed;
  const flat = { ...rest };
  if (parsed.type === 'session.welcome') {
    Object.assign(flat, { userID: user, iceServers: ice.servers, iceTtl: ice.ttl, rooms });
  } else if (user !== undefined) {
    flat.userID = user;
  }
  if (member) flat.user = { userID: member.id, username: member.name };
  if (state) {
    const { lines, ...devices } = state;
    Object.assign(flat, devices, lines && { tracks: Object.fromEntries(lines) });
  }
  for (const key of Object.keys(flat)) if (flat[key] === null) delete flat[key];
  return flat;
}

test('what a server says is understood as written', () => {
  for (const { name, text, means: expected } of vectors.server) {
    if (expected.type === 'peer.auth') continue; // not spoken here yet
    const wanted = structuredClone(expected);
    delete wanted.resumeSeconds; // of no use to this client
    // This client leaves out the lines that it does not know.
    for (const [mid, what] of Object.entries(wanted.tracks ?? {})) if (what === 'other') delete wanted.tracks[mid];
    assert.deepEqual(means(parseMessage(text)), wanted, name);
  }
});

test('what makes no sense is dropped', () => {
  for (const text of vectors.ignored) assert.equal(parseMessage(text), null, text);
});

test('a reason tells how long to wait', () => {
  for (const { reason, seconds } of vectors.waits) {
    assert.equal(waitIn(reason), seconds === null ? null : seconds * 1000, reason);
  }
});

test('what comes twice is known by sender and id, and gaps are counted', () => {
  const hearing = new Hearing();
  assert.equal(hearing.isNew({ from: 'a', id: '1' }), true);
  assert.equal(hearing.isNew({ from: 'a', id: '1' }), false);
  assert.equal(hearing.isNew({ from: 'b', id: '1' }), true);
  assert.equal(hearing.isNew({ from: 'a', id: null }), true);
  for (let i = 0; i < 512; i += 1) hearing.isNew({ from: 'c', id: String(i) });
  assert.equal(hearing.isNew({ from: 'a', id: '1' }), true, 'it is long ago');

  /** @type {[string, number | null, number][]} */
  const cases = [['a', 5, 0], ['a', 6, 0], ['b', 1, 0], ['a', 9, 2], ['a', 9, 0], ['a', 1, 0], ['a', 2, 0], ['a', null, 0]];
  for (const [from, seq, missing] of cases) assert.equal(hearing.missing({ from, seq }), missing, `${from} ${seq}`);
  hearing.keep(new Set(['b']));
  assert.equal(hearing.missing({ from: 'a', seq: 7 }), 0);
});

/** @param {{ answers?: (count: number) => any, random?: number }} [options] */
function ice({ answers = () => null, random = 0 } = {}) {
  const clock = new FakeClock();
  /** @type {number[]} */
  const asked = [];
  /** @type {RTCIceServer[][]} */
  const told = [];
  const servers = new IceServers({
    timers: clock,
    random: () => random,
    ask: async () => {
      asked.push(Math.round(clock.now() / 1000));
      return answers(asked.length);
    },
    onChange: (list) => told.push(list),
  });
  return { clock, asked, told, servers };
}

/** @param {number} number */
const answer = (number) => ({ servers: [{ urls: [`turn:${number}`], username: 'u', credential: 'c' }], ttl: 300 });

test('credentials of five minutes never end in a call of a day', async () => {
  const { clock, asked, told, servers } = ice({ answers: (count) => (count % 4 === 0 ? null : answer(count)), random: 0.5 });
  servers.learn(answer(0));
  await clock.advance(24 * 3_600_000);
  assert.ok(asked.length > 400);
  for (let i = 1; i < asked.length; i += 1) assert.ok((asked[i] ?? 0) - (asked[i - 1] ?? 0) <= 202);
  assert.ok((asked[0] ?? 999) <= 200);
  assert.ok(told.length > 300, 'each of them went to the connections');
  servers.close();
  const before = asked.length;
  await clock.advance(3_600_000);
  assert.equal(asked.length, before);
});

test('a server without an answer is asked more and more rarely, and one without an end never', async () => {
  const { clock, asked, servers } = ice();
  servers.learn(answer(0));
  await clock.advance(400_000);
  assert.deepEqual(asked, [200, 202, 206, 214, 230, 262, 322, 382]);
  servers.learn({ servers: [], ttl: 0 });
  await clock.advance(3_600_000);
  assert.equal(asked.length, 8);
});

test('servers that make no sense are left out', () => {
  const read = readServers([
    { urls: 'stun:a' }, { urls: ['turn:b'], username: 'u' }, { urls: ['turn:b?transport=tcp', 7, 'http://c'], username: 'u', credential: 'c' },
    null, 7, { urls: 7 }, { urls: [] },
  ]);
  assert.deepEqual(read, [{ urls: ['stun:a'] }, { urls: ['turn:b?transport=tcp'], username: 'u', credential: 'c' }]);
  for (const rubbish of [null, 7, {}, 'stun:a']) assert.deepEqual(readServers(rubbish), []);
});

test('news change the roster, and who is lost is kept while the connection lives', async () => {
  const clock = new FakeClock();
  /** @type {string[]} */
  const events = [];
  const alive = new Set(['b']);
  const roster = new Roster({
    self: 'us',
    timers: clock,
    isAlive: (id) => alive.has(id),
    onEvent: (event) => events.push(event.type === 'roster' ? `roster ${event.members.length}` : `${event.type} ${event.member.id}`),
  });
  roster.update([{ id: 'us', name: 'Us' }]);
  roster.joined({ id: 'b', name: 'B' });
  roster.joined({ id: 'b', name: 'B' });
  roster.joined({ id: 'us', name: 'Us' });
  roster.joined({ id: 'c', name: 'C' });
  assert.deepEqual(events.splice(0), ['roster 0', 'joined b', 'roster 1', 'joined c', 'roster 2']);
  roster.left({ user: 'b', lost: true });
  roster.left({ user: 'c', lost: true });
  roster.left({ user: 'nobody', lost: false });
  await clock.advance(20_000);
  assert.deepEqual(events.splice(0), ['left c', 'roster 1'], 'nothing is heard of c');
  roster.joined({ id: 'b', name: 'B' });
  await clock.advance(20_000);
  assert.deepEqual(events.splice(0), [], 'b is back');
  roster.left({ user: 'b', lost: true });
  await clock.advance(31_000);
  assert.deepEqual(events.splice(0), ['left b', 'roster 0'], 'not for ever');
});
