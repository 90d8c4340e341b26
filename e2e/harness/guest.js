// @ts-check
// Drives our web client through the ids of its page, as a person would.

import { installProbes } from './probes.js';
import { signInWhere } from './raw-member.js';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('./server.js').Server} Server */

export class Guest {
  user = '';
  /** When it pressed "join". */
  pressedAt = 0;

  /**
   * @param {Page} page
   * @param {Server} server
   */
  constructor(page, server) {
    this.page = page;
    this.server = server;
  }

  /**
   * Opens the page and joins through its form.
   * @param {import('./browser.js').Browser} browser
   * @param {Server} server
   * @param {{
   *   room: string, name?: string, passphrase?: string, viewport?: { width: number, height: number },
   *   mobile?: boolean, idWhere?: (id: string) => boolean, byLink?: boolean, noDevices?: boolean,
   *   script?: () => void,
   * }} options `idWhere`: the id that the server gives must satisfy this; `noDevices`: a computer
   *   that has neither camera nor microphone; `script` runs in the page before its own
   */
  static async join(browser, server, options) {
    const name = options.name ?? 'Gustav';
    const page = await browser.page(name, options);
    if (options.script) await page.addInitScript(options.script);
    await page.addInitScript(installProbes);
    if (options.noDevices) {
      await page.addInitScript(() => {
        const missing = () => new DOMException('Requested device not found', 'NotFoundError');
        navigator.mediaDevices.getUserMedia = () => Promise.reject(missing());
        navigator.mediaDevices.enumerateDevices = () => Promise.resolve([]);
      });
    }
    const guest = new Guest(page, server);
    await guest.enter({ ...options, name });
    return guest;
  }

  /** @param {Parameters<typeof Guest.join>[2] & { name: string }} options */
  async enter({ room, name, passphrase = 'right horse', idWhere, byLink = false }) {
    const { page, server } = this;
    const pattern = '**/auth/sign-in';
    if (idWhere) {
      // The server gives random ids; the page gets the first one that stands as wanted.
      const answer = await signInWhere(server.url, name, idWhere);
      await page.route(pattern, (route) => route.fulfill({ json: answer }));
    }
    if (byLink) {
      const key = passphrase === '' ? '' : `&k=${encodeURIComponent(passphrase)}`;
      await page.goto(`${server.url}/#/room/${encodeURIComponent(room)}${key}`);
    } else {
      await page.goto(`${server.url}/`);
      await page.fill('#room', room);
      await page.fill('#passphrase', passphrase);
    }
    await page.fill('#name', name);
    this.pressedAt = performance.now();
    await page.click('#join');
    await page.waitForFunction(
      () => document.body.dataset.screen === 'meeting' && Boolean(document.body.dataset.user),
    );
    if (idWhere) await page.unroute(pattern);
    this.user = await page.evaluate(() => document.body.dataset.user ?? '');
  }

  async leave() {
    await this.page.click('#leave');
    await this.page.waitForFunction(() => document.body.dataset.screen === 'home');
  }

  /** @param {string} text */
  async say(text) {
    await this.page.fill('#chat-input', text);
    await this.page.click('#chat-send');
  }

  /**
   * Waits for a line of the chat log.
   * @param {{ from?: string, text?: string, state?: string, count?: number }} want
   * @param {number} [ms]
   */
  async message(want, ms = 20_000) {
    await this.page.waitForFunction(
      ({ from, text, state, count }) => {
        const lines = [...document.querySelectorAll('#chat-log .message')].filter(
          (line) =>
            line instanceof HTMLElement &&
            (from === undefined || line.dataset.from === from) &&
            (state === undefined || line.dataset.state === state) &&
            (text === undefined || line.querySelector('.text')?.textContent === text),
        );
        return lines.length >= (count ?? 1);
      },
      want,
      { timeout: ms },
    );
  }

  /** The texts in the chat log, for what must not be there. */
  async texts() {
    return this.page.$$eval('#chat-log .message', (lines) => lines.map((l) => l.textContent ?? ''));
  }

  /** @param {string} path of a picture to send */
  async sendImage(path) {
    await this.page.setInputFiles('#chat-image', path);
  }

  /**
   * The hash that the page computed of an image that has arrived (or was sent) whole.
   * @param {string} from
   * @param {string} sha256
   * @param {number} [ms]
   */
  async image(from, sha256, ms = 30_000) {
    await this.page.waitForFunction(
      ({ from, sha256 }) => {
        const line = `#chat-log .message[data-from="${from}"]`;
        const hash = `[data-sha256="${sha256}"]`;
        const img = document.querySelector(`${line} img${hash}, ${line}${hash} img`);
        return img instanceof HTMLImageElement && img.complete && img.naturalWidth > 0;
      },
      { from, sha256 },
      { timeout: ms },
    );
  }

  /**
   * @param {string[]} users exactly these stand in the list of people
   * @param {number} [ms]
   */
  async people(users, ms = 20_000) {
    await this.page.waitForFunction(
      (want) => {
        const shown = [...document.querySelectorAll('#people li[data-user]')].map((li) =>
          li instanceof HTMLElement ? li.dataset.user : '',
        );
        return JSON.stringify(shown.sort()) === JSON.stringify([...want].sort());
      },
      users,
      { timeout: ms },
    );
  }

