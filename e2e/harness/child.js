// @ts-check
// One child process: its output line by line, and an end that is certain. Processes are ended by
// the id that we started, never by a name.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { within } from './deadline.js';

/** Lines of each stream that are kept for the report of a failure. */
const KEPT_LINES = 4000;

/** @type {Set<Child>} */
const living = new Set();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});
// Without a listener a signal ends Node at once and the line above is never reached.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.once(signal, () => process.exit(1));
}

export class Child {
  /** @type {string[]} */
  stdout = [];
  /** @type {string[]} */
  stderr = [];
  /** @type {number | null | undefined} */
  code = undefined;

  #process;
  /** @type {Set<(line: string) => void>} */
  #listeners = new Set();
  /** @type {Promise<void>} */
  ended;

  /**
   * @param {string} label for reports
   * @param {string} command
   * @param {string[]} args
   * @param {{ env?: NodeJS.ProcessEnv, cwd?: string }} [options]
   */
  constructor(label, command, args, options = {}) {
    this.label = label;
    this.#process = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.pid = this.#process.pid;
    living.add(this);
    this.ended = new Promise((resolve) => {
      this.#process.once('close', (code) => {
        this.code = code;
        living.delete(this);
        resolve();
      });
      this.#process.once('error', (error) => {
        this.stderr.push(String(error));
        this.code = -1;
        living.delete(this);
        resolve();
      });
    });
    this.#process.stdin.on('error', () => {}); // it may end before it has read all
    this.#read(this.#process.stdout, this.stdout, true);
    this.#read(this.#process.stderr, this.stderr, false);
  }

  /**
   * @param {import('node:stream').Readable} stream
   * @param {string[]} kept
   * @param {boolean} announce
   */
  #read(stream, kept, announce) {
    createInterface({ input: stream }).on('line', (line) => {
      kept.push(line);
      if (kept.length > KEPT_LINES) kept.shift();
      if (announce) for (const listener of [...this.#listeners]) listener(line);
    });
  }

  /** @param {(line: string) => void} listener called for each line of standard output */
  onLine(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The first line of standard output, past or future, that matches.
   * @param {RegExp} pattern
   * @param {number} ms
   * @returns {Promise<RegExpMatchArray>}
   */
  async line(pattern, ms) {
    for (const line of this.stdout) {
      const match = line.match(pattern);
      if (match) return match;
    }
    /** @type {() => void} */
    let stop = () => {};
    const found = new Promise((resolve, reject) => {
      const off = this.onLine((line) => {
        const match = line.match(pattern);
        if (match) resolve(match);
      });
      stop = () => void off();
      this.ended.then(() =>
        reject(new Error(`${this.label} ended (${this.code}) before ${pattern}\n${this.tail()}`)),
      );
    });
    found.catch(() => {});
    try {
      return await within(ms, `${this.label} prints ${pattern}`, found, () => this.tail(5));
    } finally {
      stop();
    }
  }

  /** @param {string} line */
  write(line) {
    this.#process.stdin.write(`${line}\n`);
  }

  closeInput() {
    this.#process.stdin.end();
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    if (this.code === undefined) this.#process.kill(signal);
  }

  /**
   * Asks it to end and waits; after `ms` it is ended for certain.
   * @param {NodeJS.Signals} [signal]
   * @param {number} [ms]
   */
  async stop(signal = 'SIGTERM', ms = 5000) {
    this.kill(signal);
    try {
      await within(ms, `${this.label} ends`, this.ended);
    } catch {
      this.kill('SIGKILL');
      await this.ended;
    }
    return this.code;
  }

  /** @param {number} [lines] */
  tail(lines = 60) {
    const part = (/** @type {string} */ name, /** @type {string[]} */ kept) =>
      kept.length === 0 ? [] : [`--- ${this.label} ${name}`, ...kept.slice(-lines)];
    return [...part('stdout', this.stdout), ...part('stderr', this.stderr)].join('\n');
  }
}
