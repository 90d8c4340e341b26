// @ts-check
// One running call: joins the session, the seal, the mesh, the images and our devices together.
// The page gives commands and gets events; it knows no protocol, and this knows no page.

import { checkText, Outbox } from './chat.js';
import { Hearing } from './hearing.js';
import { IceServers } from './ice.js';
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
 *   | { type: 'missed', from: string, name: string, count: number }
 *   | { type: 'devices', user: string, microphone: boolean | null, camera: boolean | null,
 *       screen: boolean | null }
 *   | { type: 'over', why: string }
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
 * @property {import('./session.js').World & {
 *   createConnection: (iceServers: RTCIceServer[]) => RTCPeerConnection,
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
  #ice;
  #hearing = new Hearing();
  /** What others say about their devices. @type {Map<string, import('./wire.js').PeerMediaState>} */
  #states = new Map();
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
    this.#ice = new IceServers({
      timers,
      random: world.random,
      ask: () => this.#session.iceServers(),
      onChange: (servers) => this.#mesh?.setIceServers(servers),
    });
    this.#images = new Images({ timers, onEvent });
    this.#devices = new LocalDevices({
      devices: world.devices,
      permissions: world.permissions,
      createStream: world.createStream,
      timers,
      onEvent: (event) => {
        if (event.type === 'track-changed') this.#mesh?.trackChanged(event.source);
        if (event.type === 'device') this.#sayDevices({});
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
      newId: newRoomId,
      seal: (text) => this.#sealed(text),
      transmit: ({ wire: message, id }) => {
        const data = id === null ? { message } : { message, id };
        return this.#session.send({ type: 'chat.message', data });
      },
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
    this.#ice.close();
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
    if (this.#identity) this.#outbox.renamed();
    this.#identity = identity;
    const { user, name } = identity;
    this.#names.set(user, name);
    const { timers, createConnection } = this.#o.world;
    this.#tell({ type: 'identity', user, name });
    this.#mesh = new Mesh({
      self: user,
      label: this.#label,
      local: this.#devices.local,
      createConnection: () => createConnection(this.#ice.current),
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
          const { v2, resumed } = event;
          const members = this.#mesh?.members.map(({ id }) => id) ?? [];
          if (this.#linked) this.#mesh?.linkRestored();
          this.#linked = true;
          if (!resumed) this.#hearing.forgetNumbers();
          this.#outbox.linkRestored({ v2, resumed, members });
          if (v2) this.#sayDevices({});
        } else {
          this.#mesh?.linkLost();
          this.#outbox.linkLost();
          this.#typists.clear();
        }
        this.#tell(event);
        break;
      case 'ice':
        this.#ice.learn(event.answer);
        break;
      case 'over':
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
        this.#present(message.users.map(({ id }) => id));
        break;
      case 'room.joined':
        this.#names.set(message.member.id, message.member.name);
        this.#mesh?.joined(message.member);
        this.#outbox.members([message.member.id]);
        break;
      case 'room.left': {
        const { user, reason } = message;
        this.#mesh?.left({ user, lost: reason === 'lost' || reason === 'slow' });
        break;
      }
      case 'chat.message':
        this.#opening = this.#opening.then(() => this.#open(message));
        break;
      case 'chat.ack':
        this.#outbox.acknowledged(message.id);
        break;
      case 'peer.state':
        this.#learnState(message);
        break;
      case 'session.welcome':
        break; // the session has dealt with it
      case 'chat.typing':
        if (message.from !== this.user) {
          this.#typists.heard({ user: message.from, typing: message.typing });
        }
        break;
      case 'general.error': {
        const { id, error } = message;
        const why = CHAT_REFUSALS.get(error) ?? (id === null ? undefined : `${error}.`);
        if (why !== undefined) this.#outbox.refused({ why, id });
        else this.#tell({ type: 'trouble', what: message.error });
        break;
      }
      default:
        this.#mesh?.handle(message);
    }
  }

  /** Who is in the room, by a snapshot. @param {string[]} members */
  #present(members) {
    const here = new Set(members);
    this.#hearing.keep(here);
    for (const user of [...this.#states.keys()]) if (!here.has(user)) this.#states.delete(user);
    this.#outbox.members(members);
  }

  /**
   * Says what our devices do: to one peer together with what our m-lines carry, or to all.
   * @param {{ to?: string, tracks?: Record<string, import('./sources.js').Source> }} about
   */
  #sayDevices(about) {
    const on = (/** @type {import('./media.js').Device} */ device) => this.#devices.isOn(device);
    const state = { microphone: on('microphone'), camera: on('camera'), screen: on('screen') };
    this.#session.send({ type: 'peer.state', data: { ...about, ...state } });
  }

  /** @param {{ from: string, state: import('./wire.js').PeerMediaState }} message */
  #learnState({ from, state }) {
    if (from === this.user || !this.#mesh?.has(from)) return;
    const { lines, ...devices } = state;
    if (lines) this.#mesh.learnLines(from, lines);
    const known = { ...this.#states.get(from), ...devices };
    this.#states.set(from, known);
    const { microphone = null, camera = null, screen = null } = known;
    this.#tell({ type: 'devices', user: from, microphone, camera, screen });
  }

  /** @param {{ from: string, message: string, id: string | null, seq: number | null }} received */
  async #open({ from, message, id, seq }) {
    const own = from === this.user;
    if (own && this.#outbox.echoed({ wire: message, id })) return;
    const count = own ? 0 : this.#hearing.missing({ from, seq });
    if (!this.#hearing.isNew({ from, id })) return;
    if (count > 0) this.#tell({ type: 'missed', from, name: this.#nameOf(from), count });
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
    if (event.type === 'lines') {
      this.#sayDevices({ to: event.user, tracks: event.lines });
      return;
    }
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
