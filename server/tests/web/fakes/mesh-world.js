// @ts-check
// Some members of one room, each with a real mesh on fake connections, and a server between them
// that relays after a delay and can be told to lose things.

import { Mesh } from '../../../web/mesh.js';
import { FakeClock, settle } from './clock.js';
import { FakeConnection, FakeTrack } from './connection.js';

/** One way through the server. */
const RELAY_MS = 20;

export class Member {
  /** @type {any[]} */
  events = [];
  /** @type {FakeConnection[]} */
  connections = [];
  /** What it sent, by type. @type {{ type: string, to: string, sdp?: string }[]} */
  sent = [];
  local = {
    tracks: new Map(),
    face: /** @type {any} */ ({ id: '' }),
    screen: /** @type {any} */ ({ id: '' }),
  };

  /** @param {World} world @param {string} id */
  constructor(world, id) {
    this.world = world;
    this.id = id;
    this.local.face.id = `face-of-${id}`;
    this.local.screen.id = `screen-of-${id}`;
    this.local.tracks.set('microphone', new FakeTrack('audio'));
    this.local.tracks.set('camera', new FakeTrack('video'));
    this.mesh = new Mesh({
      self: id,
      label: 'pm_file:',
      local: this.local,
      createConnection: () => {
        const connection = new FakeConnection();
        this.connections.push(connection);
        return /** @type {any} */ (connection);
      },
      timers: world.clock,
      send: ({ type, data }) => {
        this.sent.push(/** @type {any} */ ({ type, ...data }));
        world.relay(this.id, type, data);
        return true;
      },
      onEvent: (event) => this.events.push(event),
    });
  }

  /** The newest connection. */
  get pc() {
    const pc = this.connections[this.connections.length - 1];
    if (!pc) throw new Error('no connection yet');
    return pc;
  }

  /** @param {string} type */
  count(type) {
    return this.sent.filter((message) => message.type === type).length;
  }

  /** Sources that this member receives from `user` now. @param {string} user */
  receives(user) {
    const now = new Set();
    for (const event of this.events) {
      if (event.user !== user) continue;
      if (event.type === 'track') now.add(event.source);
      if (event.type === 'track-ended') now.delete(event.source);
    }
    return [...now].sort();
  }

  /** @param {string} user */
  stateOf(user) {
    return this.events.filter((e) => e.type === 'peer' && e.user === user).pop()?.state;
  }

  /** @param {'screen' | 'camera' | 'microphone'} source @param {boolean} on */
  publish(source, on) {
    if (on) this.local.tracks.set(source, new FakeTrack(source === 'microphone' ? 'audio' : 'video'));
    else this.local.tracks.delete(source);
    this.mesh.trackChanged(source);
  }
}

export class World {
  clock = new FakeClock();
  /** @type {Map<string, Member>} */
  members = new Map();
  /** Whether a message goes through. @type {(from: string, type: string) => boolean} */
  lets = () => true;

  /** @param {string[]} ids */
  constructor(...ids) {
    for (const id of ids) this.add(id);
  }

  /** @param {string} id */
  add(id) {
    const member = new Member(this, id);
    this.members.set(id, member);
    return member;
  }

  /** @param {string} id @returns {Member} */
  get(id) {
    const member = this.members.get(id);
    if (!member) throw new Error(`no member ${id}`);
    return member;
  }

  /** Everybody learns who is there. @param {string[]} [ids] */
  roster(ids = [...this.members.keys()]) {
    const users = ids.map((id) => ({ id, name: id.toUpperCase() }));
    for (const id of ids) this.members.get(id)?.mesh.updateRoster(users);
  }

  /** @param {string} from @param {string} type @param {any} data */
  relay(from, type, data) {
    if (!this.lets(from, type)) return;
    const { to, ...rest } = data;
    this.clock.set(RELAY_MS, () => {
      this.members.get(to)?.mesh.handle({ type, room: 'r', from, ...rest });
    });
  }

  /** Goes on until nothing is on its way any more. */
  async calm(ms = 300) {
    for (let at = 0; at < ms; at += RELAY_MS) await this.clock.advance(RELAY_MS);
    await settle();
  }
}
