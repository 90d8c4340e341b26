// @ts-check
// The link to the server: signs in, opens the socket, joins the room, and comes back when it
// breaks. Peer connections live on meanwhile; nothing here knows them. It says hello to every
// server; one that answers with a welcome speaks version 2, and the session goes on over sockets.

import { CLOSE, Comeback } from './comeback.js';
import { FRAME_BYTES } from './limits.js';
import {
  checkToken, JoinError, loadConfig, loadIceServers, signIn, UNREACHABLE,
} from './sign-in.js';
import { parseMessage } from './wire.js';

/** @typedef {import('./wire.js').Message} Message */
/** @typedef {import('./wire.js').Outgoing} Outgoing */
/** @typedef {import('./sign-in.js').Identity} Identity */

/**
 * @typedef {{ type: 'message', message: Message }
 *   | { type: 'link', state: 'connected', v2: boolean, resumed: boolean }
 *   | { type: 'link', state: 'reconnecting', attempt: number, retryMs: number, why: string | null }
 *   | { type: 'identity', identity: Identity }
 *   | { type: 'ice', answer: import('./ice.js').IceAnswer }
 *   | { type: 'over', why: string }
 * } SessionEvent `identity`: the old token is worth nothing any more, we are somebody new;
 *   `resumed`: nothing was lost meanwhile; `over`: the server does not want us any more
 */

