// @ts-check
// Chat encryption v1: AES-256-GCM under a key that PBKDF2 makes of the room's passphrase.
//
//   salt = first 16 bytes of SHA-256("salt:" + raw room)
//   key  = PBKDF2-HMAC-SHA-256(passphrase, or the raw room where it is empty; 200,000 rounds)
//   aad  = room + "|" + sender's user id          room = room prefix + raw room
//   wire = wire prefix + {"v":1,"alg":"AES-GCM","iv":base64,"content":base64}
//
// With an empty passphrase the key is the room's id, which the server knows: never call that
// encryption from end to end.

const ROUNDS = 200_000;
const IV_BYTES = 12;
const TAG_BYTES = 16;
/** Length of the JSON around the two base64 texts. */
const JSON_UNITS = '{"v":1,"alg":"AES-GCM","iv":"","content":""}'.length;

const utf8 = new TextEncoder();

/** How an opened message was protected: by the passphrase, by the room's id alone, or not at all.
 * @typedef {'sealed' | 'room-key-only' | 'plain'} Protection */

/** @typedef {{ readable: true, text: string, protection: Protection }
 *   | { readable: false, why: string }} Opened */

/** Why a text with the wire prefix does not open. */
class Unreadable extends Error {}

/**
 * The key and salt of a room. Takes about a tenth of a second, off the page's thread.
 * @param {{ rawRoom: string, passphrase: string, extractable?: boolean }} of
 */
export async function deriveKey({ rawRoom, passphrase, extractable = false }) {
  const digest = await crypto.subtle.digest('SHA-256', utf8.encode(`salt:${rawRoom}`));
  const salt = new Uint8Array(digest).slice(0, 16);
  const secret = utf8.encode(passphrase === '' ? rawRoom : passphrase);
  const base = await crypto.subtle.importKey('raw', secret, 'PBKDF2', false, ['deriveKey']);
  const key = await crypto.subtle.deriveKey(
    { name: 'PBKDF2', hash: 'SHA-256', salt, iterations: ROUNDS },
    base,
    { name: 'AES-GCM', length: 256 },
    extractable,
    ['encrypt', 'decrypt'],
  );
  return { key, salt };
}

/** Seals and opens the chat of one room. */
export class Seal {
  #key;
  #room;
  #wirePrefix;

  /** Whether the key comes from a passphrase, and not just from the room's id. */
  hasPassphrase;

  /**
   * @param {{ key: CryptoKey, room: string, wirePrefix: string, hasPassphrase: boolean }} parts
   *   `room` with its prefix, as it crosses the wire
   */
  constructor({ key, room, wirePrefix, hasPassphrase }) {
    this.#key = key;
    this.#room = room;
    this.#wirePrefix = wirePrefix;
    this.hasPassphrase = hasPassphrase;
  }

  /**
   * @param {{ rawRoom: string, roomPrefix: string, wirePrefix: string, passphrase: string }} of
   *   `rawRoom` already trimmed
   */
  static async create({ rawRoom, roomPrefix, wirePrefix, passphrase }) {
    const { key } = await deriveKey({ rawRoom, passphrase });
    const room = roomPrefix + rawRoom;
    return new Seal({ key, room, wirePrefix, hasPassphrase: passphrase !== '' });
  }

  /**
   * @param {{ user: string, text: string, iv?: Uint8Array<ArrayBuffer> }} what `user` is the
   *   sender; `iv` only for tests, otherwise random
   * @returns {Promise<string>} what crosses the wire
   */
  async seal({ user, text, iv = crypto.getRandomValues(new Uint8Array(IV_BYTES)) }) {
    const algorithm = { name: 'AES-GCM', iv, additionalData: this.#aad(user) };
    const content = await crypto.subtle.encrypt(algorithm, this.#key, utf8.encode(text));
    const sealed = {
      v: 1,
      alg: 'AES-GCM',
      iv: toBase64(iv),
      content: toBase64(new Uint8Array(content)),
    };
    return this.#wirePrefix + JSON.stringify(sealed);
  }

  /**
   * @param {{ from: string, message: string }} received as it came, `from` set by the server
   * @returns {Promise<Opened>}
   */
  async open({ from, message }) {
    if (!message.startsWith(this.#wirePrefix)) {
      return { readable: true, text: message, protection: 'plain' };
    }
    try {
      const { iv, content } = parseSealed(message.slice(this.#wirePrefix.length));
      const algorithm = { name: 'AES-GCM', iv, additionalData: this.#aad(from) };
      const opened = await crypto.subtle.decrypt(algorithm, this.#key, content).catch(() => {
        throw new Unreadable('it was sealed with another passphrase');
      });
      const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(opened);
      const protection = this.hasPassphrase ? 'sealed' : 'room-key-only';
      return { readable: true, text, protection };
    } catch (error) {
      return { readable: false, why: error instanceof Unreadable ? error.message : 'it is damaged' };
    }
  }

  /**
   * Length of the wire text of `text`, in UTF-16 units, known without sealing it.
   * @param {string} text
   */
  wireUnits(text) {
    const content = base64Units(utf8.encode(text).length + TAG_BYTES);
    return this.#wirePrefix.length + JSON_UNITS + base64Units(IV_BYTES) + content;
  }

  /** @param {string} user */
  #aad(user) {
    return utf8.encode(`${this.#room}|${user}`);
  }
}

/** @param {string} json */
function parseSealed(json) {
  const sealed = JSON.parse(json);
  if (typeof sealed !== 'object' || sealed === null) throw new Unreadable('it is damaged');
  if (sealed.v !== 1 || sealed.alg !== 'AES-GCM') {
    throw new Unreadable('it was sealed in a way that this version does not know');
  }
  const iv = fromBase64(sealed.iv);
  const content = fromBase64(sealed.content);
  if (iv.length !== IV_BYTES || content.length < TAG_BYTES) throw new Unreadable('it is damaged');
  return { iv, content };
}

/** @param {number} bytes */
function base64Units(bytes) {
  return Math.ceil(bytes / 3) * 4;
}

/**
 * Standard base64 with padding.
 * @param {Uint8Array} bytes a few kilobytes at most
 */
export function toBase64(bytes) {
  let latin1 = '';
  for (const byte of bytes) latin1 += String.fromCharCode(byte);
  return btoa(latin1);
}

/**
 * @param {unknown} text
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws when it is not base64
 */
export function fromBase64(text) {
  if (typeof text !== 'string') throw new TypeError('not base64');
  return Uint8Array.from(atob(text), (unit) => unit.charCodeAt(0));
}
