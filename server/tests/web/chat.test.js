// @ts-check
import './fakes/crypto.js';

import assert from 'node:assert/strict';
import test from 'node:test';

import { checkText, Outbox } from '../../web/chat.js';
import { Seal } from '../../web/seal.js';
import { TypingNotice, Typists } from '../../web/typing.js';
import { FakeClock } from './fakes/clock.js';

const seal = await Seal.create({ rawRoom: 'r', roomPrefix: 'pm_room:', wirePrefix: 'pm_e2ee:', passphrase: 'p' });
const check = (/** @type {string} */ text) => checkText({ text, wireUnits: (t) => seal.wireUnits(t) });

test('1,500 units may be typed, and the rest is counted', () => {
  assert.deepEqual(check('x'.repeat(1500)), { ok: true, left: 0, problem: null });
  assert.deepEqual(check('x'.repeat(1501)), { ok: false, left: -1, problem: 'Too long by 1 character.' });
  assert.deepEqual(check('x'.repeat(1600)).problem, 'Too long by 100 characters.');
  assert.equal(check('😀'.repeat(750)).ok, true);
  assert.equal(check('😀'.repeat(751)).ok, false);
});

test('what does not fit the wire once encrypted is refused in words', () => {
  assert.equal(check('漢'.repeat(1227)).ok, true);
  const { ok, problem } = check('漢'.repeat(1300));
  assert.equal(ok, false);
  const about = Number(/leave out about (\d+)\./u.exec(problem ?? '')?.[1]);
  assert.ok(about >= 73 && about < 80, String(problem));
  assert.equal(check('漢'.repeat(1300 - about)).ok, true);
});

test('blank texts are not sent, and are no problem', () => {
  for (const text of ['', ' ', '\n\t ']) {
    const { ok, problem } = check(text);
    assert.deepEqual([ok, problem], [false, null]);
  }
});

function outbox({ up = true } = {}) {
  const clock = new FakeClock();
  let [seals, ids] = [0, 0];
  const world = {
    clock,
    up,
    /** @type {string[]} */
    wires: [],
    /** @type {string[]} */
    states: [],
    outbox: /** @type {Outbox} */ (/** @type {unknown} */ (null)),
  };
  world.outbox = new Outbox({
    timers: clock,
    newId: () => `id-${(ids += 1)}`,
    seal: async (text) => `${text} #${(seals += 1)}`,
    transmit: ({ wire, id }) => {
      if (world.up) world.wires.push(id === null ? wire : `${id} ${wire}`);
      return world.up;
    },
    onState: ({ id, state, why }) => world.states.push(`${id} ${state}${why ? `: ${why}` : ''}`),
  });
  return world;
}

test('a message is sent when its echo is back', async () => {
  const { outbox: box, clock, wires, states } = outbox();
  box.send('hello');
  await clock.advance(100);
  assert.deepEqual(wires, ['hello #1']);
  assert.equal(box.echoed({ wire: 'something else', id: null }), false);
  assert.equal(box.echoed({ wire: 'hello #1', id: null }), true);
  await clock.advance(10_000);
  assert.deepEqual(states, ['own-1 sent']);
});

test('without an echo it has failed after 5 s, can be tried again, and may still arrive late', async () => {
  const { outbox: box, clock, wires, states } = outbox();
  const id = box.send('hello');
  await clock.advance(4900);
  assert.deepEqual(states, []);
  await clock.advance(200);
  assert.deepEqual(states, ['own-1 failed: The server did not confirm it.']);
  box.retry(id);
  await clock.advance(100);
  assert.deepEqual(wires, ['hello #1', 'hello #2'], 'sealed anew, with a nonce of its own');
  box.echoed({ wire: 'hello #2', id: null });
  assert.deepEqual(states.slice(1), ['own-1 sending', 'own-1 sent']);
  const late = box.send('late');
  await clock.advance(6000);
  box.echoed({ wire: 'late #3', id: null });
  assert.deepEqual(states.slice(3), [`${late} failed: The server did not confirm it.`, `${late} sent`]);
});

test('messages keep their order', async () => {
  const { outbox: box, clock, wires } = outbox();
  for (const text of ['a', 'b', 'c']) box.send(text);
  await clock.advance(0);
  assert.deepEqual(wires, ['a #1', 'b #2', 'c #3']);
});

test('what was written while the server was away goes out when it is back in time', async () => {
  const world = outbox({ up: false });
  world.outbox.send('hello');
  await world.clock.advance(2000);
  assert.deepEqual(world.wires, []);
  world.up = true;
  world.outbox.linkRestored({ v2: false, resumed: false, members: ['b'] });
  await world.clock.advance(10);
  assert.deepEqual(world.wires, ['hello #2']);
  world.outbox.linkRestored({ v2: false, resumed: false, members: ['b'] });
  await world.clock.advance(10);
  assert.deepEqual(world.wires, ['hello #2'], 'and only once');
});

