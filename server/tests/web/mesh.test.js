// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';

import { endOf } from '../../web/sdp.js';
import { FakeConnection, FakeTrack } from './fakes/connection.js';
import { World } from './fakes/mesh-world.js';

const FACE = ['camera', 'microphone'];
const ALL = ['camera', 'microphone', 'screen'];

/** @param {...string} ids */
async function meeting(...ids) {
  const world = new World(...ids);
  world.roster();
  await world.calm();
  return world;
}

test('the lower id offers once, the higher answers once, and both have both tracks', async () => {
  const world = await meeting('a', 'b');
  const [a, b] = [world.get('a'), world.get('b')];
  assert.deepEqual([a.count('webrtc.offer'), a.count('webrtc.answer')], [1, 0]);
  assert.deepEqual([b.count('webrtc.offer'), b.count('webrtc.answer')], [0, 1]);
  assert.deepEqual(a.receives('b'), FACE);
  assert.deepEqual(b.receives('a'), FACE);
  assert.deepEqual([a.stateOf('b'), b.stateOf('a')], ['connected', 'connected']);
});

test('the m-lines are microphone, camera, then the channel, and the streams are named', async () => {
  const world = await meeting('a', 'b');
  const sdp = world.get('a').sent.find(({ type }) => type === 'webrtc.offer')?.sdp ?? '';
  assert.deepEqual(sdp.match(/^m=\w+/gmu), ['m=audio', 'm=video', 'm=application']);
  assert.deepEqual(sdp.match(/msid:\S+/gu), ['msid:face-of-a', 'msid:face-of-a']);
  const answer = world.get('b').pc.localDescription?.sdp ?? '';
  assert.deepEqual(answer.match(/msid:\S+/gu), ['msid:face-of-b', 'msid:face-of-b']);
});

test('only the lower id creates the data channel, with the label', async () => {
  const world = await meeting('a', 'b');
  const channel = world.get('a').events.find(({ type }) => type === 'channel');
  assert.equal(channel.channel.label, 'pm_file:');
  const received = world.get('b').events.find(({ type }) => type === 'channel');
  assert.equal(received.channel.readyState, 'open');
  assert.notEqual(received.channel, channel.channel);
});

test('m-lines exist although no device does, and a device that comes later needs no offer', async () => {
  const world = new World('a', 'b');
  for (const id of ['a', 'b']) world.get(id).local.tracks.clear();
  world.roster();
  await world.calm();
  const offers = world.get('a').count('webrtc.offer');
  assert.deepEqual(world.get('b').receives('a'), FACE);
  world.get('a').publish('camera', true);
  await world.calm(2000);
  assert.equal(world.get('a').count('webrtc.offer'), offers);
  const sender = world.get('a').pc.getTransceivers()[1]?.sender;
  assert.equal(sender?.track, world.get('a').local.tracks.get('camera'));
});

test('two offers that cross end in agreement, with everything of both', async () => {
  const world = await meeting('a', 'b');
  await world.calm(1000);
  world.get('a').publish('screen', true);
  world.get('b').publish('screen', true);
  await world.calm(3000);
  assert.ok(world.get('b').pc.log.includes('rollback'), 'the polite side took its offer back');
  assert.ok(!world.get('a').pc.log.includes('rollback'), 'the impolite one did not');
  assert.deepEqual(world.get('a').receives('b'), ALL);
  assert.deepEqual(world.get('b').receives('a'), ALL);
});

test('a screen comes and goes any number of times, from both sides', async () => {
  const world = await meeting('a', 'b');
  for (let round = 0; round < 3; round += 1) {
    for (const [from, to] of [['a', 'b'], ['b', 'a']]) {
      world.get(from ?? '').publish('screen', true);
      await world.calm(1500);
      assert.deepEqual(world.get(to ?? '').receives(from ?? ''), ALL);
      world.get(from ?? '').publish('screen', false);
      await world.calm(1500);
      assert.deepEqual(world.get(to ?? '').receives(from ?? ''), FACE);
    }
  }
});

