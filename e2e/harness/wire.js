// @ts-check
// A line between clients and a server that can be cut, or go dead without a word. It only passes
// bytes on, so it serves HTTP and WebSockets alike.

import { connect, createServer } from 'node:net';

export class Wire {
  /** @type {Set<import('node:net').Socket>} */
  #sockets = new Set();
  #dead = false;

  /**
   * @param {import('node:net').Server} listener
   * @param {number} port of the server
   */
  constructor(listener, port) {
    this.listener = listener;
    listener.on('connection', (near) => {
      if (this.#dead) {
        near.destroy();
        return;
      }
      const far = connect(port, '127.0.0.1');
      for (const [from, to] of [[near, far], [far, near]]) {
        this.#sockets.add(from);
        from.on('data', (bytes) => {
          if (!this.#dead) to.write(bytes);
        });
        from.on('error', () => {});
        from.on('close', () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
    });
  }

  /** @param {import('./server.js').Server} server */
  static async to(server) {
    const listener = createServer();
    await new Promise((resolve) => listener.listen(0, '127.0.0.1', () => resolve(null)));
    return new Wire(listener, server.port);
  }

  /** Where clients connect to. */
  get url() {
    const address = /** @type {import('node:net').AddressInfo} */ (this.listener.address());
    return `http://127.0.0.1:${address.port}`;
  }

  /** Breaks every connection; new ones are made at once. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nothing goes through any more, and nobody is told: what is under way is lost. */
  die() {
    this.#dead = true;
  }

  /** New connections go through again; the old ones break. */
  revive() {
    this.cut();
    this.#dead = false;
  }

  async close() {
    this.cut();
    await new Promise((resolve) => this.listener.close(() => resolve(null)));
  }
}
