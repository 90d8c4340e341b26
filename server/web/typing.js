// @ts-check
// The typing indicator, both ways.

/** Said again while somebody goes on typing. */
const REPEAT_MS = 4_000;
/** Without a key for so long, nobody types. */
const IDLE_MS = 4_000;
/** Old clients say it once; without a word for so long, they do not type any more. */
const FORGET_MS = 10_000;

/** Tells the others that we type, and that we have stopped. */
export class TypingNotice {
  #timers;
  #send;
  #saidAt = -Infinity;
  #typing = false;
  /** @type {unknown} */
  #idle = null;

  /** @param {{ timers: import('./timers.js').Timers, send: (typing: boolean) => void }} options */
  constructor({ timers, send }) {
    this.#timers = timers;
    this.#send = send;
  }

  /** A key was pressed, and the field is not empty. */
  typed() {
    this.#timers.clear(this.#idle);
    this.#idle = this.#timers.set(IDLE_MS, () => this.stopped());
    const now = this.#timers.now();
    if (this.#typing && now - this.#saidAt < REPEAT_MS) return;
    this.#typing = true;
    this.#saidAt = now;
    this.#send(true);
  }

  /** The message was sent, or the field is empty. */
  stopped() {
    this.#timers.clear(this.#idle);
    if (!this.#typing) return;
    this.#typing = false;
    this.#send(false);
  }
}

/** Who types now. */
export class Typists {
  #timers;
  #onChange;
  /** @type {Map<string, unknown>} */
  #typing = new Map();

  /**
   * @param {{ timers: import('./timers.js').Timers, onChange: (users: string[]) => void }} options
   */
  constructor({ timers, onChange }) {
    this.#timers = timers;
    this.#onChange = onChange;
  }

  /** @param {{ user: string, typing: boolean }} what */
  heard({ user, typing }) {
    const was = this.#typing.has(user);
    this.#timers.clear(this.#typing.get(user) ?? null);
    this.#typing.delete(user);
    if (typing) {
      const timer = this.#timers.set(FORGET_MS, () => this.heard({ user, typing: false }));
      this.#typing.set(user, timer);
    }
    if (was !== typing) this.#onChange([...this.#typing.keys()]);
  }

  clear() {
    for (const user of [...this.#typing.keys()]) this.heard({ user, typing: false });
  }
}
