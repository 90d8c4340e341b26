//! Text messages of an image transfer over the data channel. Slices travel between `img-start`
//! and `img-end` as binary messages without a header.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits;

/// A text message on the file channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t")]
pub enum TransferMessage {
    /// Announces an image; its slices follow in order.
    #[serde(rename = "img-start", rename_all = "camelCase")]
    Start {
        /// A UUID chosen by the sender.
        id: String,
        /// The file's name, without a path.
        name: String,
        /// What the sender says it is; the receiver looks for itself.
        mime: String,
        /// Bytes.
        size: u64,
        /// Bytes in each slice but the last.
        chunk_size: u64,
        /// How many slices will come.
        total_chunks: u64,
    },
    /// A slice as text; only old mobile clients send those.
    #[serde(rename = "img-chunk")]
    Chunk {
        /// The transfer.
        id: String,
        /// Standard base64 with padding.
        d: String,
    },
    /// All slices were sent.
    #[serde(rename = "img-end")]
    End {
        /// The transfer.
        id: String,
    },
    /// The receiver, or the sender, gives up. Only between clients of ours; others ignore it.
    #[serde(rename = "img-cancel")]
    Cancel {
        /// The transfer.
        id: String,
    },
    /// The receiver has it all. Only between clients of ours; others ignore it.
    #[serde(rename = "img-done")]
    Done {
        /// The transfer.
        id: String,
        /// SHA-256 of what arrived, lower-case hex.
        sha256: String,
    },
}

/// Why a text message of the file channel is refused.
#[derive(Debug, Error)]
pub enum MalformedTransfer {
    /// Not JSON, or not one of the messages above.
    #[error("not a transfer message: {0}")]
    Json(#[from] serde_json::Error),
    /// The announced image is larger than [`limits::IMAGE_BYTES`], or empty.
    #[error("an image of {0} bytes is not accepted")]
    Size(u64),
    /// The slices do not add up to the size, or are larger than we accept.
    #[error("{total_chunks} slices of {chunk_size} bytes do not make {size} bytes")]
    Chunks {
        /// As announced.
        size: u64,
        /// As announced.
        chunk_size: u64,
        /// As announced.
        total_chunks: u64,
    },
}

impl TransferMessage {
    /// Reads and checks one text message.
    ///
    /// # Errors
    /// [`MalformedTransfer`]; a `Start` that passes has a size within [`limits::IMAGE_BYTES`] and
    /// slices that add up to it.
    pub fn parse(text: &str) -> Result<Self, MalformedTransfer> {
        let message: Self = serde_json::from_str(text)?;
        if let &Self::Start { size, chunk_size, total_chunks, .. } = &message {
            if size == 0 || size > limits::IMAGE_BYTES as u64 {
                return Err(MalformedTransfer::Size(size));
            }
            let fits = (1..=limits::IMAGE_CHUNK_BYTES_MAX as u64).contains(&chunk_size);
            if !fits || size.div_ceil(chunk_size) != total_chunks {
                return Err(MalformedTransfer::Chunks { size, chunk_size, total_chunks });
            }
        }
        Ok(message)
    }

    /// The JSON text.
    ///
    /// # Panics
    /// Never: strings and numbers always serialise.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{"t":"img-start","id":"6f1c","name":"a.png","mime":"image/png","size":215632,"chunkSize":16384,"totalChunks":14}"#;

    #[test]
    fn the_documented_sample_is_read_and_written_alike() {
        assert_eq!(TransferMessage::parse(SAMPLE).unwrap().to_json(), SAMPLE);
    }

    #[test]
    fn announcements_that_lie_are_refused() {
        for (from, to) in [
            ("215632", "0"),
            ("215632", "12582913"),
            ("215632", "-1"),
            ("\"totalChunks\":14", "\"totalChunks\":15"),
            ("16384", "0"),
            ("16384", "99999999"),
        ] {
            assert!(TransferMessage::parse(&SAMPLE.replace(from, to)).is_err(), "{to}");
        }
    }
}
