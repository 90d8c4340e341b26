// @ts-check
// The tiles: one for each person, and one for each shared screen. A person without sound and
// picture has a tile, too.

import { el, hueOf, icon, initials } from './dom.js';
import { tileSize, WIDEST } from './grid.js';

/** @typedef {import('./sources.js').Source} Source */
/** @typedef {import('./peer.js').PeerState | 'closed' | 'full'} TileState */

/** Space between tiles, as in the style sheet. */
const GAP = 8;
/** Sound above this level (0 to 1) is speech. */
const SPEECH_LEVEL = 0.02;

/** What stands on the plate of a tile beside the name. @type {Record<string, string>} */
export const STATE_WORDS = {
  connecting: 'connecting …',
  reconnecting: 'reconnecting …',
  failed: 'no connection',
  full: 'chat only: no place left',
};

class Tile {
  /** @param {{ user: string, name: string, source: 'camera' | 'screen', self: boolean }} of */
  constructor({ user, name, source, self }) {
    this.user = user;
    this.video = el('video');
    this.video.autoplay = true;
    this.video.playsInline = true;
    this.video.muted = true; // sound comes from the other element, with or without a picture
    this.video.disablePictureInPicture = true;
    this.audio = el('audio');
    this.audio.autoplay = true;
    const round = el('span', { className: `initials ${hueOf(user)}` });
    this.round = round;
    this.who = el('span', { className: 'who' });
    this.state = el('span', { className: 'state' });
    this.muted = icon('mic-off', 'small muted');
    this.muted.setAttribute('hidden', '');
    const parts = source === 'camera' ? [this.muted, this.who, this.state] : [icon('screen', 'small'), this.who];
    this.element = el(
      'article',
      { className: self ? 'tile self' : 'tile', data: { user, source, state: self ? 'connected' : 'connecting' } },
      this.video,
      ...(self ? [] : [this.audio]),
      ...(source === 'camera' ? [el('div', { className: 'face' }, round)] : []),
      el('footer', { className: 'plate' }, ...parts),
    );
    this.rename(name, self, source);
    // The first picture shows itself at once, without waiting for statistics.
    this.video.addEventListener('loadeddata', () => this.live(true));
  }

  /** @param {string} name @param {boolean} self @param {'camera' | 'screen'} source */
  rename(name, self, source) {
    this.round.textContent = initials(name);
    if (source === 'camera') this.who.textContent = self ? `${name} (you)` : name;
    else this.who.textContent = self ? 'Your screen' : `${name}’s screen`;
    this.describe();
  }

  /** For those who do not see it. */
  describe() {
    const muted = this.muted.hasAttribute('hidden') ? '' : 'no sound';
    const parts = [this.who.textContent, muted, this.state.textContent];
    this.element.setAttribute('aria-label', parts.filter(Boolean).join(', '));
  }

  /** @param {MediaStreamTrack | null} track */
  show(track) {
    this.video.srcObject = track ? new MediaStream([track]) : null;
    if (!track) this.live(false);
    else void this.video.play().catch(() => {});
  }

  /** @param {boolean} live whether there is a picture to look at */
  live(live) {
    this.element.classList.toggle('live', live && this.video.srcObject !== null);
  }

  /** @param {boolean} muted */
  mute(muted) {
    if (this.muted.hasAttribute('hidden') !== muted) return;
    this.muted.toggleAttribute('hidden', !muted);
    this.describe();
  }

  remove() {
    this.video.srcObject = null;
    this.audio.srcObject = null;
    this.element.remove();
  }
}

export class Tiles {
  #stage;
  #spot;
  #faces;
  #onSoundBlocked;
  /** By `user source`. @type {Map<string, Tile>} */
  #tiles = new Map();
  #resized = new ResizeObserver(() => this.#layout());

  /**
   * @param {{ stage: HTMLElement, spot: HTMLElement, faces: HTMLElement,
   *   onSoundBlocked: () => void }} options
   */
  constructor({ stage, spot, faces, onSoundBlocked }) {
    this.#stage = stage;
    this.#spot = spot;
    this.#faces = faces;
    this.#onSoundBlocked = onSoundBlocked;
    this.#resized.observe(stage);
  }

  /** @param {{ user: string, name: string, self?: boolean }} who */
  addPerson({ user, name, self = false }) {
    this.#tile({ user, name, source: 'camera', self });
  }

  /** @param {string} user */
  removePerson(user) {
    this.#remove(user, 'camera');
    this.#remove(user, 'screen');
  }

