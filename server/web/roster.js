// @ts-check
// Who is in the room. Snapshots of the server and its news come in; who came and who went comes out, where
// "went" waits for a grace: old web clients leave and join again within milliseconds whenever
// their user toggles the microphone, and after an outage everybody returns in their own time.

import { LOST_GRACE_MS, ROSTER_GRACE_AFTER_RECONNECT_MS, ROSTER_GRACE_MS } from './limits.js';

/** @typedef {import('./wire.js').Member} Member */

/**
 * @typedef {{ type: 'joined', member: Member }
 *   | { type: 'left', member: Member }
 *   | { type: 'roster', members: Member[] }
 * } RosterEvent `roster` comes last: after the first snapshot, and when anything has changed
 */

export class Roster {
  #self;
  #timers;
  #isAlive;
  #onEvent;

  /** Everybody but us. @type {Map<string, Member>} */
  #members = new Map();
  /** Who is missing from the newest snapshot: until when, and the timer.
   * @type {Map<string, { since: number, timer: unknown }>} */
  #missing = new Map();
  #linked = true;
  #returnedAt = -Infinity;
  #begun = false;

  /**
   * @param {{ self: string, timers: import('./timers.js').Timers,
   *   isAlive: (id: string) => boolean, onEvent: (event: RosterEvent) => void }} options
   *   `isAlive`: whether the connection to that peer stands although the server does not list it
   */
  constructor({ self, timers, isAlive, onEvent }) {
    this.#self = self;
    this.#timers = timers;
    this.#isAlive = isAlive;
    this.#onEvent = onEvent;
  }

  /** Everybody but us, in the server's order. */
  get members() {
    return [...this.#members.values()];
  }

  /** @param {string} id */
  has(id) {
    return this.#members.has(id);
  }

  /** Our own link to the server is broken. What its last snapshots said may be nothing but its
   * way of going down: it closes one socket after another. */
  lost() {
    this.#linked = false;
  }

  /** The link is back. */
  returned() {
    this.#linked = true;
    this.#returnedAt = this.#timers.now();
  }

  /** @param {Member[]} users a snapshot, us included */
  update(users) {
    let changed = !this.#begun;
    this.#begun = true;
    const present = new Set(users.map(({ id }) => id));
    for (const member of users) {
      if (member.id !== this.#self && this.#meet(member)) changed = true;
    }
    for (const { id } of this.#members.values()) {
      if (present.has(id) || this.#missing.has(id)) continue;
      this.#wait(id, this.#timers.now(), -Infinity);
    }
    if (changed) this.#onEvent({ type: 'roster', members: this.members });
  }

  /** Somebody came, or has another name. @param {Member} member */
  joined(member) {
    if (member.id === this.#self) return;
    if (this.#meet(member)) this.#onEvent({ type: 'roster', members: this.members });
  }

  /**
   * Somebody went.
   * @param {{ user: string, lost: boolean }} of `lost`: not of their own will
   */
  left({ user, lost }) {
    if (!this.#members.has(user) || this.#missing.has(user)) return;
    const now = this.#timers.now();
    this.#wait(user, now, lost ? now + LOST_GRACE_MS : -Infinity);
  }

  /** A peer's connection has ended: whoever is missing and only waited for that is gone.
   * @param {string} id */
  connectionLost(id) {
    const missing = this.#missing.get(id);
    if (missing && this.#timers.now() - missing.since >= ROSTER_GRACE_MS) this.#remove(id);
  }

  close() {
    for (const { timer } of this.#missing.values()) this.#timers.clear(timer);
    this.#missing.clear();
    this.#members.clear();
  }

  /** @param {Member} member who is here @returns {boolean} whether that is news */
  #meet(member) {
    this.#timers.clear(this.#missing.get(member.id)?.timer);
    this.#missing.delete(member.id);
    const known = this.#members.get(member.id);
    if (known?.name === member.name) return false;
    this.#members.set(member.id, member);
    if (!known) this.#onEvent({ type: 'joined', member });
    return true;
  }

  /**
   * @param {string} id
   * @param {number} since
   * @param {number} until a living connection counts for more than the server's word
   */
  #wait(id, since, until) {
    const timer = this.#timers.set(ROSTER_GRACE_MS, () => {
      const end = this.#returnedAt + ROSTER_GRACE_AFTER_RECONNECT_MS;
      const patient = !this.#linked || this.#timers.now() < Math.max(end, until);
      if (patient && this.#isAlive(id)) this.#wait(id, since, until);
      else this.#remove(id);
    });
    this.#missing.set(id, { since, timer });
  }

  /** @param {string} id */
  #remove(id) {
    this.#timers.clear(this.#missing.get(id)?.timer);
    this.#missing.delete(id);
    const member = this.#members.get(id);
    if (!member) return;
    this.#members.delete(id);
    this.#onEvent({ type: 'left', member });
    this.#onEvent({ type: 'roster', members: this.members });
  }
}
