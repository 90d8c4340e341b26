// @ts-check
// Passphrases: making one, and saying honestly how much one is worth.

/** Words in the list of words.js, which is only loaded when it is needed. */
const LIST_WORDS = 7_776;
/** Six words of 12.9 bits each. */
const WORD_COUNT = 6;
export const GENERATED_BITS = Math.floor(WORD_COUNT * Math.log2(LIST_WORDS));

/** Below this, whoever runs the server can try all likely passphrases against one message. */
const WEAK_BITS = 45;

/** Six words, each chosen evenly from the whole list. */
export async function generatePassphrase() {
  const { WORDS } = await import('./words.js');
  return Array.from({ length: WORD_COUNT }, () => WORDS[randomBelow(WORDS.length)]).join('-');
}

/** Draws anew where the remainder would favour the first numbers.
 * @param {number} limit */
function randomBelow(limit) {
  const fair = 0x10000 - (0x10000 % limit);
  for (;;) {
    const [drawn = fair] = crypto.getRandomValues(new Uint16Array(1));
    if (drawn < fair) return drawn % limit;
  }
}

/**
 * The most that a typed passphrase can be worth, in bits. People choose far less evenly than dice,
 * so this is an upper bound and is only used to warn.
 * @param {string} passphrase
 */
export function mostBits(passphrase) {
  const words = passphrase.trim().toLowerCase().split(/[\s-]+/u);
  if (words.length >= 2 && words.every((word) => /^\p{L}+$/u.test(word))) {
    return new Set(words).size * Math.log2(LIST_WORDS);
  }
  const classes = [/\p{Ll}/u, /\p{Lu}/u, /\d/u, /[^\p{L}\d]/u];
  const sizes = [26, 26, 10, 32];
  const alphabet = classes.reduce((sum, c, i) => sum + (c.test(passphrase) ? (sizes[i] ?? 0) : 0), 0);
  const different = new Set(passphrase).size;
  return Math.min(passphrase.length, different * 2) * Math.log2(Math.max(alphabet, 2));
}

/**
 * One sentence under the field.
 * @param {{ passphrase: string, generated: boolean }} of
 * @returns {{ level: 'none' | 'weak' | 'good', text: string }}
 */
export function describePassphrase({ passphrase, generated }) {
  if (passphrase === '') {
    return {
      level: 'none',
      text: 'Without one, the chat is not private from whoever runs the server.',
    };
  }
  if (generated) {
    return {
      level: 'good',
      text: `Six random words, ${GENERATED_BITS} bits. Everybody in the room needs them.`,
    };
  }
  if (mostBits(passphrase) < WEAK_BITS) {
    return {
      level: 'weak',
      text: 'Easy to guess for whoever runs the server. Longer is better; or take six random words.',
    };
  }
  return { level: 'good', text: 'Everybody in the room needs exactly the same passphrase.' };
}
