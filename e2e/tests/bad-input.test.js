// @ts-check
// Bad input gets a clear error, and loses nothing that was there.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';

import { knownBrowser } from '../harness/cast.js';
import { Guest } from '../harness/guest.js';
import { noisePng, png, sha256 } from '../harness/media-files.js';
import { Old } from '../harness/old.js';
import { scenario } from '../harness/stage.js';

const ROOM_PREFIX = 'pm_room:';

/** A port on which nobody listens. @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const listener = createServer().listen(0, '127.0.0.1', () => {
      const address = listener.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      listener.close(() => resolve(port));
    });
  });
}

/**
 * A native peer that must end by itself, with a status of failure and a sentence.
 * @param {import('../harness/native.js').Native} native
 * @param {RegExp} sentence
 */
async function refuses(native, sentence) {
  await Promise.race([native.child.ended, native.waitFor('error')]);
  native.child.closeInput();
  const code = await native.child.stop('SIGTERM', 10_000);
  const said = [
    ...native.events.filter((e) => e.event === 'error').map((e) => e.message),
    ...native.child.stderr,
  ].join('\n');
  assert.match(said, sentence);
  assert.ok(!native.events.some((e) => e.event === 'joined'));
  assert.notEqual(code, 0, 'its status says that it failed');
  assert.doesNotMatch(said, /panicked/);
}

scenario('a native peer says what is wrong with its start', { ms: 120_000 }, async (stage) => {
  const server = await stage.server();
  /** @type {[Parameters<typeof stage.native>[1], RegExp][]} */
  const starts = [
    [{ server: `http://127.0.0.1:${await freePort()}` }, /connect|reach|refused/i],
    [{ server: 'http://no-such-host.invalid' }, /resolve|reach|connect|lookup|dns/i],
    [{ server: 'not a server' }, /server/i],
    [{ room: 'r'.repeat(129) }, /room|128/i],
    [{ room: '  ' }, /room/i],
    [{ name: '' }, /name/i],
    [{ name: 'n'.repeat(33) }, /name|32/i],
    [{ passphraseFile: '/does/not/exist' }, /passphrase|exist|read/i],
    [{ passphraseFile: '/' }, /passphrase|directory|read/i],
  ];
  for (const [options, sentence] of starts) {
    const native = await stage.nativeStarting(server, options);
    await refuses(native, sentence);
  }
});

scenario('a wrong certificate is refused and its fingerprint is said', { ms: 60_000 }, async (stage) => {
  const server = await stage.server({ tls: 'self' });
  const wrong = 'ab'.repeat(32);
  await refuses(await stage.nativeStarting(server, { fingerprint: wrong }), /certificate|fingerprint/i);
  const unknown = await stage.nativeStarting(server, { fingerprint: undefined });
  await refuses(unknown, new RegExp(String(server.fingerprint)));
});

scenario('the home page says what is wrong with its form', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const browser = await stage.browser();
  const page = await browser.page('Gustav');
  for (const [name, room] of [
    ['', stage.room],
    ['Gustav', ''],
    ['Gustav', 'r'.repeat(129)],
    ['n'.repeat(40), stage.room],
  ]) {
    await page.goto(`${server.url}/`);
    await page.evaluate(
      ([name, room]) => {
        // As a paste may do that goes around `maxlength`.
        for (const [id, value] of [['name', name], ['room', room]]) {
          const field = document.getElementById(id);
          if (field instanceof HTMLInputElement) {
            field.value = value;
            field.dispatchEvent(new Event('input', { bubbles: true }));
          }
        }
      },
      [name, room],
    );
    await page.click('#join');
    await page.waitForFunction(() => {
      const invalid = document.querySelector('input:invalid, [aria-invalid="true"]');
      const alert = document.querySelector('[role="alert"], #error, .error');
      return Boolean(invalid) || Boolean(alert?.textContent?.trim());
    });
    assert.equal(await page.evaluate(() => document.body.dataset.screen), 'home');
  }
  assert.deepEqual(browser.faults(), []);
});

scenario('a hostile member can not end the call of others', { ms: 120_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, native] = await Promise.all([knownBrowser(stage), stage.native(server)]);
  const guest = await Guest.join(browser, server, { room: stage.room });
  await Promise.all([native.sees(guest.user), guest.counts(native.user)]);

  const room = ROOM_PREFIX + stage.room;
  const mallory = await stage.rawMember(server);
  mallory.send('chat.join', room);
  await mallory.waitFor('room.users', (m) => m.data.users.length === 3);
  const rubbish = [
    '',
    'v=0',
    'rubbish',
    'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n',
    `v=0\r\n${'a=group:BUNDLE '.repeat(2000)}\r\n`,
    'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 99999 X 0\r\na=mid:\u0000\r\n'.repeat(50),
  ];
  for (const to of [native.user, guest.user]) {
    for (const sdp of rubbish) {
      mallory.send('webrtc.offer', room, { sdp, to });
      mallory.send('webrtc.answer', room, { sdp, to });
    }
    for (const candidate of ['', '{', '{}', '[]', '{"candidate":7}', '{"candidate":"candidate:x"}']) {
      mallory.send('webrtc.iceCandidate', room, { candidate, to });
    }
  }
  for (const message of [
    'pm_e2ee:',
    'pm_e2ee:{"v":1,"alg":"AES-GCM","iv":"","content":""}',
    'pm_e2ee:{"v":1,"alg":"AES-GCM","iv":"AAECAwQFBgcICQoL","content":"!!"}',
    'pm_e2ee:{"v":99,"alg":"none"}',
    `pm_e2ee:${'['.repeat(4000)}`,
  ]) {
    mallory.send('chat.message', room, { message });
    await mallory.waitFor('chat.message', (m) => m.data.message === message);
  }
  mallory.send('chat.message', room, { message: '<img src=x onerror=alert(1)>' });
  await guest.message({ from: mallory.user, text: '<img src=x onerror=alert(1)>' });

  const since = native.mark();
  await native.sees(guest.user, { fps: 10, counter: true, since });
  await guest.counts(native.user);
  native.send({ command: 'chat', text: 'nothing happened' });
  await guest.message({ from: native.user, text: 'nothing happened' });
  await guest.say('not here either');
  await native.waitFor('chat', (e) => e.text === 'not here either');
  const lost = native.events.filter(
    (e) => e.event === 'peer' && e.id === guest.user && ['closed', 'failed'].includes(e.state),
  );
  assert.deepEqual(lost, []);
  assert.deepEqual(browser.faults(), []);
});

