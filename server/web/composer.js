// @ts-check
// The field to write in: Enter sends, Shift+Enter makes a line; images are picked, pasted or
// dropped.

import { byId } from './dom.js';

/** The counter shows when so many units are left. */
const COUNT_FROM = 200;

/**
 * @typedef {object} ComposerOptions
 * @property {(text: string) => { ok: boolean, left: number, problem: string | null }} check
 * @property {(text: string) => void} onSend
 * @property {(empty: boolean) => void} onTyped
 * @property {(file: File) => void} onImage
 * @property {(sentence: string) => void} onProblem
 */

export class Composer {
  #o;
  #input = byId('chat-input', HTMLTextAreaElement);
  #send = byId('chat-send', HTMLButtonElement);
  #counter = byId('chat-counter', HTMLElement);
  #file = byId('chat-image', HTMLInputElement);
  #zone = byId('chat', HTMLElement);

  /** @param {ComposerOptions} options */
  constructor(options) {
    this.#o = options;
    const form = byId('composer', HTMLFormElement);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener('input', () => {
      this.#changed();
      this.#o.onTyped(this.#input.value.trim() === '');
    });
    byId('chat-attach', HTMLButtonElement).addEventListener('click', () => this.#file.click());
    this.#file.addEventListener('change', () => {
      this.#images(this.#file.files);
      this.#file.value = '';
    });
    this.#input.addEventListener('paste', (event) => {
      const files = event.clipboardData?.files;
      if (!files || files.length === 0) return;
      event.preventDefault();
      this.#images(files);
    });
    this.#acceptDrops(byId('meeting', HTMLElement));
  }

  focus() {
    this.#input.focus();
  }

  clear() {
    this.#input.value = '';
    this.#changed();
  }

  #submit() {
    const text = this.#input.value;
    if (!this.#o.check(text).ok) return;
    this.#input.value = '';
    this.#changed();
    this.#o.onSend(text);
    this.#input.focus();
  }

  #changed() {
    const input = this.#input;
    const { ok, left, problem } = this.#o.check(input.value);
    this.#send.disabled = !ok;
    this.#counter.classList.toggle('over', problem !== null);
    this.#counter.textContent = problem ?? (left <= COUNT_FROM ? `${left} left` : '');
    input.style.height = 'auto';
    input.style.height = `${input.scrollHeight + 2}px`;
  }

  /** @param {FileList | null} files */
  #images(files) {
    const images = [...(files ?? [])].filter(({ type }) => type === '' || type.startsWith('image/'));
    if (files && files.length > images.length) {
      this.#o.onProblem('Only images can be sent: PNG, JPEG, GIF or WebP.');
    }
    for (const file of images) this.#o.onImage(file);
  }

  /** @param {HTMLElement} area */
  #acceptDrops(area) {
    const carriesFiles = (/** @type {DragEvent} */ event) =>
      event.dataTransfer?.types.includes('Files') === true;
    area.addEventListener('dragover', (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      this.#zone.classList.add('dropping');
    });
    area.addEventListener('dragleave', (event) => {
      if (event.relatedTarget === null) this.#zone.classList.remove('dropping');
    });
    area.addEventListener('drop', (event) => {
      this.#zone.classList.remove('dropping');
      if (!carriesFiles(event)) return;
      event.preventDefault();
      this.#images(event.dataTransfer?.files ?? null);
    });
  }
}
