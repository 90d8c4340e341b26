// @ts-check
// The STUN and TURN servers of the moment. Their credentials end, so they are asked for again in
// time; what is new goes to all connections, and interrupts none.

/** @typedef {{ servers: RTCIceServer[], ttl: number }} IceAnswer `ttl` in seconds; 0: no end */

/** Servers, and addresses of one, that are used; more are cut off. */
const SERVERS = 8;
const URLS = 8;
/** The first pause after an answer that did not come; it doubles up to the longest. */
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 60_000;

export class IceServers {
  #o;
  /** @type {RTCIceServer[]} */
  #servers = [];
  #lastsMs = 0;
  #pauseMs = FIRST_PAUSE_MS;
  /** @type {unknown} */
  #timer = null;
  #closed = false;

  /**
   * @param {{ timers: import('./timers.js').Timers, random: () => number,
   *   ask: () => Promise<IceAnswer | null>, onChange: (servers: RTCIceServer[]) => void }} options
   */
  constructor(options) {
    this.#o = options;
  }

  get current() {
    return this.#servers;
  }

  /** The server has told. @param {IceAnswer} answer */
  learn({ servers, ttl }) {
    if (this.#closed) return;
    const before = JSON.stringify(this.#servers);
    this.#servers = servers.slice(0, SERVERS);
    this.#lastsMs = ttl * 1000;
    this.#pauseMs = FIRST_PAUSE_MS;
    if (JSON.stringify(this.#servers) !== before) this.#o.onChange(this.#servers);
    // When two thirds of their time are over, a little earlier at random: a room full of clients
    // does not ask at once.
    this.#wait(this.#lastsMs > 0 ? this.#lastsMs * (2 / 3 - this.#o.random() / 10) : null);
  }

  close() {
    this.#closed = true;
    this.#wait(null);
  }

  /** @param {number | null} ms */
  #wait(ms) {
    this.#o.timers.clear(this.#timer);
    this.#timer = ms === null ? null : this.#o.timers.set(ms, () => void this.#renew());
  }

  async #renew() {
    this.#timer = null;
    const answer = await this.#o.ask().catch(() => null);
    if (this.#closed || this.#timer !== null) return; // a welcome came meanwhile
    if (answer) {
      this.learn(answer);
    } else {
      this.#wait(this.#pauseMs);
      this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }
}

/**
 * Reads a list of servers; entries that make no sense are left out, because a browser refuses a
 * whole list for one of them.
 * @param {any} list
 * @returns {RTCIceServer[]}
 */
export function readServers(list) {
  if (!Array.isArray(list)) return [];
  /** @type {RTCIceServer[]} */
  const servers = [];
  for (const entry of list) {
    const given = typeof entry?.urls === 'string' ? [entry.urls] : entry?.urls;
    if (!Array.isArray(given)) continue;
    const { username, credential } = entry;
    const open = typeof username !== 'string' || typeof credential !== 'string';
    const usable = open ? /^stuns?:[^\s]+$/u : /^(?:stun|turn)s?:[^\s]+$/u;
    const urls = given.filter((url) => typeof url === 'string' && usable.test(url)).slice(0, URLS);
    if (urls.length > 0) servers.push(open ? { urls } : { urls, username, credential });
  }
  return servers;
}
