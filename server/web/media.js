// @ts-check
// Our own microphone, camera and screen. A device that is missing or refused never stops a call:
// it becomes a sentence, and the call goes on without it.

import { SOURCES } from './sources.js';

/** @typedef {import('./sources.js').Source} Source */
/** @typedef {'microphone' | 'camera' | 'screen'} Device */

/**
 * @typedef {{ type: 'track-changed', source: Source }
 *   | { type: 'device', device: Device, on: boolean }
 *   | { type: 'problem', text: string }
 * } MediaEvent `track-changed`: peers must be told; `device`: buttons and tiles must be drawn anew
 */

const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const SCREEN = { video: { frameRate: { ideal: 15, max: 30 } }, audio: true };

/** A camera that is switched off goes black for so long before its track is taken away, so that
 * nobody keeps looking at the last picture. */
const BLACK_MS = 400;

export class LocalDevices {
  #devices;
  #permissions;
  #timers;
  #onEvent;
  #closed = false;
  /** What the user wants of each device; an answer that comes too late is thrown away.
   * @type {Map<Device, boolean>} */
  #wanted = new Map();
  /** @type {unknown} */
  #blackTimer = null;

  /** @type {import('./senders.js').LocalMedia} */
  local;

  /**
   * @param {{ devices: MediaDevices | undefined, permissions?: Permissions | undefined,
   *   createStream: () => MediaStream, timers: import('./timers.js').Timers,
   *   onEvent: (event: MediaEvent) => void }} options
   */
  constructor({ devices, permissions, createStream, timers, onEvent }) {
    this.#devices = devices;
    this.#permissions = permissions;
    this.#timers = timers;
    this.#onEvent = onEvent;
    this.local = { tracks: new Map(), face: createStream(), screen: createStream() };
  }

  /** @param {Device} device */
  isOn(device) {
    return this.local.tracks.get(device)?.enabled === true;
  }

  get canShareScreen() {
    return typeof this.#devices?.getDisplayMedia === 'function';
  }

  /** Opens what is wanted with one question to the user, where the browser asks at all.
   * @param {{ microphone: boolean, camera: boolean }} want */
  async start({ microphone, camera }) {
    if (!microphone && !camera) return;
    this.#wanted.set('microphone', microphone).set('camera', camera);
    let left = { microphone, camera };
    if (microphone && camera) {
      try {
        this.#use(await this.#open({ audio: MICROPHONE, video: CAMERA }), false);
        return;
      } catch (error) {
        // One of the two is missing or refused; each alone tells which. But nobody is asked twice.
        if (nameOf(error) === 'NotAllowedError') left = await this.#stillAllowed();
      }
      if (!left.microphone && !left.camera) {
        this.#wanted.clear();
        this.#onEvent({ type: 'problem', text: refused('microphone and camera') });
        return;
      }
      if (!left.microphone) this.#refuse('microphone');
      if (!left.camera) this.#refuse('camera');
    }
    if (left.microphone) await this.setMicrophone(true);
    if (left.camera) await this.setCamera(true);
  }

  /** Which of the two may be asked for alone, after both together were refused. */
  async #stillAllowed() {
    const ask = async (/** @type {'microphone' | 'camera'} */ name) => {
      try {
        return (await this.#permissions?.query({ name }))?.state ?? 'unknown';
      } catch {
        return 'unknown'; // the browser does not tell
      }
    };
    const [microphone, camera] = [await ask('microphone'), await ask('camera')];
    const may = (/** @type {string} */ one, /** @type {string} */ other) =>
      one === 'granted' || (one === 'prompt' && other === 'denied');
    return { microphone: may(microphone, camera), camera: may(camera, microphone) };
  }