test('a refusal of the server meets the oldest message under way', async () => {
  const { outbox: box, clock, states } = outbox();
  box.send('a');
  box.send('b');
  await clock.advance(10);
  box.echoed({ wire: 'a #1', id: null });
  box.refused({ why: 'It is too long.', id: null });
  assert.deepEqual(states, ['own-1 sent', 'own-2 failed: It is too long.']);
});

/** One that speaks version 2. */
function box2() {
  const world = outbox();
  world.outbox.linkRestored({ v2: true, resumed: false, members: [] });
  return world;
}

test('a cut loses nothing and doubles nothing', async () => {
  const { outbox: box, clock, wires, states } = box2();
  for (const text of ['a', 'b']) box.send(text);
  await clock.advance(10);
  box.acknowledged('id-1');
  box.linkLost();
  box.send('c');
  await clock.advance(10_000);
  assert.deepEqual(wires.splice(0, 2), ['id-1 a #1', 'id-2 b #2']);
  wires.length = 0;
  assert.deepEqual(states, ['own-1 sent'], 'the others wait for the link');
  box.linkRestored({ v2: true, resumed: true, members: ['b'] });
  await clock.advance(10);
  assert.deepEqual(wires, ['id-2 b #2', 'id-3 c #3'], 'word for word, in the old order');
  box.acknowledged('id-2');
  box.acknowledged('id-2');
  assert.equal(box.echoed({ wire: '?', id: 'id-3' }), true);
  await clock.advance(60_000);
  assert.deepEqual(states, ['own-1 sent', 'own-2 sent', 'own-3 sent']);
});

test('after a new session what is said again waits for those who were here', async () => {
  const { outbox: box, clock, wires } = box2();
  box.send('a');
  await clock.advance(10);
  box.linkLost();
  box.linkRestored({ v2: true, resumed: false, members: ['b', 'c'] });
  box.members(['us', 'b']);
  box.send('d');
  await clock.advance(1_000);
  assert.deepEqual(wires.splice(0), ['id-1 a #1']);
  box.members(['c']);
  await clock.advance(10);
  assert.deepEqual(wires.splice(0), ['id-1 a #1', 'id-2 d #2']);
  box.linkLost();
  box.linkRestored({ v2: true, resumed: false, members: ['b'] });
  await clock.advance(2_900);
  assert.deepEqual(wires, []);
  await clock.advance(200);
  assert.deepEqual(wires, ['id-1 a #1', 'id-2 d #2'], 'nobody waits for ever');
});

test('a message without a link has failed after 15 s, and may be tried again', async () => {
  const { outbox: box, clock, wires, states } = box2();
  box.linkLost();
  const id = box.send('a');
  await clock.advance(10_000);
  box.linkLost(); // another attempt
  await clock.advance(6_000);
  assert.deepEqual(states, ['own-1 failed: The server can’t be reached.']);
  box.linkRestored({ v2: true, resumed: true, members: [] });
  box.retry(id);
  await clock.advance(10);
  assert.equal(wires.pop()?.startsWith('id-1 a'), true, 'under the same id');
});

test('a refusal with an id is for that message, and a new identity seals anew', async () => {
  const { outbox: box, clock, wires, states } = box2();
  for (const text of ['a', 'b', 'c']) box.send(text);
  await clock.advance(10);
  box.refused({ why: 'No.', id: 'id-2' });
  box.renamed();
  assert.deepEqual(states, ['own-2 failed: No.', 'own-1 failed: The server did not confirm it.', 'own-3 failed: The server did not confirm it.']);
  box.retry('own-3');
  await clock.advance(10);
  assert.equal(wires.pop(), 'id-6 c #4');
});

test('typing is said once, again while it goes on, and its end after 4 s', async () => {
  const clock = new FakeClock();
  /** @type {string[]} */
  const said = [];
  const notice = new TypingNotice({ timers: clock, send: (typing) => said.push(`${clock.now()} ${typing}`) });
  for (let i = 0; i < 10; i += 1) {
    notice.typed();
    await clock.advance(500);
  }
  await clock.advance(10_000);
  notice.stopped();
  assert.deepEqual(said, ['0 true', '4000 true', '8500 false']);
  notice.typed();
  notice.stopped();
  assert.deepEqual(said.slice(3), ['15000 true', '15000 false']);
});

test('others type until they say otherwise, or for 10 s', async () => {
  const clock = new FakeClock();
  /** @type {string[][]} */
  const seen = [];
  const typists = new Typists({ timers: clock, onChange: (users) => seen.push(users) });
  typists.heard({ user: 'a', typing: true });
  typists.heard({ user: 'b', typing: true });
  typists.heard({ user: 'b', typing: false });
  await clock.advance(9000);
  typists.heard({ user: 'a', typing: true });
  await clock.advance(9000);
  assert.deepEqual(seen, [['a'], ['a', 'b'], ['a']]);
  await clock.advance(2000);
  assert.deepEqual(seen.slice(3), [[]]);
});
