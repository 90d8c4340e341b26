// @ts-check
// One peer: its connection, and a new one when the old is beyond help. The lower id is impolite
// and creates the data channel; the higher one is polite. Everything that happens goes through one
// queue, one step after another.

import { Alarms } from './alarms.js';
import { Negotiation } from './negotiation.js';
import { RemoteTracks } from './remote-tracks.js';
import { endOf } from './sdp.js';
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
 *   | { type: 'lines', lines: Record<string, Source> }
 *   | { type: 'trouble', what: string }
 * } PeerEvent `lines`: what we send on which m-line, whenever that has changed; `trouble` is for the console: names no person and no address
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
  #senders;
  #tracks;
  /** @type {Alarms<'connect' | 'recover'>} */
  #alarms;
  /** @type {RTCPeerConnection} */
  #pc;
  /** @type {Negotiation} */
  #negotiation;

  #closed = false;
  #queue = Promise.resolve();
  #queued = 0;
  /** Which end the remote description is of; another one is another connection.
   * @type {string | null} */
  #remoteEnd = null;
  #restarts = 0;
  #everConnected = false;
  /** @type {PeerState} */
  #state = 'connecting';
  /** What was told about our m-lines. */
  #lines = '{}';

  /** @param {PeerOptions} options */
  constructor(options) {
    this.#o = options;
    this.#polite = compareIds(options.self, options.id) > 0;
    this.#alarms = new Alarms(options.timers);
    this.#senders = new Senders({ local: options.local });
    this.#tracks = new RemoteTracks({ onEvent: (event) => options.onEvent(event) });
    this.#pc = this.#create();
    this.#negotiation = this.#negotiate();
  }

  get id() {
    return this.#o.id;
  }

  get state() {
    return this.#state;
  }

  /** Begins: the impolite side offers at once, the polite one waits for that offer. */
  open() {
    this.#prepare();
    this.#negotiation.begin(this.#polite ? FIRST_OFFER_MS : 0);
  }

  /** @param {Signal} signal from that peer, in the order in which it arrived */
  handle(signal) {
    this.#run(() => {
      if (signal.type === 'webrtc.offer') return this.#offered(signal.sdp);
      if (signal.type === 'webrtc.answer') return this.#answered(signal.sdp);
      return this.#negotiation.candidate(signal.candidate);
    });
  }

  /** Our track of that source has changed; `local` already knows.
   * @param {Source} source */
  trackChanged(source) {
    this.#run(() => this.#senders.changed(this.#pc, source));
  }

  /** What the peer says that its m-lines carry.
   * @param {Map<string, Source>} lines */
  learnLines(lines) {
    this.#run(() => this.#tracks.learn(lines, this.#pc));
  }

  /** Newer STUN and TURN servers: for the next search of a path; what flows goes on.
   * @param {RTCIceServer[]} iceServers */
  setIceServers(iceServers) {
    this.#run(() => this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers }));
  }

  /** The link to the server is back: what could not be said meanwhile is said now. */
  linkRestored() {
    this.#run(() => {
      if (this.#pc.connectionState === 'failed') this.#recover();
      return this.#negotiation.repeat();
    });
  }

  /** @param {number} bitsPerSecond for our camera, towards this peer */
  limitCamera(bitsPerSecond) {
    this.#run(() => this.#senders.limitCamera(bitsPerSecond));
  }

  /** Statistics of what arrives; `null` while nothing can. */
  async reports() {
    if (this.#closed || this.#pc.connectionState !== 'connected') return null;
    return [...(await this.#pc.getStats()).values()];
  }

  /** What it has announced. */
  tracks() {
    return this.#tracks.shown();
  }

  close() {
    if (this.#closed) return;
    this.#discard();
    this.#closed = true;
  }

  #create() {
    const pc = this.#o.createConnection();
    const current = () => pc === this.#pc && !this.#closed;
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

  #negotiate() {
    const pc = this.#pc;
    const { timers, send } = this.#o;
    return new Negotiation({
      pc,
      polite: this.#polite,
      senders: this.#senders,
      timers,
      send: (type, sdp) => {
        send({ type, data: { sdp, to: this.id } });
        this.#tellLines();
      },
      run: (step) => this.#run(() => (pc === this.#pc ? step() : undefined)),
      onSettled: () => {
        this.#tracks.settle(pc);
        this.#tellLines();
      },
      onMisfit: () => this.#run(() => this.#renew()),
    });
  }

  #tellLines() {
    const lines = this.#senders.lines();
    const text = JSON.stringify(lines);
    if (text === this.#lines) return;
    this.#lines = text;
    this.#o.onEvent({ type: 'lines', lines });
  }

  #prepare() {
    this.#alarms.set('connect', CONNECT_MS, () => {
      if (this.#pc.connectionState !== 'connected') this.#become('failed');
    });
    if (this.#polite) return;
    this.#channel(this.#pc.createDataChannel(this.#o.label, { ordered: true }));
  }

  /** @param {string} sdp */
  async #offered(sdp) {
    const end = endOf(sdp);
    if (end === null) throw new Error('an offer without a certificate');
    if (this.#remoteEnd !== null && end !== this.#remoteEnd) {
      this.#reset(); // the other side has made its end anew; so do we, and answer
      this.#negotiation.begin(FIRST_OFFER_MS);
    }
    await this.#negotiation.offered(sdp);
    this.#remember();
  }

  /** @param {string} sdp */
  async #answered(sdp) {
    await this.#negotiation.answered(sdp);
    this.#remember();
  }

  #remember() {
    this.#remoteEnd = endOf(this.#pc.remoteDescription?.sdp ?? '');
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

  #connectionChanged() {
    switch (this.#pc.connectionState) {
      case 'connected':
        this.#restarts = 0;
        this.#everConnected = true;
        this.#alarms.stopAll();
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

  /** A new connection in place of this one. Its offer shows the other side a new end, so that it
   * begins anew, too. */
  #renew() {
    this.#reset();
    this.#become(this.#everConnected ? 'reconnecting' : 'connecting');
    this.#negotiation.begin(0);
  }

  #reset() {
    this.#discard();
    this.#remoteEnd = null;
    this.#lines = '{}';
    this.#pc = this.#create();
    this.#negotiation = this.#negotiate();
    this.#prepare();
  }

  #discard() {
    this.#alarms.stopAll();
    this.#negotiation.close();
    this.#senders.forget();
    this.#pc.close();
    this.#tracks.clear();
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
