// @ts-check
// Drives the stand-in for old clients. Its files are given to the browser under the server's own
// origin, where an old deployment had its web client.

import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';

import { Guest } from './guest.js';
import { e2eDir } from './paths.js';
import { installProbes } from './probes.js';
import { signIn, signInWhere } from './raw-member.js';

/** @type {Record<string, string>} */
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8' };

/**
 * @typedef {{ state: string, channel: string, made: number, images: any[], strange: string[],
 *   offersMade: number, offersDropped: number, offersIgnored: number }} About
 */

/** It shows its tiles as our web client does, so that the same probes read both. */
export class Old extends Guest {
  /**
   * @param {import('./browser.js').Browser} browser
   * @param {import('./server.js').Server} server
   * @param {{ room: string, name?: string, passphrase?: string, microphone?: boolean, camera?: boolean,
   *   idWhere?: (id: string) => boolean }} options
   * @returns {Promise<Old>}
   */
  static async join(browser, server, options) {
    const name = options.name ?? 'Olga';
    const page = await browser.page(name);
    await page.addInitScript(installProbes);
    const old = new Old(page, server);
    await page.route('**/old-client/*', async (route) => {
      const file = new URL(route.request().url()).pathname.split('/').pop() || 'index.html';
      const body = await readFile(join(e2eDir, 'old-client', file));
      await route.fulfill({ body, contentType: TYPES[extname(file)] ?? 'text/plain' });
    });
    await page.goto(`${server.url}/old-client/index.html`);
    await page.waitForFunction(() => 'old' in window);
    const { accessToken: token } = options.idWhere
      ? await signInWhere(server.url, name, options.idWhere)
      : await signIn(server.url, name);
    old.user = await page.evaluate(
      async (options) => {
        const { old } = /** @type {any} */ (window);
        await old.join(options);
        return old.user;
      },
      {
        room: options.room,
        name,
        passphrase: options.passphrase ?? 'right horse',
        microphone: options.microphone,
        camera: options.camera,
        token,
      },
    );
    return old;
  }

  /** @param {string} text */
  async say(text) {
    await this.page.evaluate((t) => /** @type {any} */ (window).old.say(t), text);
  }

  /** @param {{ from: string, text?: string, kind?: 'text' | 'protected' | 'plain' }} want */
  async reads({ from, text, kind = 'text' }) {
    await this.page.waitForFunction(
      (want) =>
        /** @type {any} */ (window).old.chat.some(
          (/** @type {any} */ line) =>
            line.from === want.from &&
            line.kind === want.kind &&
            (want.text === undefined || line.text === want.text),
        ),
      { from, text, kind },
      { timeout: 20_000 },
    );
  }

  /** @param {string} from */
  async readsTyping(from) {
    await this.page.waitForFunction(
      (from) =>
        /** @type {any} */ (window).old.typing.some(
          (/** @type {any} */ t) => t.from === from && t.typing === true,
        ),
      from,
    );
  }

  /**
   * @param {string} id
   * @returns {Promise<About | null>}
   */
  async about(id) {
    return this.page.evaluate((id) => /** @type {any} */ (window).old.about(id), id);
  }

  /**
   * Waits until the connection and its data channel are open.
   * @param {string} id
   * @param {number} [ms]
   */
  async connected(id, ms = 20_000) {
    await this.page.waitForFunction(
      (id) => {
        const about = /** @type {any} */ (window).old.about(id);
        return about?.state === 'connected' && about.channel === 'open';
      },
      id,
      { timeout: ms },
    );
  }

  /**
   * @param {string} to
   * @param {{ name: string, mime: string, bytes: Buffer, asText?: boolean }} image
   */
  async imageTo(to, { name, mime, bytes, asText }) {
    const image = { name, mime, base64: bytes.toString('base64'), asText };
    return this.page.evaluate(
      ({ to, image }) => /** @type {any} */ (window).old.image(to, image),
      { to, image },
    );
  }

  /**
   * Sends an image whose announcement does not fit.
   * @param {string} to
   * @param {{ name: string, mime: string, bytes: Buffer }} image
   * @param {object} lie fields of the announcement that are replaced
   */
  async lie(to, { name, mime, bytes }, lie) {
    const image = { name, mime, base64: bytes.toString('base64'), lie };
    await this.page.evaluate(
      ({ to, image }) => /** @type {any} */ (window).old.image(to, image),
      { to, image },
    );
  }

  /**
   * @param {string} from
   * @param {string} sha256
   */
  async hasImage(from, sha256) {
    await this.page.waitForFunction(
      ([from, sha256]) => {
        const about = /** @type {any} */ (window).old.about(from);
        return about?.images.some((/** @type {any} */ image) => image.sha256 === sha256);
      },
      [from, sha256],
      { timeout: 30_000 },
    );
  }

  async toggleMicrophone() {
    await this.page.evaluate(() => /** @type {any} */ (window).old.toggleMicrophone());
  }

  async leave() {
    await this.page.evaluate(() => /** @type {any} */ (window).old.leave());
  }

  /** @param {string[]} users */
  async people(users) {
    await this.page.waitForFunction(
      (want) => {
        const ids = /** @type {any} */ (window).old.roster.map((/** @type {any} */ u) => u.userID);
        return JSON.stringify([...new Set(ids)].sort()) === JSON.stringify([...want].sort());
      },
      users,
      { timeout: 20_000 },
    );
  }
}
