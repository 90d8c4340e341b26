// @ts-check
// What one scenario uses: temporary folders, servers, peers, browsers. All of it is gone when the
// scenario ends; when the scenario fails, what the parts said is printed first.

import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { Browser } from './browser.js';
import { within } from './deadline.js';
import { Native } from './native.js';
import { artifactsDir } from './paths.js';
import { RawMember } from './raw-member.js';
import { Server } from './server.js';

/** @type {Set<string>} */
const folders = new Set();
process.on('exit', () => {
  for (const dir of folders) rmSync(dir, { recursive: true, force: true });
});

export class Stage {
  /** @type {(() => Promise<unknown>)[]} */
  #closing = [];
  /** @type {import('./child.js').Child[]} */
  #children = [];
  /** @type {Browser[]} */
  #browsers = [];
  /** @type {string[]} */
  #notes = [];

  /** @param {string} name */
  constructor(name) {
    this.name = name;
    /** Rooms of different scenarios never meet, even on one server. */
    this.room = `e2e-${Math.random().toString(36).slice(2, 10)}`;
  }

  /** @param {() => Promise<unknown>} close run at the end, the last one first */
  onClose(close) {
    this.#closing.push(close);
  }

  /** @param {string} text a figure worth seeing in the report */
  note(text) {
    this.#notes.push(text);
  }

  get notes() {
    return this.#notes;
  }

  /** @param {import('./child.js').Child} child */
  keep(child) {
    this.#children.push(child);
    this.onClose(() => child.stop());
  }

  async tempDir() {
    const dir = await mkdtemp(join(tmpdir(), 'private-meet-e2e-'));
    folders.add(dir);
    this.onClose(async () => {
      await rm(dir, { recursive: true, force: true, maxRetries: 3 });
      folders.delete(dir);
    });
    return dir;
  }

  /** @param {Partial<Parameters<typeof Server.start>[0]>} [options] */
  async server(options = {}) {
    const stateDir = options.stateDir ?? (await this.tempDir());
    const server = await Server.start({ ...options, stateDir });
    this.keep(server.child);
    return server;
  }

  /** @param {Server} server that was cut */
  async serverAgain(server) {
    const again = await server.again();
    this.keep(again.child);
    return again;
  }

  /**
   * A native peer that has joined.
   * @param {Server} server
   * @param {Partial<Parameters<typeof Native.start>[0]>} [options]
   */
  async native(server, options = {}) {
    const native = await this.nativeStarting(server, options);
    await native.joined();
    return native;
  }

  /**
   * A native peer that may or may not join.
   * @param {Server} server
   * @param {Partial<Parameters<typeof Native.start>[0]>} [options]
   */
  async nativeStarting(server, options = {}) {
    const native = await Native.start({
      dir: await this.tempDir(),
      server: server.url,
      fingerprint: server.fingerprint,
      room: this.room,
      name: 'Nadia',
      passphrase: 'right horse',
      ...options,
    });
    this.keep(native.child);
    return native;
  }

  /** @param {Parameters<typeof Browser.launch>[0]} [options] */
  async browser(options) {
    const browser = await Browser.launch(options);
    this.#browsers.push(browser);
    this.onClose(() => browser.close());
    return browser;
  }

  /**
   * A member that speaks the wire protocol by hand and has no media.
   * @param {Server} server
   * @param {string} [name]
   */
  async rawMember(server, name = 'Mallory') {
    const member = await RawMember.connect(server.url, name);
    this.onClose(async () => member.close());
    return member;
  }

  /** What everybody said, for the report of a failure. */
  async evidence() {
    const parts = this.#children.map((child) => child.tail());
    await mkdir(artifactsDir, { recursive: true });
    for (const browser of this.#browsers) {
      parts.push(await browser.evidence(join(artifactsDir, this.name.replace(/\W+/g, '-'))));
    }
    return parts.filter((part) => part !== '').join('\n');
  }

  async close() {
    for (const close of this.#closing.reverse()) {
      try {
        await within(15_000, 'a part of the scenario ends', close());
      } catch (error) {
        console.error(`${this.name}: while cleaning up: ${error}`);
      }
    }
  }
}

/**
 * One test with its own stage and a deadline for the whole.
 * @param {string} name a sentence
 * @param {{ ms?: number }} options
 * @param {(stage: Stage) => Promise<void>} body
 */
export function scenario(name, { ms = 90_000 }, body) {
  test(name, async (t) => {
    const stage = new Stage(name);
    try {
      await within(ms, `the whole scenario "${name}"`, body(stage));
    } catch (error) {
      const evidence = await within(20_000, 'evidence', stage.evidence()).catch(String);
      console.error(`\n===== failed: ${name}\n${evidence}\n===== end of evidence\n`);
      throw error;
    } finally {
      for (const note of stage.notes) t.diagnostic(note);
      await stage.close();
    }
  });
}