test('whoever joins while a screen is shared gets it, as the lower and as the higher id', async () => {
  for (const late of ['a', 'c']) {
    const world = new World('b', late);
    world.get('b').publish('screen', true);
    world.roster();
    await world.calm(2000);
    assert.deepEqual(world.get(late).receives('b'), ALL, late);
    assert.deepEqual(world.get('b').receives(late), FACE, late);
  }
});

test('the higher id waits for the first offer, and makes its own after 2.5 s', async () => {
  const world = new World('a', 'b');
  world.lets = (from) => from !== 'a';
  world.roster();
  await world.clock.advance(2400);
  assert.equal(world.get('b').count('webrtc.offer'), 0);
  await world.clock.advance(200);
  assert.equal(world.get('b').count('webrtc.offer'), 1);
});

test('an offer that nobody answers is sent again as it is, ever more rarely', async () => {
  const world = new World('a', 'b');
  world.lets = (from) => from !== 'b';
  world.roster();
  await world.clock.advance(100);
  /** @type {number[]} */
  const times = [];
  for (let at = 0; at < 40_000; at += 100) {
    const before = world.get('a').count('webrtc.offer');
    await world.clock.advance(100);
    if (world.get('a').count('webrtc.offer') > before) times.push(at);
  }
  const sdps = new Set(world.get('a').sent.map(({ sdp }) => sdp));
  assert.equal(sdps.size, 1);
  const pauses = times.slice(1).map((time, i) => Math.round((time - (times[i] ?? 0)) / 1000));
  assert.deepEqual(pauses, [5, 10, 10, 10]);
  world.lets = () => true;
  await world.calm(11_000);
  assert.equal(world.get('a').stateOf('b'), 'connected');
});

test('a copy of an offer gets a copy of its answer, and changes nothing', async () => {
  const world = await meeting('a', 'b');
  const [a, b] = [world.get('a'), world.get('b')];
  const sdp = a.sent.find(({ type }) => type === 'webrtc.offer')?.sdp ?? '';
  const [steps, others] = [b.pc.log.length, a.pc.log.length];
  b.mesh.handle({ type: 'webrtc.offer', room: '', from: 'a', sdp });
  await world.calm();
  const answers = b.sent.filter(({ type }) => type === 'webrtc.answer').map((sent) => sent.sdp);
  assert.equal(answers.length, 2);
  assert.equal(answers[0], answers[1]);
  assert.deepEqual([b.pc.log.length, a.pc.log.length], [steps, others]);
});

test('what an offer had no place for is offered 500 ms after the answer, not sooner', async () => {
  const world = new World('b');
  const old = new FakeConnection();
  old.createDataChannel('pm_file:');
  await old.setLocalDescription();
  const b = world.get('b');
  b.mesh.updateRoster([{ id: 'a', name: 'A' }, { id: 'b', name: 'B' }]);
  b.mesh.handle({ type: 'webrtc.offer', room: '', from: 'a', sdp: old.localDescription?.sdp ?? '' });
  await world.clock.advance(400);
  assert.deepEqual([b.count('webrtc.answer'), b.count('webrtc.offer')], [1, 0]);
  await world.clock.advance(200);
  assert.equal(b.count('webrtc.offer'), 1);
  const sdp = b.sent.filter(({ type }) => type === 'webrtc.offer').pop()?.sdp ?? '';
  assert.deepEqual(sdp.match(/^m=\w+/gmu), ['m=application', 'm=audio', 'm=video']);
});

