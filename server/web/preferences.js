// @ts-check
// What this browser remembers: the name, and which devices are on at first. Never a passphrase.

const KEY = 'private-meet';

/** @typedef {{ name: string, microphone: boolean, camera: boolean }} Preferences */

/** @type {Preferences} */
const DEFAULTS = { name: '', microphone: true, camera: true };

/** @returns {Preferences} */
export function loadPreferences() {
  try {
    const json = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return {
      name: typeof json.name === 'string' ? json.name : DEFAULTS.name,
      microphone: json.microphone !== false,
      camera: json.camera !== false,
    };
  } catch {
    return { ...DEFAULTS };
  }
}

/** @param {Preferences} preferences */
export function savePreferences(preferences) {
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // A browser that keeps nothing is fine, too.
  }
}
