// @ts-check
// What crosses the WebSocket, typed: one JSON object in each message, text or binary.
//
//   client → server   {"type":T,"room":R,"data":{…}}
//   server → client   {"type":T,"room":R,"data":{…},"from":F}
//
// Version 2 adds types of its own, and a number, "seq", beside "from" of a chat message.

import { readServers } from './ice.js';
import { CHAT_ID_CHARS, PEER_STATE_TRACKS, RESUME_TOKEN_CHARS } from './limits.js';
import { SOURCES } from './sources.js';

/** @typedef {{ id: string, name: string }} Member */

/**
 * What the server sends, by `type`.
 * @typedef {{ type: 'chat.message', room: string, from: string, message: string,
 *       id: string | null, seq: number | null }
 *   | { type: 'chat.typing', room: string, from: string, typing: boolean }
 *   | { type: 'room.users', room: string, users: Member[] }
 *   | { type: 'webrtc.offer', room: string, from: string, sdp: string }
 *   | { type: 'webrtc.answer', room: string, from: string, sdp: string }
 *   | { type: 'webrtc.iceCandidate', room: string, from: string, candidate: string }
 *   | { type: 'general.error', room: string, error: string, id: string | null }
 *   | { type: 'session.welcome', room: string, v: number, user: string, resume: string,
 *       resumed: boolean, rooms: string[], ice: import('./ice.js').IceAnswer }
 *   | { type: 'room.joined', room: string, member: Member }
 *   | { type: 'room.left', room: string, user: string, reason: 'left' | 'lost' | 'slow' | 'other' }
 *   | { type: 'chat.ack', room: string, id: string, seq: number }
 *   | { type: 'peer.state', room: string, from: string, state: PeerMediaState }
 * } Message
 */

/** What a member says about its devices; what is missing has not changed.
 * @typedef {object} PeerMediaState
 * @property {boolean} [microphone]
 * @property {boolean} [camera]
 * @property {boolean} [screen]
 * @property {Map<string, import('./sources.js').Source>} [lines] `mid` → what it carries
 */

/** @typedef {Extract<Message, { type: `webrtc.${string}` }>} Signal */

/** What we send, by type.
 * @typedef {object} Outgoing
 * @property {'session.hello' | 'chat.join' | 'chat.leave' | 'chat.message' | 'chat.typing'
 *   | 'webrtc.offer' | 'webrtc.answer' | 'webrtc.iceCandidate' | 'peer.state'} type
 * @property {Record<string, unknown>} data
 */

/**
 * Reads one message of the server.
 * @param {string} text
 * @returns {Message | null} `null` where it is not one that we know; newer servers may send some
 */
export function parseMessage(text) {
  /** @type {any} */
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof json !== 'object' || json === null) return null;
  const { type } = json;
  const room = typeof json.room === 'string' ? json.room : '';
  const from = typeof json.from === 'string' ? json.from : '';
  const data = typeof json.data === 'object' && json.data !== null ? json.data : {};
  switch (type) {
    case 'chat.message': {
      if (from === '' || typeof data.message !== 'string') return null;
      const seq = isNumber(json.seq) ? json.seq : null;
      return { type, room, from, message: data.message, id: chatId(data.id), seq };
    }
    case 'room.users':
      return Array.isArray(data.users) ? { type, room, users: members(data.users) } : null;
    case 'general.error':
      return typeof data.error === 'string'
        ? { type, room, error: data.error, id: chatId(data.id) }
        : null;
    case 'session.welcome':
    case 'room.joined':
    case 'room.left':
    case 'chat.ack':
      return ofSession({ type, room, data });
    default:
      return from === '' ? null : fromMember({ type, room, from, data });
  }
}

/** @param {any} value */
function isNumber(value) {
  return Number.isSafeInteger(value) && value >= 0;
}

/** @param {any} id what is no id for us is none */
function chatId(id) {
  return typeof id === 'string' && id !== '' && id.length <= CHAT_ID_CHARS ? id : null;
}

