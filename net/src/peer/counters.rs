//! What one connection counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use webrtc::peer_connection::{PeerConnection, StatsSelector};
use wire::UserId;

use crate::event::PeerState;
use crate::stats::{PeerStats, TrackStats};

/// Shared by a connection's tasks.
#[derive(Debug, Default)]
pub(super) struct Counters {
    bytes_sent: AtomicU64,
    packets_sent: AtomicU64,
    bytes_received: AtomicU64,
    packets_received: AtomicU64,
}

impl Counters {
    pub(super) fn sent(&self, bytes: usize) {
        self.packets_sent.fetch_add(1, Ordering::Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.packets_received.fetch_add(1, Ordering::Relaxed);
        self.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The session fills in what only it knows.
    pub(super) fn stats(
        &self,
        peer: UserId,
        rtt_ms: Option<f64>,
        data_buffered: u64,
        tracks: Vec<TrackStats>,
    ) -> PeerStats {
        PeerStats {
            peer,
            state: PeerState::Connecting,
            connect_ms: None,
            rtt_ms,
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            packets_sent: self.packets_sent.load(Ordering::Relaxed),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            packets_received: self.packets_received.load(Ordering::Relaxed),
            data_buffered,
            bad_signals: 0,
            tracks,
        }
    }
}

/// The round trip on the path in use, in milliseconds.
pub(super) async fn round_trip(connection: &dyn PeerConnection) -> Option<f64> {
    let report = connection.get_stats(Instant::now(), StatsSelector::None).await;
    let path = report.candidate_pairs().find(|pair| pair.nominated)?;
    Some(path.current_round_trip_time * 1_000.0)
}
