// @ts-check
// The panel beside the stage, on phones a sheet over it: chat and people.

import { byId } from './dom.js';

/** @typedef {'chat' | 'people'} Tab */

/** Wider than this, the panel stands beside the stage and is open from the start. */
const BESIDE = '(min-width: 720px)';

export class Panel {
  #panel = byId('panel', HTMLElement);
  #unreadBadge = byId('unread', HTMLElement);
  #tabs = {
    chat: byId('tab-chat', HTMLButtonElement),
    people: byId('tab-people', HTMLButtonElement),
  };
  #toggles = {
    chat: byId('toggle-chat', HTMLButtonElement),
    people: byId('toggle-people', HTMLButtonElement),
  };
  #onChatShown;
  #unread = 0;
  /** @type {Tab} */
  #tab = 'chat';

  /** @param {{ onChatShown: () => void }} options */
  constructor({ onChatShown }) {
    this.#onChatShown = onChatShown;
    for (const tab of /** @type {const} */ (['chat', 'people'])) {
      this.#tabs[tab].addEventListener('click', () => this.#show(tab));
      this.#toggles[tab].addEventListener('click', () => {
        if (!this.#panel.hidden && this.#tab === tab) this.#hide();
        else this.#show(tab);
      });
    }
    byId('panel-close', HTMLButtonElement).addEventListener('click', () => this.#hide());
    this.#panel.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !matchMedia(BESIDE).matches) this.#hide();
    });
  }

  begin() {
    this.#tab = 'chat';
    this.#panel.hidden = !matchMedia(BESIDE).matches;
    this.#clearUnread();
    this.#draw();
  }

  end() {
    this.#panel.hidden = true;
    this.#clearUnread();
  }

  /** Something was written. */
  unread() {
    if (!this.#panel.hidden && this.#tab === 'chat') return;
    this.#unread += 1;
    this.#unreadBadge.hidden = false;
    this.#unreadBadge.textContent = this.#unread > 99 ? '99+' : String(this.#unread);
    this.#toggles.chat.setAttribute('aria-label', `Chat, ${this.#unread} unread`);
  }

  /** @param {Tab} tab */
  #show(tab) {
    this.#tab = tab;
    this.#panel.hidden = false;
    if (tab === 'chat') this.#clearUnread();
    this.#draw();
    if (tab === 'chat') this.#onChatShown();
  }

  #hide() {
    this.#panel.hidden = true;
    this.#draw();
    this.#toggles[this.#tab].focus();
  }

  #clearUnread() {
    this.#unread = 0;
    this.#unreadBadge.hidden = true;
    this.#toggles.chat.removeAttribute('aria-label');
  }

  #draw() {
    this.#panel.dataset.tab = this.#tab;
    for (const tab of /** @type {const} */ (['chat', 'people'])) {
      const shown = !this.#panel.hidden && this.#tab === tab;
      this.#tabs[tab].setAttribute('aria-selected', String(this.#tab === tab));
      this.#toggles[tab].setAttribute('aria-pressed', String(shown));
    }
  }
}
