// @ts-check
// One peer connection: perfect negotiation, with the patience that old clients need. The lower id
// is impolite and creates the data channel; the higher one is polite and yields when two offers
// cross. Everything that happens to a connection goes through one queue, one step after another.

import { Alarms } from './alarms.js';
import { RemoteTracks } from './remote-tracks.js';
import { certificateOf, parseCandidate, receivingMids } from './sdp.js';
import { Senders } from './senders.js';
import { compareIds } from './wire.js';

/** @typedef {import('./sources.js').Source} Source */
/** @typedef {import('./wire.js').Signal} Signal */
/** @typedef {'connecting' | 'connected' | 'reconnecting' | 'failed'} PeerState */

/**
 * @typedef {{ type: 'state', state: PeerState }
 *   | { type: 'track', source: Source, track: MediaStreamTrack }
 *   | { type: 'track-ended', source: Source }
 *   | { type: 'channel', channel: RTCDataChannel }
 *   | { type: 'channel-closed' }
 *   | { type: 'trouble', what: string }
 * } PeerEvent `trouble` is for the console: names no person and no address
 */

/**
 * @typedef {object} PeerOptions
 * @property {string} self our user id
 * @property {string} id theirs
 * @property {string} label of the data channel
 * @property {import('./senders.js').LocalMedia} local
 * @property {() => RTCPeerConnection} createConnection
 * @property {import('./timers.js').Timers} timers
 * @property {(message: import('./wire.js').Outgoing) => boolean} send false while the server is away
 * @property {(event: PeerEvent) => void} onEvent
 */

/** The polite side waits so long for the first offer before it makes its own. */
const FIRST_OFFER_MS = 2_500;
/** An offer that follows an answer sooner than this is one that old clients may never answer. */
const QUIET_AFTER_ANSWER_MS = 500;
/** An offer without an answer is taken back and made again; the pause doubles up to the longest. */
const UNANSWERED_MS = 2_500;
const LONGEST_UNANSWERED_MS = 10_000;
/** No connection by then: say so, and go on trying. */
const CONNECT_MS = 20_000;
/** The polite side restarts ICE later, so that the two restarts do not cross. */
const POLITE_RESTART_MS = 2_000;
/** ICE restarts before the connection is made anew, and how often that is tried. */
const RESTARTS = 2;
const RENEW_MS = 10_000;
/** The other side has closed its end but is still in the room: it will make a new one. */
const RENEW_AFTER_CLOSE_MS = 1_500;
/** Steps waiting in the queue; a peer that floods us loses the rest. */
const WAITING_STEPS = 1_000;

export class Peer {
  #o;
  #polite;
  /** @type {RTCPeerConnection} */
  #pc;
  #senders;
  #tracks;
  #closed = false;
  #queue = Promise.resolve();
  #queued = 0;

  #wantsOffer = false;
  #offerNotBefore = 0;
  #unansweredMs = UNANSWERED_MS;
  /** The certificate behind the remote description; another one is another connection.
   * @type {string | null} */
  #remoteCertificate = null;
  /** Candidates that came before the remote description. @type {RTCIceCandidateInit[]} */
  #candidates = [];
  #restarts = 0;
  #everConnected = false;
  /** @type {PeerState} */
  #state = 'connecting';
  /** @type {Alarms<'first' | 'offer' | 'answer' | 'connect' | 'recover'>} */
  #alarms;

  /** @param {PeerOptions} options */
  constructor(options) {
    this.#o = options;
    this.#polite = compareIds(options.self, options.id) > 0;
    this.#alarms = new Alarms(options.timers);
    this.#senders = new Senders({ local: options.local });
    this.#tracks = new RemoteTracks({ onEvent: (event) => options.onEvent(event) });
    this.#pc = this.#create();
  }

  get id() {
    return this.#o.id;
  }

  get state() {
    return this.#state;
  }

