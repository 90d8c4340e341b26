// @ts-check
// A real Chromium with fake devices and a fresh profile.

import { chromium } from 'playwright-core';

import { within } from './deadline.js';
import { chromiumBinary } from './paths.js';

/** Lines of a page's console that are kept for the report of a failure. */
const KEPT_LINES = 300;

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
];

/** A desktop window that is not too expensive to paint on two cores. */
export const DESKTOP = { width: 1024, height: 720 };

/** @typedef {import('playwright-core').Page} Page */

export class Browser {
  /** @type {{ label: string, page: Page, lines: string[] }[]} */
  #pages = [];

  /** @param {import('playwright-core').Browser} browser */
  constructor(browser) {
    this.browser = browser;
  }

  /**
   * @param {{ video?: string, audio?: string, flags?: string[], executable?: string }} [options]
   *   files that play as camera (.y4m) and microphone (.wav) in place of Chromium's own fake
   *   devices; a program that starts Chromium somewhere else
   */
  static async launch({ video, audio, flags = [], executable = chromiumBinary() } = {}) {
    const files = [
      ...(video ? [`--use-file-for-fake-video-capture=${video}`] : []),
      ...(audio ? [`--use-file-for-fake-audio-capture=${audio}`] : []),
    ];
    const browser = await chromium.launch({
      executablePath: executable,
      headless: true,
      args: [...FLAGS, ...files, ...flags],
      timeout: 30_000,
    });
    return new Browser(browser);
  }

  /**
   * A page of its own profile: nothing is shared with the other pages.
   * @param {string} label
   * @param {{ viewport?: { width: number, height: number }, mobile?: boolean, noDevices?: boolean }}
   *   [options]
   */
  async page(label, { viewport = DESKTOP, mobile = false, noDevices = false } = {}) {
    const context = await this.browser.newContext({
      viewport,
      ignoreHTTPSErrors: true,
      // The last one: a page that a test hands in (`route.fulfill`) counts as a public one, and
      // Chromium would keep it from a server on loopback.
      permissions: [...(noDevices ? [] : ['camera', 'microphone']), 'local-network-access'],
      ...(mobile ? { isMobile: true, hasTouch: true, deviceScaleFactor: 2 } : {}),
    });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    /** @type {string[]} */
    const lines = [];
    const keep = (/** @type {string} */ line) => {
      lines.push(line);
      if (lines.length > KEPT_LINES) lines.shift();
    };
    page.on('console', (message) => keep(`[${message.type()}] ${message.text()}`));
    page.on('pageerror', (error) => keep(`[uncaught] ${error.stack ?? error}`));
    page.on('requestfailed', (request) =>
      keep(`[request failed] ${request.method()} ${new URL(request.url()).pathname}`),
    );
    const began = performance.now();
    const signal = (/** @type {string} */ arrow) => (/** @type {{ payload: string | Buffer }} */ { payload }) => {
      const text = payload.toString();
      const { type, from, data } = JSON.parse(text);
      if (!String(type).startsWith('webrtc.')) return;
      const more = type === 'webrtc.iceCandidate' ? ` ${data.candidate}` : '';
      keep(`${Math.round(performance.now() - began)} ms ${arrow} ${type} ${from ?? data.to}${more}`);
    };
    page.on('websocket', (socket) => {
      socket.on('framesent', signal('sent'));
      socket.on('framereceived', signal('got'));
    });
    this.#pages.push({ label, page, lines });
    return page;
  }

  /** Uncaught errors of all its pages so far. */
  faults() {
    return this.#pages.flatMap(({ label, lines }) =>
      lines.filter((line) => line.startsWith('[uncaught]')).map((line) => `${label}: ${line}`),
    );
  }

  /**
   * Consoles as text, and a screenshot of each page beside it.
   * @param {string} prefix of the screenshots' paths
   */
  async evidence(prefix) {
    const parts = [];
    for (const { label, page, lines } of this.#pages) {
      parts.push(`--- page ${label}`, ...lines.slice(-60));
      if (page.isClosed()) continue;
      const numbers = page.evaluate(() => /** @type {any} */ (window).__probe?.numbers());
      parts.push((await within(5000, 'statistics', numbers).catch(String)) ?? '');
      const path = `${prefix}-${label}.png`;
      try {
        await page.screenshot({ path, timeout: 5000 });
        parts.push(`screenshot: ${path}`);
      } catch (error) {
        parts.push(`no screenshot: ${error}`);
      }
    }
    return parts.join('\n');
  }

  async close() {
    await this.browser.close();
  }
}