test('our camera never goes onto an m-line that the other side only sends on', async () => {
  const world = new World('b');
  const old = new FakeConnection();
  old.addTransceiver(new FakeTrack('audio'), { direction: 'sendrecv', streams: [{ id: 'C' }] });
  old.addTransceiver(new FakeTrack('video'), { direction: 'sendonly', streams: [{ id: 'S' }] });
  await old.setLocalDescription();
  const b = world.get('b');
  b.mesh.updateRoster([{ id: 'a', name: 'A' }]);
  b.mesh.handle({ type: 'webrtc.offer', room: '', from: 'a', sdp: old.localDescription?.sdp ?? '' });
  await world.clock.advance(100);
  const [audio, video] = b.pc.getTransceivers();
  assert.equal(audio?.sender.track, b.local.tracks.get('microphone'));
  assert.equal(video?.sender.track, null);
  assert.deepEqual(b.receives('a'), ['microphone', 'screen']);
});

test('candidates wait for the remote description, and empty or broken ones do no harm', async () => {
  const world = new World('b');
  const b = world.get('b');
  b.mesh.updateRoster([{ id: 'a', name: 'A' }]);
  const send = (/** @type {string} */ candidate) =>
    b.mesh.handle({ type: 'webrtc.iceCandidate', room: '', from: 'a', candidate });
  send('{"candidate":"candidate:1 1 udp 1 x.local 9 typ host","sdpMid":"0"}');
  send('{"candidate":"","sdpMid":"0"}');
  send('');
  send('null');
  send('[1');
  await world.clock.advance(50);
  assert.deepEqual(b.pc.candidates, []);
  const a = new FakeConnection();
  a.createDataChannel('pm_file:');
  await a.setLocalDescription();
  b.mesh.handle({ type: 'webrtc.offer', room: '', from: 'a', sdp: a.localDescription?.sdp ?? '' });
  send('{"candidate":"candidate:2 1 tcp 1 ::1 9 typ host","sdpMid":"0"}');
  await world.clock.advance(50);
  assert.deepEqual(b.pc.log.slice(0, 4), ['remote offer', 'candidate', 'local answer', 'candidate']);
});

test('signals of one peer are handled strictly one after another', async () => {
  const world = await meeting('a', 'b');
  const b = world.get('b');
  const offer = world.get('a').sent.find(({ type }) => type === 'webrtc.offer')?.sdp ?? '';
  for (let i = 0; i < 3; i += 1) {
    const sdp = offer.replace(/ \d+ IN/u, ` ${i + 50} IN`);
    b.mesh.handle({ type: 'webrtc.offer', room: '', from: 'a', sdp });
  }
  await world.calm();
  const descriptions = b.pc.log.filter((line) => line !== 'candidate');
  assert.deepEqual(descriptions, Array(4).fill(['remote offer', 'local answer']).flat());
});

test('rubbish, and offers of strangers, leave a connection as it is', async () => {
  const world = await meeting('a', 'b');
  const b = world.get('b');
  const { pc } = b;
  for (const sdp of ['', 'v=0', 'x'.repeat(60_000), 'v=0\r\na=fingerprint:sha-256\r\n']) {
    b.mesh.handle({ type: 'webrtc.offer', room: '', from: 'a', sdp });
    b.mesh.handle({ type: 'webrtc.answer', room: '', from: 'a', sdp });
  }
  const sdp = world.get('a').pc.localDescription?.sdp ?? '';
  b.mesh.handle({ type: 'webrtc.offer', room: '', from: 'stranger', sdp });
  await world.calm(3000);
  assert.equal(b.pc, pc);
  assert.equal(b.connections.length, 1);
  assert.equal(b.stateOf('a'), 'connected');
});

test('a member who leaves and joins within a moment keeps the connection', async () => {
  const world = await meeting('a', 'b');
  const { pc } = world.get('a');
  for (let i = 0; i < 3; i += 1) {
    world.roster(['a']);
    await world.clock.advance(900);
    world.roster(['a', 'b']);
    await world.clock.advance(5000);
  }
  assert.equal(world.get('a').pc, pc);
  assert.equal(pc.connectionState, 'connected');
  assert.ok(!world.get('a').events.some(({ change }) => change === 'left'));
});