/**
 * What a server of version 2 says about the session and the room.
 * @param {{ type: 'session.welcome' | 'room.joined' | 'room.left' | 'chat.ack', room: string,
 *   data: any }} message
 * @returns {Message | null}
 */
function ofSession({ type, room, data }) {
  switch (type) {
    case 'session.welcome': {
      const { v, userID: user, resume, resumed } = data;
      const token = typeof resume === 'string' && resume.length <= RESUME_TOKEN_CHARS;
      if (!isNumber(v) || typeof user !== 'string' || user === '' || !token) return null;
      const rooms = Array.isArray(data.rooms) ? data.rooms.filter(isText) : [];
      const ttl = isNumber(data.iceTtl) ? data.iceTtl : 0;
      const ice = { servers: readServers(data.iceServers), ttl };
      return { type, room, v, user, resume, resumed: resumed === true, rooms, ice };
    }
    case 'room.joined': {
      const [member] = members([data.user]);
      return member ? { type, room, member } : null;
    }
    case 'room.left': {
      const { userID: user, reason } = data;
      if (typeof user !== 'string' || typeof reason !== 'string') return null;
      const known = reason === 'left' || reason === 'lost' || reason === 'slow';
      return { type, room, user, reason: known ? reason : 'other' };
    }
    case 'chat.ack': {
      const { id, seq } = data;
      return typeof id === 'string' && isNumber(seq) ? { type, room, id, seq } : null;
    }
  }
}

/** @param {any} value */
function isText(value) {
  return typeof value === 'string';
}

/** @param {any} data @returns {PeerMediaState | null} */
function mediaState(data) {
  /** @type {PeerMediaState} */
  const state = {};
  for (const device of /** @type {const} */ (['microphone', 'camera', 'screen'])) {
    if (data[device] === undefined || data[device] === null) continue;
    if (typeof data[device] !== 'boolean') return null;
    state[device] = data[device];
  }
  const { tracks } = data;
  if (typeof tracks !== 'object' || tracks === null) return state;
  const entries = Object.entries(tracks);
  if (entries.length > PEER_STATE_TRACKS) return state;
  const known = entries.filter(([, source]) => /** @type {any[]} */ (SOURCES).includes(source));
  state.lines = new Map(/** @type {[string, import('./sources.js').Source][]} */ (known));
  return state;
}

/**
 * @param {{ type: unknown, room: string, from: string, data: any }} message
 * @returns {Message | null}
 */
function fromMember({ type, room, from, data }) {
  switch (type) {
    case 'peer.state': {
      const state = mediaState(data);
      return state && { type, room, from, state };
    }
    case 'chat.typing':
      return typeof data.typing === 'boolean' ? { type, room, from, typing: data.typing } : null;
    case 'webrtc.offer':
    case 'webrtc.answer':
      return typeof data.sdp === 'string' ? { type, room, from, sdp: data.sdp } : null;
    case 'webrtc.iceCandidate':
      return typeof data.candidate === 'string'
        ? { type, room, from, candidate: data.candidate }
        : null;
    default:
      return null;
  }
}

/**
 * The members of a snapshot, each id once.
 * @param {any[]} users
 */
function members(users) {
  /** @type {Map<string, Member>} */
  const byId = new Map();
  for (const user of users) {
    const id = user?.userID;
    if (typeof id !== 'string' || id === '' || byId.has(id)) continue;
    byId.set(id, { id, name: typeof user.username === 'string' ? user.username : '' });
  }
  return [...byId.values()];
}

const utf8 = new TextEncoder();

/**
 * Compares user ids bytewise, as every client does: negative where `a` is the lower one.
 * @param {string} a
 * @param {string} b
 */
export function compareIds(a, b) {
  const [left, right] = [utf8.encode(a), utf8.encode(b)];
  const length = Math.min(left.length, right.length);
  for (let i = 0; i < length; i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
