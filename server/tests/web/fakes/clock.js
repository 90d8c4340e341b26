// @ts-check
// A clock that only goes on when a test says so.

export class FakeClock {
  #now = 0;
  #count = 0;
  /** @type {Map<number, { at: number, task: () => void }>} */
  #tasks = new Map();

  now = () => this.#now;

  /** @param {number} ms @param {() => void} task */
  set = (ms, task) => {
    this.#count += 1;
    this.#tasks.set(this.#count, { at: this.#now + ms, task });
    return this.#count;
  };

  /** @param {unknown} timer */
  clear = (timer) => {
    this.#tasks.delete(/** @type {number} */ (timer));
  };

  /** Lets time go on, with everything that falls due in it, in order.
   * @param {number} ms */
  async advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      let first = null;
      for (const [id, { at }] of this.#tasks) {
        if (at <= end && (first === null || at < first.at)) first = { id, at };
      }
      if (first === null) break;
      const { task } = /** @type {{ task: () => void }} */ (this.#tasks.get(first.id));
      this.#tasks.delete(first.id);
      this.#now = Math.max(this.#now, first.at);
      task();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settle() {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
