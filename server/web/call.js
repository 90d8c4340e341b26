// @ts-check
// One running call: joins the session, the seal, the mesh, the images and our devices together.
// The page gives commands and gets events; it knows no protocol, and this knows no page.

import { checkText, Outbox } from './chat.js';
import { Images } from './images.js';
import { newRoomId, roomOnTheWire } from './invite.js';
import { LocalDevices } from './media.js';
import { Mesh } from './mesh.js';
import { Seal } from './seal.js';
import { Session } from './session.js';
import { JoinError } from './sign-in.js';
import { TypingNotice, Typists } from './typing.js';

/** @typedef {import('./sign-in.js').Identity} Identity */
/** @typedef {import('./seal.js').Protection} Protection */

/**
 * @typedef {{ type: 'identity', user: string, name: string }
 *   | { type: 'chat', from: string, name: string, own: boolean, text: string, protection: Protection }
 *   | { type: 'unreadable', from: string, name: string, why: string }
 *   | { type: 'message-state', id: string, state: import('./chat.js').SendState, why: string | null }
 *   | { type: 'typing', names: string[] }
 *   | Extract<import('./session.js').SessionEvent, { type: 'link' }>
 *   | import('./mesh.js').MeshEvent
 *   | import('./images.js').ImageEvent
 *   | import('./media.js').MediaEvent
 * } CallEvent
 */

/**
 * @typedef {object} CallOptions
 * @property {string} origin of the server
 * @property {string} name
 * @property {string} rawRoom
 * @property {string} passphrase
 * @property {{ microphone: boolean, camera: boolean }} start what is on at first
 * @property {import('./session.js').World & { createConnection: () => RTCPeerConnection,
 *   createStream: () => MediaStream, devices: MediaDevices | undefined,
 *   permissions: Permissions | undefined }} world
 * @property {(event: CallEvent) => void} onEvent
 */

/** What the server's refusals of a message mean for the one who wrote it. */
const CHAT_REFUSALS = new Map([
  ['Message is too long', 'It is too long for this server.'],
  ['Message cannot be empty', 'It is empty.'],
  ['Invalid chat message payload', 'The server did not accept it.'],
  ["You can't send a message to this room", 'You are not in the room any more.'],
  ['Server busy', 'The server is busy.'],
]);

export class Call {
  #o;
  #session;
  #devices;
  #images;
  #typists;
  #typing;
  /** @type {Mesh | null} */
  #mesh = null;
  /** @type {Seal | null} */
  #seal = null;
  /** @type {Outbox} */
  #outbox;
  /** @type {Identity | null} */
  #identity = null;
  #label = '';
  #linked = false;
  #closed = false;
  /** Names of everybody who was here, for what they wrote. @type {Map<string, string>} */
  #names = new Map();
  /** Messages are opened one after another, so that they keep their order. */
  #opening = Promise.resolve();

