// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';

import { ActivityMeter, samplesOf } from '../../web/activity.js';
import { tileSize } from '../../web/grid.js';
import { classify } from '../../web/sources.js';

/** @param {string} text such as `audio C, video S` @returns {string} such as `microphone C` */
function sources(text) {
  const tracks = text.split(', ').map((line) => {
    const [kind = '', stream = ''] = line.split(' ');
    return { kind, stream: stream === '-' ? null : stream };
  });
  const found = [...classify(tracks)].map(([source, track]) => `${source} ${tracks.indexOf(track)}`);
  return found.sort().join(', ');
}

test('the stream of the first sound is the camera’s', () => {
  const cases = {
    'audio C, video C': 'camera 1, microphone 0',
    'audio C, video C, video S, audio S': 'camera 1, microphone 0, screen 2, screen-audio 3',
    'audio C, video S, video C': 'camera 2, microphone 0, screen 1',
    'audio C, video S': 'microphone 0, screen 1',
    'video C': 'camera 0',
    'video C, video S': 'camera 0, screen 1',
    'audio -, video -': 'camera 1, microphone 0',
    'audio -, video -, video -': 'camera 1, microphone 0, screen 2',
    'audio C, video -': 'camera 1, microphone 0',
    'audio C, video C, video S, video T': 'camera 1, microphone 0, screen 3',
    'audio C': 'microphone 0',
  };
  for (const [tracks, expected] of Object.entries(cases)) assert.equal(sources(tracks), expected, tracks);
});

test('three seconds without packets are off, and the first packet is on', () => {
  const meter = new ActivityMeter();
  const at = (/** @type {number} */ now, /** @type {number} */ packets) =>
    meter.update(now, ['v'], [{ track: 'v', packets, energy: 0, level: 0 }]).get('v')?.flowing;
  assert.equal(at(0, 0), false);
  assert.equal(at(500, 3), true);
  assert.equal(at(3000, 3), true);
  assert.equal(at(3600, 3), false);
  assert.equal(at(4000, 4), true);
});

test('digital silence is a muted microphone, a quiet room is not', () => {
  const meter = new ActivityMeter();
  let [packets, energy] = [0, 0];
  const go = (/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ power) => {
    let silent;
    for (let now = from; now < to; now += 500) {
      packets += 25;
      energy += power / 2;
      silent = meter.update(now, ['a'], [{ track: 'a', packets, energy, level: 0.1 }]).get('a')?.silent;
    }
    return silent;
  };
  assert.equal(go(0, 5000, 1e-6), false);
  assert.equal(go(5000, 6500, 1e-9), false, 'not at once');
  assert.equal(go(6500, 9000, 1e-9), true);
  assert.equal(go(9000, 9500, 1e-6), false);
});

test('a track on which nothing ever came is off and silent, after a while', () => {
  const meter = new ActivityMeter();
  const at = (/** @type {number} */ now) => meter.update(now, ['a'], []).get('a');
  assert.deepEqual(at(0), { flowing: false, silent: false, level: 0 });
  assert.deepEqual(at(2500), { flowing: false, silent: true, level: 0 });
});

test('samples are taken from what arrives only', () => {
  const reports = [
    { type: 'inbound-rtp', trackIdentifier: 't', packetsReceived: 7, audioLevel: 0.5, totalAudioEnergy: 1 },
    { type: 'outbound-rtp', trackIdentifier: 'u', packetsSent: 9 },
    { type: 'inbound-rtp' },
  ];
  assert.deepEqual(samplesOf(reports), [{ track: 't', packets: 7, energy: 1, level: 0.5 }]);
});

test('tiles fill the space without being cut much', () => {
  const of = (/** @type {number} */ count, /** @type {number} */ width, /** @type {number} */ height) => {
    const size = tileSize({ count, width, height, gap: 8 });
    const columns = Math.floor((width + 8) / (size.width + 8));
    assert.ok(Math.ceil(count / columns) * (size.height + 8) - 8 <= height, `${count} in ${width} × ${height}`);
    return size;
  };
  assert.deepEqual(of(1, 1600, 900), { width: 1600, height: 900 });
  for (let count = 1; count <= 9; count += 1) {
    const { width, height } = of(count, 900, 660);
    assert.ok(width / height > 1.3 && width / height < 1.8);
    of(count, 374, 700);
    of(count, 700, 300);
  }
  assert.deepEqual(tileSize({ count: 3, width: 0, height: 0, gap: 8 }), { width: 0, height: 0 });
});
