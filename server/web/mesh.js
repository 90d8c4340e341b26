// @ts-check
// The mesh: one connection to each of the others, eight at most. Rosters and signals go in,
// connections and their tracks come out. No DOM here, no server, and time is an argument.

import { ActivityMeter, samplesOf } from './activity.js';
import { PEERS } from './limits.js';
import { Peer } from './peer.js';
import { Roster } from './roster.js';

/** @typedef {import('./sources.js').Source} Source */
/** @typedef {import('./wire.js').Member} Member */
/** @typedef {import('./peer.js').PeerState} PeerState */

/**
 * @typedef {{ type: 'member', change: 'joined' | 'left', member: Member }
 *   | { type: 'roster', members: Member[] }
 *   | { type: 'peer', user: string, state: PeerState | 'closed' }
 *   | { type: 'track', user: string, source: Source, track: MediaStreamTrack }
 *   | { type: 'track-ended', user: string, source: Source }
 *   | { type: 'channel', user: string, channel: RTCDataChannel }
 *   | { type: 'channel-closed', user: string }
 *   | { type: 'activity', user: string, source: Source, activity: import('./activity.js').Activity }
 *   | { type: 'lines', user: string, lines: Record<string, Source> }
 *   | { type: 'full', member: Member }
 *   | { type: 'trouble', what: string }
 * } MeshEvent `full`: this member is in the room, but there is no place for a connection
 */

/**
 * @typedef {object} MeshOptions
 * @property {string} self our user id
 * @property {string} label of the data channels
 * @property {import('./senders.js').LocalMedia} local
 * @property {() => RTCPeerConnection} createConnection
 * @property {import('./timers.js').Timers} timers
 * @property {(message: import('./wire.js').Outgoing) => boolean} send
 * @property {(event: MeshEvent) => void} onEvent
 */

/** Pause between two looks at what arrives. */
const ACTIVITY_MS = 500;
/** Most for our camera towards each of so many peers, in bit/s; the last holds for more. */
const CAMERA_BITRATES = [2_500_000, 1_500_000, 1_000_000, 600_000];

export class Mesh {
  #o;
  #roster;
  /** @type {Map<string, Peer>} */
  #peers = new Map();
  /** @type {Map<string, ActivityMeter>} */
  #meters = new Map();
  /** Members that were told about as `full`. @type {Set<string>} */
  #refused = new Set();
  /** @type {unknown} */
  #activityTimer = null;
  #closed = false;

