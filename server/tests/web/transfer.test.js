// @ts-check
import './fakes/crypto.js';

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';

import { Images } from '../../web/images.js';
import { IMAGE_BYTES } from '../../web/limits.js';
import { toBase64 } from '../../web/seal.js';
import { Incoming, Outgoing, parseTransfer } from '../../web/transfer.js';
import { FakeClock, settle } from './fakes/clock.js';
import { FakeChannel } from './fakes/connection.js';
import { pngOf } from './fakes/pictures.js';

const SAMPLE = '{"t":"img-start","id":"6f1c","name":"a.png","mime":"image/png","size":215632,"chunkSize":16384,"totalChunks":14}';

/** @param {Record<string, unknown>} change */
const start = (change = {}) => JSON.stringify({ ...JSON.parse(SAMPLE), ...change });

test('the documented announcement is read', () => {
  const parsed = parseTransfer(SAMPLE);
  assert.deepEqual(parsed, { t: 'img-start', id: '6f1c', name: 'a.png', mime: 'image/png', size: 215632 });
});

test('slices of 24 and 64 KiB are accepted, larger ones are not', () => {
  const of = (/** @type {number} */ chunkSize) =>
    parseTransfer(start({ chunkSize, totalChunks: Math.ceil(215632 / chunkSize) }))?.t;
  assert.deepEqual([24, 64].map((kib) => of(kib * 1024)), ['img-start', 'img-start']);
  assert.equal(of(64 * 1024 + 1), 'refused');
});

test('announcements that lie are refused, with words', () => {
  const lies = [
    { size: 0 },
    { size: -1 },
    { size: 1.5 },
    { size: '215632' },
    { size: IMAGE_BYTES + 1, totalChunks: 769 },
    { size: Number.MAX_SAFE_INTEGER },
    { chunkSize: 0 },
    { chunkSize: -16384 },
    { chunkSize: null },
    { totalChunks: 13 },
    { totalChunks: 1e9 },
    { name: 7 },
    { mime: null },
  ];
  for (const lie of lies) assert.equal(parseTransfer(start(lie))?.t, 'refused', JSON.stringify(lie));
});

test('what is no transfer message is ignored', () => {
  for (const text of ['', '{', 'null', '7', '[]', '{"t":"img-start"}', '{"t":"view","id":"x"}', '{"t":7,"id":"x"}']) {
    assert.equal(parseTransfer(text), null, text);
  }
});

test('names lose their paths, control characters and length', () => {
  const nameOf = (/** @type {string} */ name) => {
    const parsed = parseTransfer(start({ name }));
    return parsed?.t === 'img-start' ? parsed.name : null;
  };
  assert.equal(nameOf('../../etc/passwd'), 'passwd');
  assert.equal(nameOf('C:\\pictures\\a.png'), 'a.png');
  assert.equal(nameOf('a\u202egnp.exe\u0000\n'), 'agnp.exe');
  assert.equal(nameOf(''), 'image');
  assert.equal(nameOf('x'.repeat(1000))?.length, 255);
});

function receiver() {
  const clock = new FakeClock();
  /** @type {any[]} */
  const events = [];
  const incoming = new Incoming({ timers: clock, onEvent: (event) => events.push(event) });
  const say = (/** @type {Record<string, unknown>} */ message) => {
    const parsed = parseTransfer(JSON.stringify(message));
    if (parsed) incoming.message(parsed);
  };
  const begin = (/** @type {string} */ id, /** @type {number} */ size, chunkSize = 16384) =>
    say({ t: 'img-start', id, name: 'a.png', mime: 'image/png', size, chunkSize, totalChunks: Math.ceil(size / chunkSize) });
  const last = () => events[events.length - 1];
  return { clock, events, incoming, say, begin, last };
}

test('an image arrives in slices, as bytes or as text', () => {
  for (const asText of [false, true]) {
    const { incoming, say, begin, last, events } = receiver();
    const bytes = Uint8Array.from({ length: 40_000 }, (_, i) => i * 7);
    begin('x', bytes.length);
    for (let at = 0; at < bytes.length; at += 16384) {
      const slice = bytes.slice(at, at + 16384);
      if (asText) say({ t: 'img-chunk', id: 'x', d: toBase64(slice) });
      else incoming.slice(slice);
    }
    say({ t: 'img-end', id: 'x' });
    assert.equal(last().type, 'arrived');
    assert.deepEqual(last().bytes, bytes);
    assert.equal(events.filter(({ type }) => type === 'progress').length, 3);
  }
});

