// @ts-check
// Whether something arrives on a track. A camera that is switched off sends nothing, and no
// message of the base protocol says so: three seconds without packets count as off.

/** Without packets for so long, a track counts as off. */
const OFF_AFTER_MS = 3_000;
/** Sound whose energy has not grown for so long is digital silence: a muted microphone. */
const SILENT_AFTER_MS = 3_000;

/** One track's counters at one moment, from the connection's statistics.
 * @typedef {{ track: string, packets: number, energy: number, level: number }} Sample */

/** @typedef {{ flowing: boolean, silent: boolean, level: number }} Activity */

/** @typedef {{ packets: number, packetsAt: number, energy: number, energyAt: number }} Counters */

export class ActivityMeter {
  /** @type {Map<string, Counters>} */
  #tracks = new Map();

  /**
   * @param {number} now
   * @param {Sample[]} samples all tracks of one peer; those that are missing are forgotten
   * @returns {Map<string, Activity>} by track
   */
  update(now, samples) {
    /** @type {Map<string, Counters>} */
    const next = new Map();
    /** @type {Map<string, Activity>} */
    const activities = new Map();
    for (const { track, packets, energy, level } of samples) {
      const last = this.#tracks.get(track) ?? {
        packets: 0,
        packetsAt: -Infinity,
        energy: 0,
        energyAt: packets > 0 ? now : -Infinity,
      };
      const current = {
        packets,
        packetsAt: packets !== last.packets ? now : last.packetsAt,
        energy,
        energyAt: energy !== last.energy ? now : last.energyAt,
      };
      next.set(track, current);
      const flowing = now - current.packetsAt < OFF_AFTER_MS;
      const silent = !flowing || now - current.energyAt >= SILENT_AFTER_MS;
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
