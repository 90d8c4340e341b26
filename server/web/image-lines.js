// @ts-check
// Images in the chat log: their progress, the picture itself, and who has got it.

import { button, byId, el, listNames } from './dom.js';

/** @typedef {import('./chat-log.js').Line} Line */
/** @typedef {'waiting' | 'sent' | 'proven' | { failed: string }} Result */

/**
 * @typedef {object} Shown
 * @property {Line} line
 * @property {HTMLProgressElement} progress
 * @property {string} name of the file
 * @property {Map<string, { name: string, done: number, result: Result }>} users who gets an own one
 * @property {number} total bytes
 */

/** Bytes of pictures that are kept in the log; then the oldest make place. */
const KEPT_BYTES = 96 * 1024 * 1024;

export class ImageLines {
  #log;
  #onCancel;
  /** @type {Map<string, Shown>} */
  #shown = new Map();
  /** @type {{ image: HTMLImageElement, bytes: number }[]} */
  #kept = [];

  /** @param {{ log: import('./chat-log.js').ChatLog, onCancel: (key: string) => void }} options */
  constructor({ log, onCancel }) {
    this.#log = log;
    this.#onCancel = onCancel;
  }

  /**
   * @param {{ key: string, from: string, fromName: string, name: string, mime: string,
   *   bytes: Uint8Array<ArrayBuffer>, users: { id: string, name: string }[],
   *   sha256: Promise<string> }} of
   */
  addOwn({ key, from, fromName, name, mime, bytes, users, sha256 }) {
    const shown = this.#add({ key, from, fromName, name, own: true, total: bytes.length });
    for (const user of users) {
      shown.users.set(user.id, { name: user.name, done: 0, result: 'waiting' });
    }
    const image = this.#picture(shown, { mime, bytes });
    void sha256.then((hash) => {
      image.dataset.sha256 = hash;
    });
    const cancel = () => this.#onCancel(key);
    shown.progress.after(button({ text: 'Cancel', className: 'text-button', onClick: cancel }));
    this.#draw(shown);
  }

  /** @param {import('./images.js').ImageEvent & { fromName: string }} event */
  handle(event) {
    switch (event.type) {
      case 'image-incoming': {
        const { key, from, fromName, name, size } = event;
        this.#add({ key, from, fromName, name, own: false, total: size });
        break;
      }
      case 'image-progress':
        this.#progress(event);
        break;
      case 'image': {
        const shown = this.#shown.get(event.key);
        if (!shown) return;
        this.#picture(shown, event).dataset.sha256 = event.sha256;
        this.#done(shown, 'received');
        break;
      }
      case 'image-sent':
        this.#result(event.key, event.user, event.proven ? 'proven' : 'sent');
        break;
      case 'image-failed':
        if (!this.#shown.has(event.key)) {
          this.#log.addEvent(`An image of ${event.fromName} did not arrive: ${event.why}.`);
        } else if (this.#shown.get(event.key)?.users.has(event.user)) {
          this.#result(event.key, event.user, { failed: event.why });
        } else {
          this.#incomingFailed(event.key, event.why);
        }
        break;
    }
  }

  clear() {
    this.#shown.clear();
    this.#kept = [];
  }

