// @ts-check
// Time, as an argument: modules with states take a `Timers`, so that tests bring their own clock.

/**
 * @typedef {object} Timers
 * @property {() => number} now milliseconds since some fixed moment; never goes back
 * @property {(ms: number, task: () => void) => unknown} set runs `task` once, after `ms`
 * @property {(timer: unknown) => void} clear forgets what `set` returned; `null` is fine
 */

/** @type {Timers} */
export const realTimers = {
  now: () => performance.now(),
  set: (ms, task) => setTimeout(task, ms),
  clear: (timer) => clearTimeout(/** @type {number | undefined} */ (timer ?? undefined)),
};