  /** @param {{ user: string, name: string, source: Source, track: MediaStreamTrack, self?: boolean }} of */
  addTrack({ user, name, source, track, self = false }) {
    const screen = source === 'screen' || source === 'screen-audio';
    const tile = this.#tile({ user, name, source: screen ? 'screen' : 'camera', self });
    if (track.kind === 'video') {
      tile.show(track);
      return;
    }
    if (self) return;
    tile.audio.srcObject = new MediaStream([track]);
    void tile.audio.play().catch((error) => {
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.#onSoundBlocked();
    });
  }

  /** @param {{ user: string, source: Source }} of */
  removeTrack({ user, source }) {
    if (source === 'screen') {
      this.#remove(user, 'screen');
    } else if (source === 'camera') {
      this.#get(user, 'camera')?.show(null);
    } else {
      const tile = this.#get(user, source === 'microphone' ? 'camera' : 'screen');
      if (tile) tile.audio.srcObject = null;
    }
  }

  /** Shows whether our own camera is on; its track stays for a moment when it is switched off.
   * @param {string} user @param {boolean} on */
  setLive(user, on) {
    this.#get(user, 'camera')?.live(on);
  }

  /** @param {string} user @param {boolean} muted */
  setMuted(user, muted) {
    this.#get(user, 'camera')?.mute(muted);
  }

  /** @param {{ user: string, state: TileState }} of */
  setState({ user, state }) {
    for (const tile of this.#tiles.values()) {
      if (tile.user !== user) continue;
      tile.element.dataset.state = state === 'full' ? 'failed' : state;
      tile.state.textContent = STATE_WORDS[state] ?? '';
      tile.describe();
      if (state !== 'connected') tile.element.classList.remove('speaking');
    }
  }

  /** @param {{ user: string, source: Source, activity: import('./activity.js').Activity }} of */
  setActivity({ user, source, activity }) {
    const { flowing, silent, level } = activity;
    if (source === 'microphone') {
      const tile = this.#get(user, 'camera');
      tile?.mute(silent);
      tile?.element.classList.toggle('speaking', !silent && level > SPEECH_LEVEL);
    } else if (source === 'camera') {
      const tile = this.#get(user, 'camera');
      tile?.live(flowing && tile.video.videoWidth > 0);
    } else if (source === 'screen') {
      // A share that ended without a word: its tile goes, and comes back with the first packet.
      const tile = this.#get(user, 'screen');
      if (tile && tile.element.hidden === flowing && tile.video.videoWidth > 0) {
        tile.element.hidden = !flowing;
        this.#layout();
      }
    }
  }

  /** Tries to play all sounds again, after the user has touched the page. */
  playSounds() {
    for (const { audio } of this.#tiles.values()) {
      if (audio.srcObject) void audio.play().catch(() => {});
    }
  }

  clear() {
    for (const tile of this.#tiles.values()) tile.remove();
    this.#tiles.clear();
    this.#layout();
  }

  /** @param {string} user @param {'camera' | 'screen'} source */
  #get(user, source) {
    return this.#tiles.get(`${user} ${source}`);
  }

  /** @param {{ user: string, name: string, source: 'camera' | 'screen', self: boolean }} of */
  #tile(of) {
    const { user, name, source, self } = of;
    const known = this.#get(user, source);
    if (known) {
      known.rename(name, self, source);
      return known;
    }
    const tile = new Tile(of);
    this.#tiles.set(`${user} ${source}`, tile);
    const state = this.#get(user, 'camera')?.element.dataset.state;
    if (source === 'screen' && state) tile.element.dataset.state = state;
    (source === 'screen' ? this.#spot : this.#faces).append(tile.element);
    this.#layout();
    return tile;
  }

  /** @param {string} user @param {'camera' | 'screen'} source */
  #remove(user, source) {
    const tile = this.#get(user, source);
    if (!tile) return;
    this.#tiles.delete(`${user} ${source}`);
    tile.remove();
    this.#layout();
  }

  #layout() {
    const shown = [...this.#spot.children].filter((tile) => tile instanceof HTMLElement && !tile.hidden);
    const sharing = shown.length > 0;
    this.#spot.hidden = !sharing;
    this.#stage.classList.toggle('sharing', sharing);
    this.#fit(this.#spot, { count: shown.length, narrowest: WIDEST });
    if (!sharing) this.#fit(this.#faces, { count: this.#faces.children.length });
  }

  /** @param {HTMLElement} box @param {{ count: number, narrowest?: number }} tiles */
  #fit(box, tiles) {
    if (tiles.count === 0) return;
    const size = tileSize({ ...tiles, width: box.clientWidth, height: box.clientHeight, gap: GAP });
    box.style.setProperty('--tile-width', `${size.width}px`);
    box.style.setProperty('--tile-height', `${size.height}px`);
  }
}
