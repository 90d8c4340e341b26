// @ts-check
// What an image really is, before anything decodes it: its type by the bytes at its beginning,
// and its size in pixels. Only PNG, JPEG, GIF and WebP are shown; SVG and HTML never.

import { IMAGE_PIXELS, IMAGE_SIDE_PIXELS } from './limits.js';

/** @typedef {{ mime: string, width: number, height: number }} Picture */

/**
 * @param {Uint8Array} bytes the whole file
 * @returns {Picture | { problem: string }}
 */
export function inspectPicture(bytes) {
  const picture = png(bytes) ?? gif(bytes) ?? webp(bytes) ?? jpeg(bytes);
  if (picture === null) return { problem: 'it is not a PNG, JPEG, GIF or WebP picture' };
  const { width, height } = picture;
  if (width === 0 || height === 0) return { problem: 'the picture is damaged' };
  const tooLarge = width > IMAGE_SIDE_PIXELS || height > IMAGE_SIDE_PIXELS;
  if (tooLarge || width * height > IMAGE_PIXELS) {
    return { problem: `the picture has too many pixels (${width} × ${height})` };
  }
  return picture;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {string} text Latin-1
 */
function has(bytes, at, text) {
  for (let i = 0; i < text.length; i += 1) {
    if (bytes[at + i] !== text.charCodeAt(i)) return false;
  }
  return true;
}

/** @param {Uint8Array} bytes */
function view(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** @param {Uint8Array} bytes @returns {Picture | null} */
function png(bytes) {
  if (bytes.length < 24 || !has(bytes, 0, '\x89PNG\r\n\x1a\n') || !has(bytes, 12, 'IHDR')) return null;
  const data = view(bytes);
  return { mime: 'image/png', width: data.getUint32(16), height: data.getUint32(20) };
}

/** @param {Uint8Array} bytes @returns {Picture | null} */
function gif(bytes) {
  if (bytes.length < 10 || !(has(bytes, 0, 'GIF87a') || has(bytes, 0, 'GIF89a'))) return null;
  const data = view(bytes);
  return { mime: 'image/gif', width: data.getUint16(6, true), height: data.getUint16(8, true) };
}

/** @param {Uint8Array} bytes @returns {Picture | null} */
function webp(bytes) {
  if (bytes.length < 30 || !has(bytes, 0, 'RIFF') || !has(bytes, 8, 'WEBP')) return null;
  const data = view(bytes);
  const mime = 'image/webp';
  if (has(bytes, 12, 'VP8 ')) {
    if (!has(bytes, 23, '\x9d\x01\x2a')) return null;
    const [width, height] = [data.getUint16(26, true), data.getUint16(28, true)];
    return { mime, width: width & 0x3fff, height: height & 0x3fff };
  }
  if (has(bytes, 12, 'VP8L')) {
    if (bytes[20] !== 0x2f) return null;
    const bits = data.getUint32(21, true);
    return { mime, width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (has(bytes, 12, 'VP8X')) {
    const u24 = (/** @type {number} */ at) => data.getUint16(at, true) | (data.getUint8(at + 2) << 16);
    return { mime, width: u24(24) + 1, height: u24(27) + 1 };
  }
  return null;
}

/** @param {Uint8Array} bytes @returns {Picture | null} */
function jpeg(bytes) {
  if (!has(bytes, 0, '\xff\xd8\xff')) return null;
  const data = view(bytes);
  let at = 2;
  while (at + 9 < bytes.length) {
    if (data.getUint8(at) !== 0xff) return null;
    const marker = data.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1; // padding
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) {
      return { mime: 'image/jpeg', width: data.getUint16(at + 7), height: data.getUint16(at + 5) };
    }
    const standsAlone = marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    at += standsAlone ? 2 : 2 + data.getUint16(at + 2);
  }
  return null;
}
