// @ts-check
// Chat encryption v1: AES-256-GCM under a key derived from the passphrase.

const ROUNDS = 200_000;
const utf8 = new TextEncoder();

/** @param {Uint8Array} bytes */
const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

/** @param {string} text */
export const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/**
 * @param {string} rawRoom trimmed, without prefix
 * @param {string} passphrase as typed
 */
export async function deriveKey(rawRoom, passphrase) {
  const hash = await crypto.subtle.digest('SHA-256', utf8.encode(`salt:${rawRoom}`));
  const salt = new Uint8Array(hash).slice(0, 16);
  const secret = utf8.encode(passphrase === '' ? rawRoom : passphrase);
  const base = await crypto.subtle.importKey('raw', secret, 'PBKDF2', false, ['deriveKey']);
  return crypto.subtle.deriveKey(
    { name: 'PBKDF2', hash: 'SHA-256', salt, iterations: ROUNDS },
    base,
    { name: 'AES-GCM', length: 256 },
    false,
    ['encrypt', 'decrypt'],
  );
}

/**
 * @param {CryptoKey} key
 * @param {{ prefix: string, room: string, user: string, text: string }} message `room` as on the wire
 */
export async function seal(key, { prefix, room, user, text }) {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const additionalData = utf8.encode(`${room}|${user}`);
  const content = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv, additionalData },
    key,
    utf8.encode(text),
  );
  const body = {
    v: 1,
    alg: 'AES-GCM',
    iv: toBase64(iv),
    content: toBase64(new Uint8Array(content)),
  };
  return prefix + JSON.stringify(body);
}

/**
 * The text, or `null` when it does not open.
 * @param {CryptoKey} key
 * @param {{ prefix: string, room: string, user: string, message: string }} message
 */
export async function open(key, { prefix, room, user, message }) {
  try {
    const { v, alg, iv, content } = JSON.parse(message.slice(prefix.length));
    if (v !== 1 || alg !== 'AES-GCM') return null;
    const additionalData = utf8.encode(`${room}|${user}`);
    const text = await crypto.subtle.decrypt(
      { name: 'AES-GCM', iv: fromBase64(iv), additionalData },
      key,
      fromBase64(content),
    );
    return new TextDecoder('utf-8', { fatal: true }).decode(text);
  } catch {
    return null;
  }
}
