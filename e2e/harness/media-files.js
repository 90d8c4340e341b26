// @ts-check
// Known pictures and sounds, made by the tests themselves.

import { createHash } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { crc32, deflateSync } from './zip.js';

/** @param {Buffer | Uint8Array} bytes */
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** CRC-16/CCITT-FALSE over the counter's four bytes, most significant first. @param {number} n */
export function counterCrc(n) {
  let crc = 0xffff;
  for (let shift = 24; shift >= 0; shift -= 8) {
    crc ^= ((n >>> shift) & 0xff) << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
    }
  }
  return crc;
}

/**
 * Writes a Y4M video whose frames carry the counter blocks 0, 1, 2, … beside a moving bar.
 * @param {string} path
 * @param {{ width: number, height: number, fps: number, frames: number, chroma?: [number, number] }}
 *   format `chroma`: Cb and Cr of the whole picture, grey by default
 */
export async function writeCounterVideo(path, format) {
  const { width, height, fps, frames, chroma = [128, 128] } = format;
  const file = await open(path, 'w');
  try {
    await file.write(`YUV4MPEG2 W${width} H${height} F${fps}:1 Ip A1:1 C420jpeg\n`);
    const [cb, cr] = chroma.map((value) => Buffer.alloc((width / 2) * (height / 2), value));
    const block = Math.floor(height / 24) & ~1;
    for (let n = 0; n < frames; n += 1) {
      const luma = Buffer.alloc(width * height, 126);
      /** @type {(x: number, y: number, w: number, h: number, v: number) => void} */
      const fill = (x, y, w, h, v) => {
        for (let row = y; row < y + h; row += 1) luma.fill(v, row * width + x, row * width + x + w);
      };
      const crc = counterCrc(n);
      for (let i = 0; i < 48; i += 1) {
        const bit = i < 32 ? (n >>> (31 - i)) & 1 : (crc >>> (47 - i)) & 1;
        fill(block * (1 + (i % 8)), block * (1 + Math.floor(i / 8)), block, block, bit ? 235 : 16);
      }
      const bar = Math.floor((n / frames) * (width - 2 * block));
      fill(bar, height - 4 * block, 2 * block, 3 * block, 200);
      await file.write('FRAME\n');
      await file.write(Buffer.concat([luma, cb, cr]));
    }
  } finally {
    await file.close();
  }
}

/**
 * Writes a WAV file of a sine, one channel, 48 kHz, 16 bits.
 * @param {string} path
 * @param {{ hz: number, seconds?: number, dbfs?: number }} tone
 */
export async function writeTone(path, { hz, seconds = 10, dbfs = -12 }) {
  const rate = 48_000;
  const count = rate * seconds;
  const data = Buffer.alloc(44 + count * 2);
  data.write('RIFF', 0);
  data.writeUInt32LE(36 + count * 2, 4);
  data.write('WAVEfmt ', 8);
  data.writeUInt32LE(16, 16);
  data.writeUInt16LE(1, 20);
  data.writeUInt16LE(1, 22);
  data.writeUInt32LE(rate, 24);
  data.writeUInt32LE(rate * 2, 28);
  data.writeUInt16LE(2, 32);
  data.writeUInt16LE(16, 34);
  data.write('data', 36);
  data.writeUInt32LE(count * 2, 40);
  const amplitude = 32767 * 10 ** (dbfs / 20) * Math.SQRT2;
  for (let i = 0; i < count; i += 1) {
    const value = amplitude * Math.sin((2 * Math.PI * hz * i) / rate);
    data.writeInt16LE(Math.max(-32768, Math.min(32767, Math.round(value))), 44 + i * 2);
  }
  await writeFile(path, data);
}

/**
 * A PNG of noise, so that it does not shrink: about `width * height * 3` bytes.
 * @param {number} width
 * @param {number} height
 * @param {number} [seed]
 */
export function noisePng(width, height, seed = 1) {
  let state = seed >>> 0 || 1;
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width * 3; x += 1) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      rows[y * (1 + width * 3) + 1 + x] = state & 0xff;
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return png([
    ['IHDR', header],
    ['IDAT', deflateSync(rows)],
    ['IEND', Buffer.alloc(0)],
  ]);
}

/** @param {[string, Buffer][]} chunks */
export function png(chunks) {
  const parts = [Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])];
  for (const [type, body] of chunks) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    const typed = Buffer.concat([Buffer.from(type, 'latin1'), body]);
    const check = Buffer.alloc(4);
    check.writeUInt32BE(crc32(typed));
    parts.push(length, typed, check);
  }
  return Buffer.concat(parts);
}
