// @ts-check
// Invite links: https://host/#/room/<id>&k=<passphrase>&fp=<certificate>. What stands behind the
// `#` never travels to the server, and the page takes it out of the address bar at once.

import { ROOM_ID_CHARS } from './limits.js';

/**
 * @typedef {object} Invite
 * @property {string} room raw id, without the deployment's prefix
 * @property {string} passphrase empty where the inviter left it out
 * @property {string | null} fingerprint SHA-256 of a self-made certificate, in hex; only native
 *   clients can check it, but a link that is passed on keeps it
 */

/**
 * Reads the part of a link from the `#` on.
 * @param {string} fragment
 * @returns {Invite | null} `null` where it is not an invitation
 */
export function parseFragment(fragment) {
  const match = /^#?\/?room\/([^&]+)(?:&(.*))?$/su.exec(fragment);
  if (!match) return null;
  const room = decode(match[1] ?? '')?.trim();
  if (!room) return null;
  const fields = new Map();
  for (const field of (match[2] ?? '').split('&')) {
    const at = field.indexOf('=');
    if (at > 0) fields.set(field.slice(0, at), decode(field.slice(at + 1)));
  }
  const fingerprint = fields.get('fp')?.toLowerCase() ?? '';
  return {
    room,
    passphrase: fields.get('k') ?? '',
    fingerprint: /^[0-9a-f]{64}$/u.test(fingerprint) ? fingerprint : null,
  };
}

/**
 * @param {{ origin: string, room: string, passphrase?: string, fingerprint?: string | null }} of
 *   leave the passphrase out to share it some other way
 */
export function inviteLink({ origin, room, passphrase = '', fingerprint = null }) {
  const key = passphrase === '' ? '' : `&k=${encodeURIComponent(passphrase)}`;
  const certificate = fingerprint === null ? '' : `&fp=${fingerprint}`;
  return `${origin}/#/room/${encodeURIComponent(room)}${key}${certificate}`;
}

/**
 * What people paste into the room field: an id, or a whole link.
 * @param {{ typed: string, origin: string }} of `origin` of this page
 * @returns {{ room: string } | { invite: Invite } | { elsewhere: string }} `elsewhere`: the link
 *   belongs to the server of that name
 */
export function readRoomField({ typed, origin }) {
  const room = typed.trim();
  const at = room.indexOf('#');
  const invite = /^https?:\/\//iu.test(room) && at > 0 ? parseFragment(room.slice(at)) : null;
  if (invite === null) return { room };
  try {
    const link = new URL(room);
    return link.origin === origin ? { invite } : { elsewhere: link.host };
  } catch {
    return { room };
  }
}

/**
 * The room as it crosses the wire, or why it can't.
 * @param {{ rawRoom: string, prefix: string }} of
 * @returns {{ room: string } | { problem: string }}
 */
export function roomOnTheWire({ rawRoom, prefix }) {
  const room = prefix + rawRoom.trim();
  const most = ROOM_ID_CHARS - [...prefix].length;
  if (rawRoom.trim() === '') return { problem: 'Please enter a room, or make a new one.' };
  const length = [...rawRoom.trim()].length;
  if (length > most) {
    return { problem: `The room’s name is too long: ${length} characters, and ${most} fit.` };
  }
  return { room };
}

/** A new room's id that nobody can guess: a random UUID. */
export function newRoomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const cut = [0, 8, 12, 16, 20, 32];
  return cut.slice(1).map((end, i) => hex.slice(cut[i], end)).join('-');
}

/** @param {string} part */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}
