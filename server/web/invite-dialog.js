// @ts-check
// Copies the invite link, and asks whether the passphrase goes with it.

import { byId } from './dom.js';
import { inviteLink } from './invite.js';

export class InviteDialog {
  #dialog = byId('invite-dialog', HTMLDialogElement);
  #with = byId('invite-with', HTMLButtonElement);
  #without = byId('invite-without', HTMLButtonElement);
  #link = byId('invite-link', HTMLInputElement);
  #onCopied;
  #room = '';
  #passphrase = '';
  /** @type {string | null} */
  #fingerprint = null;

  /** @param {{ onCopied: (sentence: string) => void }} options */
  constructor({ onCopied }) {
    this.#onCopied = onCopied;
    this.#with.addEventListener('click', () => this.#copy(true));
    this.#without.addEventListener('click', () => this.#copy(false));
  }

  /** @param {{ room: string, passphrase: string, fingerprint: string | null }} of */
  open({ room, passphrase, fingerprint }) {
    this.#room = room;
    this.#passphrase = passphrase;
    this.#fingerprint = fingerprint;
    const secret = passphrase !== '';
    this.#with.hidden = !secret;
    byId('invite-text', HTMLElement).textContent = secret
      ? 'Should the link carry the passphrase, too?'
      : 'This room has no passphrase: the link is all that anybody needs.';
    byId('invite-without-title', HTMLElement).textContent = secret ? 'Copy link only' : 'Copy link';
    byId('invite-without-text', HTMLElement).textContent = secret
      ? 'Tell them the passphrase some other way.'
      : 'Whoever has it can join.';
    this.#link.hidden = true;
    this.#dialog.showModal();
  }

  /** @param {boolean} withPassphrase */
  async #copy(withPassphrase) {
    const link = inviteLink({
      origin: location.origin,
      room: this.#room,
      passphrase: withPassphrase ? this.#passphrase : '',
      fingerprint: this.#fingerprint,
    });
    try {
      await navigator.clipboard.writeText(link);
      this.#dialog.close();
      this.#onCopied(withPassphrase ? 'Link with passphrase copied.' : 'Link copied.');
    } catch {
      // Not allowed here: show it, ready to be copied by hand.
      this.#link.hidden = false;
      this.#link.value = link;
      this.#link.select();
    }
  }
}
