// @ts-check
// The link to the server: signs in, opens the socket, joins the room, and comes back when it
// breaks. Peer connections live on meanwhile; nothing here knows them.

import { checkToken, JoinError, loadConfig, signIn, UNREACHABLE } from './sign-in.js';
import { FRAME_BYTES } from './limits.js';
import { parseMessage } from './wire.js';

/** @typedef {import('./wire.js').Message} Message */
/** @typedef {import('./wire.js').Outgoing} Outgoing */
/** @typedef {import('./sign-in.js').Identity} Identity */

/**
 * @typedef {{ type: 'message', message: Message }
 *   | { type: 'link', state: 'connected' }
 *   | { type: 'link', state: 'reconnecting', attempt: number, retryMs: number }
 *   | { type: 'identity', identity: Identity }
 * } SessionEvent `identity`: the old token is worth nothing any more, we are somebody new
 */

/**
 * @typedef {object} World what the session touches, so that tests bring their own
 * @property {import('./timers.js').Timers} timers
 * @property {typeof fetch} fetch
 * @property {typeof WebSocket} WebSocket
 * @property {() => number} random from 0 to 1
 */

/** First pause before the socket is opened again; it doubles up to the longest. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** A socket that is not in the room by then is given up. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Messages that we send at once, and then each second. Servers of the base protocol allow 60 and
 * 40, and close the socket of whoever insists. */
const SEND_BURST = 50;
const SEND_PER_SECOND = 35;
/** Signals that wait for their turn; more than eight peers' ICE. Beyond, the oldest are lost, and
 * the mesh offers again. */
const WAITING_SIGNALS = 500;

export class Session {
  #origin;
  #name;
  #world;
  #onEvent;

  /** @type {Identity | null} */
  #identity = null;
  #room = '';
  /** @type {WebSocket | null} */
  #socket = null;
  #joined = false;
  #closed = false;
  #attempt = 0;
  /** @type {unknown} */
  #retryTimer = null;
  /** @type {unknown} */
  #connectTimer = null;
  /** Rejects or resolves the first `join`. @type {{ resolve: () => void, reject: (error: JoinError) => void } | null} */
  #first = null;

  /** @type {string[]} */
  #waiting = [];
  #allowance = SEND_BURST;
  #allowanceAt = 0;
  /** @type {unknown} */
  #paceTimer = null;

  /**
   * @param {{ origin: string, name: string, world: World,
   *   onEvent: (event: SessionEvent) => void }} options
   */
  constructor({ origin, name, world, onEvent }) {
    this.#origin = origin;
    this.#name = name;
    this.#world = world;
    this.#onEvent = onEvent;
  }

