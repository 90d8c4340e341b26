// @ts-check
// The list of people in the room.

import { el, hueOf, icon, initials } from './dom.js';
import { STATE_WORDS } from './tiles.js';

/** @typedef {{ row: HTMLLIElement, who: HTMLElement, state: HTMLElement, round: HTMLElement,
 *   muted: SVGElement }} Row */

export class People {
  #list;
  #count;
  /** @type {Map<string, Row>} */
  #rows = new Map();

  /** @param {{ list: HTMLElement, count: HTMLElement }} of */
  constructor({ list, count }) {
    this.#list = list;
    this.#count = count;
  }

  /** @param {{ user: string, name: string, self?: boolean }} who */
  add({ user, name, self = false }) {
    const row = this.#rows.get(user) ?? this.#create(user);
    row.who.textContent = self ? `${name} (you)` : name;
    row.round.textContent = initials(name);
    this.#counted();
  }

  /** @param {string} user */
  remove(user) {
    this.#rows.get(user)?.row.remove();
    this.#rows.delete(user);
    this.#counted();
  }

  /** @param {{ user: string, state: import('./tiles.js').TileState }} of */
  setState({ user, state }) {
    const row = this.#rows.get(user);
    if (!row) return;
    row.row.dataset.state = state;
    row.state.textContent = STATE_WORDS[state] ?? '';
  }

  /** @param {string} user @param {boolean} muted */
  setMuted(user, muted) {
    this.#rows.get(user)?.muted.toggleAttribute('hidden', !muted);
  }

  clear() {
    this.#list.replaceChildren();
    this.#rows.clear();
    this.#counted();
  }

  /** @param {string} user */
  #create(user) {
    const round = el('span', { className: `initials ${hueOf(user)}` });
    round.setAttribute('aria-hidden', 'true');
    const who = el('span', { className: 'who' });
    const state = el('span', { className: 'state' });
    const muted = icon('mic-off');
    muted.setAttribute('hidden', '');
    const row = el('li', { data: { user } }, round, who, state, muted);
    const entry = { row, who, state, round, muted };
    this.#rows.set(user, entry);
    this.#list.append(row);
    return entry;
  }

  #counted() {
    this.#count.textContent = this.#rows.size > 0 ? String(this.#rows.size) : '';
  }
}
