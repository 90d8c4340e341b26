// @ts-check
// Offers and answers over one connection: perfect negotiation, with the patience that old clients
// need. Where two offers cross, the impolite side's stands and the polite side takes its own back.
// Whoever calls does so one step after another.

import { Alarms } from './alarms.js';
import { parseCandidate, receivingMids } from './sdp.js';

/**
 * @typedef {object} NegotiationOptions
 * @property {RTCPeerConnection} pc
 * @property {boolean} polite
 * @property {import('./senders.js').Senders} senders
 * @property {import('./timers.js').Timers} timers
 * @property {(type: 'webrtc.offer' | 'webrtc.answer', sdp: string) => void} send
 * @property {(step: () => unknown) => void} run puts a step into the peer's queue
 * @property {() => void} onSettled a round of offer and answer has ended
 * @property {() => void} onMisfit the two ends have lost each other
 */

/** An offer that follows an answer sooner than this is one that old clients may never answer. */
const QUIET_AFTER_ANSWER_MS = 500;
/** An offer without an answer is sent again, as it is: whichever answer comes first then fits. The
 * pause doubles up to the longest. */
const UNANSWERED_MS = 2_500;
const LONGEST_UNANSWERED_MS = 10_000;
/** Descriptions in a row that do not fit before the connection is given up. */
const MISFITS = 2;
/** Candidates that are kept until there is a description to add them to. */
const WAITING_CANDIDATES = 200;

export class Negotiation {
  #o;
  #pc;
  /** @type {Alarms<'first' | 'offer' | 'answer'>} */
  #alarms;
  #wantsOffer = false;
  /** Before this moment we do not offer. */
  #notBefore = Infinity;
  #unansweredMs = UNANSWERED_MS;
  #misfits = 0;
  /** The newest offer that we answered, and our answer: a copy gets the same. */
  #replied = { offer: '', answer: '' };
  /** The newest answer that fitted: its copies fit nothing else. */
  #accepted = '';
  /** @type {RTCIceCandidateInit[]} */
  #candidates = [];

  /** @param {NegotiationOptions} options */
  constructor(options) {
    this.#o = options;
    this.#pc = options.pc;
    this.#alarms = new Alarms(options.timers);
    this.#pc.onnegotiationneeded = () => {
      this.#wantsOffer = true;
      options.run(() => this.#offer());
    };
  }

  /** @param {number} wait for the other side's offer, before we make our own */
  begin(wait) {
    const speak = () => {
      this.#notBefore = Math.min(this.#notBefore, this.#o.timers.now());
      this.#o.senders.add(this.#pc);
      return this.#offer();
    };
    if (wait === 0) this.#o.run(speak);
    else this.#alarms.set('first', wait, () => this.#o.run(speak));
  }

  /** @param {string} sdp */
  async offered(sdp) {
    const pc = this.#pc;
    if (sdp === this.#replied.offer) return this.#o.send('webrtc.answer', this.#replied.answer);
    if (pc.signalingState === 'have-local-offer') {
      if (!this.#o.polite) return; // ours stands; the other side takes its own back
      this.#alarms.stop('answer');
      // What ours said is still to be said: the browser tells when that is possible.
      await pc.setLocalDescription({ type: 'rollback' });
    }
    await this.#accept({ type: 'offer', sdp });
    this.#alarms.stop('first');
    this.#o.senders.adopt(pc, receivingMids(sdp));
    await pc.setLocalDescription();
    this.#replied = { offer: sdp, answer: this.#sendDescription() };
    this.#settled();
    this.#o.senders.add(pc); // what the offer had no place for; offered after the quiet time
  }

  /** @param {string} sdp */
  async answered(sdp) {
    if (this.#pc.signalingState !== 'have-local-offer') return; // the second one to an offer
    if (sdp === this.#accepted) return; // so late that the next offer is out already
    await this.#accept({ type: 'answer', sdp });
    this.#accepted = sdp;
    this.#alarms.stop('answer');
    const repeated = this.#unansweredMs !== UNANSWERED_MS;
    this.#unansweredMs = UNANSWERED_MS;
    // An old client answers each copy of an offer anew: let all those answers come first.
    this.#settled(repeated ? UNANSWERED_MS : QUIET_AFTER_ANSWER_MS);
  }

  /** @param {string} json */
  async candidate(json) {
    const candidate = parseCandidate(json);
    if (candidate === null) return;
    if (this.#pc.remoteDescription !== null) await this.#addCandidate(candidate);
    else if (this.#candidates.length < WAITING_CANDIDATES) this.#candidates.push(candidate);
  }

  /** Says again what may not have arrived: the link to the server is back. */
  async repeat() {
    if (this.#pc.signalingState === 'have-local-offer') this.#unanswered();
    else await this.#offer();
  }

  close() {
    this.#alarms.stopAll();
    this.#pc.onnegotiationneeded = null;
  }

  async #offer() {
    const pc = this.#pc;
    if (!this.#wantsOffer || pc.signalingState !== 'stable') return;
    const wait = this.#notBefore - this.#o.timers.now();
    if (wait > 0) {
      if (wait < Infinity) this.#alarms.set('offer', wait, () => this.#o.run(() => this.#offer()));
      return;
    }
    this.#wantsOffer = false;
    await pc.setLocalDescription();
    this.#sendDescription();
    this.#expectAnswer();
  }

  #unanswered() {
    if (this.#pc.signalingState !== 'have-local-offer') return;
    this.#sendDescription();
    this.#unansweredMs = Math.min(this.#unansweredMs * 2, LONGEST_UNANSWERED_MS);
    this.#expectAnswer();
  }

  #expectAnswer() {
    this.#alarms.set('answer', this.#unansweredMs, () => this.#unanswered());
  }

  #settled(quiet = QUIET_AFTER_ANSWER_MS) {
    this.#notBefore = this.#o.timers.now() + quiet;
    this.#o.onSettled();
    this.#o.run(() => this.#offer());
  }

  /** @param {RTCSessionDescriptionInit} description of the other side; one that does not fit is
   *   thrown away */
  async #accept(description) {
    try {
      await this.#pc.setRemoteDescription(description);
    } catch (error) {
      this.#misfits += 1;
      if (this.#misfits >= MISFITS) this.#o.onMisfit();
      throw error;
    }
    this.#misfits = 0;
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
    this.#o.send(type === 'offer' ? 'webrtc.offer' : 'webrtc.answer', sdp);
    return sdp;
  }
}