  /** The deployment's names. */
  config() {
    return loadConfig({ origin: this.#origin, fetch: this.#world.fetch });
  }

  /** A new identity from the server. */
  async signIn() {
    const { fetch, timers } = this.#world;
    this.#identity = await signIn({ origin: this.#origin, name: this.#name, fetch, timers });
    return this.#identity;
  }

  /**
   * Enters the room; resolves at the first roster that shows us in it.
   * @param {string} room as it crosses the wire
   * @returns {Promise<void>}
   * @throws {JoinError}
   */
  join(room) {
    this.#room = room;
    return new Promise((resolve, reject) => {
      this.#first = { resolve, reject };
      this.#open();
    });
  }

  get connected() {
    return this.#joined;
  }

  /**
   * @param {Outgoing} message
   * @returns {boolean} whether it is on its way; while the server is away, nothing is
   */
  send({ type, data }) {
    if (!this.#joined || this.#closed) return false;
    const text = JSON.stringify({ type, room: this.#room, data });
    if (new TextEncoder().encode(text).length > FRAME_BYTES) return false;
    if (type === 'chat.message' || type === 'chat.typing') {
      this.#allow(0);
      this.#allowance -= 1;
      this.#socket?.send(text);
    } else {
      this.#waiting.push(text);
      if (this.#waiting.length > WAITING_SIGNALS) this.#waiting.shift();
      this.#pace();
    }
    return true;
  }

  /** Tries again now: the network is back, or somebody waits for an echo that does not come. */
  hurry() {
    if (this.#closed || this.#socket !== null) return;
    this.#attempt = 0;
    this.#open();
  }

  /** Gives up a socket that seems dead and opens another. */
  renew() {
    if (this.#closed || !this.#joined) return;
    this.#drop();
    this.#lost();
  }

  /** Leaves the room and closes the socket. */
  close() {
    if (this.#joined && this.#socket?.readyState === 1) {
      this.#socket.send(JSON.stringify({ type: 'chat.leave', room: this.#room, data: {} }));
    }
    this.#closed = true;
    this.#drop();
    this.#world.timers.clear(this.#retryTimer);
    this.#first?.reject(new JoinError('refused', 'You left.'));
    this.#first = null;
  }

  #open() {
    const { WebSocket, timers } = this.#world;
    timers.clear(this.#retryTimer);
    this.#retryTimer = null;
    const base = this.#origin.replace(/^http/u, 'ws');
    const token = encodeURIComponent(this.#identity?.token ?? '');
    const socket = new WebSocket(`${base}/ws?token=${token}`);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      socket.send(JSON.stringify({ type: 'chat.join', room: this.#room, data: {} }));
    };
    socket.onmessage = ({ data }) => {
      const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
      const message = parseMessage(text);
      if (message && socket === this.#socket) this.#receive(message);
    };
    socket.onclose = () => {
      if (socket !== this.#socket) return;
      this.#drop();
      if (!this.#closed) void this.#failed(opened);
    };
    this.#connectTimer = timers.set(CONNECT_TIMEOUT_MS, () => {
      if (socket !== this.#socket || this.#joined) return;
      this.#drop();
      void this.#failed(false);
    });
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.type === 'general.error' && !this.#joined) {
      this.#refused(message.error);
      return;
    }
    if (message.room !== '' && message.room !== this.#room) return;
    if (message.type === 'room.users' && !this.#joined) {
      if (!message.users.some(({ id }) => id === this.#identity?.user)) return;
      this.#joined = true;
      this.#attempt = 0;
      this.#allowance = SEND_BURST;
      this.#allowanceAt = this.#world.timers.now();
      this.#world.timers.clear(this.#connectTimer);
      this.#first?.resolve();
      this.#first = null;
      this.#onEvent({ type: 'link', state: 'connected' });
    }
    this.#onEvent({ type: 'message', message });
  }

  /** @param {string} error the server's words about our join */
  #refused(error) {
    if (!this.#first) return; // a later join: the socket will close, and we come back
    const tooLong = error.startsWith('Room ID too long');
    const sentence = tooLong
      ? 'The room’s name is too long for this server.'
      : `The server does not let you in: ${error}.`;
    this.#closed = true;
    this.#drop();
    this.#first.reject(new JoinError(tooLong ? 'room' : 'refused', sentence));
    this.#first = null;
  }

  /** @param {boolean} opened whether the socket had opened at all */
  async #failed(opened) {
    const { fetch } = this.#world;
    if (this.#first) {
      this.#closed = true;
      const token = this.#identity?.token ?? '';
      const check = await checkToken({ origin: this.#origin, token, fetch });
      const sentence =
        check === 'unreachable'
          ? UNREACHABLE
          : 'The server does not accept a connection from this address. Whoever runs it can allow it.';
      this.#first?.reject(new JoinError(check === 'unreachable' ? 'unreachable' : 'refused', sentence));
      this.#first = null;
      return;
    }
    this.#lost();
    if (!opened) await this.#renewIdentity();
  }

  /** A token that the server no longer takes is replaced; so is the user's id. */
  async #renewIdentity() {
    const { fetch } = this.#world;
    const token = this.#identity?.token ?? '';
    const check = await checkToken({ origin: this.#origin, token, fetch });
    if (check !== 'refused' || this.#closed || token !== this.#identity?.token) return;
    try {
      const identity = await this.signIn();
      if (!this.#closed) this.#onEvent({ type: 'identity', identity });
    } catch {
      // The next attempt will try again.
    }
  }

  #lost() {
    const { timers, random } = this.#world;
    this.#attempt += 1;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (this.#attempt - 1), LONGEST_PAUSE_MS);
    const retryMs = Math.round(pause * (0.75 + 0.5 * random()));
    timers.clear(this.#retryTimer);
    this.#retryTimer = timers.set(retryMs, () => this.#open());
    this.#onEvent({ type: 'link', state: 'reconnecting', attempt: this.#attempt, retryMs });
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#joined = false;
    this.#waiting = [];
    this.#world.timers.clear(this.#paceTimer);
    this.#paceTimer = null;
    this.#world.timers.clear(this.#connectTimer);
    if (socket && socket.readyState < 2) socket.close(1000);
  }

  /** @param {number} least what must be left */
  #allow(least) {
    const now = this.#world.timers.now();
    const gained = ((now - this.#allowanceAt) / 1000) * SEND_PER_SECOND;
    this.#allowance = Math.min(SEND_BURST, this.#allowance + gained);
    this.#allowanceAt = now;
    return this.#allowance >= least;
  }

  /** Sends waiting signals as fast as servers like it. */
  #pace() {
    if (this.#paceTimer !== null) return;
    while (this.#waiting.length > 0 && this.#allow(1)) {
      this.#allowance -= 1;
      this.#socket?.send(this.#waiting.shift() ?? '');
    }
    if (this.#waiting.length === 0) return;
    this.#paceTimer = this.#world.timers.set(1000 / SEND_PER_SECOND, () => {
      this.#paceTimer = null;
      this.#pace();
    });
  }
}