test('more than announced, less than announced and too large slices fail', () => {
  const more = receiver();
  more.begin('x', 100);
  more.incoming.slice(new Uint8Array(101));
  assert.deepEqual(more.last(), { type: 'failed', id: 'x', why: 'more came than was announced' });
  more.incoming.slice(new Uint8Array(100));
  more.say({ t: 'img-end', id: 'x' });
  assert.equal(more.last().type, 'failed', 'and stays so');

  const less = receiver();
  less.begin('x', 100);
  less.incoming.slice(new Uint8Array(99));
  less.say({ t: 'img-end', id: 'x' });
  assert.deepEqual(less.last(), { type: 'failed', id: 'x', why: 'parts of it are missing' });

  const large = receiver();
  large.begin('x', 200_000);
  large.incoming.slice(new Uint8Array(64 * 1024 + 1));
  assert.equal(large.last().type, 'failed');
});

test('one image at a time: a second announcement ends the first', () => {
  const { incoming, say, begin, events } = receiver();
  begin('x', 100);
  begin('y', 50);
  incoming.slice(new Uint8Array(50));
  say({ t: 'img-end', id: 'x' });
  say({ t: 'img-end', id: 'y' });
  const seen = events.filter(({ type }) => type !== 'progress').map(({ type, id }) => `${type} ${id}`);
  assert.deepEqual(seen, ['started x', 'failed x', 'started y', 'arrived y']);
});

test('cancelled, stalled and cut-off images fail', async () => {
  const cancelled = receiver();
  cancelled.begin('x', 100);
  cancelled.say({ t: 'img-cancel', id: 'other' });
  assert.equal(cancelled.last().type, 'started');
  cancelled.say({ t: 'img-cancel', id: 'x' });
  assert.equal(cancelled.last().why, 'the sender cancelled it');

  const stalled = receiver();
  stalled.begin('x', 100);
  await stalled.clock.advance(29_000);
  stalled.incoming.slice(new Uint8Array(50));
  await stalled.clock.advance(29_000);
  assert.equal(stalled.last().type, 'progress');
  await stalled.clock.advance(2000);
  assert.equal(stalled.last().why, 'nothing more came');

  const cut = receiver();
  cut.begin('x', 100);
  cut.incoming.stop('the connection broke');
  assert.equal(cut.last().why, 'the connection broke');
});

test('slices without an announcement are ignored', () => {
  const { incoming, say, events } = receiver();
  incoming.slice(new Uint8Array(10));
  say({ t: 'img-chunk', id: 'x', d: 'AAAA' });
  say({ t: 'img-end', id: 'x' });
  assert.deepEqual(events, []);
});

function sender() {
  const channel = new FakeChannel('pm_file:');
  channel.readyState = 'open';
  channel.send = (data) => {
    channel.sent.push(data);
    if (typeof data !== 'string') channel.bufferedAmount += data.length;
  };
  /** @type {any[]} */
  const events = [];
  const outgoing = new Outgoing({
    channel: /** @type {any} */ (channel),
    onEvent: (event) => events.push(event),
  });
  const drain = () => {
    channel.bufferedAmount = 0;
    channel.onbufferedamountlow?.();
  };
  const texts = () => channel.sent.filter((s) => typeof s === 'string').map((s) => JSON.parse(s));
  return { channel, events, outgoing, drain, texts };
}

/** @param {string} id @param {number} size */
const image = (id, size) => ({ id, name: 'a.png', mime: 'image/png', bytes: new Uint8Array(size) });

test('an image leaves as announcement, slices of 16 KiB and end', () => {
  const { channel, outgoing, drain, texts, events } = sender();
  outgoing.add(image('x', 40_000));
  const sizes = channel.sent.map((s) => (typeof s === 'string' ? 0 : s.length));
  assert.deepEqual(sizes, [0, 16384, 16384, 7232, 0]);
  assert.deepEqual(texts(), [
    { t: 'img-start', id: 'x', name: 'a.png', mime: 'image/png', size: 40_000, chunkSize: 16384, totalChunks: 3 },
    { t: 'img-end', id: 'x' },
  ]);
  assert.ok(!events.some(({ type }) => type === 'sent'), 'not sent while it waits in the channel');
  drain();
  assert.equal(events[events.length - 1].type, 'sent');
});

