// @ts-check
// Images over the data channel, both ways, as old clients send and read them.

import { fromBase64 } from './seal.js';

const CHUNK_BYTES = 24 * 1024;
const PAUSE_ABOVE_BYTES = 2 * 1024 * 1024;

/** @param {Uint8Array<ArrayBuffer>} bytes */
async function sha256(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...hash].map((b) => b.toString(16).padStart(2, '0')).join('');
}

/** @param {RTCDataChannel} channel */
function drained(channel) {
  if (channel.bufferedAmount <= PAUSE_ABOVE_BYTES) return Promise.resolve();
  channel.bufferedAmountLowThreshold = PAUSE_ABOVE_BYTES / 2;
  return new Promise((resolve) => {
    channel.addEventListener('bufferedamountlow', () => resolve(undefined), { once: true });
  });
}

/**
 * @param {RTCDataChannel} channel
 * @param {{ name: string, mime: string, bytes: Uint8Array<ArrayBuffer>, asText?: boolean,
 *   lie?: object }} image `asText`: slices as base64 text, as old mobile clients send them; `lie`:
 *   replaces fields of the announcement
 */
export async function sendImage(channel, { name, mime, bytes, asText = false, lie = {} }) {
  const id = crypto.randomUUID();
  const totalChunks = Math.ceil(bytes.length / CHUNK_BYTES);
  const start = { id, name, mime, size: bytes.length, chunkSize: CHUNK_BYTES, totalChunks };
  channel.send(JSON.stringify({ t: 'img-start', ...start, ...lie }));
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    await drained(channel);
    const slice = bytes.slice(at, at + CHUNK_BYTES);
    if (asText) {
      const d = btoa(Array.from(slice, (b) => String.fromCharCode(b)).join(''));
      channel.send(JSON.stringify({ t: 'img-chunk', id, d }));
    } else {
      channel.send(slice);
    }
  }
  channel.send(JSON.stringify({ t: 'img-end', id }));
  return sha256(bytes);
}

/** Puts the slices of one channel together again. */
export class ImageReader {
  /** @type {any} */
  #start = null;
  /** @type {Uint8Array[]} */
  #parts = [];
  /** What it has not understood. @type {string[]} */
  strange = [];

  /** @param {(image: { name: string, mime: string, size: number, sha256: string, declared: number }) => void} onImage */
  constructor(onImage) {
    this.onImage = onImage;
  }

  /** @param {string | ArrayBuffer} data */
  async handle(data) {
    if (typeof data !== 'string') {
      if (this.#start) this.#parts.push(new Uint8Array(data));
      else this.strange.push(`a slice of ${data.byteLength} bytes without a start`);
      return;
    }
    const message = JSON.parse(data);
    if (message.t === 'img-start') {
      this.#start = message;
      this.#parts = [];
    } else if (message.t === 'img-chunk' && this.#start?.id === message.id) {
      this.#parts.push(fromBase64(message.d));
    } else if (message.t === 'img-end' && this.#start?.id === message.id) {
      const { name, mime, size: declared } = this.#start;
      const bytes = new Uint8Array(await new Blob(/** @type {BlobPart[]} */ (this.#parts)).arrayBuffer());
      this.#start = null;
      this.onImage({ name, mime, declared, size: bytes.length, sha256: await sha256(bytes) });
    } else {
      this.strange.push(data.slice(0, 200));
    }
  }
}
