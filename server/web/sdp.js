// @ts-check
// The little that we read in a session description ourselves.

/**
 * What names the end that made a description: its certificate, and the session of the `o=` line,
 * which stays the same for the life of a connection. Another name is another connection.
 * @param {string} sdp
 * @returns {string | null} `null` where there is no certificate
 */
export function endOf(sdp) {
  const certificate = /^a=fingerprint:\S+ (\S+)/mu.exec(sdp)?.[1]?.toUpperCase();
  if (certificate === undefined) return null;
  return `${certificate} ${/^o=\S+ (\S+)/mu.exec(sdp)?.[1] ?? ''}`;
}

/**
 * The m-lines on which the describing side is willing to receive.
 * @param {string} sdp
 * @returns {Set<string>} their `mid`s
 */
export function receivingMids(sdp) {
  const mids = new Set();
  for (const section of sdp.split(/^(?=m=)/mu).slice(1)) {
    const mid = /^a=mid:(\S+)/mu.exec(section)?.[1];
    if (mid !== undefined && !/^a=(?:sendonly|inactive)\s*$/mu.test(section)) mids.add(mid);
  }
  return mids;
}

/**
 * @param {string} json the text of an `RTCIceCandidateInit`
 * @returns {RTCIceCandidateInit | null} `null` where it is none, or the empty one at the end
 */
export function parseCandidate(json) {
  try {
    const init = JSON.parse(json);
    return typeof init?.candidate === 'string' && init.candidate !== '' ? init : null;
  } catch {
    return null;
  }
}
