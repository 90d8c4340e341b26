// @ts-check
// What others have said so far, as far as it takes to notice what comes twice and what is missing.

/** Messages that are remembered; one that comes again after so many others is taken for new. */
const REMEMBERED = 512;
/** Senders whose numbers are remembered; gaps of further ones are not seen. */
const SENDERS = 2_000;

export class Hearing {
  /** Sender and id, the oldest first. @type {Set<string>} */
  #known = new Set();
  /** @type {Map<string, number>} */
  #numbers = new Map();

  /** @param {{ from: string, id: string | null }} message @returns {boolean} */
  isNew({ from, id }) {
    if (id === null) return true;
    const key = `${from.length} ${from} ${id}`;
    if (this.#known.has(key)) return false;
    this.#known.add(key);
    const [oldest] = this.#known;
    if (this.#known.size > REMEMBERED && oldest !== undefined) this.#known.delete(oldest);
    return true;
  }

  /** How many messages of that sender are missing before this one.
   * @param {{ from: string, seq: number | null }} message */
  missing({ from, seq }) {
    if (seq === null) return 0;
    const last = this.#numbers.get(from);
    if (last === undefined && this.#numbers.size >= SENDERS) return 0;
    this.#numbers.set(from, seq);
    // A number that is not greater begins a new count.
    return last === undefined ? 0 : Math.max(0, seq - last - 1);
  }

  /** Only these are in the room. @param {Set<string>} members */
  keep(members) {
    for (const from of [...this.#numbers.keys()]) {
      if (!members.has(from)) this.#numbers.delete(from);
    }
  }

  /** A new session: what was said meanwhile is not known, and numbers may begin anew. */
  forgetNumbers() {
    this.#numbers.clear();
  }
}
