// @ts-check
// A Chromium whose camera and microphone are known: counter blocks beside a moving bar, and a tone.

import { join } from 'node:path';

import { writeCounterVideo, writeTone } from './media-files.js';

/** The tone of the browsers' microphones; the native peers' is 440 Hz. */
export const BROWSER_HZ = 660;
export const NATIVE_HZ = 440;

/**
 * @param {import('./stage.js').Stage} stage
 * @param {{ width?: number, height?: number, fps?: number, chroma?: [number, number], executable?: string }}
 *   [picture] and which program to start, if it is not the usual one
 */
export async function knownBrowser(stage, { width = 640, height = 480, fps = 30, chroma, executable } = {}) {
  const dir = await stage.tempDir();
  const video = join(dir, 'camera.y4m');
  const audio = join(dir, 'microphone.wav');
  await writeCounterVideo(video, { width, height, fps, frames: 2 * fps, chroma });
  await writeTone(audio, { hz: BROWSER_HZ });
  return stage.browser({ video, audio, executable });
}