test('a member who stays away for a second is gone, and may come back', async () => {
  const world = await meeting('a', 'b');
  const a = world.get('a');
  const { pc } = a;
  world.roster(['a']);
  await world.clock.advance(1100);
  assert.equal(pc.connectionState, 'closed');
  assert.equal(a.stateOf('b'), 'closed');
  assert.deepEqual(a.receives('b'), []);
  assert.equal(a.events.filter(({ change }) => change === 'left').length, 1);
  world.get('b').mesh.close();
  world.add('b');
  world.roster();
  await world.calm(3000);
  assert.equal(a.stateOf('b'), 'connected');
  assert.deepEqual(a.receives('b'), FACE);
});

test('after our own outage, members with a living connection have 15 s to come back', async () => {
  const world = await meeting('a', 'b', 'c');
  const a = world.get('a');
  a.connections[1]?.become('disconnected');
  a.mesh.linkRestored();
  a.mesh.updateRoster([{ id: 'a', name: 'A' }]);
  await world.clock.advance(1100);
  assert.equal(a.stateOf('c'), 'closed');
  assert.equal(a.stateOf('b'), 'connected');
  await world.clock.advance(12_000);
  assert.equal(a.stateOf('b'), 'connected');
  await world.clock.advance(3000);
  assert.equal(a.stateOf('b'), 'closed');
});

test('a server that goes down socket by socket takes nobody along', async () => {
  const world = await meeting('a', 'b', 'c');
  const a = world.get('a');
  a.mesh.updateRoster([{ id: 'a', name: 'A' }, { id: 'b', name: 'B' }]);
  a.mesh.updateRoster([{ id: 'a', name: 'A' }]);
  a.mesh.linkLost();
  await world.clock.advance(60_000);
  assert.deepEqual([a.stateOf('b'), a.stateOf('c')], ['connected', 'connected']);
  a.mesh.linkRestored();
  world.roster(['a', 'b']);
  await world.clock.advance(60_000);
  assert.deepEqual([a.stateOf('b'), a.stateOf('c')], ['connected', 'closed']);
});

test('after our own outage, an offer that was lost is said again at once', async () => {
  const world = new World('a', 'b');
  world.lets = () => false;
  world.roster();
  await world.clock.advance(1000);
  world.lets = () => true;
  world.get('a').mesh.linkRestored();
  await world.calm(200);
  assert.equal(world.get('a').stateOf('b'), 'connected');
});

test('a failed connection restarts ICE, the polite side later', async () => {
  const world = await meeting('a', 'b');
  const [a, b] = [world.get('a').pc, world.get('b').pc];
  a.become('failed');
  b.become('failed');
  assert.equal(world.get('a').stateOf('b'), 'reconnecting');
  await world.clock.advance(1);
  assert.deepEqual([a.restarts, b.restarts], [1, 0]);
  await world.calm(1000);
  assert.equal(world.get('b').stateOf('a'), 'connected');
  await world.clock.advance(5000);
  assert.deepEqual([a.restarts, b.restarts], [1, 0]);
});

test('a connection that fails again and again is made anew', async () => {
  const world = await meeting('a', 'b');
  const first = world.get('a').pc;
  world.lets = () => false;
  for (let i = 0; i < 3; i += 1) {
    first.connectionState = 'connecting';
    first.become('failed');
    await world.clock.advance(100);
  }
  assert.equal(world.get('a').stateOf('b'), 'failed');
  await world.clock.advance(11_000);
  assert.notEqual(world.get('a').pc, first);
  world.lets = () => true;
  await world.calm(5_000);
  assert.equal(world.get('a').stateOf('b'), 'connected');
  assert.deepEqual(world.get('a').receives('b'), FACE);
  assert.deepEqual(world.get('b').receives('a'), FACE);
});

