// @ts-check
// A peer connection that behaves like a browser's, as far as negotiation goes: states, rollback,
// m-lines that only the browser's own rules match, and `negotiationneeded`. Two of them are
// connected when each has the other's certificate.

let count = 0;

/** @type {Map<string, FakeConnection>} by certificate */
const byCertificate = new Map();

class FakeTransceiver {
  /** @type {string | null} */
  mid = null;
  /** @type {string | null} */
  currentDirection = null;
  stopping = false;

  /** @param {FakeConnection} pc @param {string} kind @param {any} track @param {{ direction: string, streams: { id: string }[] }} init */
  constructor(pc, kind, track, { direction, streams }) {
    this.pc = pc;
    this.kind = kind;
    this._direction = direction;
    this.receiver = { track: new FakeTrack(kind) };
    this.sender = {
      track,
      streams,
      /** @type {any} */
      parameters: { encodings: [{}] },
      replaceTrack: async (/** @type {any} */ next) => {
        this.sender.track = next;
      },
      setStreams: (/** @type {{ id: string }[]} */ ...next) => {
        this.sender.streams = next;
        pc.check();
      },
      getParameters() {
        return this.parameters;
      },
      async setParameters(/** @type {any} */ parameters) {
        this.parameters = parameters;
      },
    };
  }

  get direction() {
    return this._direction;
  }

  set direction(direction) {
    this._direction = direction;
    this.pc.check();
  }

  stop() {
    this.stopping = true;
    this.receiver.track.dispatchEvent(new Event('ended'));
    if (this.mid === null) this.pc.transceivers = this.pc.transceivers.filter((t) => t !== this);
    this.pc.check();
  }
}

export class FakeTrack extends EventTarget {
  enabled = true;
  /** @param {string} kind */
  constructor(kind) {
    super();
    count += 1;
    this.id = `track-${count}`;
    this.kind = kind;
  }
}

export class FakeChannel extends EventTarget {
  binaryType = '';
  readyState = 'connecting';
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  /** @type {any[]} */
  sent = [];
  /** @type {null | (() => void)} */
  onbufferedamountlow = null;

  /** @param {string} label */
  constructor(label) {
    super();
    this.label = label;
  }

  /** @param {any} data */
  send(data) {
    this.sent.push(data);
  }

  close() {
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    this.dispatchEvent(new Event('close'));
  }
}

/** @typedef {{ mid: string, kind: string, direction: string, stream: string | null }} Section */

export class FakeConnection {
  signalingState = 'stable';
  connectionState = 'new';
  /** Grows with each description (RFC 8829, 5.2.2). */
  version = 1;
  /** @type {{ type: string, sdp: string } | null} */
  localDescription = null;
  /** @type {{ type: string, sdp: string } | null} */
  remoteDescription = null;
  /** @type {FakeTransceiver[]} */
  transceivers = [];
  /** @type {FakeChannel | null} */
  channel = null;
  channelMid = '';
  /** @type {any} */
  onnegotiationneeded = null;
  /** @type {any} */
  onicecandidate = null;
  /** @type {any} */
  onconnectionstatechange = null;
  /** @type {any} */
  ontrack = null;
  /** @type {any} */
  ondatachannel = null;
  /** What happened, for assertions. @type {string[]} */
  log = [];
  /** @type {any[]} */
  candidates = [];
  restarts = 0;
  #restartWanted = false;
  /** The order of m-lines. @type {string[]} */
  #order = [];
  /** Mids that the pending local offer gave. @type {Set<string>} */
  #pending = new Set();
  /** Directions at the last agreement. @type {Map<string, string>} */
  #agreed = new Map();
  #checking = false;

  constructor() {
    count += 1;
    this.certificate = `AB:${count}`;
    byCertificate.set(this.certificate, this);
  }

  /** @param {any} of @param {any} init */
  addTransceiver(of, init) {
    const track = typeof of === 'string' ? null : of;
    const transceiver = new FakeTransceiver(this, track?.kind ?? of, track, init);
    this.transceivers.push(transceiver);
    this.check();
    return transceiver;
  }

  getTransceivers() {
    return [...this.transceivers];
  }

  /** @param {string} label */
  createDataChannel(label) {
    this.channel = new FakeChannel(label);
    this.check();
    return this.channel;
  }

  restartIce() {
    this.restarts += 1;
    this.#restartWanted = true;
    this.check();
  }

