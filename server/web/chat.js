// @ts-check
// Our own chat messages on their way: sending, sent (their echo came back), failed. And what may
// be typed at all.

import { CHAT_TEXT_UNITS, ECHO_TIMEOUT_MS, WIRE_TEXT_UNITS } from './limits.js';

/** @typedef {'sending' | 'sent' | 'failed'} SendState */

/**
 * Whether a text can be sent; counted as the protocol counts, in UTF-16 units.
 * @param {{ text: string, wireUnits: (text: string) => number }} of
 * @returns {{ ok: boolean, left: number, problem: string | null }} `left` units of what is typed
 */
export function checkText({ text, wireUnits }) {
  const left = CHAT_TEXT_UNITS - text.length;
  if (text.trim() === '') return { ok: false, left, problem: null };
  if (left < 0) {
    const problem = `Too long by ${-left} ${left === -1 ? 'character' : 'characters'}.`;
    return { ok: false, left, problem };
  }
  const over = wireUnits(text) - WIRE_TEXT_UNITS;
  if (over > 0) {
    // Four units of base64 carry three bytes; a long text of such characters takes three each.
    const characters = Math.ceil((over * 3) / 4 / 3);
    return { ok: false, left, problem: `Too long once encrypted; leave out about ${characters}.` };
  }
  return { ok: true, left, problem: null };
}

/** @typedef {{ id: string, text: string, wire: string | null, state: SendState, timer: unknown }} Entry */

/** Messages that are remembered for a late echo or a retry; older ones are forgotten. */
const REMEMBERED = 200;

export class Outbox {
  #timers;
  #seal;
  #transmit;
  #onState;
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  #queue = Promise.resolve();
  #count = 0;

  /**
   * @param {{ timers: import('./timers.js').Timers, seal: (text: string) => Promise<string>,
   *   transmit: (wire: string) => boolean,
   *   onState: (change: { id: string, state: SendState, why: string | null }) => void }} options
   *   `transmit` is false while the server is away
   */
  constructor({ timers, seal, transmit, onState }) {
    this.#timers = timers;
    this.#seal = seal;
    this.#transmit = transmit;
    this.#onState = onState;
  }

  /** @param {string} text @returns {string} the entry's id */
  send(text) {
    this.#count += 1;
    const id = `own-${this.#count}`;
    this.#entries.set(id, { id, text, wire: null, state: 'sending', timer: null });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > REMEMBERED && oldest !== undefined) this.#entries.delete(oldest);
    this.#try(id);
    return id;
  }

  /** @param {string} id of one that has failed */
  retry(id) {
    const entry = this.#entries.get(id);
    if (entry?.state !== 'failed') return;
    this.#become(entry, 'sending');
    this.#try(id);
  }

  /**
   * Our own message has come back.
   * @param {string} wire
   * @returns {boolean} whether it is one of these
   */
  echoed(wire) {
    for (const entry of this.#entries.values()) {
      if (entry.wire !== wire) continue;
      if (entry.state !== 'sent') this.#become(entry, 'sent');
      return true;
    }
    return false;
  }

  /** The server refused a message; it does not say which, so it is the oldest under way.
   * @param {string} why */
  refused(why) {
    for (const entry of this.#entries.values()) {
      if (entry.state === 'sending') return this.#become(entry, 'failed', why);
    }
  }

  /** The link is back: what is still under way is sent again, unless it has arrived. */
  linkRestored() {
    for (const { id, state, wire } of this.#entries.values()) {
      if (state === 'sending' && wire === null) this.#try(id);
    }
  }

  close() {
    for (const { timer } of this.#entries.values()) this.#timers.clear(timer);
    this.#entries.clear();
  }

  /** @param {string} id */
  #try(id) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#timers.clear(entry.timer);
    entry.timer = this.#timers.set(ECHO_TIMEOUT_MS, () => {
      if (entry.state === 'sending') this.#become(entry, 'failed', 'The server did not confirm it.');
    });
    // One after another, so that messages keep their order.
    this.#queue = this.#queue.then(async () => {
      if (entry.state !== 'sending') return;
      try {
        const wire = await this.#seal(entry.text);
        if (entry.state === 'sending') entry.wire = this.#transmit(wire) ? wire : null;
      } catch {
        this.#become(entry, 'failed', 'It could not be encrypted.');
      }
    });
  }

  /**
   * @param {Entry} entry
   * @param {SendState} state
   * @param {string | null} [why]
   */
  #become(entry, state, why = null) {
    entry.state = state;
    if (state !== 'sending') this.#timers.clear(entry.timer);
    this.#onState({ id: entry.id, state, why });
  }
}
