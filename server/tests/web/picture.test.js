// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';

import { inspectPicture } from '../../web/picture.js';
import { gifOf, jpegOf, pngOf, webpOf } from './fakes/pictures.js';

test('type and size are read from the first bytes', () => {
  const cases = [
    ['image/png', pngOf(640, 480)],
    ['image/gif', gifOf(640, 480)],
    ['image/jpeg', jpegOf(640, 480)],
    ['image/webp', webpOf('VP8 ', 640, 480)],
    ['image/webp', webpOf('VP8L', 640, 480)],
    ['image/webp', webpOf('VP8X', 640, 480)],
  ];
  for (const [mime, bytes] of cases) {
    assert.deepEqual(inspectPicture(/** @type {Uint8Array} */ (bytes)), { mime, width: 640, height: 480 });
  }
});

test('pictures that would take too much memory are refused', () => {
  const refused = [pngOf(16_385, 1), pngOf(1, 16_385), pngOf(10_000, 10_000), pngOf(0xffffffff, 0xffffffff), jpegOf(65_535, 65_535)];
  for (const bytes of refused) {
    const found = inspectPicture(bytes);
    assert.ok('problem' in found && /too many pixels/u.test(found.problem));
  }
  assert.ok(!('problem' in inspectPicture(pngOf(8192, 8192))));
});

test('empty, cut and other files are refused, byte by byte', () => {
  for (const whole of [pngOf(9, 9), gifOf(9, 9), jpegOf(9, 9), webpOf('VP8X', 9, 9)]) {
    for (let length = 0; length < 10; length += 1) {
      assert.ok('problem' in inspectPicture(whole.slice(0, length)), String(length));
    }
    for (let length = 10; length < whole.length; length += 1) inspectPicture(whole.slice(0, length));
  }
  assert.ok('problem' in inspectPicture(pngOf(0, 5)));
  assert.ok('problem' in inspectPicture(new TextEncoder().encode('<svg width="1" height="1">'.padEnd(99))));
});
