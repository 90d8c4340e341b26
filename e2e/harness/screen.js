// @ts-check
// A display of its own, and what is to be seen on it.

import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { Child } from './child.js';
import { isolated } from './native.js';
import { appBinary } from './paths.js';

const run = promisify(execFile);

/** Pixels of the display, and so of a full window. */
export const SCREEN = { width: 1280, height: 800 };

/** One screenshot: RGB, three bytes a pixel. @typedef {{ width: number, height: number, rgb: Buffer }} Shot */

export class Screen {
  /**
   * @param {Child} child
   * @param {string} display
   */
  constructor(child, display) {
    this.child = child;
    this.display = display;
  }

  /** @param {import('./stage.js').Stage} stage */
  static async start(stage) {
    const { width, height } = SCREEN;
    const args = ['-displayfd', '1', '-screen', '0', `${width}x${height}x24`, '-nolisten', 'tcp'];
    const child = new Child('Xvfb', 'Xvfb', args);
    stage.keep(child);
    const [, number] = await child.line(/^(\d+)$/, 15_000);
    const screen = new Screen(child, `:${number}`);
    const manager = new Child('openbox', 'openbox', ['--sm-disable'], {
      env: { DISPLAY: screen.display, HOME: await stage.tempDir() },
    });
    stage.keep(manager);
    return screen;
  }

  /**
   * The window of the app, in a call.
   * @param {import('./stage.js').Stage} stage
   * @param {{ dir: string, args: string[], env?: Record<string, string> }} options
   */
  window(stage, { dir, args, env = {} }) {
    const child = new Child('window', appBinary(), args, {
      env: { ...isolated(dir), WAYLAND_DISPLAY: '', DISPLAY: this.display, ...env },
      cwd: dir,
    });
    stage.keep(child);
    return child;
  }

  env() {
    return { ...process.env, DISPLAY: this.display };
  }

  /** @returns {Promise<Shot>} */
  async shot() {
    const { stdout } = await run(
      'import',
      ['-silent', '-window', 'root', '-depth', '8', 'rgb:-'],
      { env: this.env(), encoding: 'buffer', maxBuffer: 64 * 1024 * 1024, timeout: 15_000 },
    );
    return { ...SCREEN, rgb: stdout };
  }

  /** @param {string} path of the PNG */
  async save(path) {
    const args = ['-silent', '-window', 'root', path];
    await run('import', args, { env: this.env(), timeout: 15_000 });
  }

  /**
   * One window without its frame.
   * @param {string} title some words of it
   * @param {string} path of the PNG
   */
  async saveWindow(title, path) {
    const found = await run('xdotool', ['search', '--onlyvisible', '--name', title], {
      env: this.env(),
      timeout: 5000,
    });
    const [id] = found.stdout.trim().split('\n');
    const args = ['-silent', '-window', id, '-depth', '8', '-define', 'png:color-type=2', path];
    await run('import', args, { env: this.env(), timeout: 15_000 });
  }

  /**
   * Types into the window that has the focus, and presses Enter.
   * @param {string} text
   */
  async type(text) {
    await run('xdotool', ['type', '--delay', '20', text], { env: this.env(), timeout: 20_000 });
    await run('xdotool', ['key', 'Return'], { env: this.env(), timeout: 5000 });
  }

  /**
   * Every word on the display, as a text recogniser reads it.
   * @param {string} dir for its pictures
   */
  async words(dir) {
    const png = join(dir, 'words.png');
    await this.save(png);
    // Recognisers want letters of thirty pixels or so; light print on dark ground is fine.
    await run('convert', [png, '-colorspace', 'Gray', '-resize', '250%', png]);
    const { stdout } = await run('tesseract', [png, '-', '--psm', '11'], {
      env: { ...process.env, OMP_THREAD_LIMIT: '1' },
      timeout: 60_000,
    });
    return stdout.replace(/\s+/g, ' ');
  }
}

/**
 * The smallest rectangle around the pixels for which `matches` holds, and how many there are.
 * @param {Shot} shot
 * @param {(r: number, g: number, b: number) => boolean} matches
 */
export function region({ width, height, rgb }, matches) {
  let [left, top, right, bottom, count] = [width, height, -1, -1, 0];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = (y * width + x) * 3;
      if (!matches(rgb[at], rgb[at + 1], rgb[at + 2])) continue;
      count += 1;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  return { left, top, right, bottom, count };
}

/**
 * How many pixels of a rectangle differ clearly between two shots.
 * @param {Shot} a
 * @param {Shot} b
 * @param {{ left: number, top: number, right: number, bottom: number }} inside
 */
export function changed(a, b, inside) {
  let count = 0;
  for (let y = inside.top; y <= inside.bottom; y += 1) {
    for (let x = inside.left; x <= inside.right; x += 1) {
      const at = (y * a.width + x) * 3;
      const difference =
        Math.abs(a.rgb[at] - b.rgb[at]) +
        Math.abs(a.rgb[at + 1] - b.rgb[at + 1]) +
        Math.abs(a.rgb[at + 2] - b.rgb[at + 2]);
      if (difference > 60) count += 1;
    }
  }
  return count;
}

/** The description of Mesa's software Vulkan driver, or `undefined` where there is none. */
export function softwareVulkan() {
  for (const dir of ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d']) {
    if (!existsSync(dir)) continue;
    const file = readdirSync(dir).find((name) => /^lvp_icd.*\.json$/.test(name));
    if (file) return join(dir, file);
  }
  return undefined;
}
