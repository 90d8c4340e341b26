// @ts-check
// Browsers that send their pictures as H.264, as Safari does by default, and a native peer.

import assert from 'node:assert/strict';

import { BROWSER_HZ, NATIVE_HZ, knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { scenario } from '../harness/stage.js';

/**
 * Runs in the page: H.264 stands first in all its descriptions, and is what its camera sends.
 * Without the latter Chromium sends what the other side prefers, even if it did not list it.
 */
const sendH264 = () => {
  const isH264 = (/** @type {{ mimeType: string }} */ codec) => codec.mimeType === 'video/H264';
  const prefer = (/** @type {RTCPeerConnection} */ connection) => {
    const codecs = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
    codecs.sort((one, other) => Number(isH264(other)) - Number(isH264(one)));
    for (const transceiver of connection.getTransceivers()) {
      if (transceiver.receiver.track.kind === 'video') transceiver.setCodecPreferences(codecs);
    }
  };
  const send = async (/** @type {RTCPeerConnection} */ connection) => {
    if (connection.signalingState !== 'stable') return;
    for (const sender of connection.getSenders()) {
      const parameters = sender.getParameters();
      const codec = parameters.codecs.find(isH264);
      for (const encoding of codec ? parameters.encodings : []) {
        Object.assign(encoding, { codec });
      }
      if (codec) await sender.setParameters(parameters);
    }
  };
  for (const method of /** @type {const} */ (['setLocalDescription', 'setRemoteDescription'])) {
    const original = RTCPeerConnection.prototype[method];
    /** @type {(this: RTCPeerConnection, ...description: any[]) => Promise<void>} */
    const changed = async function (...description) {
      if (method === 'setLocalDescription') prefer(this);
      await Reflect.apply(original, this, description);
      await send(this);
    };
    RTCPeerConnection.prototype[method] = changed;
  }
};

/** @type {[string, (native: string) => (id: string) => boolean][]} */
const ORDERS = [
  ['lower', (native) => (id) => native < id],
  ['higher', (native) => (id) => native > id],
];
for (const [order, idWhere] of ORDERS) {
  const name = `a native peer with the ${order} id shows the H.264 of a browser`;
  scenario(name, { ms: 90_000 }, async (stage) => {
    const server = await stage.server({ tls: 'off' });
    const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
    const { room } = stage;
    const guest = await Guest.join(browser, server, {
      room,
      idWhere: idWhere(native.user),
      script: sendH264,
    });
    await native.hears(guest.user, BROWSER_HZ);
    const seen = await native.sees(guest.user, { counter: true });
    await native.waitFor(
      'video',
      (e) => e.from === guest.user && e.counter !== null && e.counter !== seen.counter,
    );
    native.send({ command: 'stats' });
    const { peers } = await native.waitFor('stats');
    const track = peers[0].tracks.find((/** @type {any} */ one) => one.source === 'camera');
    assert.equal(track.codec, 'h264');
    await Promise.all([guest.counts(native.user), guest.hears(native.user, NATIVE_HZ)]);
  });
}