test('a sender pauses above 2 MiB and goes on when the channel has drained', () => {
  const { channel, outgoing, drain, events } = sender();
  outgoing.add(image('x', 5 * 1024 * 1024));
  assert.equal(channel.bufferedAmount, 2 * 1024 * 1024);
  let rounds = 0;
  while (!events.some(({ type }) => type === 'sent')) {
    assert.ok(channel.bufferedAmount <= 2 * 1024 * 1024);
    drain();
    assert.ok((rounds += 1) < 10);
  }
  const bytes = channel.sent.reduce((sum, s) => sum + (typeof s === 'string' ? 0 : s.length), 0);
  assert.equal(bytes, 5 * 1024 * 1024);
});

test('images leave one after another', () => {
  const { outgoing, drain, texts } = sender();
  outgoing.add(image('x', 10));
  outgoing.add(image('y', 10));
  assert.deepEqual(texts().map(({ id }) => id), ['x', 'x']);
  drain();
  drain();
  assert.deepEqual(texts().map(({ id }) => id), ['x', 'x', 'y', 'y']);
});

test('a cancelled image stops, says so, and the next one begins', () => {
  const { outgoing, drain, texts, events } = sender();
  outgoing.add(image('x', 5 * 1024 * 1024));
  outgoing.add(image('y', 10));
  assert.equal(outgoing.cancel('x'), true);
  assert.equal(outgoing.cancel('x'), false);
  drain();
  drain();
  assert.deepEqual(texts().map(({ t, id }) => `${t} ${id}`), ['img-start x', 'img-cancel x', 'img-start y', 'img-end y']);
  assert.deepEqual(events.filter(({ type }) => type !== 'progress').map(({ type, id }) => `${type} ${id}`), ['failed x', 'sent y']);
});

/** Two members with a channel between them. */
function pair() {
  const clock = new FakeClock();
  /** @type {Record<string, any[]>} */
  const events = { a: [], b: [] };
  const channels = { a: new FakeChannel('f'), b: new FakeChannel('f') };
  const images = {
    a: new Images({ timers: clock, onEvent: (event) => events.a?.push(event) }),
    b: new Images({ timers: clock, onEvent: (event) => events.b?.push(event) }),
  };
  for (const [from, to] of /** @type {const} */ ([['a', 'b'], ['b', 'a']])) {
    channels[from].readyState = 'open';
    channels[from].send = (data) => {
      const copy = typeof data === 'string' ? data : data.slice().buffer;
      setImmediate(() => {
        channels[to].dispatchEvent(Object.assign(new Event('message'), { data: copy }));
      });
    };
    images[from].attach({ user: to, channel: /** @type {any} */ (channels[from]) });
  }
  const of = (/** @type {'a' | 'b'} */ who, /** @type {string} */ type) =>
    events[who]?.filter((event) => event.type === type) ?? [];
  return { images, channels, of };
}

test('an image arrives with its hash, and the sender learns that it did', async () => {
  const { images, of } = pair();
  const bytes = pngOf(320, 200, 100_000);
  const hash = createHash('sha256').update(bytes).digest('hex');
  const sent = await images.a.send({ image: { id: 'x', name: 'a.png', mime: 'image/png', bytes }, users: ['b', 'gone'] });
  await settle();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(sent, hash);
  const [arrived] = of('b', 'image');
  assert.deepEqual([arrived.from, arrived.mime, arrived.width, arrived.height, arrived.sha256], ['a', 'image/png', 320, 200, hash]);
  assert.deepEqual(of('a', 'image-sent').map(({ user, proven }) => [user, proven]).pop(), ['b', true]);
  assert.deepEqual(of('a', 'image-failed'), [{ type: 'image-failed', key: 'x', user: 'gone', why: 'not connected' }]);
});

test('what is no picture is never shown, whatever it is called', async () => {
  const texts = ['<svg xmlns="http://www.w3.org/2000/svg"/>', '<!doctype html><script>alert(1)</script>', 'MZ'];
  for (const text of texts) {
    const { images, of } = pair();
    const bytes = new Uint8Array(new TextEncoder().encode(text));
    await images.a.send({ image: { id: 'x', name: 'a.png', mime: 'image/png', bytes }, users: ['b'] });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(of('b', 'image').length, 0);
    assert.equal(of('b', 'image-failed')[0].why, 'it is not a PNG, JPEG, GIF or WebP picture');
    assert.deepEqual(Images.check(bytes), { problem: 'it is not a PNG, JPEG, GIF or WebP picture' });
  }
});

test('a connection that breaks fails what is under way, both ways', async () => {
  const { images, of } = pair();
  images.b.detach('a');
  images.a.detach('b');
  await images.a.send({ image: { id: 'x', name: 'a', mime: 'image/png', bytes: pngOf(1, 1, 100) }, users: ['b'] });
  assert.equal(of('a', 'image-failed')[0].why, 'not connected');
});
