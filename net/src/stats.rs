//! Counters of a session, ready to be shown or written as JSON.

use serde::Serialize;
use wire::UserId;

use crate::event::PeerState;
use crate::media::{Codec, Source, TrackId};

/// A session's counters since it began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// Seconds since the session began.
    pub seconds: f64,
    /// How often the connection to the server was lost and found again.
    pub server_reconnects: u64,
    /// Messages from the server that made no sense and were dropped.
    pub bad_messages: u64,
    /// What we publish.
    pub sources: Vec<SourceStats>,
    /// Everybody we are connected to, or try to be.
    pub peers: Vec<PeerStats>,
}

/// One of our sources, for all peers together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceStats {
    /// Which.
    pub source: Source,
    /// Whether it is shown.
    pub published: bool,
    /// Frames (audio: packets) taken for sending.
    pub frames: u64,
    /// Frames lost because nobody took them away in time.
    pub dropped: u64,
    /// Requests for a key frame by peers, before they are thinned out.
    pub key_frame_requests: u64,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeerStats {
    /// Who.
    pub peer: UserId,
    /// How the connection stands.
    pub state: PeerState,
    /// Milliseconds from the first sight of the peer to a connection.
    pub connect_ms: Option<f64>,
    /// The path's round-trip time in milliseconds.
    pub rtt_ms: Option<f64>,
    /// RTP bytes sent, without headers.
    pub bytes_sent: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP bytes received, without headers.
    pub bytes_received: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// Bytes waiting in the data channel.
    pub data_buffered: u64,
    /// Signals of this peer that were rubbish and were dropped.
    pub bad_signals: u64,
    /// What it sends us.
    pub tracks: Vec<TrackStats>,
}

/// One track of a peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrackStats {
    /// Which.
    pub track: TrackId,
    /// What it shows.
    pub source: Source,
    /// How it is encoded.
    pub codec: Codec,
    /// RTP packets received.
    pub packets: u64,
    /// RTP packets that never came.
    pub lost: u64,
    /// Whole frames (audio: packets) handed on.
    pub frames: u64,
    /// Frames thrown away: damaged, without a key frame before them, or not taken in time.
    pub dropped: u64,
    /// Key frames that we asked for.
    pub key_frame_requests: u64,
}
