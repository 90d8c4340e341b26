// @ts-check
// When to come back to a server that is lost, and whether at all: by the code with which it closed
// the socket. PROTOCOL.md, "Close codes and what to do".

/** The codes that mean something. */
export const CLOSE = {
  policy: 1008,
  tooBig: 1009,
  restart: 1012,
  tryLater: 1013,
  moved: 4001,
  signIn: 4002,
};

/** First pause before the socket is opened again; it doubles up to the longest. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** A server that restarts has all its clients back at once: they spread over this time. */
const RESTART_FROM_MS = 200;
const RESTART_TO_MS = 2_000;
/** The wait where a server that is too busy tells none, and the longest that we believe. */
const BUSY_MS = 5_000;
const LONGEST_WAIT_MS = 600_000;
/** A rule broken twice within this time is one that we can't keep. */
const BETWEEN_RULES_MS = 60_000;

/**
 * @typedef {{ kind: 'retry', ms: number, why: string | null }
 *   | { kind: 'sign-in', ms: number, why: null }
 *   | { kind: 'stop', why: string }
 * } Next `why` is for the user, where waiting alone does not heal it
 */

/** How long the reason of a close asks to wait.
 * @param {string} reason @returns {number | null} milliseconds */
export function waitIn(reason) {
  const seconds = /retry-after=(\d{1,9})\s*$/u.exec(reason)?.[1];
  return seconds === undefined ? null : Number(seconds) * 1000;
}

export class Comeback {
  #attempt = 0;
  #brokeRuleAt = -Infinity;

  /** Which attempt comes next. */
  get attempt() {
    return this.#attempt;
  }

  /** We are in the room. */
  succeeded() {
    this.#attempt = 0;
  }

  /** The user, or the network, says that now is a good time. */
  hurried() {
    this.#attempt = 0;
  }

  /**
   * @param {{ code: number, reason: string, now: number, random: number }} closed `random` from 0
   *   to 1
   * @returns {Next}
   */
  after({ code, reason, now, random }) {
    const first = this.#attempt === 0;
    this.#attempt += 1;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (this.#attempt - 1), LONGEST_PAUSE_MS);
    const growing = Math.round(pause * (0.75 + 0.5 * random));
    switch (code) {
      case CLOSE.moved:
        return { kind: 'stop', why: 'This meeting goes on in another window.' };
      case CLOSE.signIn:
        return { kind: 'sign-in', ms: growing, why: null };
      case CLOSE.restart: {
        const spread = Math.round(RESTART_FROM_MS + (RESTART_TO_MS - RESTART_FROM_MS) * random);
        return { kind: 'retry', ms: first ? spread : growing, why: null };
      }
      case CLOSE.tryLater: {
        const wait = Math.min(waitIn(reason) ?? BUSY_MS, LONGEST_WAIT_MS);
        const ms = Math.max(Math.round(wait * (1 + random / 4)), growing);
        return { kind: 'retry', ms, why: 'The server is busy; we come back in a moment.' };
      }
      case CLOSE.policy: {
        const again = now - this.#brokeRuleAt < BETWEEN_RULES_MS;
        this.#brokeRuleAt = now;
        const why = `The server does not let you stay: ${reason || 'it gives no reason'}.`;
        return again ? { kind: 'stop', why } : { kind: 'retry', ms: growing, why };
      }
      case CLOSE.tooBig:
        return { kind: 'retry', ms: growing, why: 'Something was too big for the server.' };
      default:
        return { kind: 'retry', ms: growing, why: null };
    }
  }
}
