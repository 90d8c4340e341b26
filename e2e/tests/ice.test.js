// @ts-check
// STUN and TURN credentials end long before a call does. Time is compressed: credentials live for
// six seconds, allocations for ten, and the call goes through the relay alone.

import assert from 'node:assert/strict';

import { knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { scenario } from '../harness/stage.js';

/** In the page: only the relay may be used, and what happens to connections is noted. */
function relayOnly() {
  /** @type {{ given: string[], restarts: number, states: string[] }} */
  const seen = { given: [], restarts: 0, states: [] };
  Object.assign(window, { seenOfIce: seen });
  const note = (/** @type {RTCConfiguration | undefined} */ configuration) => {
    for (const { username } of configuration?.iceServers ?? []) {
      if (username && !seen.given.includes(username)) seen.given.push(username);
    }
  };
  const Original = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Original {
    /** @param {RTCConfiguration} [configuration] */
    constructor(configuration) {
      note(configuration);
      super({ ...configuration, iceTransportPolicy: 'relay' });
      this.addEventListener('connectionstatechange', () => seen.states.push(this.connectionState));
    }

    /** @override @param {RTCConfiguration} [configuration] */
    setConfiguration(configuration) {
      note(configuration);
      super.setConfiguration({ ...configuration, iceTransportPolicy: 'relay' });
    }

    /** @override */
    restartIce() {
      seen.restarts += 1;
      super.restartIce();
    }
  };
}

/** @param {Guest} guest @returns {Promise<{ given: string[], restarts: number, states: string[] }>} */
function seenBy(guest) {
  return guest.page.evaluate(() => /** @type {any} */ (window).seenOfIce);
}

scenario('a call through the relay outlives its credentials many times over', { ms: 120_000 }, async (stage) => {
  const args = ['--turn-port', '0', '--turn-credential-lifetime', '6s', '--turn-allocation-lifetime', '10s'];
  const server = await stage.server({ args });
  const browser = await knownBrowser(stage);
  const { room } = stage;
  const script = relayOnly;
  const ada = await Guest.join(browser, server, { room, name: 'Ada', script });
  const bea = await Guest.join(browser, server, { room, name: 'Bea', script });
  await Promise.all([ada.counts(bea.user), bea.counts(ada.user)]);

  // Three renewals, the last one long after the first credentials ended.
  await ada.page.waitForFunction(
    () => /** @type {any} */ (window).seenOfIce.given.length >= 5,
    undefined,
    { timeout: 60_000 },
  );
  await Promise.all([ada.counts(bea.user), bea.counts(ada.user)]);
  for (const guest of [ada, bea]) {
    const { given, restarts, states } = await seenBy(guest);
    assert.ok(given.length >= 4, `credentials: ${given.length}`);
    assert.equal(restarts, 0, 'no search for new paths');
    assert.deepEqual(states, ['connecting', 'connected'], 'nothing was interrupted');
  }

  // Whoever comes late is met with the newest credentials.
  const cleo = await Guest.join(browser, server, { room, name: 'Cleo', script });
  await Promise.all([ada.counts(cleo.user), cleo.counts(bea.user)]);
});

scenario('a native call goes on while its credentials change', { ms: 90_000 }, async (stage) => {
  const server = await stage.server({ args: ['--turn-port', '0', '--turn-credential-lifetime', '3s'] });
  const [nadia, nuri] = [await stage.native(server), await stage.native(server, { name: 'Nuri' })];
  await nadia.sees(nuri.user, { counter: true });
  await nuri.sees(nadia.user, { counter: true });
  const since = nadia.mark();
  // Four lives of a credential: each line is a second.
  for (let lines = 0, at = since; lines < 12; lines += 1) {
    await nadia.waitFor('video', (e) => e.from === nuri.user && e.fps > 1, { since: at });
    at = nadia.mark();
  }
  assert.deepEqual(nadia.events.slice(since).filter((e) => e.event === 'peer'), []);
  const late = await stage.native(server, { name: 'Nele' });
  await nadia.sees(late.user, { counter: true });
});