  /** @param {CallOptions} options */
  constructor(options) {
    this.#o = options;
    const { world, origin, name } = options;
    const { timers } = world;
    const onEvent = (/** @type {CallEvent} */ event) => this.#tell(event);
    this.#session = new Session({ origin, name, world, onEvent: (event) => this.#heard(event) });
    this.#images = new Images({ timers, onEvent });
    this.#devices = new LocalDevices({
      devices: world.devices,
      permissions: world.permissions,
      createStream: world.createStream,
      timers,
      onEvent: (event) => {
        if (event.type === 'track-changed') this.#mesh?.trackChanged(event.source);
        this.#tell(event);
      },
    });
    this.#typists = new Typists({
      timers,
      onChange: (users) => onEvent({ type: 'typing', names: users.map((user) => this.#nameOf(user)) }),
    });
    this.#typing = new TypingNotice({
      timers,
      send: (typing) => void this.#session.send({ type: 'chat.typing', data: { typing } }),
    });
    this.#outbox = new Outbox({
      timers,
      seal: (text) => this.#sealed(text),
      transmit: (message) => this.#session.send({ type: 'chat.message', data: { message } }),
      onState: ({ id, state, why }) => onEvent({ type: 'message-state', id, state, why }),
    });
  }

  /**
   * Enters the room. Devices open meanwhile and later.
   * @throws {JoinError}
   */
  async join() {
    const { rawRoom: typed, passphrase, start } = this.#o;
    const rawRoom = typed.trim();
    try {
      const config = await this.#session.config();
      const checked = roomOnTheWire({ rawRoom, prefix: config.roomPrefix });
      if ('problem' in checked) throw new JoinError('room', checked.problem);
      this.#label = config.fileChannelLabel;
      void this.#devices.start(start);
      const [identity, seal] = await Promise.all([
        this.#session.signIn(),
        Seal.create({ rawRoom, passphrase, ...config }),
      ]);
      this.#seal = seal;
      this.#become(identity);
      await this.#session.join(checked.room);
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  /** Whether the chat is sealed with a passphrase, and not just with the room's id. */
  get hasPassphrase() {
    return this.#o.passphrase !== '';
  }

  get user() {
    return this.#identity?.user ?? '';
  }

  get devices() {
    return this.#devices;
  }

  /** @param {string} text */
  check(text) {
    return checkText({ text, wireUnits: (plain) => this.#seal?.wireUnits(plain) ?? 0 });
  }

  /** @param {string} text that `check` found right @returns {string} the message's id */
  say(text) {
    this.#typing.stopped();
    return this.#outbox.send(text);
  }

  /** @param {string} id */
  retry(id) {
    this.#outbox.retry(id);
  }

  /** @param {boolean} empty whether nothing stands in the field */
  typed(empty) {
    if (empty) this.#typing.stopped();
    else this.#typing.typed();
  }

  /**
   * Sends an image to everybody who is here.
   * @param {{ name: string, bytes: Uint8Array<ArrayBuffer> }} file
   * @returns {{ key: string, mime: string, users: { id: string, name: string }[],
   *   sha256: Promise<string> } | { problem: string }}
   */
  sendImage({ name, bytes }) {
    const picture = Images.check(bytes);
    if ('problem' in picture) return picture;
    const users = this.#mesh?.members ?? [];
    const image = { id: newRoomId(), name, mime: picture.mime, bytes };
    const sha256 = this.#images.send({ image, users: users.map(({ id }) => id) });
    return { key: image.id, mime: picture.mime, users, sha256 };
  }

  /** @param {string} key */
  cancelImage(key) {
    this.#images.cancel(key);
  }

  /** The network is back: do not wait for the next attempt. */
  hurry() {
    this.#session.hurry();
  }

  leave() {
    if (this.#closed) return;
    this.#closed = true;
    this.#session.close();
    this.#mesh?.close();
    this.#images.close();
    this.#outbox.close();
    this.#typists.clear();
    this.#devices.close();
  }

  /** @param {CallEvent} event */
  #tell(event) {
    if (!this.#closed) this.#o.onEvent(event);
  }

  /** @param {Identity} identity ours, at first and after the server took the old one away */
  #become(identity) {
    this.#mesh?.close();
    this.#identity = identity;
    const { user, name } = identity;
    this.#names.set(user, name);
    const { timers, createConnection } = this.#o.world;
    this.#tell({ type: 'identity', user, name });
    this.#mesh = new Mesh({
      self: user,
      label: this.#label,
      local: this.#devices.local,
      createConnection,
      timers,
      send: (message) => this.#session.send(message),
      onEvent: (event) => this.#meshed(event),
    });
  }

  /** @param {import('./session.js').SessionEvent} event */
  #heard(event) {
    switch (event.type) {
      case 'message':
        this.#received(event.message);
        break;
      case 'identity':
        this.#linked = false;
        this.#become(event.identity);
        break;
      case 'link':
        if (event.state === 'connected') {
          if (this.#linked) this.#mesh?.linkRestored();
          this.#linked = true;
          this.#outbox.linkRestored();
        } else {
          this.#mesh?.linkLost();
          this.#typists.clear();
        }
        this.#tell(event);
        break;
    }
  }

  /** @param {import('./wire.js').Message} message */
  #received(message) {
    switch (message.type) {
      case 'room.users':
        for (const { id, name } of message.users) this.#names.set(id, name);
        this.#mesh?.updateRoster(message.users);
        break;
      case 'chat.message':
        this.#opening = this.#opening.then(() => this.#open(message));
        break;
      case 'chat.typing':
        if (message.from !== this.user) {
          this.#typists.heard({ user: message.from, typing: message.typing });
        }
        break;
      case 'general.error': {
        const why = CHAT_REFUSALS.get(message.error);
        if (why !== undefined) this.#outbox.refused(why);
        else this.#tell({ type: 'trouble', what: message.error });
        break;
      }
      default:
        this.#mesh?.handle(message);
    }
  }

  /** @param {{ from: string, message: string }} received */
  async #open({ from, message }) {
    const own = from === this.user;
    if (own && this.#outbox.echoed(message)) return;
    const opened = await this.#seal?.open({ from, message });
    if (!opened) return;
    const name = this.#nameOf(from);
    this.#typists.heard({ user: from, typing: false });
    if (opened.readable) {
      const { text, protection } = opened;
      this.#tell({ type: 'chat', from, name, own, text, protection });
    } else {
      this.#tell({ type: 'unreadable', from, name, why: opened.why });
    }
  }

  /** @param {import('./mesh.js').MeshEvent} event */
  #meshed(event) {
    if (event.type === 'channel') {
      this.#images.attach({ user: event.user, channel: event.channel });
    } else if (event.type === 'channel-closed') {
      this.#images.detach(event.user);
    } else if (event.type === 'member' && event.change === 'left') {
      this.#typists.heard({ user: event.member.id, typing: false });
    }
    this.#tell(event);
  }

  /** @param {string} text */
  #sealed(text) {
    if (!this.#seal || !this.#identity) throw new Error('the call has begun');
    return this.#seal.seal({ user: this.#identity.user, text });
  }

  /** @param {string} user */
  #nameOf(user) {
    return this.#names.get(user) ?? 'Somebody';
  }
}
