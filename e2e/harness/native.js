// @ts-check
// A native peer without a window: `private-meet --headless`, driven by JSON lines.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Child } from './child.js';
import { within } from './deadline.js';
import { appBinary } from './paths.js';

/** @typedef {Record<string, any> & { event: string }} NativeEvent */

/** Debug builds start and derive keys slowly when two cores are busy. */
export const DEFAULT_MS = 20_000;

/**
 * Variables that keep a program away from the user's own settings, devices and display.
 * @param {string} dir
 */
export function isolated(dir) {
  return {
    HOME: dir,
    XDG_CONFIG_HOME: join(dir, 'config'),
    XDG_DATA_HOME: join(dir, 'data'),
    XDG_CACHE_HOME: join(dir, 'cache'),
    XDG_STATE_HOME: join(dir, 'state'),
    XDG_DOWNLOAD_DIR: join(dir, 'downloads'),
    RUST_LOG: process.env.RUST_LOG ?? 'info',
    RUST_BACKTRACE: '1',
  };
}

export class Native {
  /** Every event so far, each with `at`: when it was read. @type {(NativeEvent & { at: number })[]} */
  events = [];
  /** Its user id, once joined. */
  user = '';

  /**
   * @param {Child} child
   * @param {string} name
   */
  constructor(child, name) {
    this.child = child;
    this.name = name;
    this.startedAt = performance.now();
    /** @type {Set<() => void>} */
    this.wake = new Set();
    child.onLine((line) => {
      /** @type {NativeEvent} */
      let event;
      try {
        event = JSON.parse(line);
      } catch {
        event = { event: 'not-json', line };
      }
      this.events.push({ ...event, at: performance.now() });
      for (const wake of [...this.wake]) wake();
    });
  }

  /**
   * Starts one and does not wait for it to join.
   * @param {{
   *   dir: string, server: string, fingerprint?: string, room: string, name: string,
   *   passphrase?: string, passphraseFile?: string, camera?: string, microphone?: string, args?: string[],
   *   env?: Record<string, string>, prefix?: string[],
   * }} options `prefix`: words in front of the command, such as those that lead into a namespace
   */
  static async start(options) {
    const file = options.passphraseFile ?? join(options.dir, 'passphrase');
    if (!options.passphraseFile) await writeFile(file, options.passphrase ?? '');
    const args = [
      '--headless',
      ...['--server', options.server],
      ...(options.fingerprint ? ['--fingerprint', options.fingerprint] : []),
      ...['--room', options.room, '--name', options.name, '--passphrase-file', file, '--join'],
      ...['--camera', options.camera ?? 'pattern'],
      ...['--microphone', options.microphone ?? 'tone'],
      ...['--speaker', 'none'],
      ...(options.args ?? []),
    ];
    const [command, ...words] = [...(options.prefix ?? []), appBinary(), ...args];
    const child = new Child(options.name, command, words, {
      env: { ...isolated(options.dir), ...options.env },
      cwd: options.dir,
    });
    return new Native(child, options.name);
  }

  /** @param {number} [ms] */
  async joined(ms = DEFAULT_MS) {
    const event = await this.waitFor('joined', undefined, { ms });
    this.user = event.user;
    return event;
  }

  /** A place in the stream of events: `waitFor(…, { since: peer.mark() })` sees only later ones. */
  mark() {
    return this.events.length;
  }

  /**
   * The first event of that name, past (from `since` on) or future, for which `matches` holds.
   * @param {string} name
   * @param {(event: NativeEvent) => unknown} [matches]
   * @param {{ ms?: number, since?: number }} [options]
   * @returns {Promise<NativeEvent & { at: number }>}
   */
  async waitFor(name, matches = () => true, { ms = DEFAULT_MS, since = 0 } = {}) {
    let next = since;
    /** @type {() => void} */
    let look = () => {};
    const found = new Promise((resolve, reject) => {
      look = () => {
        for (; next < this.events.length; next += 1) {
          const event = this.events[next];
          if (event.event === name && matches(event)) return resolve(event);
        }
      };
      this.wake.add(look);
      look();
      this.child.ended.then(() => {
        look();
        reject(new Error(`${this.name} ended (${this.child.code}) before ${name}`));
      });
    });
    found.catch(() => {});
    try {
      const what = `${this.name}: event ${name} ${matches.toString().slice(0, 160)}`;
      return await within(ms, what, found, () => this.#recent(name));
    } finally {
      this.wake.delete(look);
    }
  }

  /** @param {string} name */
  #recent(name) {
    const same = this.events.filter((event) => event.event === name).slice(-3);
    const any = this.events.slice(-3);
    return JSON.stringify(same.length > 0 ? same : any);
  }

  /** @param {Record<string, unknown> & { command: string }} command */
  send(command) {
    this.child.write(JSON.stringify(command));
  }

  /**
   * Waits until the pictures of `from` are decoded at `fps` or more.
   * @param {string} from
   * @param {{ track?: string, width?: number, height?: number, fps?: number, counter?: boolean, ms?: number, since?: number }} [want]
   */
  async sees(from, want = {}) {
    return this.waitFor(
      'video',
      (e) =>
        e.from === from &&
        e.track === (want.track ?? 'camera') &&
        e.frames > 0 &&
        (want.width === undefined || e.width === want.width) &&
        (want.height === undefined || e.height === want.height) &&
        (want.fps === undefined || e.fps >= want.fps) &&
        (!want.counter || typeof e.counter === 'number'),
      { ms: want.ms ?? 30_000, since: want.since ?? 0 },
    );
  }

  /**
   * Waits until the sound of `from` has that pitch.
   * @param {string} from
   * @param {number} hz
   * @param {{ ms?: number, since?: number }} [options]
   */
  async hears(from, hz, { ms = 30_000, since = 0 } = {}) {
    return this.waitFor(
      'audio',
      (e) => e.from === from && Math.abs((e.pitch_hz ?? 0) - hz) <= hz * 0.03,
      { ms, since },
    );
  }

  /**
   * Waits until no new picture of `from` is decoded: its track ended, stands still, or is black.
   * @param {string} from
   */
  async pictureGone(from) {
    const since = this.mark();
    const gone = this.waitFor('track-removed', (e) => e.from === from, { since });
    const still = this.waitFor('video', (e) => e.from === from && (e.fps < 1 || e.counter === null), {
      since,
    });
    return Promise.any([gone, still]);
  }

  async leave() {
    this.send({ command: 'leave' });
    await this.waitFor('left', undefined, { ms: 10_000 });
    return this.child.stop('SIGTERM', 5000);
  }
}
