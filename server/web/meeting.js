// @ts-check
// The meeting as it is shown: gives what the call says to tiles, people and chat, and gives what
// the user does to the call.

import { ChatLog } from './chat-log.js';
import { Composer } from './composer.js';
import { byId, listNames, setIcon } from './dom.js';
import { ImageLines } from './image-lines.js';
import { InviteDialog } from './invite-dialog.js';
import { IMAGE_BYTES } from './limits.js';
import { Notices } from './notices.js';
import { Panel } from './panel.js';
import { People } from './people.js';
import { Tiles } from './tiles.js';

/** @typedef {import('./call.js').Call} Call */
/** @typedef {import('./call.js').CallEvent} CallEvent */
/** @typedef {import('./home.js').JoinRequest} JoinRequest */

const TOOLS = /** @type {const} */ ({
  microphone: { on: 'mic', off: 'mic-off', stop: 'Mute the microphone', start: 'Unmute the microphone' },
  camera: { on: 'camera', off: 'camera-off', stop: 'Switch the camera off', start: 'Switch the camera on' },
  screen: { on: 'screen-off', off: 'screen', stop: 'Stop sharing the screen', start: 'Share the screen' },
});

export class Meeting {
  #tools = {
    microphone: byId('toggle-microphone', HTMLButtonElement),
    camera: byId('toggle-camera', HTMLButtonElement),
    screen: byId('toggle-screen', HTMLButtonElement),
  };
  #banner = byId('banner', HTMLElement);
  #notices = new Notices(byId('notices', HTMLElement));
  #people = new People({
    list: byId('people', HTMLElement),
    count: byId('people-count', HTMLElement),
  });
  #tiles = new Tiles({
    stage: byId('stage', HTMLElement),
    spot: byId('spot', HTMLElement),
    faces: byId('faces', HTMLElement),
    onSoundBlocked: () => this.#soundBlocked(),
  });
  #panel = new Panel({ onChatShown: () => this.#composer.focus() });
  #log = new ChatLog({
    list: byId('chat-log', HTMLElement),
    onRetry: (id) => this.#call?.retry(id),
    onUnread: () => this.#panel.unread(),
  });
  #images = new ImageLines({ log: this.#log, onCancel: (key) => this.#call?.cancelImage(key) });
  #composer = new Composer({
    check: (text) => this.#call?.check(text) ?? { ok: false, left: 0, problem: null },
    onSend: (text) => this.#say(text),
    onTyped: (empty) => this.#call?.typed(empty),
    onImage: (file) => void this.#sendImage(file),
    onProblem: (sentence) => this.#notices.say(sentence),
  });
  #invite = new InviteDialog({ onCopied: (sentence) => this.#notices.say(sentence, 'check') });

  /** @type {Call | null} */
  #call = null;
  /** @type {JoinRequest | null} */
  #request = null;
  #self = { user: '', name: '' };
  /** @type {Map<string, string>} */
  #names = new Map();
  /** Whose microphone is on or off, as they say themselves. @type {Map<string, boolean>} */
  #microphones = new Map();
  /** Who was here before us is not news. */
  #quiet = true;

  #onLeave;

  /** @param {{ onLeave: (why?: string) => void }} options `why` not of the user's own will */
  constructor({ onLeave }) {
    this.#onLeave = onLeave;
    byId('leave', HTMLButtonElement).addEventListener('click', () => onLeave());
    for (const device of /** @type {const} */ (['microphone', 'camera', 'screen'])) {
      this.#tools[device].addEventListener('click', () => void this.#toggle(device));
    }
    byId('invite', HTMLButtonElement).addEventListener('click', () => {
      const { room, passphrase, fingerprint } = this.#request ?? {};
      if (room === undefined) return;
      this.#invite.open({ room, passphrase: passphrase ?? '', fingerprint: fingerprint ?? null });
    });
    byId('privacy', HTMLButtonElement).addEventListener('click', () => {
      byId('privacy-dialog', HTMLDialogElement).showModal();
    });
  }

  /** A call begins; its events may come from now on.
   * @param {{ call: Call, request: JoinRequest }} of */
  begin({ call, request }) {
    this.#call = call;
    this.#request = request;
    this.#quiet = true;
    byId('room-title', HTMLElement).textContent = request.room;
    byId('room-title', HTMLElement).title = request.room;
    this.#describePrivacy(call.hasPassphrase);
    this.#tools.screen.hidden = !call.devices.canShareScreen;
    for (const device of /** @type {const} */ (['microphone', 'camera', 'screen'])) {
      this.#drawTool(device, false);
    }
  }

  /** We are in the room, and the screen shows it. */
  entered() {
    this.#panel.begin();
    byId('room-title', HTMLElement).focus({ preventScroll: true }); // the form has gone
    const others = [...this.#names.keys()].filter((id) => id !== this.#self.user);
    const names = others.map((id) => this.#names.get(id) ?? '');
    if (names.length === 0) this.#log.addEvent('You are the first one here.');
    else if (names.length <= 3) this.#log.addEvent(`Here with you: ${listNames(names)}.`);
    else this.#log.addEvent(`Here with you: ${names.length} people.`);
  }

  end() {
    this.#call = null;
    this.#request = null;
    this.#self = { user: '', name: '' };
    this.#names.clear();
    this.#microphones.clear();
    this.#tiles.clear();
    this.#people.clear();
    this.#log.clear();
    this.#images.clear();
    this.#notices.clear();
    this.#composer.clear();
    this.#panel.end();
    this.#banner.hidden = true;
    byId('typing', HTMLElement).textContent = '';
    for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  }

  /** @param {CallEvent} event */
  handle(event) {
    switch (event.type) {
      case 'identity':
        this.#identify(event);
        break;
      case 'link':
        this.#link(event);
        break;
      case 'member':
        this.#member(event);
        break;
      case 'roster':
        this.#roster(event.members);
        break;
      case 'peer':
        if (event.state === 'closed') break; // its tile goes with the member
        this.#tiles.setState({ user: event.user, state: event.state });
        this.#people.setState({ user: event.user, state: event.state });
        break;
      case 'full':
        this.#tiles.setState({ user: event.member.id, state: 'full' });
        this.#people.setState({ user: event.member.id, state: 'full' });
        this.#notices.say(`${event.member.name} can only chat with you: a call holds eight others.`);
        break;
      case 'track':
        this.#tiles.addTrack({ ...event, name: this.#nameOf(event.user) });
        break;
      case 'track-ended':
        this.#tiles.removeTrack(event);
        break;
      case 'activity':
        this.#active(event);
        break;
      case 'devices':
        if (event.microphone === null) break;
        this.#microphones.set(event.user, event.microphone);
        this.#tiles.setMuted(event.user, !event.microphone);
        this.#people.setMuted(event.user, !event.microphone);
        break;
      case 'over':
        this.#onLeave(event.why);
        break;
      case 'device':
        this.#device(event);
        break;
      case 'problem':
        this.#notices.say(event.text);
        break;
      case 'trouble':
        console.debug('trouble:', event.what);
        break;
      default:
        this.#chat(event);
    }
  }

  /** What is heard and seen of somebody; what they say about their microphone counts for more.
   * @param {Extract<CallEvent, { type: 'activity' }>} event */
  #active(event) {
    const on = event.source === 'microphone' ? this.#microphones.get(event.user) : undefined;
    const silent = on === undefined ? event.activity.silent : !on;
    this.#tiles.setActivity({ ...event, activity: { ...event.activity, silent } });
    if (event.source === 'microphone') this.#people.setMuted(event.user, silent);
  }

  /** @param {CallEvent} event */
  #chat(event) {
    switch (event.type) {
      case 'chat':
        this.#log.addReceived(event);
        break;
      case 'unreadable':
        this.#log.addUnreadable(event);
        break;
      case 'missed': {
        const messages = event.count === 1 ? 'message' : 'messages';
        this.#log.addEvent(`${event.count} ${messages} from ${event.name} did not arrive`);
        break;
      }
      case 'message-state':
        this.#log.setState(event);
        break;
      case 'typing': {
        const { names } = event;
        const several = names.length > 3 ? 'Several people' : listNames(names);
        const text = names.length === 0 ? '' : `${several} ${names.length === 1 ? 'is' : 'are'} typing …`;
        byId('typing', HTMLElement).textContent = text;
        break;
      }
      case 'image-incoming':
      case 'image':
        this.#images.handle({ ...event, fromName: this.#nameOf(event.from) });
        break;
      case 'image-progress':
      case 'image-sent':
      case 'image-failed':
        this.#images.handle({ ...event, fromName: this.#nameOf(event.user) });
        break;
      default:
        break;
    }
  }

  /** Who we are; the second time, everybody else is new to us, too.
   * @param {{ user: string, name: string }} self */
  #identify(self) {
    this.#self = self;
    this.#quiet = true;
    document.body.dataset.user = self.user;
    this.#tiles.clear();
    this.#people.clear();
    this.#names.clear();
    this.#names.set(self.user, self.name);
    this.#tiles.addPerson({ ...self, self: true });
    this.#people.add({ ...self, self: true });
    for (const device of /** @type {const} */ (['microphone', 'camera', 'screen'])) {
      this.#device({ device, on: this.#call?.devices.isOn(device) ?? false });
    }
  }

  /** @param {Extract<CallEvent, { type: 'link' }>} event */
  #link(event) {
    const away = event.state === 'reconnecting';
    this.#banner.hidden = !away;
    if (away) {
      this.#banner.textContent =
        event.why ??
        'The server can’t be reached. Sound and pictures go on; chat waits until it is back.';
    }
  }

  /** @param {Extract<CallEvent, { type: 'member' }>} event */
  #member({ change, member: { id: user, name } }) {
    if (change === 'joined') {
      this.#names.set(user, name);
      this.#tiles.addPerson({ user, name });
      this.#people.add({ user, name });
    } else {
      this.#tiles.removePerson(user);
      this.#people.remove(user);
      this.#names.delete(user);
      this.#microphones.delete(user);
    }
    if (!this.#quiet) this.#log.addEvent(`${name} ${change}`);
  }

  /** @param {import('./wire.js').Member[]} members */
  #roster(members) {
    this.#quiet = false;
    for (const { id: user, name } of members) {
      if (this.#names.get(user) === name) continue;
      this.#names.set(user, name);
      this.#tiles.addPerson({ user, name });
      this.#people.add({ user, name });
    }
  }

  /** @param {{ device: import('./media.js').Device, on: boolean }} of */
  #device({ device, on }) {
    const { user, name } = this.#self;
    const track = this.#call?.devices.local.tracks.get(device);
    this.#drawTool(device, on);
    if (user === '') return;
    if (device === 'microphone') {
      this.#tiles.setMuted(user, !on);
      this.#people.setMuted(user, !on);
    } else if (on && track) {
      this.#tiles.addTrack({ user, name, source: device, track, self: true });
      if (device === 'camera') this.#tiles.setLive(user, true);
    } else if (device === 'camera') {
      this.#tiles.setLive(user, false);
    } else {
      this.#tiles.removeTrack({ user, source: 'screen' });
    }
  }

  /** @param {keyof typeof TOOLS} device @param {boolean} on */
  #drawTool(device, on) {
    const tool = this.#tools[device];
    const { on: onIcon, off: offIcon, stop, start } = TOOLS[device];
    tool.setAttribute('aria-pressed', String(on));
    tool.classList.toggle('off', !on && device !== 'screen');
    setIcon(tool, on ? onIcon : offIcon);
    tool.title = on ? stop : start;
    tool.setAttribute('aria-label', tool.title);
  }

  /** @param {keyof typeof TOOLS} device */
  async #toggle(device) {
    const devices = this.#call?.devices;
    if (!devices) return;
    const tool = this.#tools[device];
    const on = !devices.isOn(device);
    tool.disabled = true;
    try {
      if (device === 'microphone') await devices.setMicrophone(on);
      else if (device === 'camera') await devices.setCamera(on);
      else await devices.setScreen(on);
    } finally {
      tool.disabled = false;
    }
  }

  /** @param {string} text */
  #say(text) {
    const id = this.#call?.say(text);
    if (id !== undefined) this.#log.addOwn({ id, from: this.#self.user, name: this.#self.name, text });
  }

  /** @param {File} file */
  async #sendImage(file) {
    if (file.size > IMAGE_BYTES) {
      this.#notices.say(`${file.name} is larger than 12 MB and was not sent.`);
      return;
    }
    const bytes = new Uint8Array(await file.arrayBuffer());
    const name = file.name || 'image';
    const sent = this.#call?.sendImage({ name, bytes });
    if (!sent) return;
    if ('problem' in sent) {
      this.#notices.say(`${name} was not sent: ${sent.problem}.`);
      return;
    }
    const { user: from, name: fromName } = this.#self;
    this.#images.addOwn({ from, fromName, name, bytes, ...sent });
  }

  /** @param {boolean} sealed */
  #describePrivacy(sealed) {
    const chip = byId('privacy', HTMLButtonElement);
    chip.dataset.level = sealed ? 'good' : 'weak';
    setIcon(chip, sealed ? 'lock' : 'lock-open');
    byId('privacy-label', HTMLElement).textContent = sealed
      ? 'Chat encrypted'
      : 'Not private from the server';
    byId('privacy-chat', HTMLElement).textContent = sealed
      ? 'The chat is sealed with your passphrase. The server passes it on and can’t read it, unless it guesses the passphrase.'
      : 'This room has no passphrase. The chat’s key is the room’s name, and the server knows that: take it for readable by whoever runs the server.';
  }

  #soundBlocked() {
    this.#notices.say('Your browser holds the sound back. Click anywhere to hear the others.');
    document.addEventListener('pointerdown', () => this.#tiles.playSounds(), { once: true });
  }

  /** @param {string} user */
  #nameOf(user) {
    return this.#names.get(user) ?? 'Somebody';
  }
}
