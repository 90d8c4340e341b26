// @ts-check
// Run by tests/loss.test.js inside a network that loses packets. Content only: what is lost must be
// repaired before it is seen or heard.

import assert from 'node:assert/strict';

import { BROWSER_HZ, NATIVE_HZ, knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { scenario } from '../harness/stage.js';

/** How long the call is watched, in seconds. */
const WATCHED = 12;

scenario('lost packets are repaired in both directions', { ms: 120_000 }, async (stage) => {
  const server = await stage.server({ tls: 'off' });
  const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
  const guest = await Guest.join(browser, server, { room: stage.room });
  await Promise.all([
    native.sees(guest.user, { counter: true }),
    native.hears(guest.user, BROWSER_HZ),
    guest.counts(native.user),
    guest.hears(native.user, NATIVE_HZ),
  ]);

  const began = await native.sees(guest.user, { since: native.mark() });
  const ended = await native.waitFor(
    'video',
    (e) => e.from === guest.user && e.at >= began.at + WATCHED * 1000,
  );
  const fps = (ended.frames - began.frames) / ((ended.at - began.at) / 1000);
  native.send({ command: 'stats' });
  const { peers, received } = await native.waitFor('stats');
  const camera = peers[0].tracks.find((/** @type {any} */ track) => track.source === 'camera');
  const sound = received.audio[0];

  const page = await guest.page.evaluate(async () => {
    const connections = /** @type {any} */ (window).__probe.connections;
    for (const report of (await connections[connections.length - 1].getStats()).values()) {
      if (report.type === 'inbound-rtp' && report.kind === 'video') return report;
    }
  });
  const shown = page.framesDecoded / page.totalInterFrameDelay;
  stage.note(
    `native: ${fps.toFixed(1)} frames a second, ${camera.packets} packets, ${camera.lost} lost for good, ` +
      `${camera.key_frame_requests} key frames asked for; sound: ${sound.concealed} of ` +
      `${sound.decoded} packets concealed`,
  );
  stage.note(
    `page: ${shown.toFixed(1)} frames a second, ${page.packetsReceived} packets, NACKs ` +
      `${page.nackCount}, repaired ${page.retransmittedPacketsReceived}, PLIs ${page.pliCount}, ` +
      `freezes ${page.freezeCount}`,
  );
  // The network did lose something, and the other side sent it again.
  assert.ok(page.nackCount > 0 && page.retransmittedPacketsReceived > 0);
  assert.ok(fps >= 20, `${fps} frames a second arrived at the native peer`);
  assert.ok(shown >= 20, `${shown} frames a second arrived at the page`);
  await Promise.all([
    native.hears(guest.user, BROWSER_HZ, { since: native.mark() }),
    guest.hears(native.user, NATIVE_HZ),
  ]);
});
