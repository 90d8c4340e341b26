// @ts-check
// What we send over one peer connection. The m-lines of microphone and camera exist from the
// start, in both directions and without a track where the device is off or missing: switching a
// device on is a `replaceTrack`, never a negotiation. Old web clients show such an m-line as a
// black tile, just as they show a camera of their own kind that is off. The screen's m-lines come
// and go with the share, because old clients take a tile away when its transceiver stops.

import { isScreen, kindOf, SOURCES } from './sources.js';

/** @typedef {import('./sources.js').Source} Source */

/**
 * Our own tracks, shared by all peers.
 * @typedef {object} LocalMedia
 * @property {Map<Source, MediaStreamTrack>} tracks what is on now
 * @property {MediaStream} face the stream whose id goes with microphone and camera
 * @property {MediaStream} screen the stream whose id goes with the screen and its sound
 */

export class Senders {
  #local;
  /** @type {Map<Source, RTCRtpTransceiver>} */
  #transceivers = new Map();

  /** @param {{ local: LocalMedia }} of */
  constructor({ local }) {
    this.#local = local;
  }

  /** The connection is a new one: nothing is sent yet. */
  forget() {
    this.#transceivers.clear();
  }

  /** Adds the m-lines that are missing, in the order of the protocol.
   * @param {RTCPeerConnection} pc */
  add(pc) {
    for (const source of SOURCES) {
      if (this.#transceivers.get(source)?.currentDirection === 'stopped') {
        this.#transceivers.delete(source); // the other side has stopped that m-line
      }
      const track = this.#local.tracks.get(source);
      if (this.#transceivers.has(source) || (isScreen(source) && !track)) continue;
      const transceiver = pc.addTransceiver(track ?? kindOf(source), {
        direction: isScreen(source) ? 'sendonly' : 'sendrecv',
        streams: [this.#stream(source)],
      });
      this.#transceivers.set(source, transceiver);
    }
  }

  /**
   * Takes the m-lines of the other side's microphone and camera for our own, between its offer
   * and our answer. Transceivers that we made for an offer which was taken back are dropped: they
   * would only become a second pair.
   * @param {RTCPeerConnection} pc
   * @param {Set<string>} receiving the `mid`s on which the other side is willing to receive
   */
  adopt(pc, receiving) {
    const used = new Set(this.#transceivers.values());
    const offered = pc.getTransceivers().filter((transceiver) => {
      const { mid, currentDirection } = transceiver;
      if (mid === null || currentDirection === 'stopped') return false;
      return receiving.has(mid) && !used.has(transceiver);
    });
    for (const source of /** @type {const} */ (['microphone', 'camera'])) {
      const own = this.#transceivers.get(source);
      if (own && own.mid !== null) continue;
      const kind = kindOf(source);
      const place = offered.find(({ receiver }) => receiver.track.kind === kind);
      if (!place) continue;
      own?.stop();
      place.direction = 'sendrecv';
      place.sender.setStreams(this.#stream(source));
      void place.sender.replaceTrack(this.#local.tracks.get(source) ?? null);
      this.#transceivers.set(source, place);
    }
  }

  /**
   * @param {RTCPeerConnection} pc
   * @param {Source} source
   */
  async changed(pc, source) {
    const transceiver = this.#transceivers.get(source);
    const track = this.#local.tracks.get(source) ?? null;
    if (transceiver && isScreen(source) && !track) {
      this.#transceivers.delete(source);
      transceiver.stop();
    } else if (transceiver) {
      await transceiver.sender.replaceTrack(track);
    } else if (this.#transceivers.size > 0) {
      this.add(pc);
    }
  }

  /** Which m-line carries what, by `mid`. @returns {Record<string, Source>} */
  lines() {
    /** @type {Record<string, Source>} */
    const lines = {};
    for (const [source, { mid }] of this.#transceivers) if (mid !== null) lines[mid] = source;
    return lines;
  }

  /** @param {number} bitsPerSecond */
  async limitCamera(bitsPerSecond) {
    const sender = this.#transceivers.get('camera')?.sender;
    const parameters = sender?.getParameters();
    const encoding = parameters?.encodings?.[0];
    if (!sender || !parameters || !encoding || encoding.maxBitrate === bitsPerSecond) return;
    encoding.maxBitrate = bitsPerSecond;
    await sender.setParameters(parameters);
  }

  /** @param {Source} source */
  #stream(source) {
    return isScreen(source) ? this.#local.screen : this.#local.face;
  }
}
