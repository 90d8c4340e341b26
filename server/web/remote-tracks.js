// @ts-check
// What one peer sends to us, by source. Tracks come with a description, and go when a later
// description takes their direction away or when they end.

import { classify, kindOf, SOURCES } from './sources.js';

/** @typedef {import('./sources.js').Source} Source */

/** @typedef {{ type: 'track', source: Source, track: MediaStreamTrack }
 *   | { type: 'track-ended', source: Source }} TrackEvent */

export class RemoteTracks {
  #onEvent;
  /** @type {Map<RTCRtpTransceiver, { track: MediaStreamTrack, kind: string, stream: string | null }>} */
  #received = new Map();
  /** What the other side says that its m-lines carry, by `mid`; that goes before guesses.
   * @type {Map<string, Source>} */
  #lines = new Map();
  /** What was announced. @type {Map<Source, MediaStreamTrack>} */
  #shown = new Map();

  /** @param {{ onEvent: (event: TrackEvent) => void }} options */
  constructor({ onEvent }) {
    this.#onEvent = onEvent;
  }

  /** @param {Pick<RTCTrackEvent, 'track' | 'streams' | 'transceiver'>} event */
  add({ track, streams, transceiver }) {
    this.#received.set(transceiver, { track, kind: track.kind, stream: streams[0]?.id ?? null });
    track.addEventListener('ended', () => {
      if (this.#received.get(transceiver)?.track !== track) return;
      this.#received.delete(transceiver);
      this.#announce([...this.#received.keys()]);
    });
  }

  /** A round of negotiation has ended: directions are what they are.
   * @param {RTCPeerConnection} pc */
  settle(pc) {
    const transceivers = pc.getTransceivers();
    for (const transceiver of [...this.#received.keys()]) {
      const direction = transceiver.currentDirection;
      const receives = direction === 'sendrecv' || direction === 'recvonly';
      if (!receives || !transceivers.includes(transceiver)) this.#received.delete(transceiver);
    }
    this.#announce(transceivers);
  }

  /**
   * @param {Map<string, Source>} lines
   * @param {RTCPeerConnection} pc
   */
  learn(lines, pc) {
    this.#lines = lines;
    this.#announce(pc.getTransceivers());
  }

  clear() {
    this.#received.clear();
    this.#lines = new Map();
    this.#announce([]);
  }

  /** What was announced, by source. */
  shown() {
    return [...this.#shown];
  }

  /** @param {RTCRtpTransceiver[]} order of the m-lines */
  #announce(order) {
    const tracks = order.flatMap((transceiver) => {
      const received = this.#received.get(transceiver);
      if (!received) return [];
      const said = this.#lines.get(transceiver.mid ?? '');
      return [{ ...received, said: said && kindOf(said) === received.kind ? said : null }];
    });
    const found = classify(tracks.filter(({ said }) => said === null));
    for (const track of tracks) if (track.said) found.set(track.said, track);
    for (const source of SOURCES) {
      const before = this.#shown.get(source);
      const now = found.get(source)?.track;
      if (before === now) continue;
      if (now && now.kind === kindOf(source)) {
        this.#shown.set(source, now);
        this.#onEvent({ type: 'track', source, track: now });
      } else {
        this.#shown.delete(source);
        this.#onEvent({ type: 'track-ended', source });
      }
    }
  }
}