  /** @param {MeshOptions} options */
  constructor(options) {
    this.#o = options;
    this.#roster = new Roster({
      self: options.self,
      timers: options.timers,
      isAlive: (id) => this.#peers.get(id)?.state === 'connected',
      onEvent: (event) => this.#rosterChanged(event),
    });
    this.#watch();
  }

  /** Everybody but us. */
  get members() {
    return this.#roster.members;
  }

  /** @param {string} user whether somebody of that id is in the room */
  has(user) {
    return this.#roster.has(user);
  }

  /** @param {Member[]} users a snapshot of the server */
  updateRoster(users) {
    if (!this.#closed) this.#roster.update(users);
  }

  /** @param {Member} member who came */
  joined(member) {
    if (!this.#closed) this.#roster.joined(member);
  }

  /** @param {{ user: string, lost: boolean }} of `lost`: not of their own will */
  left(of) {
    if (!this.#closed) this.#roster.left(of);
  }

  /** @param {string} user @param {Map<string, Source>} lines what its m-lines carry */
  learnLines(user, lines) {
    this.#peers.get(user)?.learnLines(lines);
  }

  /** @param {RTCIceServer[]} servers for new connections, and for new paths of the others */
  setIceServers(servers) {
    for (const peer of this.#peers.values()) peer.setIceServers(servers);
  }

  /** @param {import('./wire.js').Signal} signal */
  handle(signal) {
    // A signal of somebody whom no roster has shown, or for whom there is no place, is dropped.
    this.#peers.get(signal.from)?.handle(signal);
  }

  /** @param {Source} source whose track in `local` has changed */
  trackChanged(source) {
    for (const peer of this.#peers.values()) peer.trackChanged(source);
  }

  /** Our link to the server is broken; connections to peers live on. */
  linkLost() {
    this.#roster.lost();
  }

  /** Our link to the server is back. */
  linkRestored() {
    this.#roster.returned();
    for (const peer of this.#peers.values()) peer.linkRestored();
  }

  close() {
    this.#closed = true;
    this.#o.timers.clear(this.#activityTimer);
    this.#roster.close();
    for (const id of [...this.#peers.keys()]) this.#remove(id);
  }

  /** @param {import('./roster.js').RosterEvent} event */
  #rosterChanged(event) {
    switch (event.type) {
      case 'joined':
        this.#o.onEvent({ type: 'member', change: 'joined', member: event.member });
        this.#add(event.member);
        break;
      case 'left':
        this.#remove(event.member.id);
        this.#refused.delete(event.member.id);
        this.#o.onEvent({ type: 'member', change: 'left', member: event.member });
        this.#fill();
        break;
      case 'roster':
        this.#o.onEvent(event);
        break;
    }
  }

  /** @param {Member} member */
  #add(member) {
    const { id } = member;
    if (this.#peers.has(id) || this.#closed) return;
    if (this.#peers.size >= PEERS) {
      if (!this.#refused.has(id)) this.#o.onEvent({ type: 'full', member });
      this.#refused.add(id);
      return;
    }
    const { self, label, local, createConnection, timers } = this.#o;
    const peer = new Peer({
      self,
      id,
      label,
      local,
      createConnection,
      timers,
      send: (message) => this.#o.send(message),
      onEvent: (event) => this.#peerChanged(id, event),
    });
    this.#peers.set(id, peer);
    this.#meters.set(id, new ActivityMeter());
    this.#o.onEvent({ type: 'peer', user: id, state: 'connecting' });
    peer.open();
    this.#share();
  }

  /** @param {string} id */
  #remove(id) {
    const peer = this.#peers.get(id);
    if (!peer) return;
    this.#peers.delete(id);
    this.#meters.delete(id);
    peer.close();
    this.#o.onEvent({ type: 'peer', user: id, state: 'closed' });
    this.#share();
  }

  /** A place is free: whoever had none gets it. */
  #fill() {
    for (const member of this.#roster.members) {
      if (this.#peers.size >= PEERS) return;
      if (!this.#refused.delete(member.id)) continue;
      this.#add(member);
    }
  }

  /** Divides the uplink among the peers. */
  #share() {
    const at = Math.min(this.#peers.size, CAMERA_BITRATES.length) - 1;
    const bitsPerSecond = CAMERA_BITRATES[at];
    if (bitsPerSecond === undefined) return;
    for (const peer of this.#peers.values()) peer.limitCamera(bitsPerSecond);
  }

  /**
   * @param {string} user
   * @param {import('./peer.js').PeerEvent} event
   */
  #peerChanged(user, event) {
    switch (event.type) {
      case 'state':
        this.#o.onEvent({ type: 'peer', user, state: event.state });
        if (event.state === 'connected') this.#share();
        else this.#roster.connectionLost(user);
        break;
      case 'trouble':
        this.#o.onEvent(event);
        break;
      default:
        this.#o.onEvent({ ...event, user });
    }
  }

  #watch() {
    this.#activityTimer = this.#o.timers.set(ACTIVITY_MS, () => {
      void this.#measure().finally(() => {
        if (!this.#closed) this.#watch();
      });
    });
  }

  async #measure() {
    for (const [user, peer] of [...this.#peers]) {
      const reports = await peer.reports().catch(() => null);
      const meter = this.#meters.get(user);
      if (reports === null || !meter || this.#peers.get(user) !== peer) continue;
      const tracks = peer.tracks();
      const ids = tracks.map(([, { id }]) => id);
      const activities = meter.update(this.#o.timers.now(), ids, samplesOf(reports));
      for (const [source, { id }] of tracks) {
        const activity = activities.get(id);
        if (activity) this.#o.onEvent({ type: 'activity', user, source, activity });
      }
    }
  }
}
