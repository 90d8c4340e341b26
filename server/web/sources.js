// @ts-check
// Which received track is what. The protocol's order is microphone, camera (both in media stream
// C), screen, screen sound (both in stream S); the stream of the first sound is C.

/** @typedef {'microphone' | 'camera' | 'screen' | 'screen-audio'} Source */

/** All, in the order of the m-lines. @type {readonly Source[]} */
export const SOURCES = ['microphone', 'camera', 'screen', 'screen-audio'];

/** @param {Source} source */
export function kindOf(source) {
  return source === 'camera' || source === 'screen' ? 'video' : 'audio';
}

/** @param {Source} source whether it travels in the stream of the screen */
export function isScreen(source) {
  return source === 'screen' || source === 'screen-audio';
}

/**
 * @template {{ kind: string, stream: string | null }} T
 * @param {T[]} tracks in the order of their m-lines; `stream` is the first one of the m-line's
 *   `msid`, `null` where it names none
 * @returns {Map<Source, T>} each source once; what is left over is not shown
 */
export function classify(tracks) {
  const sounds = tracks.filter(({ kind }) => kind === 'audio');
  const pictures = tracks.filter(({ kind }) => kind === 'video');
  /** @type {Map<Source, T>} */
  const found = new Map();
  const [microphone] = sounds;
  if (microphone) found.set('microphone', microphone);
  const inCameraStream = (/** @type {T} */ track) =>
    microphone !== undefined && microphone.stream !== null && track.stream === microphone.stream;
  // Without a sound, or without stream names, the first picture is the camera.
  const camera = pictures.find(inCameraStream) ?? (microphone?.stream ? undefined : pictures[0]);
  const unnamed = pictures.find((track) => track.stream === null);
  const face = camera ?? unnamed;
  if (face) found.set('camera', face);
  // The newest other picture is the screen: a share that was ended and begun again comes last.
  const screen = pictures.filter((track) => track !== face).pop();
  if (screen) found.set('screen', screen);
  const screenSound = sounds.filter((track) => track !== microphone).pop();
  if (screenSound) found.set('screen-audio', screenSound);
  return found;
}
