// @ts-check
// The messages as they are shown.

import { button, el, hueOf, icon } from './dom.js';

/** @typedef {import('./seal.js').Protection} Protection */

/** Messages of one person within this time stand under one name. */
const GROUP_MS = 120_000;
/** Lines that are kept; the oldest go, with their pictures. */
const KEPT_LINES = 1_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** A line of the log that is kept up to date.
 * @typedef {{ line: HTMLLIElement, bubble: HTMLElement, mark: HTMLElement }} Line */

export class ChatLog {
  #list;
  #onRetry;
  #onUnread;
  /** By the id that the call gave. @type {Map<string, Line>} */
  #lines = new Map();
  #last = { from: '', at: 0 };

  /**
   * @param {{ list: HTMLElement, onRetry: (id: string) => void, onUnread: () => void }} options
   *   `onUnread`: something of somebody else was added
   */
  constructor({ list, onRetry, onUnread }) {
    this.#list = list;
    this.#onRetry = onRetry;
    this.#onUnread = onUnread;
    new ResizeObserver(() => {
      if (this.#following) this.#toEnd();
    }).observe(list);
    list.addEventListener('scroll', () => {
      this.#following = list.scrollHeight - list.scrollTop - list.clientHeight < 48;
    });
  }

  /** Whether the end of the log is in view, and stays there. */
  #following = true;

  /** Our own message, on its way.
   * @param {{ id: string, from: string, name: string, text: string }} of */
  addOwn({ id, from, name, text }) {
    const bubble = el('div', { className: 'bubble' }, el('span', { className: 'text', text }));
    const line = this.#message({ from, name, own: true, state: 'sending', bubble });
    this.#lines.set(id, line);
    this.#following = true;
    this.#toEnd();
  }

  /** @param {{ id: string, state: import('./chat.js').SendState, why: string | null }} of */
  setState({ id, state, why }) {
    const line = this.#lines.get(id);
    if (!line) return;
    line.line.dataset.state = state;
    this.mark(line, state === 'failed' ? { text: `Not sent. ${why ?? ''}`.trim(), level: 'danger' } : null);
    if (state === 'failed') {
      const retry = () => this.#onRetry(id);
      line.mark.append(button({ text: 'Try again', className: 'text-button', onClick: retry }));
    }
    if (this.#following) this.#toEnd();
  }

  /**
   * @param {{ from: string, name: string, own: boolean, text: string, protection: Protection }} of
   */
  addReceived({ from, name, own, text, protection }) {
    const bubble = el('div', { className: 'bubble' }, el('span', { className: 'text', text }));
    const line = this.#message({ from, name, own, state: own ? 'sent' : 'received', bubble });
    line.line.dataset.protection = protection;
    if (protection === 'plain') this.mark(line, { text: 'not encrypted', level: 'warning' });
  }

  /** @param {{ from: string, name: string, why: string }} of */
  addUnreadable({ from, name, why }) {
    const text = el('span', { className: 'text', text: 'protected message' });
    const bubble = el('div', { className: 'bubble' }, icon('lock'), text);
    const line = this.#message({ from, name, own: false, state: 'unreadable', bubble });
    this.mark(line, { text: `${name} wrote it; ${why}.`, level: 'muted' });
  }

  /**
   * A line that its owner fills and updates, such as an image.
   * @param {{ from: string, name: string, own: boolean, state: string, bubble: HTMLElement }} of
   * @returns {Line}
   */
  addCustom(of) {
    if (of.own) this.#following = true;
    return this.#message(of);
  }

  /** Something that happened, such as "Anna joined".
   * @param {string} text */
  addEvent(text) {
    this.#append(el('li', { className: 'event', text }));
    this.#last = { from: '', at: 0 };
  }

  /** @param {Line} line @param {{ text: string, level: 'muted' | 'warning' | 'danger' } | null} said */
  mark({ mark }, said) {
    mark.replaceChildren();
    mark.hidden = said === null;
    if (said === null) return;
    mark.className = `mark ${said.level}`;
    if (said.level !== 'muted') mark.append(icon('warning', 'small'));
    mark.append(el('span', { text: said.text }));
  }

  /** Something has changed its height. */
  settle() {
    if (this.#following) this.#toEnd();
  }

  clear() {
    for (const image of this.#list.querySelectorAll('img')) URL.revokeObjectURL(image.src);
    this.#list.replaceChildren();
    this.#lines.clear();
    this.#last = { from: '', at: 0 };
    this.#following = true;
  }

  /**
   * @param {{ from: string, name: string, own: boolean, state: string, bubble: HTMLElement }} of
   * @returns {Line}
   */
  #message({ from, name, own, state, bubble }) {
    const now = Date.now();
    const follows = this.#last.from === from && now - this.#last.at < GROUP_MS;
    this.#last = { from, at: now };
    const time = el('time', { text: clock.format(now) });
    time.dateTime = new Date(now).toISOString();
    const space = document.createTextNode(' ');
    const by = el('div', { className: 'by' }, ...(own ? [] : [el('b', { text: name }), space]), time);
    const mark = el('div', { className: 'mark' });
    mark.hidden = true;
    const className = ['message', hueOf(from), own ? 'own' : '', follows ? 'follows' : ''];
    const line = el(
      'li',
      { className: className.filter(Boolean).join(' '), data: { from, state } },
      by,
      bubble,
      mark,
    );
    line.title = new Date(now).toLocaleString();
    this.#append(line);
    if (!own) this.#onUnread();
    return { line, bubble, mark };
  }

  /** @param {HTMLLIElement} line */
  #append(line) {
    this.#list.append(line);
    while (this.#list.children.length > KEPT_LINES) {
      const oldest = this.#list.firstElementChild;
      const image = oldest?.querySelector('img');
      if (image) URL.revokeObjectURL(image.src);
      oldest?.remove();
    }
    if (this.#following) this.#toEnd();
  }

  #toEnd() {
    this.#list.scrollTop = this.#list.scrollHeight;
  }
}
