// @ts-check
import './fakes/crypto.js';

import assert from 'node:assert/strict';
import test from 'node:test';

import { Session } from '../../web/session.js';
import { JoinError } from '../../web/sign-in.js';
import { compareIds, parseMessage } from '../../web/wire.js';
import { FakeClock, settle } from './fakes/clock.js';

class FakeSocket {
  readyState = 0;
  binaryType = '';
  /** @type {any[]} */
  sent = [];
  /** @type {any} */ onopen = null;
  /** @type {any} */ onmessage = null;
  /** @type {any} */ onclose = null;

  /** @param {string} url */
  constructor(url) {
    this.url = url;
  }

  /** @param {string} text */
  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  /** @param {object} message */
  receive(message, binary = false) {
    const text = JSON.stringify(message);
    this.onmessage({ data: binary ? new TextEncoder().encode(text).buffer : text });
  }

  /** The server or the network closes it. */
  break(code = 1006, reason = '') {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
}

const ROSTER = { type: 'room.users', room: 'pm_room:r', data: { users: [{ userID: 'id-1', username: 'Anna' }] }, from: 'system' };

/** @param {{ answers?: Record<string, () => Response> }} [options] */
function world({ answers = {} } = {}) {
  const clock = new FakeClock();
  /** @type {FakeSocket[]} */
  const sockets = [];
  /** @type {any[]} */
  const events = [];
  let identities = 0;
  const routes = /** @type {Record<string, () => Response>} */ ({
    '/client-config': () => Response.json({ roomPrefix: 'pm_room:', wirePrefix: 'w:', fileChannelLabel: 'f:' }),
    '/auth/sign-in': () => {
      identities += 1;
      return Response.json({ accessToken: `t-${identities}`, tokenType: 'Bearer', userId: `id-${identities}`, username: 'Anna' });
    },
    '/ws': () => new Response('', { status: 400 }),
    ...answers,
  });
  const session = new Session({
    origin: 'https://host',
    name: 'Anna',
    world: {
      timers: clock,
      random: () => 0.5,
      fetch: /** @type {any} */ (
        async (/** @type {string} */ url) => {
          const answer = routes[new URL(url).pathname];
          if (!answer) throw new TypeError('network');
          return answer();
        }
      ),
      WebSocket: /** @type {any} */ (
        class extends FakeSocket {
          /** @param {string} url */
          constructor(url) {
            super(url);
            sockets.push(this);
          }
        }
      ),
    },
    onEvent: (event) => events.push(event),
  });
  const newest = () => /** @type {FakeSocket} */ (sockets[sockets.length - 1]);
  return { clock, sockets, events, session, routes, newest };
}

/** @param {string} resume @param {boolean} [resumed] */
function welcome(resume, resumed = false) {
  const iceServers = [{ urls: 'stun:host' }];
  const data = { v: 2, userID: 'id-1', resume, resumed, iceServers, iceTtl: 300 };
  return { type: 'session.welcome', room: '', data, from: 'system' };
}

/** In the room of a server that speaks version 2. */
async function joined2() {
  const w = world({ answers: { '/client-config': () => Response.json({ protocol: 2 }) } });
  await w.session.config();
  await w.session.signIn();
  const entered = w.session.join('pm_room:r');
  w.newest().open();
  w.newest().receive(welcome('one'));
  w.newest().receive(ROSTER);
  await entered;
  return w;
}

async function joined() {
  const w = world();
  await w.session.signIn();
  const entered = w.session.join('pm_room:r');
  w.newest().open();
  w.newest().receive(ROSTER);
  await entered;
  return w;
}

/** @param {Promise<unknown>} promise @returns {Promise<JoinError>} */
async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof JoinError, String(error));
    return error;
  }
  throw new Error('it did not fail');
}

test('a join signs in, opens the socket with the token, and ends with the first roster', async () => {
  const { newest, events } = await joined();
  assert.equal(newest().url, 'wss://host/ws?token=t-1');
  assert.deepEqual(newest().sent, [
    { type: 'session.hello', room: '', data: { v: 2, caps: [] } },
    { type: 'chat.join', room: 'pm_room:r', data: {} },
  ]);
  assert.deepEqual(events.map(({ type }) => type), ['link', 'message']);
});