/**
 * @typedef {object} World what the session touches, so that tests bring their own
 * @property {import('./timers.js').Timers} timers
 * @property {typeof fetch} fetch
 * @property {typeof WebSocket} WebSocket
 * @property {() => number} random from 0 to 1
 */

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
  #comeback = new Comeback();
  /** The newest version that the server says it speaks. */
  #protocol = 1;
  /** Whether this socket has had its welcome. */
  #welcomed = false;
  /** For going on with the session; empty in version 1. */
  #resume = '';
  /** Messages of this session so far, over all sockets. */
  #received = 0;
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
  async config() {
    const config = await loadConfig({ origin: this.#origin, fetch: this.#world.fetch });
    this.#protocol = config.protocol;
    return config;
  }

  /** The STUN and TURN servers of the moment; `null` where there is no answer. */
  iceServers() {
    const token = this.#identity?.token ?? '';
    return loadIceServers({ origin: this.#origin, token, fetch: this.#world.fetch });
  }

  /** A new identity from the server. */
  async signIn() {
    const { fetch, timers } = this.#world;
    this.#identity = await signIn({ origin: this.#origin, name: this.#name, fetch, timers });
    this.#resume = '';
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
    if (type === 'peer.state' && !this.#welcomed) return false;
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
    this.#comeback.hurried();
    this.#open();
  }

  /** Gives up a socket that seems dead and opens another. */
  renew() {
    if (this.#closed || !this.#joined) return;
    this.#drop();
    this.#lost({ code: 0, reason: '' });
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
    // A server of version 2 is told the token in the hello, where no log sees it.
    const byHello = this.#protocol >= 2;
    const token = this.#identity?.token ?? '';
    const query = byHello ? '' : `?token=${encodeURIComponent(token)}`;
    const socket = new WebSocket(`${this.#origin.replace(/^http/u, 'ws')}/ws${query}`);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#welcomed = false;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      // In one flight: an old server refuses the one and answers the other.
      const hello = { v: 2, ...(byHello && { token }), ...this.#goingOn(), caps: [] };
      socket.send(JSON.stringify({ type: 'session.hello', room: '', data: hello }));
      socket.send(JSON.stringify({ type: 'chat.join', room: this.#room, data: {} }));
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      if (this.#welcomed) this.#received += 1;
      const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
      const message = parseMessage(text);
      if (message) this.#receive(message);
    };
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      this.#drop();
      const { code = 0, reason = '' } = event ?? {};
      if (!this.#closed) void this.#failed(opened, { code, reason });
    };
    this.#connectTimer = timers.set(CONNECT_TIMEOUT_MS, () => {
      if (socket !== this.#socket || this.#joined) return;
      this.#drop();
      void this.#failed(false, { code: 0, reason: '' });
    });
  }

  /** What a hello says about the session that is to go on. */
  #goingOn() {
    return this.#resume === '' ? {} : { resume: this.#resume, received: this.#received };
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.type === 'session.welcome') {
      this.#welcome(message);
      return;
    }
    if (message.type === 'general.error' && !this.#joined) {
      const old = !this.#welcomed && message.error === 'Invalid message type';
      if (!old) this.#refused(message.error);
      return;
    }
    if (message.room !== '' && message.room !== this.#room) return;
    if (message.type === 'room.users' && !this.#joined) {
      if (!message.users.some(({ id }) => id === this.#identity?.user)) return;
      if (!this.#welcomed) this.#resume = '';
      this.#entered(false);
    }
    this.#onEvent({ type: 'message', message });
  }

  /** @param {Extract<Message, { type: 'session.welcome' }>} welcome */
  #welcome({ user, resume, resumed, ice }) {
    if (this.#welcomed || this.#joined) return;
    this.#welcomed = true;
    this.#resume = resume;
    if (!resumed) this.#received = 0;
    if (this.#identity && this.#identity.user !== user) {
      this.#identity = { ...this.#identity, user };
      this.#onEvent({ type: 'identity', identity: this.#identity });
    }
    this.#onEvent({ type: 'ice', answer: ice });
    if (resumed) this.#entered(true);
  }

  /** @param {boolean} resumed */
  #entered(resumed) {
    this.#joined = true;
    this.#comeback.succeeded();
    this.#allowance = SEND_BURST;
    this.#allowanceAt = this.#world.timers.now();
    this.#world.timers.clear(this.#connectTimer);
    this.#first?.resolve();
    this.#first = null;
    this.#onEvent({ type: 'link', state: 'connected', v2: this.#welcomed, resumed });
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

  /**
   * @param {boolean} opened whether the socket had opened at all
   * @param {{ code: number, reason: string }} closed
   */
  async #failed(opened, closed) {
    if (this.#first) {
      await this.#notIn(closed);
      return;
    }
    if (!this.#lost(closed)) return;
    if (!opened || closed.code === CLOSE.signIn) await this.#renewIdentity(closed.code);
  }

  /** The first join has failed. @param {{ code: number, reason: string }} closed */
  async #notIn({ code, reason }) {
    const { fetch } = this.#world;
    this.#closed = true;
    const token = this.#identity?.token ?? '';
    const check = await checkToken({ origin: this.#origin, token, fetch });
    const away = check === 'unreachable';
    const words = reason.replace(/;? *retry-after=\d+\s*$/u, '');
    const sentence = away
      ? UNREACHABLE
      : code >= CLOSE.policy && words !== ''
        ? `The server does not let you in: ${words}.`
        : 'The server does not accept a connection from this address. Whoever runs it can allow it.';
    this.#first?.reject(new JoinError(away ? 'unreachable' : 'refused', sentence));
    this.#first = null;
  }

  /** A token that the server no longer takes is replaced; so is the user's id.
   * @param {number} code of the socket's end */
  async #renewIdentity(code) {
    const { fetch } = this.#world;
    const token = this.#identity?.token ?? '';
    if (code !== CLOSE.signIn) {
      const check = await checkToken({ origin: this.#origin, token, fetch });
      // The server was replaced by one that looks for the token elsewhere.
      if (check === 'valid' && this.#protocol >= 2) void this.config().catch(() => {});
      if (check !== 'refused' || this.#closed || token !== this.#identity?.token) return;
    }
    try {
      const identity = await this.signIn();
      if (!this.#closed) this.#onEvent({ type: 'identity', identity });
    } catch {
      // The next attempt will try again.
    }
  }

  /**
   * Comes back later, or not at all.
   * @param {{ code: number, reason: string }} closed
   * @returns {boolean} whether it does
   */
  #lost({ code, reason }) {
    const { timers, random } = this.#world;
    const next = this.#comeback.after({ code, reason, now: timers.now(), random: random() });
    if (next.kind === 'stop') {
      this.#closed = true;
      this.#onEvent({ type: 'over', why: next.why });
      return false;
    }
    const { ms: retryMs, why } = next;
    timers.clear(this.#retryTimer);
    this.#retryTimer = timers.set(retryMs, () => this.#open());
    const { attempt } = this.#comeback;
    this.#onEvent({ type: 'link', state: 'reconnecting', attempt, retryMs, why });
    return true;
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
