// @ts-check
// Short sentences above the tiles that go away by themselves.

import { el, icon } from './dom.js';

const SHOWN_MS = 10_000;
/** Sentences at once; the oldest makes place. */
const AT_ONCE = 3;

export class Notices {
  #box;

  /** @param {HTMLElement} box */
  constructor(box) {
    this.#box = box;
  }

  /** @param {string} text @param {string} [drawing] */
  say(text, drawing = 'warning') {
    for (const card of this.#box.children) {
      if (card.querySelector('p')?.textContent === text) card.remove();
    }
    const close = el('button', { className: 'icon-button' }, icon('close'));
    close.type = 'button';
    close.setAttribute('aria-label', 'Dismiss');
    const card = el('div', { className: 'notice-card' }, icon(drawing), el('p', { text }), close);
    close.addEventListener('click', () => card.remove());
    this.#box.append(card);
    while (this.#box.children.length > AT_ONCE) this.#box.firstElementChild?.remove();
    setTimeout(() => card.remove(), SHOWN_MS);
  }

  clear() {
    this.#box.replaceChildren();
  }
}
