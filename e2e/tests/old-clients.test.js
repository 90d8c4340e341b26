// @ts-check
// Old clients meet each other and both of ours.

import assert from 'node:assert/strict';

import { Old } from '../harness/old.js';
import { noisePng, sha256 } from '../harness/media-files.js';
import { scenario } from '../harness/stage.js';

const picture = { name: 'noise.png', mime: 'image/png', bytes: noisePng(200, 150) };

scenario('two old clients meet through the server', { ms: 60_000 }, async (stage) => {
  const server = await stage.server();
  const browser = await stage.browser();
  const { room } = stage;
  const ada = await Old.join(browser, server, { room, name: 'Ada' });
  const bea = await Old.join(browser, server, { room, name: 'Bea' });
  await ada.people([ada.user, bea.user]);
  await Promise.all([ada.connected(bea.user), bea.connected(ada.user)]);

  await ada.say('hello, Bea');
  await bea.reads({ from: ada.user, text: 'hello, Bea' });
  await ada.reads({ from: ada.user, text: 'hello, Bea' }); // its own comes as an echo

  await Promise.all([ada.sees(bea.user), bea.sees(ada.user)]);

  const hash = sha256(picture.bytes);
  await ada.imageTo(bea.user, picture);
  await bea.hasImage(ada.user, hash);
  await bea.imageTo(ada.user, { ...picture, asText: true });
  await ada.hasImage(bea.user, hash);

  await ada.toggleMicrophone();
  await ada.say('still here');
  await bea.reads({ from: ada.user, text: 'still here' });
  assert.equal((await bea.about(ada.user))?.made, 1, 'the quirk tears nothing down');

  await ada.leave();
  await bea.people([bea.user]);
});
