//! What stands in a certificate, as far as operators care (RFC 5280).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// Names and times of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Host names, in lower case; some begin with `*.`.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// From when on it is good, in Unix seconds.
    pub not_before: i64,
    /// Until when it is good, in Unix seconds.
    pub not_after: i64,
}

/// The bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("these bytes are no certificate")]
pub struct NoFacts;

impl Facts {
    /// Reads a certificate in DER form.
    ///
    /// # Errors
    /// [`NoFacts`] when it is none.
    pub fn of(der: &[u8]) -> Result<Self, NoFacts> {
        let (_, certificate) = parse_x509_certificate(der).map_err(|_| NoFacts)?;
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        let others = certificate.subject_alternative_name().map_err(|_| NoFacts)?;
        for name in others.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        let validity = certificate.validity();
        let (not_before, not_after) =
            (validity.not_before.timestamp(), validity.not_after.timestamp());
        Ok(Self { names, addresses, not_before, not_after })
    }

    /// Whether a browser that was told `host` takes it.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let wild = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.names.iter().any(|name| *name == host || Some(name) == wild.as_ref())
    }

    /// What is wrong with its times at `now`, to follow "the certificate".
    #[must_use]
    pub fn trouble_at(&self, now: SystemTime) -> Option<String> {
        const DAY: i64 = 24 * 3_600;
        let elapsed = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX);
        if self.not_after <= now {
            Some(format!("expired {} days ago", (now - self.not_after) / DAY))
        } else if now < self.not_before {
            Some("is not good yet; is this computer's clock right?".to_owned())
        } else {
            None
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn names_addresses_and_times_are_read() {
        let names = ["meet.example", "*.rooms.example", "192.0.2.7", "2001:db8::7"];
        let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        params.not_before = time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        params.not_after = time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let facts = Facts::of(certificate.der()).unwrap();
        assert_eq!((facts.not_before, facts.not_after), (1_700_000_000, 1_800_000_000));
        for host in
            ["meet.example", "Meet.Example", "a.rooms.example", "192.0.2.7", "[2001:db8::7]"]
        {
            assert!(facts.covers(host), "{host}");
        }
        for host in ["example", "a.b.rooms.example", "rooms.example", "192.0.2.8", ""] {
            assert!(!facts.covers(host), "{host}");
        }
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(facts.trouble_at(at(1_750_000_000)), None);
        assert!(facts.trouble_at(at(1_800_864_000)).unwrap().contains("10 days ago"));
        assert!(facts.trouble_at(at(1_600_000_000)).unwrap().contains("clock"));
        assert_eq!(Facts::of(b"my diary"), Err(NoFacts));
    }
}
