// @ts-check
// Images over one data channel, as two state machines. Each direction carries one at a time:
//
//   text    {"t":"img-start","id","name","mime","size","chunkSize","totalChunks"}
//   binary  slices in order, without a header; old mobile clients send them as
//           text {"t":"img-chunk","id","d":"<base64>"}
//   text    {"t":"img-end","id"}
//
// Between clients of ours also {"t":"img-cancel","id"} and {"t":"img-done","id","sha256"}.

import {
  CHANNEL_BUFFERED_BYTES,
  IMAGE_BYTES,
  IMAGE_CHUNK_BYTES,
  IMAGE_CHUNK_BYTES_MAX,
  IMAGE_NAME_CHARS,
} from './limits.js';
import { fromBase64 } from './seal.js';

/** An arriving image of which nothing came for so long has failed. */
const STALLED_MS = 30_000;
/** A paused sender goes on when so much is left in the channel. */
const RESUME_BELOW_BYTES = CHANNEL_BUFFERED_BYTES / 4;

/**
 * @typedef {{ t: 'img-start', id: string, name: string, mime: string, size: number }
 *   | { t: 'img-chunk', id: string, bytes: Uint8Array<ArrayBuffer> }
 *   | { t: 'img-end', id: string }
 *   | { t: 'img-cancel', id: string }
 *   | { t: 'img-done', id: string, sha256: string }
 * } TransferMessage
 */

/**
 * Reads and checks one text message of the channel.
 * @param {string} text
 * @returns {TransferMessage | { t: 'refused', id: string | null, why: string } | null} `null` for
 *   what newer clients may say
 */
export function parseTransfer(text) {
  /** @type {any} */
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const { t, id } = json ?? {};
  if (typeof t !== 'string' || typeof id !== 'string' || id === '' || id.length > 128) return null;
  const refuse = (/** @type {string} */ why) => ({ t: /** @type {const} */ ('refused'), id, why });
  switch (t) {
    case 'img-start': {
      const { name, mime, size, chunkSize, totalChunks } = json;
      if (typeof name !== 'string' || typeof mime !== 'string') return refuse('it has no name');
      if (!Number.isSafeInteger(size) || size <= 0) return refuse('its size makes no sense');
      if (size > IMAGE_BYTES) return refuse('it is larger than 12 MB');
      const fits = Number.isSafeInteger(chunkSize) && chunkSize >= 1 && chunkSize <= IMAGE_CHUNK_BYTES_MAX;
      if (!fits || Math.ceil(size / chunkSize) !== totalChunks) return refuse('its parts do not add up');
      return { t, id, name: cleanName(name), mime, size };
    }
    case 'img-chunk':
      try {
        return { t, id, bytes: fromBase64(json.d) };
      } catch {
        return refuse('a part of it is damaged');
      }
    case 'img-done':
      return { t, id, sha256: typeof json.sha256 === 'string' ? json.sha256 : '' };
    case 'img-end':
    case 'img-cancel':
      return { t, id };
    default:
      return null;
  }
}

/** @param {string} name without a path and control characters */
function cleanName(name) {
  const last = name.replace(/[\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]/gu, '').split(/[\\/]/u).pop();
  return [...(last ?? '')].slice(0, IMAGE_NAME_CHARS).join('') || 'image';
}

/**
 * @typedef {{ type: 'started', id: string, name: string, size: number }
 *   | { type: 'progress', id: string, done: number, total: number }
 *   | { type: 'arrived', id: string, name: string, bytes: Uint8Array<ArrayBuffer> }
 *   | { type: 'failed', id: string, why: string }
 * } IncomingEvent
 */

/** What one peer sends to us. */
export class Incoming {
  #timers;
  #onEvent;
  /** @type {{ id: string, name: string, size: number, parts: Uint8Array<ArrayBuffer>[], done: number } | null} */
  #current = null;
  /** @type {unknown} */
  #stalled = null;

  /**
   * @param {{ timers: import('./timers.js').Timers, onEvent: (event: IncomingEvent) => void }} options
   */
  constructor({ timers, onEvent }) {
    this.#timers = timers;
    this.#onEvent = onEvent;
  }

