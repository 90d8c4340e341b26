// @ts-check
// One peer connection: perfect negotiation with the habits of old clients.

import { ImageReader } from './images.js';

/** An offer this soon after an answer is never answered. */
const DEAF_AFTER_ANSWER_MS = 300;
const CHANNEL_LABEL = 'pm_file:';

export class Peer {
  /** How often its connection was made anew; a torn call shows here. */
  offersDropped = 0;
  offersIgnored = 0;
  offersMade = 0;
  /** @type {RTCDataChannel | null} */
  channel = null;
  /** @type {any[]} */
  images = [];

  #makingOffer = false;
  #lastAnswerAt = -Infinity;
  /** @type {RTCIceCandidateInit[]} */
  #early = [];
  /** @type {Promise<void>} */
  #chain = Promise.resolve();

  /**
   * @param {{
   *   me: string, id: string, stream: MediaStream,
   *   send: (type: string, data: object) => void,
   *   onVideo: (stream: MediaStream) => void,
   *   onAudio: (stream: MediaStream) => void,
   * }} options
   */
  constructor({ me, id, stream, send, onVideo, onAudio }) {
    this.id = id;
    this.polite = me > id;
    this.send = send;
    this.connection = new RTCPeerConnection();
    this.connection.onnegotiationneeded = () => this.#offer();
    this.connection.onicecandidate = ({ candidate }) => {
      // The end of gathering travels as a candidate with an empty text.
      const json = candidate ?? { candidate: '', sdpMid: '0', sdpMLineIndex: 0 };
      this.send('webrtc.iceCandidate', { candidate: JSON.stringify(json), to: id });
    };
    this.connection.ontrack = ({ track }) => {
      // One video per peer, the newest.
      if (track.kind === 'video') onVideo(new MediaStream([track]));
      else onAudio(new MediaStream([track]));
    };
    this.connection.ondatachannel = ({ channel }) => this.#use(channel);
    for (const track of stream.getTracks()) this.connection.addTrack(track, stream);
    if (!this.polite) {
      this.#use(this.connection.createDataChannel(CHANNEL_LABEL, { ordered: true }));
    }
  }

  /** @param {RTCDataChannel} channel */
  #use(channel) {
    channel.binaryType = 'arraybuffer';
    this.channel = channel;
    this.reader = new ImageReader((image) => this.images.push(image));
    const reader = this.reader;
    channel.onmessage = ({ data }) => {
      void reader.handle(data);
    };
  }

  async #offer() {
    try {
      this.#makingOffer = true;
      await this.connection.setLocalDescription();
      this.offersMade += 1;
      this.send('webrtc.offer', { sdp: this.connection.localDescription?.sdp, to: this.id });
    } finally {
      this.#makingOffer = false;
    }
  }

  /**
   * Signals of one peer are handled strictly one after another.
   * @param {string} type
   * @param {any} data
   */
  handle(type, data) {
    this.#chain = this.#chain
      .then(() => this.#handle(type, data))
      .catch((error) => console.warn(`old client: ${type} from ${this.id}: ${error}`));
  }

  /**
   * @param {string} type
   * @param {any} data
   */
  async #handle(type, data) {
    const { connection } = this;
    if (type === 'webrtc.offer') {
      if (performance.now() - this.#lastAnswerAt < DEAF_AFTER_ANSWER_MS) {
        this.offersDropped += 1;
        return;
      }
      const collision = this.#makingOffer || connection.signalingState !== 'stable';
      if (collision && !this.polite) {
        this.offersIgnored += 1;
        return;
      }
      if (collision) await this.#gathered();
      await connection.setRemoteDescription({ type: 'offer', sdp: data.sdp });
      await this.#addEarly();
      await connection.setLocalDescription();
      this.send('webrtc.answer', { sdp: connection.localDescription?.sdp, to: this.id });
    } else if (type === 'webrtc.answer') {
      if (connection.signalingState !== 'have-local-offer') return;
      await connection.setRemoteDescription({ type: 'answer', sdp: data.sdp });
      this.#lastAnswerAt = performance.now();
      await this.#addEarly();
    } else {
      const candidate = JSON.parse(data.candidate);
      if (connection.remoteDescription) await this.#add(candidate);
      else this.#early.push(candidate);
    }
  }

  /**
   * Chromium (156) now and then never ends gathering, and so never connects, when an offer is rolled
   * back in the very milliseconds in which gathering begins; two connections in one page show it
   * without any client of ours. What is tested here is the glare, so it waits that moment.
   */
  async #gathered() {
    const { connection } = this;
    if (connection.iceGatheringState === 'complete') return;
    await new Promise((resolve) => {
      connection.addEventListener('icegatheringstatechange', () => {
        if (connection.iceGatheringState === 'complete') resolve(undefined);
      });
      setTimeout(resolve, 500);
    });
  }

  async #addEarly() {
    for (const candidate of this.#early.splice(0)) await this.#add(candidate);
  }

  /** @param {RTCIceCandidateInit} candidate */
  async #add(candidate) {
    try {
      await this.connection.addIceCandidate(candidate);
    } catch (error) {
      // Candidates of an offer that was ignored or rolled back.
      console.debug(`old client: candidate dropped: ${error}`);
    }
  }

  close() {
    this.connection.close();
  }
}
