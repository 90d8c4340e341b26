// @ts-check
// The real server as a process.

import { join } from 'node:path';

import { Child } from './child.js';
import { serverBinary } from './paths.js';

const STARTS_WITHIN_MS = 15_000;

/** The environment names that would change what the server does. */
const QUIET = {
  GO_ENV: undefined,
  USE_LOCAL_TLS: undefined,
  SERVER_PORT: undefined,
  ALLOWED_ORIGINS: undefined,
  JWT_SECRET: undefined,
  ROOM_ID_PREFIX: undefined,
};

export class Server {
  /**
   * @param {Child} child
   * @param {string} url
   * @param {string | undefined} fingerprint
   * @param {{ stateDir: string, tls: 'off' | 'self', args: string[] }} options
   */
  constructor(child, url, fingerprint, options) {
    this.child = child;
    /** `http://127.0.0.1:PORT` */
    this.url = url;
    /** SHA-256 of a self-made certificate, hex. */
    this.fingerprint = fingerprint;
    this.options = options;
  }

  /**
   * @param {{ stateDir: string, tls?: 'off' | 'self', port?: number, args?: string[] }} options
   */
  static async start({ stateDir, tls = 'off', port = 0, args = [] }) {
    const flags = ['--listen', `127.0.0.1:${port}`, '--tls', tls, '--state-dir', stateDir, ...args];
    const child = new Child('server', serverBinary(), flags, {
      env: { ...QUIET, RUST_LOG: process.env.RUST_LOG ?? 'info' },
      cwd: stateDir,
    });
    const [, url] = await child.line(/listening on (\S+)/, STARTS_WITHIN_MS);
    const fingerprint =
      tls === 'self'
        ? (await child.line(/certificate fingerprint ([0-9a-f]{64})/, STARTS_WITHIN_MS))[1]
        : undefined;
    return new Server(child, url, fingerprint, { stateDir, tls, args });
  }

  get port() {
    return Number(new URL(this.url).port);
  }

  /** Ends it without any goodbye, as a power cut would. */
  async cut() {
    await this.child.stop('SIGKILL');
  }

  /** The same server again: same port, same state folder. */
  async again() {
    const { stateDir, tls, args } = this.options;
    return Server.start({ stateDir: join(stateDir), tls, args, port: this.port });
  }
}