test('a server of version 2 gets the token in the hello, and its session goes on', async () => {
  const { newest, events, clock } = await joined2();
  assert.equal(newest().url, 'wss://host/ws');
  assert.deepEqual(newest().sent[0].data, { v: 2, token: 't-1', caps: [] });
  assert.deepEqual(events.map(({ type }) => type), ['ice', 'link', 'message']);
  assert.deepEqual(events[0].answer, { servers: [{ urls: ['stun:host'] }], ttl: 300 });
  assert.deepEqual([events[1].v2, events[1].resumed], [true, false]);
  newest().receive({ type: 'of.the.future', room: 'r', data: {} });
  newest().break();
  await clock.advance(500);
  newest().open();
  const hello = newest().sent[0].data;
  assert.deepEqual([hello.resume, hello.received], ['one', 2], 'whatever came counts, but welcomes');
  newest().receive(welcome('two', true));
  const { state, resumed } = events.filter(({ type }) => type === 'link').pop();
  assert.deepEqual([state, resumed], ['connected', true]);
  newest().break();
  await clock.advance(500);
  newest().open();
  assert.deepEqual([newest().sent[0].data.resume, newest().sent[0].data.received], ['two', 2]);
  newest().receive(welcome('three'));
  newest().receive(ROSTER);
  assert.equal(events.filter(({ type }) => type === 'link').pop().resumed, false);
  newest().break();
  await clock.advance(500);
  newest().open();
  assert.equal(newest().sent[0].data.received, 1, 'a new session counts anew');
});

test('an old server refuses the hello, and is met in version 1', async () => {
  const w = world();
  await w.session.signIn();
  const entered = w.session.join('pm_room:r');
  w.newest().open();
  w.newest().receive({ type: 'general.error', room: '', data: { error: 'Invalid message type' }, from: 'system' });
  w.newest().receive(ROSTER);
  await entered;
  assert.equal(w.events.find(({ type }) => type === 'link').v2, false);
  assert.equal(w.session.send({ type: 'peer.state', data: { microphone: true } }), false);
});

test('the codes of a closed socket are taken by their meaning', async () => {
  const after = async (/** @type {number} */ code, reason = '') => {
    const w = await joined2();
    w.newest().break(code, reason);
    await settle();
    return { ...w, last: w.events.filter(({ type }) => type === 'link' || type === 'over').pop() };
  };
  assert.equal((await after(1001)).last.retryMs, 500);
  assert.equal((await after(1012)).last.retryMs, 1100, 'between 0.2 and 2 s');
  assert.equal((await after(1013, 'too slow; retry-after=20')).last.retryMs, 22_500);
  const { last, sockets, clock } = await after(4001);
  assert.equal(last.type, 'over');
  await clock.advance(60_000);
  assert.equal(sockets.length, 1, 'it does not come back');
  const { events } = await after(4002);
  assert.equal(events.find(({ type }) => type === 'identity').identity.token, 't-2');

  const w = await joined2();
  w.newest().break(1008, 'too many wrong messages');
  assert.match(w.events[w.events.length - 1].why, /too many wrong messages/u);
  await w.clock.advance(500);
  w.newest().open();
  w.newest().break(1008, 'too many wrong messages');
  assert.equal(w.events.filter(({ type }) => type === 'over').length, 1);
});

test('messages come as text or binary, and rubbish and other rooms are ignored', async () => {
  const { newest, events } = await joined();
  const before = events.length;
  const chat = { type: 'chat.message', room: 'pm_room:r', data: { message: 'x' }, from: 'b' };
  newest().receive(chat);
  newest().receive(chat, true);
  newest().receive({ ...chat, room: 'pm_room:other' });
  newest().receive({ ...chat, from: undefined });
  newest().receive({ ...chat, type: 'future.message' });
  newest().onmessage({ data: '{' });
  assert.equal(events.length, before + 2);
});

test('a lost socket is opened again with the same token, ever more rarely, up to 10 s', async () => {
  const { clock, sockets, events, newest } = await joined();
  newest().break();
  const pauses = [];
  for (let i = 0; i < 8; i += 1) {
    const { retryMs } = events.filter(({ type }) => type === 'link').pop();
    pauses.push(retryMs);
    await clock.advance(retryMs);
    assert.equal(sockets.length, i + 2);
    assert.equal(newest().url, 'wss://host/ws?token=t-1');
    newest().break();
    await settle();
  }
  assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
  await clock.advance(10_000);
  newest().open();
  assert.deepEqual(newest().sent[1].type, 'chat.join');
  newest().receive(ROSTER);
  assert.equal(events.filter(({ type }) => type === 'link').pop().state, 'connected');
  newest().break();
  assert.equal(events.pop().retryMs, 500, 'and the pauses begin anew');
});

test('a token that is refused is replaced by a new identity', async () => {
  const { clock, events, newest, routes } = await joined();
  routes['/ws'] = () => new Response('Unauthorized', { status: 401 });
  newest().break();
  await clock.advance(500);
  newest().break();
  await settle();
  const { identity } = events.find(({ type }) => type === 'identity');
  assert.deepEqual(identity, { token: 't-2', user: 'id-2', name: 'Anna' });
  await clock.advance(1000);
  assert.equal(newest().url, 'wss://host/ws?token=t-2');
});

test('while the server is away nothing is sent, and it is said so', async () => {
  const { session, newest } = await joined();
  assert.equal(session.send({ type: 'chat.message', data: { message: 'x' } }), true);
  newest().break();
  assert.equal(session.send({ type: 'chat.message', data: { message: 'x' } }), false);
});