  /** Begins: the impolite side offers at once, the polite one waits for that offer. */
  open() {
    this.#alarms.set('connect', CONNECT_MS, () => {
      if (this.#pc.connectionState !== 'connected') this.#become('failed');
    });
    if (this.#polite) {
      this.#offerNotBefore = Infinity;
      this.#alarms.set('first', FIRST_OFFER_MS, () => this.#run(() => this.#begin()));
    } else {
      this.#channel(this.#pc.createDataChannel(this.#o.label, { ordered: true }));
      this.#run(() => this.#begin());
    }
  }

  /** @param {Signal} signal from that peer, in the order in which it arrived */
  handle(signal) {
    this.#run(() => {
      if (signal.type === 'webrtc.offer') return this.#offered(signal.sdp);
      if (signal.type === 'webrtc.answer') return this.#answered(signal.sdp);
      return this.#candidate(signal.candidate);
    });
  }

  /** Our track of that source has changed; `local` already knows.
   * @param {Source} source */
  trackChanged(source) {
    this.#run(() => this.#senders.changed(this.#pc, source));
  }

  /** The link to the server is back: what could not be said meanwhile is said now. */
  linkRestored() {
    this.#run(async () => {
      if (this.#pc.signalingState === 'have-local-offer') {
        await this.#takeBack();
        this.#wantsOffer = true;
      }
      if (this.#pc.connectionState === 'failed') this.#recover();
      await this.#offer();
    });
  }

  /** @param {number} bitsPerSecond for our camera, towards this peer */
  limitCamera(bitsPerSecond) {
    this.#run(() => this.#senders.limitCamera(bitsPerSecond));
  }

  /** Statistics of what arrives. */
  async samples() {
    if (this.#closed || this.#pc.connectionState !== 'connected') return null;
    return [...(await this.#pc.getStats()).values()];
  }

  /** @param {string} trackId @returns {Source | null} */
  sourceOf(trackId) {
    return this.#tracks.sourceOf(trackId);
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#discard();
    this.#tracks.clear();
  }

  #create() {
    const pc = this.#o.createConnection();
    const current = () => pc === this.#pc && !this.#closed;
    pc.onnegotiationneeded = () => {
      if (!current()) return;
      this.#wantsOffer = true;
      this.#run(() => this.#offer());
    };
    pc.onicecandidate = ({ candidate }) => {
      if (!current() || !candidate || candidate.candidate === '') return;
      const { candidate: line, sdpMid, sdpMLineIndex, usernameFragment } = candidate;
      const json = JSON.stringify({ candidate: line, sdpMid, sdpMLineIndex, usernameFragment });
      this.#o.send({ type: 'webrtc.iceCandidate', data: { candidate: json, to: this.id } });
    };
    pc.onconnectionstatechange = () => {
      if (current()) this.#connectionChanged();
    };
    pc.ontrack = (event) => {
      if (current()) this.#tracks.add(event);
    };
    pc.ondatachannel = ({ channel }) => {
      if (!current()) return;
      if (channel.label === this.#o.label) this.#channel(channel);
      else channel.close();
    };
    return pc;
  }

  /** @param {RTCDataChannel} channel */
  #channel(channel) {
    const pc = this.#pc;
    channel.binaryType = 'arraybuffer';
    this.#o.onEvent({ type: 'channel', channel });
    channel.addEventListener('close', () => {
      if (pc !== this.#pc || this.#closed) return;
      this.#o.onEvent({ type: 'channel-closed' });
      this.#become('reconnecting');
      this.#alarms.set('recover', RENEW_AFTER_CLOSE_MS, () => this.#run(() => this.#renew()));
    });
  }

  /** From here on we may offer. */
  #begin() {
    this.#alarms.stop('first');
    this.#offerNotBefore = Math.min(this.#offerNotBefore, this.#o.timers.now());
    this.#senders.add(this.#pc);
    return this.#offer();
  }

  async #offer() {
    const pc = this.#pc;
    if (!this.#wantsOffer || pc.signalingState !== 'stable') return;
    const wait = this.#offerNotBefore - this.#o.timers.now();
    if (wait === Infinity) return;
    if (wait > 0) {
      this.#alarms.set('offer', wait, () => this.#run(() => this.#offer()));
      return;
    }
    this.#wantsOffer = false;
    await pc.setLocalDescription();
    this.#sendDescription();
    this.#alarms.set('answer', this.#unansweredMs, () => this.#run(() => this.#unanswered()));
  }

  async #unanswered() {
    if (this.#pc.signalingState !== 'have-local-offer') return;
    this.#unansweredMs = Math.min(this.#unansweredMs * 2, LONGEST_UNANSWERED_MS);
    await this.#takeBack();
    this.#wantsOffer = true;
    await this.#offer();
  }

  /** Takes our offer back. What it said is still to be said: see `negotiationneeded`. */
  async #takeBack() {
    this.#alarms.stop('answer');
    await this.#pc.setLocalDescription({ type: 'rollback' });
  }

  /** @param {string} sdp */
  async #offered(sdp) {
    const certificate = certificateOf(sdp);
    if (certificate === null) throw new Error('an offer without a certificate');
    if (this.#remoteCertificate !== null && certificate !== this.#remoteCertificate) {
      this.#reset(); // the other side has made its end anew; so do we, and answer
    }
    if (this.#pc.signalingState === 'have-local-offer') {
      if (!this.#polite) return; // ours stands; the other side takes its own back
      await this.#takeBack();
    }
    const pc = this.#pc;
    await pc.setRemoteDescription({ type: 'offer', sdp });
    this.#remoteCertificate = certificate;
    await this.#flushCandidates();
    this.#alarms.stop('first');
    this.#senders.adopt(pc, receivingMids(sdp));
    await pc.setLocalDescription();
    this.#sendDescription();
    this.#settled();
    this.#senders.add(pc); // what the offer had no place for; offered after the quiet time
  }

  /** @param {string} sdp */
  async #answered(sdp) {
    const pc = this.#pc;
    if (pc.signalingState !== 'have-local-offer') return; // an answer to what was taken back
    await pc.setRemoteDescription({ type: 'answer', sdp });
    this.#alarms.stop('answer');
    this.#unansweredMs = UNANSWERED_MS;
    this.#remoteCertificate = certificateOf(sdp);
    await this.#flushCandidates();
    this.#settled();
    await this.#offer();
  }

  /** A round of negotiation has ended. */
  #settled() {
    this.#offerNotBefore = this.#o.timers.now() + QUIET_AFTER_ANSWER_MS;
    this.#tracks.settle(this.#pc);
    if (this.#wantsOffer) this.#run(() => this.#offer());
  }

  /** @param {string} json */
  async #candidate(json) {
    const candidate = parseCandidate(json);
    if (candidate === null) return;
    if (this.#pc.remoteDescription === null) {
      this.#candidates.push(candidate);
      return;
    }
    await this.#addCandidate(candidate);
  }

  async #flushCandidates() {
    const waiting = this.#candidates;
    this.#candidates = [];
    for (const candidate of waiting) await this.#addCandidate(candidate);
  }

  /** @param {RTCIceCandidateInit} candidate */
  async #addCandidate(candidate) {
    try {
      await this.#pc.addIceCandidate(candidate);
    } catch {
      // It belongs to an offer that was taken back or ignored, or is of a kind unknown here.
    }
  }

  #sendDescription() {
    const { type, sdp } = /** @type {RTCSessionDescription} */ (this.#pc.localDescription);
    const kind = type === 'offer' ? 'webrtc.offer' : 'webrtc.answer';
    this.#o.send({ type: kind, data: { sdp, to: this.id } });
  }

  #connectionChanged() {
    switch (this.#pc.connectionState) {
      case 'connected':
        this.#restarts = 0;
        this.#everConnected = true;
        this.#alarms.stop('connect');
        this.#alarms.stop('recover');
        this.#become('connected');
        break;
      case 'disconnected':
        this.#become('reconnecting');
        break;
      case 'failed':
        this.#recover();
        break;
      default:
        break;
    }
  }

  /** ICE has failed: restart it, and after some restarts begin from nothing. */
  #recover() {
    this.#restarts += 1;
    if (this.#restarts > RESTARTS) {
      this.#become('failed');
      this.#alarms.set('recover', RENEW_MS, () => this.#run(() => this.#renew()));
      return;
    }
    this.#become(this.#everConnected ? 'reconnecting' : 'connecting');
    const pc = this.#pc;
    this.#alarms.set('recover', this.#polite ? POLITE_RESTART_MS : 0, () => {
      if (pc === this.#pc && pc.connectionState === 'failed') pc.restartIce();
    });
  }

  /** A new connection in place of this one. */
  #renew() {
    this.#reset();
    this.#become(this.#everConnected ? 'reconnecting' : 'connecting');
    this.open();
  }

  #reset() {
    this.#discard();
    this.#tracks.clear();
    this.#senders.forget();
    this.#wantsOffer = false;
    this.#offerNotBefore = 0;
    this.#remoteCertificate = null;
    this.#candidates = [];
    this.#pc = this.#create();
  }

  #discard() {
    this.#alarms.stopAll();
    this.#pc.close();
    this.#o.onEvent({ type: 'channel-closed' });
  }

  /** @param {PeerState} state */
  #become(state) {
    if (this.#state === state || this.#closed) return;
    this.#state = state;
    this.#o.onEvent({ type: 'state', state });
  }

  /** @param {() => unknown} step */
  #run(step) {
    if (this.#queued >= WAITING_STEPS) return;
    this.#queued += 1;
    this.#queue = this.#queue.then(async () => {
      this.#queued -= 1;
      if (this.#closed) return;
      try {
        await step();
      } catch (error) {
        // Bad input of the other side leaves everything as it was; our own offers are repeated.
        const what = error instanceof Error ? error.name : 'unknown';
        if (!this.#closed) this.#o.onEvent({ type: 'trouble', what });
      }
    });
  }
}
