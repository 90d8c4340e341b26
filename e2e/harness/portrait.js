// @ts-check
// A drawn person as camera picture: friendlier than test blocks where a human looks at it.

import { open } from 'node:fs/promises';

/** @typedef {[number, number, number]} Rgb */

/** @param {Rgb} rgb */
function toYuv([r, g, b]) {
  return [
    16 + 0.257 * r + 0.504 * g + 0.098 * b,
    128 - 0.148 * r - 0.291 * g + 0.439 * b,
    128 + 0.439 * r - 0.368 * g - 0.071 * b,
  ];
}

/** @param {Rgb} a @param {Rgb} b @param {number} t @returns {Rgb} */
const mix = (a, b, t) => [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t];

/** How much of a pixel lies inside, from the distance to the edge in pixels. @param {number} d */
const cover = (d) => Math.max(0, Math.min(1, 0.5 - d));

/**
 * Writes a Y4M video of a head that sways a little before a plain wall.
 * @param {string} path
 * @param {{ wall: Rgb, floor: Rgb, skin: Rgb, hair: Rgb, shirt: Rgb }} colours
 */
export async function writePortrait(path, { wall, floor, skin, hair, shirt }) {
  const [width, height, frames] = [640, 360, 30];
  const file = await open(path, 'w');
  await file.write(`YUV4MPEG2 W${width} H${height} F15:1 Ip A1:1 C420jpeg\n`);
  for (let n = 0; n < frames; n += 1) {
    const sway = 6 * Math.sin((2 * Math.PI * n) / frames);
    const [cx, cy] = [width / 2 + sway, height * 0.46];
    const planes = [0, 1, 2].map((i) => Buffer.alloc(i === 0 ? width * height : (width * height) / 4));
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        let colour = mix(wall, floor, (y / height) ** 1.5);
        /** @type {(at: number, to: Rgb) => void} */
        const paint = (at, to) => {
          if (at > 0) colour = mix(colour, to, at);
        };
        const ellipse = (/** @type {number} */ ex, /** @type {number} */ ey, /** @type {number} */ rx, /** @type {number} */ ry) => {
          const d = Math.hypot((x - ex) / rx, (y - ey) / ry);
          return cover((d - 1) * Math.min(rx, ry));
        };
        paint(ellipse(cx - sway * 0.5, height * 1.12, 150, 130), shirt);
        paint(ellipse(cx, cy - 14, 72, 86), hair);
        paint(ellipse(cx - sway * 0.3, cy + 74, 28, 44), mix(skin, [0, 0, 0], 0.12));
        paint(ellipse(cx, cy + 10, 58, 74), skin);
        paint(ellipse(cx, cy - 58, 62, 34), hair);
        paint(ellipse(cx - 22, cy + 2, 5, 6), [40, 34, 34]);
        paint(ellipse(cx + 22, cy + 2, 5, 6), [40, 34, 34]);
        const smile = Math.min(ellipse(cx, cy + 34, 24, 16), y > cy + 38 ? 1 : 0);
        paint(smile, [150, 60, 60]);
        const [luma, cb, cr] = toYuv(colour);
        planes[0][y * width + x] = luma;
        if (y % 2 === 0 && x % 2 === 0) {
          const at = ((y / 2) * width) / 2 + x / 2;
          planes[1][at] = cb;
          planes[2][at] = cr;
        }
      }
    }
    await file.write('FRAME\n');
    await file.write(Buffer.concat(planes));
  }
  await file.close();
}