  /**
   * @param {{ key: string, from: string, fromName: string, name: string, own: boolean,
   *   total: number }} of
   */
  #add({ key, from, fromName, name, own, total }) {
    const progress = el('progress');
    progress.max = total;
    progress.value = 0;
    progress.setAttribute('aria-label', own ? 'Sending the image' : 'Receiving the image');
    const bubble = el(
      'div',
      { className: 'bubble framed' },
      el('span', { className: 'caption', text: `${name} · ${size(total)}` }),
      progress,
    );
    const state = own ? 'sending' : 'receiving';
    const line = this.#log.addCustom({ from, name: fromName, own, state, bubble });
    /** @type {Shown} */
    const shown = { line, progress, name, users: new Map(), total };
    this.#shown.set(key, shown);
    return shown;
  }

  /** @param {Shown} shown @param {{ mime: string, bytes: Uint8Array<ArrayBuffer> }} of */
  #picture(shown, { mime, bytes }) {
    const image = el('img');
    image.alt = shown.name;
    image.src = URL.createObjectURL(new Blob([bytes], { type: mime }));
    image.addEventListener('load', () => this.#log.settle());
    const open = el('button', { className: 'picture' }, image);
    open.type = 'button';
    open.title = 'Look at it';
    open.addEventListener('click', () => showLarge(image.src, shown.name));
    shown.line.bubble.prepend(open);
    this.#keep(image, bytes.length);
    return image;
  }

  /** @param {HTMLImageElement} image @param {number} bytes */
  #keep(image, bytes) {
    this.#kept.push({ image, bytes });
    let sum = this.#kept.reduce((total, kept) => total + kept.bytes, 0);
    while (sum > KEPT_BYTES && this.#kept.length > 1) {
      const oldest = this.#kept.shift();
      if (!oldest) return;
      sum -= oldest.bytes;
      URL.revokeObjectURL(oldest.image.src);
      oldest.image.closest('.picture')?.replaceWith(
        el('span', { className: 'caption', text: 'No longer kept, to save memory.' }),
      );
    }
  }

  /** @param {{ key: string, user: string, done: number }} of */
  #progress({ key, user, done }) {
    const shown = this.#shown.get(key);
    if (!shown) return;
    const member = shown.users.get(user);
    if (member) {
      member.done = done;
      const all = [...shown.users.values()].filter(({ result }) => result === 'waiting');
      shown.progress.value = Math.min(...all.map((waiting) => waiting.done), shown.total);
    } else {
      shown.progress.value = done;
    }
  }

  /** @param {string} key @param {string} user @param {Result} result */
  #result(key, user, result) {
    const shown = this.#shown.get(key);
    const member = shown?.users.get(user);
    if (!shown || !member || member.result === 'proven') return;
    member.result = result;
    this.#draw(shown);
  }

  /** An own image: what became of it, for each member. @param {Shown} shown */
  #draw(shown) {
    const members = [...shown.users.values()];
    if (members.length === 0) {
      this.#done(shown, 'failed');
      this.#log.mark(shown.line, { text: 'Nobody else is here to get it.', level: 'warning' });
      return;
    }
    if (members.some(({ result }) => result === 'waiting')) return;
    const failed = members.filter(({ result }) => typeof result === 'object');
    const got = members.filter(({ result }) => typeof result !== 'object');
    this.#done(shown, got.length > 0 ? 'sent' : 'failed');
    if (failed.length === 0) {
      const text = members.length === 1 ? '' : `Sent to ${listNames(got.map(({ name }) => name))}`;
      this.#log.mark(shown.line, text === '' ? null : { text, level: 'muted' });
      return;
    }
    const whys = failed.map(({ name, result }) => `${name}: ${typeof result === 'object' ? result.failed : ''}`);
    const level = got.length > 0 ? 'warning' : 'danger';
    this.#log.mark(shown.line, { text: `Not sent to ${whys.join('; ')}`, level });
  }

  /** @param {string} key @param {string} why */
  #incomingFailed(key, why) {
    const shown = this.#shown.get(key);
    if (!shown) return;
    this.#done(shown, 'failed');
    this.#log.mark(shown.line, { text: `This image did not arrive: ${why}.`, level: 'danger' });
  }

  /** @param {Shown} shown @param {'received' | 'sent' | 'failed'} state */
  #done(shown, state) {
    shown.line.line.dataset.state = state;
    shown.progress.nextElementSibling?.remove();
    shown.progress.remove();
    this.#log.settle();
  }
}

/** @param {string} src @param {string} name */
function showLarge(src, name) {
  const dialog = byId('picture-dialog', HTMLDialogElement);
  const image = byId('picture-large', HTMLImageElement);
  const save = byId('picture-save', HTMLAnchorElement);
  image.src = src;
  image.alt = name;
  save.href = src;
  save.download = name;
  dialog.showModal();
}

/** @param {number} bytes */
function size(bytes) {
  if (bytes < 1_000_000) return `${Math.max(1, Math.round(bytes / 1_000))} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
