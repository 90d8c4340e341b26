// @ts-check
// Where the binaries are, and where a failed test leaves its evidence.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));

/** The folder of these tests. */
export const e2eDir = join(here, '..');
/** The top of the project. */
export const projectDir = join(here, '..', '..');
/** Screenshots and logs; not under version control. */
export const artifactsDir = process.env.E2E_ARTIFACTS ?? join(e2eDir, 'artifacts');

const targetDir = process.env.CARGO_TARGET_DIR ?? join(projectDir, 'target');

/**
 * @param {string} variable
 * @param {string} fallback
 */
function binary(variable, fallback) {
  const path = process.env[variable] ?? fallback;
  if (!existsSync(path)) throw new Error(`${path} does not exist; build it or set ${variable}`);
  return path;
}

export const serverBinary = () =>
  binary('PRIVATE_MEET_SERVER', join(targetDir, 'debug', 'private-meet-server'));
export const appBinary = () => binary('PRIVATE_MEET_APP', join(targetDir, 'debug', 'private-meet'));
export const chromiumBinary = () => binary('CHROMIUM', '/usr/bin/chromium');
