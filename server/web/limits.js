// @ts-check
// Every bound of the protocol, named once; the same numbers stand in net/wire/src/limits.rs.

/** Bytes in one WebSocket message. */
export const FRAME_BYTES = 65_536;
/** Code points in a room id after trimming, prefix included. */
export const ROOM_ID_CHARS = 128;
/** Code points in a user's name after trimming. */
export const USERNAME_CHARS = 32;
/** UTF-16 units in a `chat.message` as it crosses the wire; old clients refuse more. */
export const WIRE_TEXT_UNITS = 5_000;
/** UTF-16 units in a chat message as a person types it. */
export const CHAT_TEXT_UNITS = 1_500;
/** Peer connections that one client holds; a ninth member sees a sentence instead. */
export const PEERS = 8;

/** Bytes in one image. */
export const IMAGE_BYTES = 12 * 1024 * 1024;
/** Bytes in one slice that we send; it suits every client that was seen. */
export const IMAGE_CHUNK_BYTES = 16 * 1024;
/** Bytes in one slice that we accept. */
export const IMAGE_CHUNK_BYTES_MAX = 64 * 1024;
/** Code points in the name of an image. */
export const IMAGE_NAME_CHARS = 255;
/** Pixels on either side of an image that a receiver decodes. */
export const IMAGE_SIDE_PIXELS = 16_384;
/** Pixels in an image that a receiver decodes (width times height). */
export const IMAGE_PIXELS = 64 * 1024 * 1024;
/** Bytes waiting in a data channel above which a sender pauses. */
export const CHANNEL_BUFFERED_BYTES = 2 * 1024 * 1024;

/** How long a member may be missing from the roster before it counts as gone: old web clients
 * leave and join again whenever their user toggles the microphone. */
export const ROSTER_GRACE_MS = 1_000;
/** The same, for a member whose connection lives, after our own link to the server was broken:
 * everybody finds the way back in their own time. */
export const ROSTER_GRACE_AFTER_RECONNECT_MS = 15_000;
/** A chat message whose echo has not come back by then has failed. */
export const ECHO_TIMEOUT_MS = 5_000;
/** How long a message waits for a connection; then it has failed. */
export const AWAY_TIMEOUT_MS = 15_000;
/** After a session that could not be resumed: how long what is said again waits for the others, who
 * come back in their own time and would miss it. */
export const GATHERING_MS = 3_000;
/** How long a member whose own way to the server is broken is kept while its connection lives. */
export const LOST_GRACE_MS = 30_000;
/** Characters in the id of a chat message; ours are UUIDs. */
export const CHAT_ID_CHARS = 64;
/** Characters in the token that resumes a session. */
export const RESUME_TOKEN_CHARS = 512;
/** M-lines in a `peer.state`. */
export const PEER_STATE_TRACKS = 64;
