// @ts-check
// Images to and from everybody: one transfer for each member, with its own result.

import { IMAGE_BYTES } from './limits.js';
import { inspectPicture } from './picture.js';
import { Incoming, Outgoing, parseTransfer } from './transfer.js';

/** @typedef {import('./transfer.js').Image} Image */

/**
 * @typedef {{ type: 'image-incoming', key: string, from: string, name: string, size: number }
 *   | { type: 'image-progress', key: string, user: string, done: number, total: number }
 *   | { type: 'image', key: string, from: string, name: string, mime: string, width: number,
 *       height: number, bytes: Uint8Array<ArrayBuffer>, sha256: string }
 *   | { type: 'image-failed', key: string, user: string, why: string }
 *   | { type: 'image-sent', key: string, user: string, proven: boolean }
 * } ImageEvent `key` names the image in our log: our own id, or one made for an arriving one.
 *   `proven`: the other side has said that it has it, with the right hash
 */

/** @typedef {{ channel: RTCDataChannel, incoming: Incoming, outgoing: Outgoing }} Line */

export class Images {
  #timers;
  #onEvent;
  /** @type {Map<string, Line>} */
  #lines = new Map();
  /** Hashes of what we send, by id. @type {Map<string, string>} */
  #hashes = new Map();
  #count = 0;

  /**
   * @param {{ timers: import('./timers.js').Timers, onEvent: (event: ImageEvent) => void }} options
   */
  constructor({ timers, onEvent }) {
    this.#timers = timers;
    this.#onEvent = onEvent;
  }

  /** @param {{ user: string, channel: RTCDataChannel }} line */
  attach({ user, channel }) {
    this.detach(user);
    /** The key of the image that arrives now. */
    let key = '';
    const incoming = new Incoming({
      timers: this.#timers,
      onEvent: (event) => {
        if (event.type === 'started' || key === '') key = `${user}/${(this.#count += 1)}`;
        void this.#arriving({ user, channel, key, event });
        if (event.type === 'failed' || event.type === 'arrived') key = '';
      },
    });
    const outgoing = new Outgoing({
      channel,
      onEvent: (event) => this.#leaving({ user, event }),
    });
    this.#lines.set(user, { channel, incoming, outgoing });
    channel.addEventListener('open', () => outgoing.resume());
    channel.addEventListener('message', ({ data }) => {
      if (this.#lines.get(user)?.channel !== channel) return;
      if (data instanceof ArrayBuffer) incoming.slice(new Uint8Array(data));
      else if (typeof data === 'string') this.#said({ user, incoming, outgoing, text: data });
    });
  }

  /** @param {string} user */
  detach(user) {
    const line = this.#lines.get(user);
    if (!line) return;
    this.#lines.delete(user);
    line.incoming.stop('the connection broke');
    line.outgoing.stop('the connection broke');
  }

  /**
   * Checks an image that somebody wants to send.
   * @param {Uint8Array} bytes
   * @returns {import('./picture.js').Picture | { problem: string }}
   */
  static check(bytes) {
    if (bytes.length > IMAGE_BYTES) return { problem: 'it is larger than 12 MB' };
    return inspectPicture(bytes);
  }

  /**
   * @param {{ image: Image, users: string[] }} what `users` who gets it
   * @returns {Promise<string>} its SHA-256 in hex
   */
  async send({ image, users }) {
    const hash = await sha256(image.bytes);
    this.#hashes.set(image.id, hash);
    for (const user of users) {
      const line = this.#lines.get(user);
      if (line) line.outgoing.add(image);
      else this.#leaving({ user, event: { type: 'failed', id: image.id, why: 'not connected' } });
    }
    return hash;
  }

  /** @param {string} key of an own image */
  cancel(key) {
    for (const { outgoing } of this.#lines.values()) outgoing.cancel(key);
  }

  close() {
    for (const user of [...this.#lines.keys()]) this.detach(user);
  }

  /** @param {{ user: string, incoming: Incoming, outgoing: Outgoing, text: string }} said */
  #said({ user, incoming, outgoing, text }) {
    const message = parseTransfer(text);
    if (message === null) return;
    if (message.t === 'img-done') {
      const proven = this.#hashes.get(message.id) === message.sha256;
      if (this.#hashes.has(message.id)) {
        this.#onEvent({ type: 'image-sent', key: message.id, user, proven });
      }
    } else if (!(message.t === 'img-cancel' && outgoing.cancel(message.id, 'refused by the other side'))) {
      incoming.message(message);
    }
  }

  /**
   * @param {{ user: string, channel: RTCDataChannel, key: string,
   *   event: import('./transfer.js').IncomingEvent }} what
   */
  async #arriving({ user, channel, key, event }) {
    switch (event.type) {
      case 'started':
        this.#onEvent({ type: 'image-incoming', key, from: user, name: event.name, size: event.size });
        break;
      case 'progress':
        this.#onEvent({ type: 'image-progress', key, user, done: event.done, total: event.total });
        break;
      case 'failed':
        this.#onEvent({ type: 'image-failed', key, user, why: event.why });
        break;
      case 'arrived': {
        const { name, bytes, id } = event;
        const picture = inspectPicture(bytes);
        if ('problem' in picture) {
          this.#onEvent({ type: 'image-failed', key, user, why: picture.problem });
          return;
        }
        const hash = await sha256(bytes);
        if (channel.readyState === 'open') {
          channel.send(JSON.stringify({ t: 'img-done', id, sha256: hash }));
        }
        this.#onEvent({ type: 'image', key, from: user, name, ...picture, bytes, sha256: hash });
        break;
      }
    }
  }

  /** @param {{ user: string, event: import('./transfer.js').OutgoingEvent }} what */
  #leaving({ user, event }) {
    const key = event.id;
    switch (event.type) {
      case 'progress':
        this.#onEvent({ type: 'image-progress', key, user, done: event.done, total: event.total });
        break;
      case 'sent':
      case 'delivered':
        this.#onEvent({ type: 'image-sent', key, user, proven: event.type === 'delivered' });
        break;
      case 'failed':
        this.#onEvent({ type: 'image-failed', key, user, why: event.why });
        break;
    }
  }
}

/** @param {Uint8Array<ArrayBuffer>} bytes @returns {Promise<string>} lower-case hex */
export async function sha256(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