test('signals in bursts are spread, chat is not', async () => {
  const { session, newest, clock } = await joined();
  for (let i = 0; i < 120; i += 1) session.send({ type: 'webrtc.iceCandidate', data: { candidate: String(i), to: 'b' } });
  session.send({ type: 'chat.message', data: { message: 'x' } });
  const sent = newest().sent.slice(2);
  assert.ok(sent.length <= 51, String(sent.length));
  assert.equal(sent[sent.length - 1].type, 'chat.message');
  await clock.advance(1000);
  assert.ok(newest().sent.length <= 2 + 51 + 36, String(newest().sent.length));
  await clock.advance(2000);
  const order = newest().sent.filter(({ type }) => type === 'webrtc.iceCandidate').map(({ data }) => Number(data.candidate));
  assert.deepEqual(order, Array.from({ length: 120 }, (_, i) => i));
});

test('what is larger than a frame is not sent', async () => {
  const { session } = await joined();
  assert.equal(session.send({ type: 'webrtc.offer', data: { sdp: 'x'.repeat(70_000), to: 'b' } }), false);
});

test('each way in which a join fails has its sentence', async () => {
  const away = world({ answers: { '/client-config': () => { throw new TypeError('network'); } } });
  assert.equal((await failure(away.session.config())).code, 'unreachable');

  const name = world({ answers: { '/auth/sign-in': () => new Response('Username too long (maximum is 32 characters)', { status: 400 }) } });
  assert.equal((await failure(name.session.signIn())).code, 'name');

  const other = world({ answers: { '/auth/sign-in': () => new Response('<html>', { status: 200 }) } });
  assert.equal((await failure(other.session.signIn())).code, 'protocol');

  const long = world();
  await long.session.signIn();
  const tooLong = failure(long.session.join('pm_room:r'));
  long.newest().open();
  long.newest().receive({ type: 'general.error', room: '', data: { error: 'Room ID too long (maximum is 128 characters)' }, from: 'system' });
  assert.equal((await tooLong).code, 'room');

  const refused = world();
  await refused.session.signIn();
  const origin = failure(refused.session.join('pm_room:r'));
  refused.newest().break();
  assert.equal((await origin).code, 'refused');

  const silent = world();
  await silent.session.signIn();
  const never = failure(silent.session.join('pm_room:r'));
  await silent.clock.advance(11_000);
  assert.ok((await never).message.length > 10);
});

test('a server that asks to wait is asked again', async () => {
  let asked = 0;
  const w = world();
  const answer = w.routes['/auth/sign-in'];
  w.routes['/auth/sign-in'] = () => {
    asked += 1;
    return asked < 3 ? new Response('', { status: 429, headers: { 'Retry-After': '1' } }) : /** @type {() => Response} */ (answer)();
  };
  const signed = w.session.signIn();
  await w.clock.advance(3000);
  assert.equal((await signed).user, 'id-1');
});

test('servers without a configuration have the usual names', async () => {
  for (const answer of [() => new Response('<!doctype html>'), () => new Response('', { status: 404 }), () => Response.json(null)]) {
    const { session } = world({ answers: { '/client-config': answer } });
    assert.deepEqual(await session.config(), { roomPrefix: 'pm_room:', wirePrefix: 'pm_e2ee:', fileChannelLabel: 'pm_file:', protocol: 1 });
  }
});

test('closing says goodbye and stops', async () => {
  const { session, newest, sockets, clock } = await joined();
  session.close();
  assert.equal(newest().sent.pop().type, 'chat.leave');
  await clock.advance(60_000);
  assert.equal(sockets.length, 1);
});

test('a snapshot is read with its spelling, each id once', () => {
  const users = [{ userID: 'a', username: 'A' }, { userID: 'a', username: 'B' }, { userID: 7 }, null, { userID: 'c' }];
  const parsed = parseMessage(JSON.stringify({ type: 'room.users', room: 'r', data: { users } }));
  assert.deepEqual(parsed, { type: 'room.users', room: 'r', users: [{ id: 'a', name: 'A' }, { id: 'c', name: '' }] });
});

test('messages with wrong payloads are dropped', () => {
  const texts = ['', '7', 'null', '[]', '{}', '{"type":7}', '{"type":"chat.message","from":"a","data":{"message":7}}',
    '{"type":"webrtc.offer","from":"a","data":null}', '{"type":"webrtc.offer","data":{"sdp":"x"}}', '{"type":"room.users","data":{"users":{}}}'];
  for (const text of texts) assert.equal(parseMessage(text), null, text);
});

test('ids compare bytewise', () => {
  assert.ok(compareIds('Z', 'a') < 0);
  assert.ok(compareIds('a', 'ab') < 0);
  assert.ok(compareIds('\uffff', '😀') < 0, 'not by UTF-16 units');
  assert.equal(compareIds('x', 'x'), 0);
});
