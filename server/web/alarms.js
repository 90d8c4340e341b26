// @ts-check
// Timers with names: setting one forgets the one of the same name that was set before.

/** @template {string} Name */
export class Alarms {
  #timers;
  /** @type {Map<Name, unknown>} */
  #set = new Map();

  /** @param {import('./timers.js').Timers} timers */
  constructor(timers) {
    this.#timers = timers;
  }

  /**
   * @param {Name} name
   * @param {number} ms
   * @param {() => void} task
   */
  set(name, ms, task) {
    this.stop(name);
    const timer = this.#timers.set(ms, () => {
      this.#set.delete(name);
      task();
    });
    this.#set.set(name, timer);
  }

  /** @param {Name} name */
  stop(name) {
    this.#timers.clear(this.#set.get(name) ?? null);
    this.#set.delete(name);
  }

  stopAll() {
    for (const name of [...this.#set.keys()]) this.stop(name);
  }
}