  /** @param {NonNullable<ReturnType<typeof parseTransfer>>} message */
  message(message) {
    switch (message.t) {
      case 'img-start': {
        this.#fail('the sender began another one');
        const { id, name, size } = message;
        this.#current = { id, name, size, parts: [], done: 0 };
        this.#onEvent({ type: 'started', id, name, size });
        this.#watch();
        break;
      }
      case 'img-chunk':
        if (message.id === this.#current?.id) this.slice(message.bytes);
        break;
      case 'img-end':
        if (message.id === this.#current?.id) this.#end();
        break;
      case 'img-cancel':
        if (message.id === this.#current?.id) this.#fail('the sender cancelled it');
        break;
      case 'refused':
        if (message.id === this.#current?.id || this.#current === null) {
          const id = message.id ?? '';
          this.#current ??= { id, name: '', size: 0, parts: [], done: 0 };
        }
        this.#fail(message.why);
        break;
      default:
        break;
    }
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes the next slice; ignored when none is due */
  slice(bytes) {
    const current = this.#current;
    if (current === null) return;
    current.done += bytes.length;
    if (bytes.length > IMAGE_CHUNK_BYTES_MAX || current.done > current.size) {
      this.#fail('more came than was announced');
      return;
    }
    current.parts.push(bytes);
    this.#watch();
    const { id, done, size: total } = current;
    this.#onEvent({ type: 'progress', id, done, total });
  }

  /** The channel has closed, or we do not want it any more.
   * @param {string} why */
  stop(why) {
    this.#fail(why);
  }

  #end() {
    const current = this.#current;
    if (current === null) return;
    if (current.done !== current.size) {
      this.#fail('parts of it are missing');
      return;
    }
    const bytes = new Uint8Array(current.size);
    let at = 0;
    for (const part of current.parts) {
      bytes.set(part, at);
      at += part.length;
    }
    this.#finish();
    this.#onEvent({ type: 'arrived', id: current.id, name: current.name, bytes });
  }

  /** @param {string} why */
  #fail(why) {
    const id = this.#current?.id;
    this.#finish();
    if (id !== undefined) this.#onEvent({ type: 'failed', id, why });
  }

  #finish() {
    this.#current = null;
    this.#timers.clear(this.#stalled);
  }

  #watch() {
    this.#timers.clear(this.#stalled);
    this.#stalled = this.#timers.set(STALLED_MS, () => this.#fail('nothing more came'));
  }
}

/** @typedef {{ id: string, name: string, mime: string, bytes: Uint8Array<ArrayBuffer> }} Image */

/**
 * @typedef {{ type: 'progress', id: string, done: number, total: number }
 *   | { type: 'sent', id: string }
 *   | { type: 'delivered', id: string, sha256: string }
 *   | { type: 'failed', id: string, why: string }
 * } OutgoingEvent `delivered` comes only from clients of ours
 */

/** The part of a data channel that a sender needs.
 * @typedef {Pick<RTCDataChannel, 'readyState' | 'bufferedAmount' | 'bufferedAmountLowThreshold'
 *   | 'onbufferedamountlow' | 'send'>} Channel */

/** What we send to one peer, one image after another. */
export class Outgoing {
  #channel;
  #onEvent;
  /** @type {Image[]} */
  #queue = [];
  /** Bytes of the first image that are in the channel; -1 before it has begun. */
  #at = -1;
  #draining = false;

  /** @param {{ channel: Channel, onEvent: (event: OutgoingEvent) => void }} options */
  constructor({ channel, onEvent }) {
    this.#channel = channel;
    this.#onEvent = onEvent;
    channel.bufferedAmountLowThreshold = RESUME_BELOW_BYTES;
    channel.onbufferedamountlow = () => this.resume();
  }

  /** @param {Image} image */
  add(image) {
    this.#queue.push(image);
    this.resume();
  }

  /** @param {string} id @param {string} [why] @returns {boolean} whether it was there */
  cancel(id, why = 'cancelled') {
    const at = this.#queue.findIndex((image) => image.id === id);
    if (at < 0) return false;
    this.#queue.splice(at, 1);
    if (at === 0) {
      if (this.#at >= 0) this.#say({ t: 'img-cancel', id });
      this.#next();
    }
    this.#onEvent({ type: 'failed', id, why });
    this.resume();
    return true;
  }

  /** The channel is gone. @param {string} why */
  stop(why) {
    const lost = this.#queue;
    this.#queue = [];
    this.#next();
    for (const { id } of lost) this.#onEvent({ type: 'failed', id, why });
  }

  /** Fills the channel up to its bound; called again whenever it has drained. */
  resume() {
    const channel = this.#channel;
    const image = this.#queue[0];
    if (image === undefined || channel.readyState !== 'open') return;
    const { id, bytes } = image;
    const total = bytes.length;
    if (this.#draining) {
      if (channel.bufferedAmount > 0) return;
      this.#queue.shift();
      this.#next();
      this.#onEvent({ type: 'sent', id });
      this.resume();
      return;
    }
    if (this.#at < 0) {
      const { name, mime } = image;
      const totalChunks = Math.ceil(total / IMAGE_CHUNK_BYTES);
      const chunkSize = IMAGE_CHUNK_BYTES;
      this.#say({ t: 'img-start', id, name, mime, size: total, chunkSize, totalChunks });
      this.#at = 0;
    }
    while (this.#at < total && channel.bufferedAmount < CHANNEL_BUFFERED_BYTES) {
      const end = Math.min(this.#at + IMAGE_CHUNK_BYTES, total);
      channel.send(bytes.subarray(this.#at, end));
      this.#at = end;
    }
    const done = Math.max(0, this.#at - channel.bufferedAmount);
    this.#onEvent({ type: 'progress', id, done, total });
    if (this.#at < total) return;
    this.#say({ t: 'img-end', id });
    this.#draining = true;
    channel.bufferedAmountLowThreshold = 0;
    if (channel.bufferedAmount === 0) this.resume();
  }

  #next() {
    this.#at = -1;
    this.#draining = false;
    this.#channel.bufferedAmountLowThreshold = RESUME_BELOW_BYTES;
  }

  /** @param {Record<string, unknown>} message */
  #say(message) {
    if (this.#channel.readyState === 'open') this.#channel.send(JSON.stringify(message));
  }
}
