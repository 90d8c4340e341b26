// @ts-check
// The beginnings of picture files, as far as anybody looks before decoding.

const latin1 = (/** @type {string} */ text) => Buffer.from(text, 'latin1');

/** @param {Buffer[]} parts @param {number} size */
function file(parts, size) {
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(size, Buffer.concat(parts).length)));
  bytes.set(Buffer.concat(parts));
  return bytes;
}

/** @param {number} width @param {number} height @param {number} [size] */
export function pngOf(width, height, size = 64) {
  const sides = Buffer.alloc(8);
  sides.writeUInt32BE(width, 0);
  sides.writeUInt32BE(height, 4);
  return file([latin1('\x89PNG\r\n\x1a\n\0\0\0\rIHDR'), sides], size);
}

/** @param {number} width @param {number} height */
export function gifOf(width, height) {
  const sides = Buffer.alloc(4);
  sides.writeUInt16LE(width, 0);
  sides.writeUInt16LE(height, 2);
  return file([latin1('GIF89a'), sides], 32);
}

/** A JPEG with a comment before its frame. @param {number} width @param {number} height */
export function jpegOf(width, height) {
  const sides = Buffer.alloc(4);
  sides.writeUInt16BE(height, 0);
  sides.writeUInt16BE(width, 2);
  const head = latin1('\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xfe\x00\x03x\xff\xc4\x00\x02\xff\xc2\x00\x11\x08');
  return file([head, sides], 64);
}

/** @param {'VP8 ' | 'VP8L' | 'VP8X'} kind @param {number} width @param {number} height */
export function webpOf(kind, width, height) {
  const head = latin1(`RIFF\0\0\0\0WEBP${kind}\0\0\0\0`);
  if (kind === 'VP8 ') {
    const sides = Buffer.alloc(4);
    sides.writeUInt16LE(width | 0x4000, 0); // the two bits above are a scale
    sides.writeUInt16LE(height, 2);
    return file([head, latin1('\0\0\0\x9d\x01\x2a'), sides], 64);
  }
  if (kind === 'VP8L') {
    const bits = Buffer.alloc(4);
    bits.writeUInt32LE(((width - 1) | ((height - 1) << 14)) >>> 0, 0);
    return file([head, latin1('\x2f'), bits], 64);
  }
  const sides = Buffer.alloc(6);
  sides.writeUIntLE(width - 1, 0, 3);
  sides.writeUIntLE(height - 1, 3, 3);
  return file([head, latin1('\0\0\0\0'), sides], 64);
}
