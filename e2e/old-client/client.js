// @ts-check
// The old client's session: sign-in, WebSocket, roster, chat. Driven by the tests as `window.old`.

import { sendImage } from './images.js';
import { Peer } from './peer.js';
import { deriveKey, open, seal } from './seal.js';

const ROOM_PREFIX = 'pm_room:';
const WIRE_PREFIX = 'pm_e2ee:';
/** A member that is missing from the roster for this long is gone. */
const GONE_AFTER_MS = 1000;

class OldClient {
  user = '';
  username = '';
  room = '';
  /** @type {{ userID: string, username: string }[]} */
  roster = [];
  /** @type {{ from: string, kind: 'text' | 'protected' | 'plain', text: string }[]} */
  chat = [];
  /** @type {{ from: string, typing: boolean }[]} */
  typing = [];
  /** @type {string[]} */
  errors = [];
  /** @type {Map<string, Peer>} */
  peers = new Map();
  /** How many peer connections were made to each id. @type {Record<string, number>} */
  made = {};

  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {CryptoKey | null} */
  #key = null;
  #stream = new MediaStream();
  /** @type {Map<string, number>} */
  #goneTimers = new Map();
  /** @type {Promise<void>} */
  #chain = Promise.resolve();

  /**
   * @param {{ room: string, name: string, passphrase: string, microphone?: boolean, camera?: boolean,
   *   token?: string }} options
   */
  async join({ room, name, passphrase, microphone = true, camera = true, token }) {
    const raw = room.trim();
    this.room = ROOM_PREFIX + raw;
    this.#key = await deriveKey(raw, passphrase);
    if (microphone || camera) {
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio: microphone, video: camera });
    }
    const jwt = token ?? (await this.#signIn(name));
    // Old clients read the payload as Latin-1.
    const payload = JSON.parse(atob(jwt.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
    this.user = payload.sub;
    this.username = payload.username;
    const url = `${location.origin.replace(/^http/, 'ws')}/ws?token=${encodeURIComponent(jwt)}`;
    const socket = new WebSocket(url);
    socket.binaryType = 'blob';
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      this.#chain = this.#chain.then(async () => {
        this.#handle(JSON.parse(typeof data === 'string' ? data : await data.text()));
      });
    };
    await new Promise((resolve, reject) => {
      socket.onopen = () => resolve(undefined);
      socket.onerror = () => reject(new Error('the WebSocket does not open'));
    });
    this.#send('chat.join', {});
  }

  /**
   * @param {string} name
   * @returns {Promise<string>}
   */
  async #signIn(name) {
    const answer = await fetch('/auth/sign-in', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ username: name }),
    });
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()).accessToken;
  }

  /**
   * @param {string} type
   * @param {object} data
   */
  #send(type, data) {
    const json = JSON.stringify({ type, room: this.room, data });
    this.#socket?.send(new TextEncoder().encode(json));
  }

  /** @param {any} message */
  #handle({ type, room, data, from }) {
    if (type === 'general.error') {
      this.errors.push(data.error);
      return;
    }
    if (room !== this.room) return;
    if (type === 'room.users') this.#snapshot(data.users);
    else if (type === 'chat.message') void this.#read(from, data.message);
    else if (type === 'chat.typing') this.typing.push({ from, typing: data.typing });
    else if (type.startsWith('webrtc.') && data.to === this.user) {
      this.peers.get(from)?.handle(type, data);
    }
  }

  /** @param {{ userID: string, username: string }[]} users */
  #snapshot(users) {
    this.roster = users;
    const ids = new Set(users.map((user) => user.userID));
    ids.delete(this.user);
    for (const id of ids) {
      clearTimeout(this.#goneTimers.get(id));
      this.#goneTimers.delete(id);
      if (!this.peers.has(id)) this.#meet(id);
    }
    for (const [id, peer] of this.peers) {
      if (ids.has(id) || this.#goneTimers.has(id)) continue;
      const gone = () => {
        peer.close();
        this.peers.delete(id);
        this.#goneTimers.delete(id);
        document.querySelector(`.tile[data-user="${id}"]`)?.remove();
      };
      this.#goneTimers.set(id, window.setTimeout(gone, GONE_AFTER_MS));
    }
  }

  /** @param {string} id */
  #meet(id) {
    const tile = document.createElement('figure');
    tile.className = 'tile';
    tile.dataset.user = id;
    tile.dataset.source = 'camera';
    const show = (/** @type {'video' | 'audio'} */ kind) => (/** @type {MediaStream} */ stream) => {
      const element = tile.querySelector(kind) ?? tile.appendChild(document.createElement(kind));
      element.autoplay = true;
      element.srcObject = stream;
    };
    document.getElementById('tiles')?.append(tile);
    this.made[id] = (this.made[id] ?? 0) + 1;
    const peer = new Peer({
      me: this.user,
      id,
      stream: this.#stream,
      send: (type, data) => this.#send(type, data),
      onVideo: show('video'),
      onAudio: show('audio'),
    });
    this.peers.set(id, peer);
  }

  /**
   * @param {string} from
   * @param {string} message
   */
  async #read(from, message) {
    if (!message.startsWith(WIRE_PREFIX)) {
      this.chat.push({ from, kind: 'plain', text: message });
      return;
    }
    const parts = { prefix: WIRE_PREFIX, room: this.room, user: from, message };
    const text = this.#key && (await open(this.#key, parts));
    this.chat.push({ from, kind: text === null ? 'protected' : 'text', text: text ?? '' });
  }

  /** @param {string} text */
  async say(text) {
    if (!this.#key) throw new Error('not in a room');
    const parts = { prefix: WIRE_PREFIX, room: this.room, user: this.user, text };
    this.#send('chat.message', { message: await seal(this.#key, parts) });
  }

  /** @param {boolean} typing */
  type(typing) {
    this.#send('chat.typing', { typing });
  }

  /** The quirk: each switch leaves and joins at once. */
  toggleMicrophone() {
    for (const track of this.#stream.getAudioTracks()) track.enabled = !track.enabled;
    this.#send('chat.leave', {});
    this.#send('chat.join', {});
  }

  /** "Off" is black pictures; the track stays. */
  toggleCamera() {
    for (const track of this.#stream.getVideoTracks()) track.enabled = !track.enabled;
  }

  /**
   * @param {string} to
   * @param {{ name: string, mime: string, base64: string, asText?: boolean, lie?: object }} image
   *   `lie`: no old client does that; it makes this one a hostile one
   */
  async image(to, { name, mime, base64, asText, lie }) {
    const channel = this.peers.get(to)?.channel;
    if (channel?.readyState !== 'open') throw new Error('no open channel');
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    return sendImage(channel, { name, mime, bytes, asText, lie });
  }

  /** What a test may want to know of a peer, as plain data. @param {string} id */
  about(id) {
    const peer = this.peers.get(id);
    if (!peer) return null;
    return {
      state: peer.connection.connectionState,
      channel: peer.channel?.readyState ?? 'none',
      made: this.made[id],
      images: peer.images,
      strange: peer.reader?.strange ?? [],
      offersMade: peer.offersMade,
      offersDropped: peer.offersDropped,
      offersIgnored: peer.offersIgnored,
    };
  }

  leave() {
    this.#send('chat.leave', {});
    this.#socket?.close();
    for (const peer of this.peers.values()) peer.close();
    for (const track of this.#stream.getTracks()) track.stop();
  }
}

Object.assign(window, { old: new OldClient() });
