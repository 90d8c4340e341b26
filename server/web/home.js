// @ts-check
// The first screen: who, where, and with what.

import { byId, setIcon } from './dom.js';
import { newRoomId, parseFragment, readRoomField } from './invite.js';
import { USERNAME_CHARS } from './limits.js';
import { describePassphrase, generatePassphrase } from './passphrase.js';
import { loadPreferences, savePreferences } from './preferences.js';
import { UNREACHABLE } from './sign-in.js';

/**
 * @typedef {object} JoinRequest
 * @property {string} name
 * @property {string} room raw id
 * @property {string} passphrase
 * @property {string | null} fingerprint from the invite link
 * @property {boolean} microphone
 * @property {boolean} camera
 */

export class Home {
  #form = byId('join-form', HTMLFormElement);
  #name = byId('name', HTMLInputElement);
  #room = byId('room', HTMLInputElement);
  #passphrase = byId('passphrase', HTMLInputElement);
  #show = byId('passphrase-show', HTMLButtonElement);
  #hint = byId('passphrase-hint', HTMLElement);
  #microphone = byId('start-microphone', HTMLInputElement);
  #camera = byId('start-camera', HTMLInputElement);
  #problem = byId('problem', HTMLElement);
  #join = byId('join', HTMLButtonElement);

  /** The passphrase that was made here; a typed one is worth less. */
  #generated = '';
  /** @type {string | null} */
  #fingerprint = null;

  /** @param {{ onJoin: (request: JoinRequest) => void }} options */
  constructor({ onJoin }) {
    const { name, microphone, camera } = loadPreferences();
    this.#name.value = name;
    this.#microphone.checked = microphone;
    this.#camera.checked = camera;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const request = this.#read();
      if (request) onJoin(request);
    });
    byId('room-new', HTMLButtonElement).addEventListener('click', () => {
      this.#room.value = newRoomId();
      this.#clearProblem();
    });
    byId('passphrase-new', HTMLButtonElement).addEventListener('click', () => void this.#generate());
    this.#show.addEventListener('click', () => this.#reveal(this.#passphrase.type === 'password'));
    this.#passphrase.addEventListener('input', () => this.#describe());
    this.#room.addEventListener('change', () => this.#takeLink());
    this.#form.addEventListener('input', () => this.#clearProblem());
    addEventListener('hashchange', () => this.readAddress());
    this.readAddress();
    this.#describe();
  }

  /** Fills the form from an invite link, and takes the secret out of the address bar. */
  readAddress() {
    const invite = parseFragment(location.hash);
    if (!invite) return;
    history.replaceState(null, '', location.pathname + location.search);
    this.#fill(invite);
  }

  /** The form as it stands when it is shown again.
   * @param {{ problem?: string }} [with_] */
  shown({ problem } = {}) {
    this.#join.disabled = false;
    this.#join.textContent = 'Join';
    if (problem) this.#say(problem);
    this.focus();
  }

  focus() {
    // On a phone, the keyboard would cover the form before anybody has read it.
    if (!matchMedia('(hover: hover)').matches) return;
    const empty = [this.#name, this.#room].find(({ value }) => value === '');
    (empty ?? this.#join).focus();
  }

  busy() {
    this.#join.disabled = true;
    this.#join.textContent = 'Joining …';
  }

  async #generate() {
    try {
      this.#generated = await generatePassphrase();
    } catch {
      this.#say(UNREACHABLE); // the list of words comes from there
      return;
    }
    this.#passphrase.value = this.#generated;
    this.#reveal(true); // it has to be told to the others
    this.#describe();
  }

  /** @returns {JoinRequest | null} */
  #read() {
    this.#clearProblem();
    if (!this.#takeLink()) return null;
    const name = this.#name.value.trim();
    const room = this.#room.value.trim();
    const length = [...name].length;
    if (name === '') return this.#refuse(this.#name, 'Please enter your name.');
    if (length > USERNAME_CHARS) {
      const sentence = `Your name is too long: ${length} characters, and ${USERNAME_CHARS} fit.`;
      return this.#refuse(this.#name, sentence);
    }
    if (room === '') return this.#refuse(this.#room, 'Please enter a room, or make a new one.');
    const [microphone, camera] = [this.#microphone.checked, this.#camera.checked];
    savePreferences({ name, microphone, camera });
    const passphrase = this.#passphrase.value;
    return { name, room, passphrase, fingerprint: this.#fingerprint, microphone, camera };
  }

  /** A link that was pasted into the room's field is taken apart.
   * @returns {boolean} whether the field is fine then */
  #takeLink() {
    const read = readRoomField({ typed: this.#room.value, origin: location.origin });
    if ('elsewhere' in read) {
      const sentence = `This link leads to another server, ${read.elsewhere}. Open it in the address bar.`;
      this.#refuse(this.#room, sentence);
      return false;
    }
    if ('invite' in read) this.#fill(read.invite);
    return true;
  }

  /** @param {import('./invite.js').Invite} invite */
  #fill({ room, passphrase, fingerprint }) {
    this.#room.value = room;
    this.#fingerprint = fingerprint ?? this.#fingerprint; // it belongs to the server, not the room
    if (passphrase !== '') {
      this.#passphrase.value = passphrase;
      this.#reveal(false);
    }
    this.#describe();
  }

  /** @param {HTMLInputElement} field @param {string} sentence @returns {null} */
  #refuse(field, sentence) {
    field.setAttribute('aria-invalid', 'true');
    this.#say(sentence);
    field.focus();
    return null;
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.#problem.textContent = sentence;
    this.#problem.hidden = false;
  }

  #clearProblem() {
    this.#problem.hidden = true;
    for (const field of [this.#name, this.#room]) field.removeAttribute('aria-invalid');
  }

  #describe() {
    const passphrase = this.#passphrase.value;
    const generated = passphrase !== '' && passphrase === this.#generated;
    const { level, text } = describePassphrase({ passphrase, generated });
    this.#hint.textContent = text;
    this.#hint.dataset.level = level;
  }

  /** @param {boolean} visible */
  #reveal(visible) {
    this.#passphrase.type = visible ? 'text' : 'password';
    setIcon(this.#show, visible ? 'eye-off' : 'eye');
    const label = visible ? 'Hide the passphrase' : 'Show the passphrase';
    this.#show.title = label;
    this.#show.setAttribute('aria-label', label);
    this.#show.setAttribute('aria-pressed', String(visible));
  }
}
