// @ts-check
// Calls that only the relay makes possible: both ends behind symmetric NATs, or where no UDP gets
// through; judged by the counter in the picture and the pitch of the sound.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';

import { BROWSER_HZ, NATIVE_HZ, knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { Network, SERVER_ADDRESS, noNetwork } from '../harness/network.js';
import { scenario } from '../harness/stage.js';

/**
 * @typedef {import('../harness/stage.js').Stage} Stage
 * @typedef {import('../harness/native.js').Native} Native
 */

const METRICS_TOKEN = 'of the tests of the relay';
/** Credentials of seconds in place of minutes, and allocations to match. */
const SHORT = { TURN_CREDENTIAL_LIFETIME: '5s', TURN_ALLOCATION_LIFETIME: '10s' };
/** A call that lasts for eight credentials. */
const LONG_MS = 40_000;
/** Enough for the camera, and not for a few checks. */
const MUCH = 200_000;

if (noNetwork) {
  test('calls through the relay', { skip: noNetwork }, () => {});
}

/** @type {typeof scenario} */
const relayScenario = (name, options, body) => {
  if (!noNetwork) scenario(name, options, body);
};

/**
 * @param {Stage} stage
 * @param {Network} network
 * @param {{ env?: Record<string, string>, args?: string[] }} [options]
 */
async function publicServer(stage, network, { env = {}, args = [] } = {}) {
  return stage.server({
    tls: 'self',
    host: SERVER_ADDRESS,
    prefix: network.public,
    env: { METRICS_TOKEN, TURN_PORT: '3478', ...env },
    args,
  });
}

/**
 * Both see and hear one another.
 * @param {Native} ada plays 523 Hz
 * @param {Native} bob
 */
async function bothWays(ada, bob) {
  const [a, b] = await Promise.all([
    ada.sees(bob.user, { fps: 10, counter: true, ms: 45_000 }),
    bob.sees(ada.user, { fps: 10, counter: true, ms: 45_000 }),
  ]);
  await Promise.all([
    ada.waitFor('video', (e) => e.from === bob.user && e.counter > a.counter),
    bob.waitFor('video', (e) => e.from === ada.user && e.counter > b.counter),
    ada.hears(bob.user, NATIVE_HZ),
    bob.hears(ada.user, 523),
  ]);
  return [a.fps, b.fps];
}

/**
 * Waits for the end of a long time in which `peer` saw `other` without a gap.
 * @param {Stage} stage
 * @param {Native} peer
 * @param {string} other
 */
async function seesOn(stage, peer, other) {
  const [since, end] = [peer.mark(), performance.now() + LONG_MS];
  const isLast = (/** @type {import('../harness/native.js').NativeEvent} */ e) => e.from === other && e.at > end;
  await peer.waitFor('video', isLast, { since, ms: LONG_MS + 15_000 });
  const later = peer.events.slice(since);
  const pictures = later.filter((e) => e.event === 'video' && e.from === other);
  const worst = Math.min(...pictures.map((e) => e.fps));
  stage.note(`${peer.name}: ${pictures.length} reports, never below ${worst} fps`);
  assert.ok(pictures.length >= 20 && worst > 1, `${peer.name} saw a gap: ${worst} fps`);
  assert.ok(!later.some((e) => e.event === 'peer' && e.state !== 'connected'), 'never lost');
}

/**
 * What the relay did, which must have been the whole call.
 * @param {Stage} stage
 * @param {Network} network
 * @param {import('../harness/server.js').Server} server
 */
function wasRelayed(stage, network, server) {
  const relay = network.relayed(server, METRICS_TOKEN);
  stage.note(`the relay: ${relay.allocations} allocations, ${Math.round(relay.bytes / 1000)} kB`);
  assert.ok(relay.allocations >= 2 && relay.bytes > MUCH, JSON.stringify(relay));
  return relay;
}

for (const [how, udp] of /** @type {[string, boolean][]} */ ([
  ['behind symmetric NATs', true],
  ['where no UDP gets through', false],
])) {
  relayScenario(`two native peers ${how} meet through the relay`, { ms: 120_000 }, async (stage) => {
    const network = new Network(stage);
    const server = await publicServer(stage, network);
    const [ada, bob] = await Promise.all([
      stage.native(server, { name: 'Ada', microphone: 'tone:523', prefix: network.home({ udp }) }),
      stage.native(server, { name: 'Bob', prefix: network.home({ udp }) }),
    ]);
    const fps = await bothWays(ada, bob);
    const first = await ada.waitFor('first-frame', (e) => e.from === bob.user);
    stage.note(`first frame ${first.since_start_ms} ms after the start, ${fps.join(' and ')} fps`);
    wasRelayed(stage, network, server);
  });
}

relayScenario('native peers reach a relay by TLS where nothing else is', { ms: 120_000 }, async (stage) => {
  const network = new Network(stage);
  const dir = await stage.tempDir();
  const [certificate, key] = [`${dir}/certificate.pem`, `${dir}/key.pem`];
  const names = ['-addext', `subjectAltName=IP:${SERVER_ADDRESS}`, '-subj', '/CN=the relay'];
  const leaf = ['-addext', 'basicConstraints=critical,CA:FALSE'];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const files = ['-keyout', key, '-out', certificate, '-days', '2'];
  execFileSync('openssl', ['req', ...kind, ...leaf, ...names, ...files], { stdio: 'ignore' });
  const server = await publicServer(stage, network, {
    args: ['--tls-certificate', certificate, '--tls-key', key],
    env: {
      // Nobody is where the relay says it is; only the other way to it, by TLS, leads there.
      TURN_HOST: '192.0.2.1',
      TURN_SECRET: 'both names of the relay know it',
      TURN_URLS: `turns:${SERVER_ADDRESS}:3478?transport=tcp`,
    },
  });
  const env = { SSL_CERT_FILE: certificate };
  const options = { env, fingerprint: undefined };
  const [ada, bob] = await Promise.all([
    stage.native(server, { ...options, name: 'Ada', microphone: 'tone:523', prefix: network.home({ udp: false }) }),
    stage.native(server, { ...options, name: 'Bob', prefix: network.home({ udp: false }) }),
  ]);
  await bothWays(ada, bob);
  wasRelayed(stage, network, server);
});

relayScenario('credentials that end do not end a call', { ms: 180_000 }, async (stage) => {
  const network = new Network(stage);
  const server = await publicServer(stage, network, { env: SHORT });
  const [ada, bob] = await Promise.all([
    stage.native(server, { name: 'Ada', microphone: 'tone:523', prefix: network.home() }),
    stage.native(server, { name: 'Bob', prefix: network.home({ udp: false }) }),
  ]);
  await bothWays(ada, bob);
  await Promise.all([seesOn(stage, ada, bob.user), seesOn(stage, bob, ada.user)]);
  await bothWays(ada, bob);
  wasRelayed(stage, network, server);
});

for (const [where, udp] of /** @type {[string, boolean][]} */ ([
  ['behind a symmetric NAT', true],
  ['where no UDP gets through', false],
])) {
  relayScenario(`a page ${where} meets a native peer, for longer than its credentials`, { ms: 240_000 }, async (stage) => {
    const network = new Network(stage);
    const server = await publicServer(stage, network, { env: SHORT });
    const executable = await network.chromium(network.home({ udp }));
    const browser = await knownBrowser(stage, { executable });
    const native = await stage.native(server, { prefix: network.home({ udp: !udp }) });
    const guest = await Guest.join(browser, server, { room: stage.room });
    const own = await guest.ownPicture();
    const meet = async () => {
      const since = native.mark();
      await Promise.all([
        native.sees(guest.user, { ...own, counter: true, ms: 45_000, since }),
        native.hears(guest.user, BROWSER_HZ, { since }),
        guest.counts(native.user, { ms: 45_000 }),
        guest.hears(native.user, NATIVE_HZ),
      ]);
    };
    await meet();
    await seesOn(stage, native, guest.user);
    await meet();
    wasRelayed(stage, network, server);
    assert.deepEqual(browser.faults(), []);
  });
}
