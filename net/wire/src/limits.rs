//! Every bound of the protocol, named once. Units are in the names.

use std::time::Duration;

/// A WebSocket message above this closes the connection with code 1009.
pub const FRAME_BYTES: usize = 65_536;
/// Code points in a room id after trimming, prefix included.
pub const ROOM_ID_CHARS: usize = 128;
/// Code points in a user's name after trimming.
pub const USERNAME_CHARS: usize = 32;
/// Bytes in a user id; ours are UUIDs of 36.
pub const USER_ID_BYTES: usize = 128;
/// Code points in the `message` of a `chat.message`, encrypted or not.
pub const MESSAGE_CHARS: usize = 5_000;
/// UTF-16 units in a chat message before encryption that our clients let a user type.
pub const CHAT_TEXT_UNITS: usize = 1_500;
/// Bytes in the body of a sign-in.
pub const SIGN_IN_BYTES: usize = 4_096;
/// Peer connections that one client holds; a ninth member sees a sentence instead.
pub const PEERS: usize = 8;

/// Bytes in one image sent over a data channel.
pub const IMAGE_BYTES: usize = 12 * 1024 * 1024;
/// Bytes in one slice that we send; it suits every client that was seen.
pub const IMAGE_CHUNK_BYTES: usize = 16 * 1024;
/// Bytes in one slice that we accept.
pub const IMAGE_CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Code points in the name of an image.
pub const IMAGE_NAME_CHARS: usize = 255;
/// Pixels on either side of an image that a receiver decodes.
pub const IMAGE_SIDE_PIXELS: u32 = 16_384;
/// Pixels in an image that a receiver decodes (width times height).
pub const IMAGE_PIXELS: u64 = 64 * 1024 * 1024;
/// Bytes waiting in a data channel above which a sender pauses.
pub const DATA_CHANNEL_BUFFERED_BYTES: usize = 2 * 1024 * 1024;

/// WebSocket messages a second that one connection may send.
pub const SOCKET_RATE_PER_SECOND: u32 = 40;
/// WebSocket messages that one connection may send at once; ICE of eight peers comes in bursts.
pub const SOCKET_BURST: u32 = 200;
/// The counted refusal that closes the connection, over its whole life.
pub const REFUSALS_BEFORE_CLOSE: u32 = 10;

/// Pause between two pings of the server.
pub const PING_EVERY: Duration = Duration::from_secs(54);
/// Silence after which the server closes a connection.
pub const SILENCE_BEFORE_CLOSE: Duration = Duration::from_secs(60);

/// How long a member may be missing from the roster before its peer connection is torn down:
/// old web clients leave and join again when their user toggles the microphone.
pub const ROSTER_GRACE: Duration = Duration::from_secs(1);

/// How long a connection without a token in its address may take to say hello.
pub const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Bytes in a `session.hello`; more closes the connection with code 1009.
pub const HELLO_BYTES: usize = 8 * 1024;
/// Bytes in a resume token.
pub const RESUME_TOKEN_BYTES: usize = 512;
/// How long after the end of its connection a session can be resumed.
pub const RESUME_WITHIN: Duration = Duration::from_secs(60);
/// How long a member whose connection was lost is still listed, so that a short cut goes unnoticed.
pub const LOST_GRACE: Duration = Duration::from_secs(5);
/// Bytes of messages that are kept for a session without a connection; beyond, it can't be resumed.
pub const MISSED_BYTES: usize = 64 * 1024;
/// Bytes in the id of a chat message; ours are UUIDs of 36.
pub const CHAT_ID_BYTES: usize = 64;
/// Ids of chat messages that are remembered for each user in a room, so that one that comes twice
/// is delivered once.
pub const CHAT_IDS: usize = 256;
/// Bytes in the `data` of a `peer.auth`.
pub const PEER_AUTH_BYTES: usize = 2_048;
/// `peer.auth` messages a second that one connection may send, besides its others.
pub const PEER_AUTH_PER_SECOND: u32 = 10;
/// `peer.auth` messages that one connection may send at once.
pub const PEER_AUTH_BURST: u32 = 60;
/// Bytes in the `data` of a `peer.state`.
pub const PEER_STATE_BYTES: usize = 2_048;
/// M-lines in a `peer.state`.
pub const PEER_STATE_TRACKS: usize = 64;
