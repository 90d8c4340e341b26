// @ts-check
// Passphrases: making one, and saying honestly how much one is worth.

import { WORDS } from './words.js';

/** Six words of 11 bits each. */
const WORD_COUNT = 6;
export const GENERATED_BITS = WORD_COUNT * Math.log2(WORDS.length);

/** Below this, whoever runs the server can try all likely passphrases against one message. */
const WEAK_BITS = 45;

/** Six words, each chosen evenly from the whole list. */
export function generatePassphrase() {
  const numbers = crypto.getRandomValues(new Uint16Array(WORD_COUNT));
  // 2,048 divides 65,536: the remainder is as even as the number itself.
  return Array.from(numbers, (number) => WORDS[number % WORDS.length]).join(' ');
}

/**
 * The most that a typed passphrase can be worth, in bits. People choose far less evenly than dice,
 * so this is an upper bound and is only used to warn.
 * @param {string} passphrase
 */
export function mostBits(passphrase) {
  const words = passphrase.trim().toLowerCase().split(/\s+/u);
  if (words.length >= 2 && words.every((word) => /^\p{L}+$/u.test(word))) {
    return new Set(words).size * Math.log2(WORDS.length);
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
      text: `${WORD_COUNT} random words, ${GENERATED_BITS} bits. Everybody in the room needs them.`,
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
