// @ts-check
// What a client asks over HTTP before it opens its socket: the deployment's names, and an
// identity.

import { readServers } from './ice.js';

/**
 * @typedef {object} ClientConfig
 * @property {string} roomPrefix in front of every room on the wire
 * @property {string} wirePrefix in front of every encrypted message
 * @property {string} fileChannelLabel the label of the data channel
 * @property {number} protocol the newest version that the server speaks
 */

/** What the server's own clients are built for; also for servers that have no `/client-config`.
 * @type {ClientConfig} */
const DEFAULT_CONFIG = {
  roomPrefix: 'pm_room:',
  wirePrefix: 'pm_e2ee:',
  fileChannelLabel: 'pm_file:',
  protocol: 1,
};

/** @typedef {{ token: string, user: string, name: string }} Identity */

/** Why a join failed, as a sentence for the person who tried. */
export class JoinError extends Error {
  /**
   * @param {'unreachable' | 'refused' | 'name' | 'room' | 'busy' | 'protocol'} code
   * @param {string} sentence
   */
  constructor(code, sentence) {
    super(sentence);
    this.code = code;
  }
}

export const UNREACHABLE =
  'The server can’t be reached. Check your connection, or try again in a moment.';

/** How long an HTTP request may take. */
const REQUEST_TIMEOUT_MS = 10_000;
/** How often a sign-in is tried again when the server asks to wait. */
const SIGN_IN_ATTEMPTS = 4;

/**
 * @param {{ origin: string, fetch: typeof fetch }} server
 * @returns {Promise<ClientConfig>}
 * @throws {JoinError}
 */
export async function loadConfig({ origin, fetch }) {
  const response = await request(fetch, `${origin}/client-config`);
  // Older servers answer with a page, or with 404.
  if (!response.ok) return DEFAULT_CONFIG;
  const json = await response.json().catch(() => null);
  if (typeof json !== 'object' || json === null) return DEFAULT_CONFIG;
  const config = { ...DEFAULT_CONFIG };
  for (const key of /** @type {const} */ (['roomPrefix', 'wirePrefix', 'fileChannelLabel'])) {
    if (typeof json[key] === 'string') config[key] = json[key];
  }
  if (Number.isSafeInteger(json.protocol)) config.protocol = json.protocol;
  return config;
}

/**
 * @param {{ origin: string, name: string, fetch: typeof fetch,
 *   timers: import('./timers.js').Timers }} as
 * @returns {Promise<Identity>}
 * @throws {JoinError}
 */
export async function signIn({ origin, name, fetch, timers }) {
  for (let attempt = 1; ; attempt += 1) {
    const response = await request(fetch, `${origin}/auth/sign-in`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ username: name }),
    });
    if (response.ok) return readIdentity(await response.json().catch(() => null));
    if (response.status !== 429) throw refusal(response.status, await response.text());
    if (attempt === SIGN_IN_ATTEMPTS) {
      throw new JoinError('busy', 'The server is busy. Please try again in a minute.');
    }
    const seconds = Number(response.headers.get('Retry-After')) || 1;
    await new Promise((resolve) => timers.set(Math.min(seconds, 5) * 1000, () => resolve(null)));
  }
}

/**
 * Whether the server still takes the token. A socket that is refused does not say why.
 * @param {{ origin: string, token: string, fetch: typeof fetch }} of
 * @returns {Promise<'valid' | 'refused' | 'unreachable'>}
 */
export async function checkToken({ origin, token, fetch }) {
  try {
    const response = await request(fetch, `${origin}/ws?token=${encodeURIComponent(token)}`);
    return response.status === 401 ? 'refused' : 'valid';
  } catch {
    return 'unreachable';
  }
}

/**
 * The STUN and TURN servers of the moment.
 * @param {{ origin: string, token: string, fetch: typeof fetch }} of
 * @returns {Promise<import('./ice.js').IceAnswer | null>} `null` where there is no answer
 */
export async function loadIceServers({ origin, token, fetch }) {
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const response = await request(fetch, `${origin}/ice-servers`, { headers });
    if (!response.ok) return null;
    const { iceServers, ttl } = await response.json();
    return { servers: readServers(iceServers), ttl: Number.isSafeInteger(ttl) ? ttl : 0 };
  } catch {
    return null;
  }
}

/**
 * @param {typeof fetch} fetch
 * @param {string} url
 * @param {RequestInit} [options]
 */
async function request(fetch, url, options = {}) {
  try {
    return await fetch(url, {
      cache: 'no-store',
      credentials: 'omit',
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...options,
    });
  } catch {
    throw new JoinError('unreachable', UNREACHABLE);
  }
}

/**
 * @param {any} json
 * @returns {Identity}
 */
function readIdentity(json) {
  const { accessToken: token, userId: user, username: name } = json ?? {};
  if (typeof token !== 'string' || typeof user !== 'string' || typeof name !== 'string') {
    throw new JoinError('protocol', 'What answers at this address is not a Private Meet server.');
  }
  return { token, user, name };
}

/**
 * @param {number} status
 * @param {string} text the server's own words
 */
function refusal(status, text) {
  if (/^username too long/iu.test(text)) {
    return new JoinError('name', 'Your name is too long: 32 characters fit.');
  }
  return new JoinError('refused', `The server refused the sign-in (${status}).`);
}
