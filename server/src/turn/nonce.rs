//! Nonces that need no memory: the time they were made, and a proof that we made them for this
//! address. So nobody fills our memory by asking for them.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::auth::Secret;

/// Bytes of the proof. Guessing one gains nothing without a credential, so short is enough, and
/// keeps answers to strangers short.
const PROOF: usize = 8;
const TIME: usize = 4;

/// Makes and checks nonces.
#[derive(Debug)]
pub struct Nonces {
    key: Secret,
    lifetime: Duration,
}

impl Nonces {
    /// With a key of this run.
    #[must_use]
    pub fn new(lifetime: Duration) -> Self {
        Self { key: Secret::random(), lifetime }
    }

    /// A nonce for the client at `client`, 16 characters.
    #[must_use]
    pub fn make(&self, client: SocketAddr, now: SystemTime) -> String {
        let time = seconds(now).to_be_bytes();
        let mut bytes = [0; TIME + PROOF];
        bytes[..TIME].copy_from_slice(&time);
        bytes[TIME..].copy_from_slice(&self.proof(client, time));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether it is ours, for this client, and not stale.
    #[must_use]
    pub fn is_good(&self, nonce: &[u8], client: SocketAddr, now: SystemTime) -> bool {
        let mut bytes = [0; TIME + PROOF];
        let Ok(TIME_AND_PROOF) = URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) else {
            return false;
        };
        let Some((time, proof)) = bytes.split_first_chunk::<TIME>() else { return false };
        let age = seconds(now).wrapping_sub(u32::from_be_bytes(*time));
        bool::from(self.proof(client, *time).ct_eq(proof))
            && Duration::from_secs(age.into()) < self.lifetime
    }

    fn proof(&self, client: SocketAddr, time: [u8; TIME]) -> [u8; PROOF] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.bytes())
            .expect("HMAC takes keys of any length");
        mac.update(&time);
        mac.update(client.to_string().as_bytes());
        let proof = mac.finalize().into_bytes();
        proof[..PROOF].try_into().expect("SHA-256 is longer")
    }
}

const TIME_AND_PROOF: usize = TIME + PROOF;

fn seconds(now: SystemTime) -> u32 {
    // Only differences count, so it may wrap.
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_one_address_and_a_while() {
        let nonces = Nonces::new(Duration::from_secs(60));
        let client: SocketAddr = "203.0.113.1:1000".parse().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let nonce = nonces.make(client, now);
        assert_eq!(nonce.len(), 16);
        let good = |nonce: &str, client, now| nonces.is_good(nonce.as_bytes(), client, now);
        assert!(good(&nonce, client, now + Duration::from_secs(59)));
        assert!(!good(&nonce, client, now + Duration::from_secs(60)));
        assert!(!good(&nonce, "203.0.113.1:1001".parse().unwrap(), now));
        assert!(!good(&nonce, client, now - Duration::from_secs(1)), "not from the future");
        for junk in ["", "x", "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA", "ä"] {
            assert!(!good(junk, client, now), "{junk}");
        }
        assert!(!Nonces::new(Duration::from_secs(60)).is_good(nonce.as_bytes(), client, now));
    }
}