test('an end that was made anew is met by a new one, whoever did it', async () => {
  for (const [renewed, other] of [['a', 'b'], ['b', 'a']]) {
    const world = await meeting('a', 'b');
    const before = world.get(other ?? '').pc;
    // As after an outage of one side only: the other had closed its end meanwhile.
    world.get(renewed ?? '').mesh.close();
    world.add(renewed ?? '');
    world.roster();
    await world.calm(5000);
    assert.notEqual(world.get(other ?? '').pc, before);
    for (const id of ['a', 'b']) {
      const peer = id === 'a' ? 'b' : 'a';
      assert.equal(world.get(id).stateOf(peer), 'connected', `${renewed} anew, seen by ${id}`);
      assert.deepEqual(world.get(id).receives(peer), FACE);
    }
  }
});

test('an end is told by its certificate and by its session, and by nothing else', () => {
  const sdp = 'v=0\r\no=- 17 2 IN IP4 0.0.0.0\r\na=fingerprint:sha-256 aa:bb\r\na=ice-ufrag:x\r\n';
  assert.equal(endOf(sdp), endOf(sdp.replace(' 2 IN', ' 3 IN').replace('ufrag:x', 'ufrag:y').replace('aa', 'AA')));
  assert.notEqual(endOf(sdp), endOf(sdp.replace(' 17 ', ' 18 ')));
  assert.notEqual(endOf(sdp), endOf(sdp.replace('aa', 'ac')));
  assert.equal(endOf('v=0\r\no=- 17 2 IN IP4 0.0.0.0\r\n'), null);
});

test('descriptions that do not fit twice in a row begin anew', async () => {
  const world = await meeting('a', 'b');
  const b = world.get('b');
  const before = b.pc;
  const [head] = (world.get('a').pc.localDescription?.sdp ?? '').split('m=');
  const sdp = `${head}m=video 9\r\na=mid:7\r\na=sendrecv\r\n`;
  for (let i = 0; i < 2; i += 1) b.mesh.handle({ type: 'webrtc.offer', room: '', from: 'a', sdp });
  await world.calm(5000);
  assert.notEqual(b.pc, before);
  assert.equal(b.stateOf('a'), 'connected');
  assert.deepEqual(world.get('a').receives('b'), FACE);
});

test('eight others are connected, the ninth is told about and gets the first free place', async () => {
  const ids = ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];
  const world = new World('a');
  const a = world.get('a');
  const users = ['a', ...ids].map((id) => ({ id, name: id }));
  a.mesh.updateRoster(users);
  a.mesh.updateRoster(users);
  assert.equal(a.connections.length, 8);
  const full = a.events.filter(({ type }) => type === 'full');
  assert.deepEqual(full.map(({ member }) => member.id), ['j']);
  a.mesh.updateRoster(users.filter(({ id }) => id !== 'c'));
  await world.clock.advance(1100);
  assert.equal(a.stateOf('j'), 'connecting');
  assert.equal(a.connections.length, 9);
});

test('a peer who cannot be reached is said to have no connection after 20 s', async () => {
  const world = new World('a');
  const a = world.get('a');
  a.mesh.updateRoster([{ id: 'b', name: 'B' }]);
  await world.clock.advance(19_000);
  assert.equal(a.stateOf('b'), 'connecting');
  await world.clock.advance(2000);
  assert.equal(a.stateOf('b'), 'failed');
});

test('each member stands in the roster once, and ids compare bytewise', async () => {
  const world = new World('Z', 'a');
  world.roster(['Z', 'a', 'a', 'Z']);
  await world.calm();
  assert.equal(world.get('Z').connections.length, 1);
  assert.equal(world.get('Z').count('webrtc.offer'), 1);
  assert.equal(world.get('a').count('webrtc.offer'), 0);
});

test('after closing, nothing happens any more', async () => {
  const world = await meeting('a', 'b');
  const a = world.get('a');
  a.mesh.close();
  const { length } = a.events;
  const { length: sent } = a.sent;
  world.roster();
  world.get('b').publish('screen', true);
  await world.calm(5000);
  assert.equal(a.events.length, length);
  assert.equal(a.sent.length, sent);
});