scenario('broken frames end only the connection they came from', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const room = ROOM_PREFIX + stage.room;
  const [good, bad, large, almost] = await Promise.all(
    ['good', 'bad', 'large', 'almost'].map((name) => stage.rawMember(server, name)),
  );
  for (const member of [good, bad, large, almost]) member.send('chat.join', room);
  await good.waitFor('room.users', (m) => m.data.users.length === 4);

  bad.sendText('{"type":"chat.message",');
  assert.ok([1007, 1008].includes((await bad.waitForClose()).code));
  const frame = (/** @type {number} */ bytes) => {
    const message = JSON.stringify({ type: 'x.unknown', room, data: { message: '' } });
    return message.replace('""', `"${'a'.repeat(bytes - message.length)}"`);
  };
  large.sendText(frame(70 * 1024));
  assert.equal((await large.waitForClose()).code, 1009);
  almost.sendText(frame(65_536));
  await almost.waitFor('general.error', (m) => m.data.error === 'Invalid message type');
  await good.waitFor('room.users', (m) => m.data.users.length === 2);
  good.send('chat.message', room, { message: 'still here' });
  await almost.waitFor('chat.message', (m) => m.data.message === 'still here');
});

const honest = noisePng(200, 150, 5);
const huge = Buffer.alloc(13);
huge.writeUInt32BE(60_000, 0);
huge.writeUInt32BE(60_000, 4);
huge.set([8, 2, 0, 0, 0], 8);
const bomb = png([
  ['IHDR', huge],
  ['IDAT', deflateSync(Buffer.alloc(100_000))],
  ['IEND', Buffer.alloc(0)],
]);
const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>');

/** What is announced, and what is sent instead. @type {[string, object, Buffer][]} */
const LIES = [
  ['more than it announced', { size: 1000, totalChunks: 1 }, honest],
  ['less than it announced', { size: honest.length * 2 }, honest],
  ['a size above the limit', { size: 13 * 1024 * 1024 }, honest],
  ['a negative size', { size: -5 }, honest],
  ['an SVG called PNG', {}, svg],
  ['an SVG called SVG', { mime: 'image/svg+xml', name: 'a.svg' }, svg],
  ['HTML', { mime: 'text/html', name: 'a.html' }, Buffer.from('<script>alert(1)</script>')],
  ['a picture of 3.6 gigapixels', {}, bomb],
];

/**
 * Sends each lie and then a true image: what comes after a lie arrives, so the lie was dealt with.
 * @param {Old} liar
 * @param {string} to
 * @param {(what: string, hash: string) => Promise<void>} arrives
 */
async function lies(liar, to, arrives) {
  await liar.connected(to, 30_000);
  for (const [index, [what, lie, bytes]] of LIES.entries()) {
    await liar.lie(to, { name: 'lie.png', mime: 'image/png', bytes }, lie);
    const truth = noisePng(60, 40, 11 + index);
    await liar.imageTo(to, { name: 'true.png', mime: 'image/png', bytes: truth });
    await arrives(what, sha256(truth));
  }
}

const noMedia = { name: 'Liar', camera: false, microphone: false };

scenario('a page shows no image that lies about its size or type', { ms: 90_000 }, async (stage) => {
  const server = await stage.server();
  const browser = await stage.browser();
  const { room } = stage;
  const guest = await Guest.join(browser, server, { room });
  const liar = await Old.join(browser, server, { room, ...noMedia });
  await lies(liar, guest.user, async (_, hash) => guest.image(liar.user, hash));
  const shown = await guest.page.$$eval('#chat-log img', (images) =>
    images.map((i) => (i instanceof HTMLImageElement ? i.naturalWidth : 0)),
  );
  assert.deepEqual(shown, LIES.map(() => 60), 'only true images are shown');
  const path = join(await stage.tempDir(), 'fine.png');
  await writeFile(path, honest);
  await guest.sendImage(path);
  await liar.hasImage(guest.user, sha256(honest));
  assert.deepEqual(browser.faults(), []);
});

scenario('a native peer saves no image that lies about its size or type', { ms: 90_000 }, async (stage) => {
  const server = await stage.server();
  const [browser, native] = await Promise.all([stage.browser(), stage.native(server)]);
  const liar = await Old.join(browser, server, { room: stage.room, ...noMedia });
  let truths = 0;
  await lies(liar, native.user, async (what, hash) => {
    await native.waitFor('image', (e) => e.sha256 === hash);
    truths += 1;
    const saved = native.events.filter((e) => e.event === 'image');
    assert.equal(saved.length, truths, `it saved a lie: ${what}`);
  });
  const path = join(await stage.tempDir(), 'fine.png');
  await writeFile(path, honest);
  native.send({ command: 'image', path });
  await liar.hasImage(native.user, sha256(honest));
});
