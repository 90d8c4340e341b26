// @ts-check
// What crosses the WebSocket, typed: one JSON object in each message, text or binary.
//
//   client → server   {"type":T,"room":R,"data":{…}}
//   server → client   {"type":T,"room":R,"data":{…},"from":F}

/** @typedef {{ id: string, name: string }} Member */

/**
 * What the server sends, by `type`.
 * @typedef {{ type: 'chat.message', room: string, from: string, message: string }
 *   | { type: 'chat.typing', room: string, from: string, typing: boolean }
 *   | { type: 'room.users', room: string, users: Member[] }
 *   | { type: 'webrtc.offer', room: string, from: string, sdp: string }
 *   | { type: 'webrtc.answer', room: string, from: string, sdp: string }
 *   | { type: 'webrtc.iceCandidate', room: string, from: string, candidate: string }
 *   | { type: 'general.error', room: string, error: string }
 * } Message
 */

/** @typedef {Extract<Message, { type: `webrtc.${string}` }>} Signal */

/** What we send, by type.
 * @typedef {object} Outgoing
 * @property {'chat.join' | 'chat.leave' | 'chat.message' | 'chat.typing' | 'webrtc.offer'
 *   | 'webrtc.answer' | 'webrtc.iceCandidate'} type
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
    case 'room.users':
      return Array.isArray(data.users) ? { type, room, users: members(data.users) } : null;
    case 'general.error':
      return typeof data.error === 'string' ? { type, room, error: data.error } : null;
    default:
      return from === '' ? null : fromMember({ type, room, from, data });
  }
}

/**
 * @param {{ type: unknown, room: string, from: string, data: any }} message
 * @returns {Message | null}
 */
function fromMember({ type, room, from, data }) {
  switch (type) {
    case 'chat.message':
      return typeof data.message === 'string' ? { type, room, from, message: data.message } : null;
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