  /** @param {Device} device */
  #refuse(device) {
    this.#wanted.set(device, false);
    this.#onEvent({ type: 'problem', text: refused(device) });
  }

  /** @param {boolean} on */
  async setMicrophone(on) {
    this.#wanted.set('microphone', on);
    const track = this.local.tracks.get('microphone');
    if (track) {
      track.enabled = on; // stays open, so that speaking again is instant
      this.#onEvent({ type: 'device', device: 'microphone', on });
    } else if (on) {
      await this.#acquire('microphone', { audio: MICROPHONE });
    }
  }

  /** @param {boolean} on */
  async setCamera(on) {
    this.#wanted.set('camera', on);
    const track = this.local.tracks.get('camera');
    this.#timers.clear(this.#blackTimer);
    if (on && track) {
      track.enabled = true;
      this.#onEvent({ type: 'device', device: 'camera', on });
    } else if (on) {
      await this.#acquire('camera', { video: CAMERA });
    } else if (track) {
      track.enabled = false;
      this.#onEvent({ type: 'device', device: 'camera', on });
      this.#blackTimer = this.#timers.set(BLACK_MS, () => this.#release('camera', track));
    }
  }

  /** @param {boolean} on */
  async setScreen(on) {
    this.#wanted.set('screen', on);
    if (on) {
      await this.#acquire('screen', SCREEN);
      return;
    }
    for (const source of /** @type {Source[]} */ (['screen-audio', 'screen'])) {
      const track = this.local.tracks.get(source);
      if (track) this.#release(source, track);
    }
    this.#onEvent({ type: 'device', device: 'screen', on });
  }

  close() {
    this.#closed = true;
    this.#timers.clear(this.#blackTimer);
    for (const track of this.local.tracks.values()) track.stop();
    this.local.tracks.clear();
  }

  /**
   * @param {Device} device
   * @param {MediaStreamConstraints} constraints
   */
  async #acquire(device, constraints) {
    try {
      this.#use(await this.#open(constraints, device), device === 'screen');
    } catch (error) {
      this.#wanted.set(device, false);
      this.#onEvent({ type: 'device', device, on: false });
      const text = describe(device, error);
      if (text !== null) this.#onEvent({ type: 'problem', text });
    }
  }

  /**
   * @param {MediaStreamConstraints} constraints
   * @param {Device} [device]
   */
  #open(constraints, device) {
    if (!this.#devices) throw new DOMException('', 'SecurityError');
    if (device === 'screen') return this.#devices.getDisplayMedia(constraints);
    return this.#devices.getUserMedia(constraints);
  }

  /** @param {MediaStream} stream @param {boolean} isScreen */
  #use(stream, isScreen) {
    /** @type {Source[]} */
    const added = [];
    for (const track of stream.getTracks()) {
      const source = sourceOf(track, isScreen);
      const device = deviceOf(source);
      if (this.#closed || this.#wanted.get(device) !== true || this.local.tracks.has(source)) {
        track.stop();
        continue;
      }
      if (source === 'screen') track.contentHint = 'detail';
      this.local.tracks.set(source, track);
      track.addEventListener('ended', () => this.#ended(source, track));
      added.push(source);
    }
    // Peers get them in the order of the m-lines.
    for (const source of SOURCES.filter((one) => added.includes(one))) {
      this.#onEvent({ type: 'track-changed', source });
      const device = deviceOf(source);
      if (source === device) this.#onEvent({ type: 'device', device, on: true });
    }
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} track
   */
  #release(source, track) {
    track.stop();
    if (this.local.tracks.get(source) !== track) return;
    this.local.tracks.delete(source);
    this.#onEvent({ type: 'track-changed', source });
  }

  /** Unplugged, or ended by the browser's own button.
   * @param {Source} source @param {MediaStreamTrack} track */
  #ended(source, track) {
    const device = deviceOf(source);
    if (this.#closed || this.local.tracks.get(source) !== track) return;
    if (device === 'screen') {
      void this.setScreen(false);
      return;
    }
    this.#release(source, track);
    this.#wanted.set(device, false);
    this.#onEvent({ type: 'device', device, on: false });
    this.#onEvent({ type: 'problem', text: `Your ${device} is gone. The call goes on without it.` });
  }
}

/**
 * @param {MediaStreamTrack} track
 * @param {boolean} isScreen
 * @returns {Source}
 */
function sourceOf(track, isScreen) {
  if (track.kind === 'video') return isScreen ? 'screen' : 'camera';
  return isScreen ? 'screen-audio' : 'microphone';
}

/** @param {Source} source @returns {Device} */
function deviceOf(source) {
  return source === 'screen-audio' ? 'screen' : source;
}

/** @param {unknown} error */
function nameOf(error) {
  return error instanceof DOMException || error instanceof Error ? error.name : '';
}

/** @param {string} what */
function refused(what) {
  return `This page may not use your ${what}, so you are here without. You can allow it in the browser’s address bar.`;
}

/**
 * @param {Device} device
 * @param {unknown} error
 * @returns {string | null} `null` where there is nothing to say
 */
function describe(device, error) {
  const name = nameOf(error);
  if (device === 'screen') {
    // Closing the browser's choice of windows is a refusal, too.
    return name === 'NotAllowedError' ? null : 'The screen could not be shared.';
  }
  switch (name) {
    case 'NotAllowedError':
      return refused(device);
    case 'NotFoundError':
    case 'OverconstrainedError':
      return `No ${device} was found, so you are here without one.`;
    case 'NotReadableError':
    case 'AbortError':
      return `Your ${device} does not start; another program may be using it. You are here without it.`;
    case 'SecurityError':
      return `Browsers only give a ${device} to pages that come over https.`;
    default:
      return `Your ${device} could not be opened, so you are here without it.`;
  }
}
