// @ts-check
// Our own chat messages on their way: sending, sent (acknowledged, or their echo came back),
// failed. In version 2 each has an id, and is said again after a cut until it is acknowledged. And
// what may be typed at all.

import {
  AWAY_TIMEOUT_MS, CHAT_TEXT_UNITS, ECHO_TIMEOUT_MS, GATHERING_MS, WIRE_TEXT_UNITS,
} from './limits.js';

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

/**
 * @typedef {object} Entry
 * @property {string} id for the page
 * @property {string} wireId for the server
 * @property {string} text
 * @property {string | null} wire as it is sent, once it is sealed
 * @property {boolean} handed to the socket that we have
 * @property {SendState} state
 * @property {unknown} timer
 */

/** Messages that are remembered for a late echo or a retry; older ones are forgotten. */
const REMEMBERED = 200;

export class Outbox {
  #timers;
  #newId;
  #seal;
  #transmit;
  #onState;
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  #queue = Promise.resolve();
  #count = 0;
  #linked = true;
  #v2 = false;
  /** Who has to be back before anything is said again. @type {Set<string> | null} */
  #awaited = null;
  /** @type {unknown} */
  #gathering = null;

  /**
   * @param {{ timers: import('./timers.js').Timers, newId: () => string,
   *   seal: (text: string) => Promise<string>,
   *   transmit: (message: { wire: string, id: string | null }) => boolean,
   *   onState: (change: { id: string, state: SendState, why: string | null }) => void }} options
   *   `transmit` is false while the server is away
   */
  constructor({ timers, newId, seal, transmit, onState }) {
    this.#timers = timers;
    this.#newId = newId;
    this.#seal = seal;
    this.#transmit = transmit;
    this.#onState = onState;
  }

  /** @param {string} text @returns {string} the entry's id */
  send(text) {
    this.#count += 1;
    const id = `own-${this.#count}`;
    const fresh = { wire: null, handed: false, timer: null };
    this.#entries.set(id, { id, wireId: this.#newId(), text, state: 'sending', ...fresh });
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
   * @param {{ wire: string, id: string | null }} message
   * @returns {boolean} whether it is one of these
   */
  echoed({ wire, id }) {
    return this.#arrived((entry) => entry.wire === wire || entry.wireId === id);
  }

  /** The server has given a message to the room.
   * @param {string} id */
  acknowledged(id) {
    this.#arrived(({ wireId }) => wireId === id);
  }

  /** The server refused a message; without its id it is the oldest under way.
   * @param {{ why: string, id: string | null }} refusal */
  refused({ why, id }) {
    for (const entry of this.#entries.values()) {
      if (id !== null && entry.wireId !== id) continue;
      if (entry.state === 'sending') return this.#become(entry, 'failed', why);
    }
  }

  /** The link is broken. */
  linkLost() {
    if (!this.#linked) return; // another attempt has failed; the clocks run already
    this.#linked = false;
    this.#gathered();
    if (!this.#v2) return;
    for (const entry of this.#sending()) {
      entry.handed = false;
      this.#expect(entry, AWAY_TIMEOUT_MS, 'The server can’t be reached.');
    }
  }

  /**
   * The link is there, or is back: what is still under way is sent again. Where the server has
   * forgotten us, that waits until those who were here are back, too, lest they miss it.
   * @param {{ v2: boolean, resumed: boolean, members: string[] }} of `members` who were here
   */
  linkRestored({ v2, resumed, members }) {
    this.#linked = true;
    const said = this.#sending().some(({ wire }) => wire !== null);
    this.#v2 = v2;
    if (v2 && !resumed && said && members.length > 0) {
      this.#awaited = new Set(members);
      this.#gathering = this.#timers.set(GATHERING_MS, () => this.#release());
    } else {
      this.#release();
    }
  }

  /** Who is in the room now. @param {string[]} members */
  members(members) {
    for (const id of members) this.#awaited?.delete(id);
    if (this.#awaited?.size === 0) this.#release();
  }

  /** We are somebody else: what was sealed before is nobody's, and may have arrived. */
  renamed() {
    for (const entry of this.#entries.values()) {
      if (entry.state === 'sent' || entry.wire === null) continue;
      entry.wire = null;
      entry.wireId = this.#newId();
      if (entry.state === 'sending') this.#become(entry, 'failed', 'The server did not confirm it.');
    }
  }

  close() {
    this.#gathered();
    for (const { timer } of this.#entries.values()) this.#timers.clear(timer);
    this.#entries.clear();
  }

  #sending() {
    return [...this.#entries.values()].filter(({ state }) => state === 'sending');
  }

  #gathered() {
    this.#timers.clear(this.#gathering);
    this.#gathering = null;
    this.#awaited = null;
  }

  #release() {
    this.#gathered();
    for (const { id, wire } of this.#sending()) {
      if (this.#v2 || wire === null) this.#try(id);
    }
  }

  /** @param {(entry: Entry) => boolean} which */
  #arrived(which) {
    for (const entry of this.#entries.values()) {
      if (!which(entry)) continue;
      if (entry.state !== 'sent') this.#become(entry, 'sent');
      return true;
    }
    return false;
  }

  /** @param {string} id */
  #try(id) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    entry.handed = false;
    if (this.#linked || !this.#v2) {
      this.#expect(entry, ECHO_TIMEOUT_MS, 'The server did not confirm it.');
    } else {
      this.#expect(entry, AWAY_TIMEOUT_MS, 'The server can’t be reached.');
    }
    // One after another, so that messages keep their order.
    this.#queue = this.#queue.then(async () => {
      if (entry.state !== 'sending') return;
      try {
        // What may have arrived is said again word for word; in version 1 that would double it.
        const known = this.#v2 ? entry.wire : null;
        const wire = known ?? (await this.#seal(entry.text));
        const v2 = this.#v2;
        if (v2) entry.wire = wire;
        if (entry.state !== 'sending' || entry.handed || this.#awaited !== null) return;
        entry.handed = this.#transmit({ wire, id: v2 ? entry.wireId : null });
        if (!v2) entry.wire = entry.handed ? wire : null;
      } catch {
        this.#become(entry, 'failed', 'It could not be encrypted.');
      }
    });
  }

  /**
   * @param {Entry} entry
   * @param {number} ms until it counts as failed
   * @param {string} why
   */
  #expect(entry, ms, why) {
    this.#timers.clear(entry.timer);
    entry.timer = this.#timers.set(ms, () => {
      if (entry.state === 'sending') this.#become(entry, 'failed', why);
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
