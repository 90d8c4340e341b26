// @ts-check
// Runs inside pages: reads what a remote picture shows and what a remote sound plays. Each probe
// is self-contained, because only its text travels to the page.

/** Installs `window.__probe`. Pass it to `page.addInitScript`. */
export function installProbes() {
  /** @param {number} value */
  const crc16 = (value) => {
    let crc = 0xffff;
    for (let shift = 24; shift >= 0; shift -= 8) {
      crc ^= ((value >>> shift) & 0xff) << 8;
      for (let bit = 0; bit < 8; bit += 1) {
        crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
      }
    }
    return crc;
  };

  /**
   * The frame counter in the picture's corner: 8 × 6 blocks, the first of them one block away
   * from both edges; 32 bits of counter, then 16 bits of CRC.
   * @param {Uint8ClampedArray} rgba
   * @param {number} width
   * @param {number} block side in pixels, possibly not whole after scaling
   */
  const readBlocks = (rgba, width, block) => {
    let high = 0;
    let crc = 0;
    for (let row = 0; row < 6; row += 1) {
      for (let column = 0; column < 8; column += 1) {
        const x0 = Math.ceil(block * (1 + column + 0.25));
        const y0 = Math.ceil(block * (1 + row + 0.25));
        const x1 = Math.max(x0 + 1, Math.floor(block * (1 + column + 0.75)));
        const y1 = Math.max(y0 + 1, Math.floor(block * (1 + row + 0.75)));
        let sum = 0;
        for (let y = y0; y < y1; y += 1) {
          for (let x = x0; x < x1; x += 1) {
            const at = (y * width + x) * 4;
            sum += 0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2];
          }
        }
        const bit = sum / ((x1 - x0) * (y1 - y0)) > 128 ? 1 : 0;
        if (row < 4) high = (high * 2 + bit) >>> 0;
        else crc = crc * 2 + bit;
      }
    }
    return crc16(high) === crc ? high : null;
  };

  const canvas = document.createElement('canvas');

  /** @param {HTMLVideoElement} video */
  const counter = (video) => {
    const { videoWidth: width, videoHeight: height } = video;
    if (width === 0 || height < 48) return null;
    canvas.width = width;
    canvas.height = Math.min(height, Math.ceil(height / 3));
    const context = canvas.getContext('2d', { willReadFrequently: true });
    if (!context) return null;
    context.drawImage(video, 0, 0);
    const { data } = context.getImageData(0, 0, width, canvas.height);
    const even = Math.floor(height / 24) & ~1;
    return readBlocks(data, width, even) ?? readBlocks(data, width, height / 24);
  };

  /** A meter that has just begun has heard nothing yet, which is not silence. */
  const WARM_AFTER_MS = 700;
  /** @type {Map<string, { analyser: AnalyserNode, context: AudioContext, since: number }>} by track id */
  const meters = new Map();

  /**
   * Pitch and level of the sound that a media element plays; `null` where it has no sound.
   * @param {HTMLMediaElement} element
   */
  const sound = (element) => {
    const stream = element.srcObject;
    if (!(stream instanceof MediaStream)) return null;
    const track = stream.getAudioTracks().find((t) => t.readyState === 'live');
    if (!track) return null;
    let meter = meters.get(track.id);
    if (!meter) {
      const context = new AudioContext();
      const analyser = context.createAnalyser();
      analyser.fftSize = 16384;
      analyser.smoothingTimeConstant = 0;
      context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
      void context.resume();
      meter = { analyser, context, since: performance.now() };
      meters.set(track.id, meter);
    }
    const { analyser, context, since } = meter;
    if (performance.now() - since < WARM_AFTER_MS) return { hz: 0, dbfs: NaN };
    const spectrum = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(spectrum);
    let peak = 1;
    for (let bin = 2; bin < spectrum.length - 1; bin += 1) {
      if (spectrum[bin] > spectrum[peak]) peak = bin;
    }
    const [a, b, c] = [spectrum[peak - 1], spectrum[peak], spectrum[peak + 1]];
    const shift = a + c - 2 * b === 0 ? 0 : (0.5 * (a - c)) / (a - 2 * b + c);
    const wave = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(wave);
    const power = wave.reduce((sum, v) => sum + v * v, 0) / wave.length;
    return {
      hz: ((peak + shift) * context.sampleRate) / analyser.fftSize,
      dbfs: 10 * Math.log10(power + 1e-12),
    };
  };

  // Connections are kept only to ask them what they think of themselves.
  /** @type {RTCPeerConnection[]} */
  const connections = [];
  /** @type {string[]} */
  const history = [];
  const began = performance.now();
  /** @param {string} sdp */
  const sections = (sdp) =>
    sdp
      .split(/^m=/m)
      .slice(1)
      .map((part) => {
        const kind = part.split(' ', 1)[0];
        const mid = part.match(/^a=mid:(.*)$/m)?.[1]?.trim();
        const direction = part.match(/^a=(sendrecv|sendonly|recvonly|inactive)/m)?.[1];
        return `${mid}:${kind}${part.startsWith(`${kind} 0 `) ? '(0)' : ''}:${direction ?? ''}`;
      })
      .join(' ');
  const Real = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    /** @param {RTCConfiguration} [configuration] */
    constructor(configuration) {
      super(configuration);
      connections.push(this);
      const number = connections.length;
      const note = (/** @type {string} */ text) => {
        history.push(`  ${Math.round(performance.now() - began)} ms, connection ${number}: ${text}`);
      };
      for (const which of /** @type {const} */ (['setLocalDescription', 'setRemoteDescription'])) {
        const real = super[which].bind(this);
        this[which] = async (/** @type {any} */ description) => {
          const before = this.signalingState;
          const what = () => {
            const set =
              which === 'setLocalDescription' ? this.pendingLocalDescription ?? this.localDescription : description;
            return `${which} ${set?.type ?? '?'} [${sections(set?.sdp ?? '')}] in ${before}`;
          };
          try {
            await real(description);
            note(what());
          } catch (error) {
            note(`${what()} FAILED: ${error}`);
            throw error;
          }
        };
      }
      this.addEventListener('connectionstatechange', () => note(this.connectionState));
      this.addEventListener('icegatheringstatechange', () => note(`gathering ${this.iceGatheringState}`));
    }
  };
  const numbers = async () => {
    const lines = [];
    for (const connection of connections) {
      if (connection.connectionState === 'closed') continue;
      lines.push(
        `connection ${connection.connectionState}, ${connection.signalingState}, ` +
          `ICE ${connection.iceConnectionState}, gathering ${connection.iceGatheringState}`,
      );
      for (const report of (await connection.getStats()).values()) {
        if (report.type === 'outbound-rtp' && report.kind === 'video') {
          lines.push(
            `  sends ${report.frameWidth}×${report.frameHeight} at ${report.framesPerSecond} fps, ` +
              `${report.framesSent} frames, target ${report.targetBitrate}, ` +
              `limited by ${report.qualityLimitationReason} ${JSON.stringify(report.qualityLimitationDurations)}, ` +
              `PLI ${report.pliCount}, NACK ${report.nackCount}`,
          );
        } else if (report.type === 'inbound-rtp' && report.kind === 'video') {
          lines.push(
            `  receives ${report.frameWidth}×${report.frameHeight}, ${report.framesDecoded} decoded, ` +
              `${report.framesDropped} dropped, ${report.packetsLost} lost, freezes ${report.freezeCount}`,
          );
        } else if (report.type === 'candidate-pair' && report.nominated) {
          lines.push(`  path: RTT ${report.currentRoundTripTime}, out ${report.availableOutgoingBitrate}`);
        }
      }
    }
    return [...lines, 'signalling:', ...history.slice(-60)].join('\n');
  };

  Object.assign(window, { __probe: { counter, sound, crc16, numbers, connections } });
}
