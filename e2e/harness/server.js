// @ts-check
// The real server as a process.

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
   * @param {{
   *   stateDir: string, tls: 'off' | 'self', args: string[], host: string, prefix: string[],
   *   env: Record<string, string>,
   * }} options
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
   * @param {{
   *   stateDir: string, tls?: 'off' | 'self', port?: number, args?: string[], host?: string,
   *   prefix?: string[], env?: Record<string, string>,
   * }} options `prefix`: words in front of the command, such as those that lead into a namespace
   */
  static async start(options) {
    const { stateDir, tls = 'off', port = 0, args = [], host = '127.0.0.1', prefix = [] } = options;
    const { env = {} } = options;
    const ownTls = args.includes('--tls-certificate') ? [] : ['--tls', tls];
    const flags = ['--listen', `${host}:${port}`, ...ownTls, '--state-dir', stateDir, ...args];
    const [command, ...words] = [...prefix, serverBinary(), ...flags];
    const child = new Child('server', command, words, {
      env: { ...QUIET, HTTP_RATE_LIMIT: 'false', RUST_LOG: process.env.RUST_LOG ?? 'info', ...env },
      cwd: stateDir,
    });
    const [, url] = await child.line(/listening on (\S+)/, STARTS_WITHIN_MS);
    const fingerprint =
      tls === 'self'
        ? (await child.line(/certificate fingerprint ([0-9a-f]{64})/, STARTS_WITHIN_MS))[1]
        : undefined;
    return new Server(child, url, fingerprint, { stateDir, tls, args, host, prefix, env });
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
    return Server.start({ ...this.options, port: this.port });
  }
}
