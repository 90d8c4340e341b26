// @ts-check
// The server dies during a call and comes back: the call goes on meanwhile, the chat afterwards.

import assert from 'node:assert/strict';

import { NATIVE_HZ, knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { scenario } from '../harness/stage.js';

scenario('the call outlives its server, and the chat comes back with it', { ms: 120_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
  const { room } = stage;
  const guest = await Guest.join(browser, server, { room });
  const seen = await native.sees(guest.user, { counter: true });
  await guest.counts(native.user);

  let since = native.mark();
  await server.cut();
  await native.waitFor('server', (e) => e.state === 'reconnecting', { since });
  since = native.mark();
  await Promise.all([
    native.sees(guest.user, { counter: true, fps: 5, since }),
    guest.counts(native.user),
    guest.hears(native.user, NATIVE_HZ),
  ]);

  since = native.mark();
  await stage.serverAgain(server);
  await native.waitFor('server', (e) => e.state === 'connected', { since, ms: 45_000 });
  const users = native.events.filter((e) => e.event === 'joined').map((e) => e.user);
  const nativeUser = users[users.length - 1];
  // A roster from the new server with two people in it: both have joined again.
  await native.waitFor('roster', (e) => e.users.length === 2, { since, ms: 45_000 });
  const guestUser = await guest.page.evaluate(() => document.body.dataset.user ?? '');

  since = native.mark();
  await guest.say('we are back');
  await native.waitFor('chat', (e) => e.from === guestUser && e.text === 'we are back', { since });
  native.send({ command: 'chat', text: 'so are we' });
  await guest.message({ from: nativeUser, text: 'so are we' });

  since = native.mark();
  const after = await native.sees(guestUser, { counter: true, since });
  await guest.counts(nativeUser);
  assert.deepEqual([nativeUser, guestUser], [native.user, guest.user], 'both kept their ids');
  assert.ok(after.frames > seen.frames && after.track === seen.track, 'the same track went on');
  const lost = native.events.filter((e) => e.event === 'peer' && e.state === 'closed');
  assert.deepEqual(lost, [], 'no peer was closed meanwhile');
});

scenario('a message typed while the server is away is not lost silently', { ms: 90_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, native] = await Promise.all([stage.browser(), stage.native(server)]);
  const guest = await Guest.join(browser, server, { room: stage.room });
  await native.waitFor('roster', (e) => e.users.length === 2);
  await server.cut();
  await native.waitFor('server', (e) => e.state === 'reconnecting');
  native.send({ command: 'chat', text: 'into the void' });
  await guest.say('into the void, too');
  // Either it is said that it did not go, or it arrives after all.
  await Promise.all([
    native.waitFor('not-sent'),
    guest.message({ from: guest.user, text: 'into the void, too', state: 'failed' }),
  ]);
});
