// @ts-check
// The root: which screen is shown, and the call that belongs to it.

import { Call } from './call.js';
import { byId } from './dom.js';
import { Home } from './home.js';
import { Meeting } from './meeting.js';
import { JoinError } from './sign-in.js';
import { realTimers } from './timers.js';

/** @typedef {import('./home.js').JoinRequest} JoinRequest */

const TITLE = document.title;

class App {
  #home = new Home({ onJoin: (request) => void this.#join(request) });
  #meeting = new Meeting({ onLeave: (why) => this.#leave(why) });
  /** @type {Call | null} */
  #call = null;
  /** @type {WakeLockSentinel | null} */
  #wakeLock = null;

  constructor() {
    addEventListener('online', () => this.#call?.hurry());
    addEventListener('pagehide', () => this.#leave());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState !== 'visible' || !this.#call) return;
      this.#call.hurry();
      void this.#stayAwake();
    });
    this.#home.focus();
  }

  /** @param {JoinRequest} request */
  async #join(request) {
    if (this.#call) return;
    if (!isSecureContext || typeof RTCPeerConnection === 'undefined') {
      const problem = isSecureContext
        ? 'This browser can’t make calls: it has no WebRTC.'
        : 'Browsers only encrypt on pages that come over https. Open this page with https://.';
      this.#home.shown({ problem });
      return;
    }
    this.#home.busy();
    const { name, room: rawRoom, passphrase, microphone, camera } = request;
    const call = new Call({
      origin: location.origin,
      name,
      rawRoom,
      passphrase,
      start: { microphone, camera },
      world: {
        timers: realTimers,
        random: Math.random,
        fetch: (input, init) => fetch(input, init),
        WebSocket,
        createConnection: (iceServers) => new RTCPeerConnection({ iceServers }),
        createStream: () => new MediaStream(),
        devices: navigator.mediaDevices,
        permissions: navigator.permissions,
      },
      onEvent: (event) => this.#meeting.handle(event),
    });
    this.#call = call;
    this.#meeting.begin({ call, request });
    try {
      await call.join();
    } catch (error) {
      if (this.#call !== call) return;
      this.#close();
      const sentence = error instanceof JoinError ? error.message : 'Something went wrong here.';
      if (!(error instanceof JoinError)) console.error(error);
      this.#home.shown({ problem: sentence });
      return;
    }
    document.title = `${rawRoom} · ${TITLE}`;
    this.#show('meeting');
    this.#meeting.entered();
    void this.#stayAwake();
  }

  /** @param {string} [why] where it is not of the user's own will */
  #leave(why) {
    if (!this.#call) return;
    this.#close();
    this.#home.shown(why === undefined ? undefined : { problem: why });
  }

  #close() {
    this.#call?.leave();
    this.#call = null;
    this.#meeting.end();
    void this.#wakeLock?.release();
    this.#wakeLock = null;
    delete document.body.dataset.user;
    document.title = TITLE;
    this.#show('home');
  }

  /** @param {'home' | 'meeting'} screen */
  #show(screen) {
    byId('home', HTMLElement).hidden = screen !== 'home';
    byId('meeting', HTMLElement).hidden = screen !== 'meeting';
    document.body.dataset.screen = screen;
  }

  /** The screen stays on during a call, where the browser can do that. */
  async #stayAwake() {
    try {
      this.#wakeLock = (await navigator.wakeLock?.request('screen')) ?? null;
    } catch {
      // Low battery, or a hidden page.
    }
  }
}

new App();
