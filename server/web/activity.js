// @ts-check
// Whether something arrives on a track. A camera that is switched off sends nothing, and no
// message of the base protocol says so: three seconds without packets count as off.

/** Without packets for so long, a track counts as off. */
const OFF_AFTER_MS = 3_000;
/** Sound that has been this quiet for so long is digital silence: a muted microphone. */
const SILENT_AFTER_MS = 2_000;
/** -80 dBFS, as energy each second: a codec's noise is below it, every open microphone above. */
const SILENCE = 1e-8;

/** One track's counters at one moment, from the connection's statistics.
 * @typedef {{ track: string, packets: number, energy: number, level: number }} Sample */

/** @typedef {{ flowing: boolean, silent: boolean, level: number }} Activity */

/** Counters and when they last grew.
 * @typedef {{ at: number, packets: number, packetsAt: number, energy: number, soundAt: number }} Counters */

export class ActivityMeter {
  /** @type {Map<string, Counters>} */
  #tracks = new Map();

  /**
   * @param {number} now
   * @param {string[]} tracks that the peer has announced; others are forgotten
   * @param {Sample[]} samples none of a track on which nothing ever came
   * @returns {Map<string, Activity>} by track
   */
  update(now, tracks, samples) {
    /** @type {Map<string, Counters>} */
    const next = new Map();
    /** @type {Map<string, Activity>} */
    const activities = new Map();
    for (const track of tracks) {
      const sample = samples.find((one) => one.track === track);
      const { packets, energy, level } = sample ?? { packets: 0, energy: 0, level: 0 };
      const last = this.#tracks.get(track);
      const seconds = last ? (now - last.at) / 1000 : 0;
      const isSound = last ? energy - last.energy > SILENCE * seconds : true; // until it is known
      const current = {
        at: now,
        packets,
        packetsAt: packets !== (last?.packets ?? 0) ? now : (last?.packetsAt ?? -Infinity),
        energy,
        soundAt: isSound ? now : (last?.soundAt ?? -Infinity),
      };
      next.set(track, current);
      const flowing = now - current.packetsAt < OFF_AFTER_MS;
      const silent = now - current.soundAt >= SILENT_AFTER_MS;
      activities.set(track, { flowing, silent, level: flowing ? level : 0 });
    }
    this.#tracks = next;
    return activities;
  }
}

/**
 * The samples inside a statistics report.
 * @param {Iterable<any>} reports the values of an `RTCStatsReport`
 * @returns {Sample[]}
 */
export function samplesOf(reports) {
  /** @type {Sample[]} */
  const samples = [];
  for (const report of reports) {
    if (report.type !== 'inbound-rtp' || typeof report.trackIdentifier !== 'string') continue;
    samples.push({
      track: report.trackIdentifier,
      packets: report.packetsReceived ?? 0,
      energy: report.totalAudioEnergy ?? 0,
      level: report.audioLevel ?? 0,
    });
  }
  return samples;
}