  /**
   * Waits for one other person, and says who it is.
   * @param {number} [ms]
   */
  async other(ms = 20_000) {
    const handle = await this.page.waitForFunction(
      (own) => {
        const ids = [...document.querySelectorAll('#people li[data-user]')].map((li) =>
          li instanceof HTMLElement ? li.dataset.user : '',
        );
        return ids.find((id) => id !== own);
      },
      this.user,
      { timeout: ms },
    );
    return /** @type {string} */ (await handle.jsonValue());
  }

  /**
   * @param {string} user
   * @param {string} [source]
   */
  tileSelector(user, source = 'camera') {
    return `.tile[data-user="${user}"][data-source="${source}"]`;
  }

  /**
   * @param {string} user
   * @param {string} state
   * @param {number} [ms]
   */
  async tileIs(user, state, ms = 20_000) {
    await this.page.waitForFunction(
      ([selector, want]) => {
        const tile = document.querySelector(selector);
        return tile instanceof HTMLElement && tile.dataset.state === want;
      },
      [this.tileSelector(user), state],
      { timeout: ms },
    );
  }

  /**
   * Waits until the tile of `user` plays pictures, and says which size and how long that took.
   * @param {string} user
   * @param {{ width?: number, height?: number, source?: string, ms?: number }} [want]
   */
  async sees(user, { width, height, source = 'camera', ms = 30_000 } = {}) {
    const handle = await this.page.waitForFunction(
      ([selector, width, height]) => {
        const video = document.querySelector(`${selector} video`);
        if (!(video instanceof HTMLVideoElement) || video.videoWidth === 0) return false;
        if (width !== null && video.videoWidth !== width) return false;
        if (height !== null && video.videoHeight !== height) return false;
        return video.currentTime > 0 && { width: video.videoWidth, height: video.videoHeight };
      },
      /** @type {const} */ ([this.tileSelector(user, source), width ?? null, height ?? null]),
      { timeout: ms },
    );
    return /** @type {{ width: number, height: number }} */ (await handle.jsonValue());
  }

  /** The size of its own camera's picture, once there is one. */
  async ownPicture() {
    return this.sees(this.user);
  }

  /**
   * Waits until the picture of `user` is gone, or has not changed for two seconds.
   * @param {string} user
   * @param {number} [ms]
   */
  async stands(user, ms = 20_000) {
    await this.page.waitForFunction(
      ([selector]) => {
        const w = /** @type {any} */ (window);
        const video = document.querySelector(`${selector} video`);
        if (!(video instanceof HTMLVideoElement) || video.offsetParent === null) return true;
        const frames = video.getVideoPlaybackQuality().totalVideoFrames;
        if (w.__stands?.frames !== frames) w.__stands = { frames, since: performance.now() };
        return performance.now() - w.__stands.since > 2000;
      },
      [this.tileSelector(user)],
      { timeout: ms, polling: 100 },
    );
  }

  /**
   * Waits until the counter in the picture of `user` has been read twice, the second time larger,
   * and the time of the video has gone on meanwhile.
   * @param {string} user
   * @param {{ ms?: number, step?: number, source?: string }} [options]
   */
  async counts(user, { ms = 30_000, step = 5, source = 'camera' } = {}) {
    const handle = await this.page.waitForFunction(
      ([selector, step]) => {
        const w = /** @type {any} */ (window);
        const video = document.querySelector(`${selector} video`);
        if (!(video instanceof HTMLVideoElement)) return false;
        const value = w.__probe.counter(video);
        if (value === null) return false;
        w.__first ??= new Map();
        const key = `${selector} ${w.__round ?? 0}`;
        const first = w.__first.get(key);
        if (first === undefined) {
          w.__first.set(key, { value, time: video.currentTime });
          return false;
        }
        if (value < first.value) w.__first.set(key, { value, time: video.currentTime });
        return (
          value >= first.value + step &&
          video.currentTime > first.time && { first: first.value, last: value }
        );
      },
      /** @type {const} */ ([this.tileSelector(user, source), step]),
      { timeout: ms, polling: 50 },
    );
    await this.page.evaluate(() => {
      const w = /** @type {any} */ (window);
      w.__round = (w.__round ?? 0) + 1;
    });
    return /** @type {{ first: number, last: number }} */ (await handle.jsonValue());
  }

  /**
   * Waits until the sound that is played for `user` has that pitch.
   * @param {string} user
   * @param {number} hz
   * @param {number} [ms]
   */
  async hears(user, hz, ms = 30_000) {
    return this.#sounds(user, hz, ms);
  }

  /**
   * Waits until nothing is heard of `user`.
   * @param {string} user
   * @param {number} [ms]
   */
  async silent(user, ms = 20_000) {
    return this.#sounds(user, null, ms);
  }

  /**
   * @param {string} user
   * @param {number | null} hz
   * @param {number} ms
   */
  async #sounds(user, hz, ms) {
    const handle = await this.page.waitForFunction(
      ([selector, hz]) => {
        const w = /** @type {any} */ (window);
        for (const element of document.querySelectorAll(`${selector} video, ${selector} audio`)) {
          const heard = w.__probe.sound(element);
          if (hz === null && heard && !(heard.dbfs <= -60)) return false;
          const right = heard && heard.dbfs > -50 && Math.abs(heard.hz - Number(hz)) < Number(hz) * 0.02;
          if (hz !== null && right) return heard;
        }
        return hz === null && { hz: 0, dbfs: -120 };
      },
      /** @type {const} */ ([`.tile[data-user="${user}"]`, hz]),
      { timeout: ms, polling: 100 },
    );
    return /** @type {{ hz: number, dbfs: number }} */ (await handle.jsonValue());
  }
}