  async getStats() {
    return new Map();
  }

  close() {
    if (this.signalingState === 'closed') return;
    this.signalingState = 'closed';
    this.connectionState = 'closed';
    byCertificate.delete(this.certificate);
    const other = this.other();
    this.channel?.close();
    other?.channel?.close();
  }

  /** The connection at the other end. */
  other() {
    const certificate = /fingerprint:\S+ (\S+)/u.exec(this.remoteDescription?.sdp ?? '')?.[1];
    return certificate === undefined ? undefined : byCertificate.get(certificate);
  }

  /** @param {{ type: string } | undefined} [description] */
  async setLocalDescription(description) {
    await Promise.resolve();
    if (this.signalingState === 'closed') throw new Error('closed');
    if (description?.type === 'rollback') {
      if (this.signalingState !== 'have-local-offer') throw new Error('nothing to roll back');
      for (const transceiver of this.transceivers) {
        if (transceiver.mid !== null && this.#pending.has(transceiver.mid)) transceiver.mid = null;
      }
      if (this.#pending.has(this.channelMid)) this.channelMid = '';
      this.#order = this.#order.filter((mid) => !this.#pending.has(mid));
      this.#pending.clear();
      this.log.push('rollback');
      this.signalingState = 'stable';
      this.check();
      return;
    }
    const type = this.signalingState === 'stable' ? 'offer' : 'answer';
    if (type === 'offer') this.#associate();
    this.localDescription = { type, sdp: this.#write() };
    this.log.push(`local ${type}`);
    this.signalingState = type === 'offer' ? 'have-local-offer' : 'stable';
    if (type === 'answer') this.#agree();
  }

  /** @param {{ type: string, sdp: string }} description */
  async setRemoteDescription({ type, sdp }) {
    await new Promise((resolve) => setImmediate(resolve)); // slow on purpose
    const due = type === 'offer' ? 'stable' : 'have-local-offer';
    if (this.signalingState !== due) throw new Error(`${type} in ${this.signalingState}`);
    const sections = read(sdp);
    if (sections === null) throw new Error('rubbish');
    const order = this.#order.slice(0, sections.length);
    if (order.some((mid, i) => mid !== sections[i]?.mid)) throw new Error('the order of m-lines');
    for (const section of sections) this.#take(section, type);
    this.remoteDescription = { type, sdp };
    this.log.push(`remote ${type}`);
    this.signalingState = type === 'offer' ? 'have-remote-offer' : 'stable';
    if (type === 'answer') this.#agree();
  }

  /** @param {any} candidate */
  async addIceCandidate(candidate) {
    if (this.remoteDescription === null) throw new Error('no remote description');
    this.candidates.push(candidate);
    this.log.push('candidate');
  }

  /** @param {string} state */
  become(state) {
    if (this.connectionState === state || this.connectionState === 'closed') return;
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  /** Fires `negotiationneeded` as the specification says. */
  check() {
    if (this.#checking) return;
    this.#checking = true;
    setImmediate(() => {
      this.#checking = false;
      if (this.signalingState === 'stable' && this.#needed()) this.onnegotiationneeded?.();
    });
  }

  #needed() {
    if (this.#restartWanted) return true;
    if (this.channel !== null && this.channelMid === '') return true;
    return this.transceivers.some((transceiver) => {
      const { mid, stopping, direction, currentDirection } = transceiver;
      if (mid === null) return !stopping;
      if (stopping) return currentDirection !== 'stopped';
      return this.#agreed.get(mid) !== direction;
    });
  }

  #associate() {
    const used = new Set(this.#order);
    const next = () => {
      let mid = 0;
      while (used.has(String(mid))) mid += 1;
      used.add(String(mid));
      this.#order.push(String(mid));
      this.#pending.add(String(mid));
      return String(mid);
    };
    for (const transceiver of this.transceivers) {
      if (transceiver.mid === null && !transceiver.stopping) transceiver.mid = next();
    }
    if (this.channel !== null && this.channelMid === '') this.channelMid = next();
    this.#restartWanted = false;
  }

  #write() {
    const lines = ['v=0', `o=- ${this.certificate.slice(3)} ${(this.version += 1)} IN IP4 127.0.0.1`, `a=fingerprint:sha-256 ${this.certificate}`];
    for (const mid of this.#order) {
      const transceiver = this.transceivers.find((t) => t.mid === mid);
      if (!transceiver) {
        lines.push('m=application 9', `a=mid:${mid}`);
        continue;
      }
      const { kind, stopping, sender } = transceiver;
      const direction = stopping ? 'inactive' : this.#offerable(transceiver);
      lines.push(`m=${kind} ${stopping ? 0 : 9}`, `a=mid:${mid}`, `a=${direction}`);
      if (direction.startsWith('send') && sender.streams[0]) lines.push(`a=msid:${sender.streams[0].id} x`);
    }
    return `${lines.join('\r\n')}\r\n`;
  }

  /** The direction of an answer can't be wider than the offer's.
   * @param {FakeTransceiver} transceiver */
  #offerable({ direction, mid }) {
    if (this.signalingState !== 'have-remote-offer') return direction;
    const offered = read(this.remoteDescription?.sdp ?? '')?.find((section) => section.mid === mid);
    const send = direction.includes('send') && /sendrecv|recvonly/u.test(offered?.direction ?? '');
    const receive = /sendrecv|recvonly/u.test(direction) && (offered?.direction ?? '').includes('send');
    return send ? (receive ? 'sendrecv' : 'sendonly') : receive ? 'recvonly' : 'inactive';
  }

  /** @param {Section} section @param {string} type */
  #take({ mid, kind, direction, stream }, type) {
    if (!this.#order.includes(mid)) this.#order.push(mid);
    if (kind === 'application') {
      this.channelMid = mid;
      return;
    }
    let transceiver = this.transceivers.find((t) => t.mid === mid);
    if (!transceiver) {
      if (type === 'answer') throw new Error('an m-line that was never offered');
      transceiver = new FakeTransceiver(this, kind, null, { direction: 'recvonly', streams: [] });
      transceiver.mid = mid;
      this.transceivers.push(transceiver);
    }
    if (!direction.includes('send')) return;
    const streams = stream === null ? [] : [{ id: stream }];
    this.ontrack?.({ track: transceiver.receiver.track, streams, transceiver });
  }

  #agree() {
    this.#pending.clear();
    const remote = read(this.remoteDescription?.sdp ?? '') ?? [];
    for (const transceiver of this.transceivers) {
      const { mid, stopping, direction } = transceiver;
      if (mid === null) continue;
      const theirs = remote.find((section) => section.mid === mid);
      if (!theirs) continue;
      const stopped = stopping || theirs.direction === 'stopped';
      const send = direction.includes('send') && /sendrecv|recvonly/u.test(theirs.direction);
      const receive = /sendrecv|recvonly/u.test(direction) && theirs.direction.includes('send');
      const both = send ? (receive ? 'sendrecv' : 'sendonly') : receive ? 'recvonly' : 'inactive';
      transceiver.currentDirection = stopped ? 'stopped' : both;
      this.#agreed.set(mid, direction);
    }
    this.check();
    setImmediate(() => this.#connect());
  }

  #connect() {
    const other = this.other();
    if (!other || other.other() !== this || this.signalingState !== 'stable') return;
    if (other.signalingState !== 'stable') return;
    for (const pc of [this, other]) pc.become('connected');
    const [opener, receiver] = this.channel ? [this, other] : [other, this];
    if (opener.channel === null || opener.channelMid === '' || receiver.channel !== null) return;
    receiver.channel = new FakeChannel(opener.channel.label);
    opener.channel.readyState = 'open';
    receiver.channel.readyState = 'open';
    receiver.ondatachannel?.({ channel: receiver.channel });
    opener.channel.dispatchEvent(new Event('open'));
  }
}

/** @param {string} sdp @returns {Section[] | null} */
function read(sdp) {
  if (!sdp.startsWith('v=0')) return null;
  return sdp
    .split(/^(?=m=)/mu)
    .slice(1)
    .map((text) => {
      const [, kind = '', port] = /^m=(\w+) (\d+)/u.exec(text) ?? [];
      const direction = /^a=(sendrecv|sendonly|recvonly|inactive)/mu.exec(text)?.[1] ?? 'inactive';
      return {
        mid: /^a=mid:(\S+)/mu.exec(text)?.[1] ?? '',
        kind,
        direction: port === '0' ? 'stopped' : direction,
        stream: /^a=msid:(\S+)/mu.exec(text)?.[1] ?? null,
      };
    });
}
