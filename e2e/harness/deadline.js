// @ts-check
// Deadlines. Nothing in these tests sleeps to wait for a state: it waits for the event itself,
// and says what it waited for when that does not come.

/** A state that did not come in time. */
export class Late extends Error {
  name = 'Late';
}

/**
 * The value of `promise`, or `Late` after `ms`.
 * @template T
 * @param {number} ms
 * @param {string} what was waited for, for the error
 * @param {Promise<T>} promise
 * @param {() => string} [seen] describes what was there instead
 * @returns {Promise<T>}
 */
export async function within(ms, what, promise, seen) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      const instead = seen ? `; seen instead: ${seen()}` : '';
      reject(new Late(`not within ${ms / 1000} s: ${what}${instead}`));
    }, ms);
  });
  try {
    return /** @type {T} */ (await Promise.race([promise, late]));
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Asks again and again until `probe` answers something true. Only for states that have no event
 * of their own, such as pixels on a screen.
 * @template T
 * @param {number} ms
 * @param {string} what
 * @param {() => Promise<T | undefined | null | false>} probe
 * @param {number} [pauseMs] between two questions
 * @returns {Promise<T>}
 */
export async function eventually(ms, what, probe, pauseMs = 100) {
  const end = performance.now() + ms;
  /** @type {unknown} */
  let last;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    last = answer;
    if (performance.now() > end) {
      throw new Late(`not within ${ms / 1000} s: ${what}; the last answer was ${JSON.stringify(last)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
