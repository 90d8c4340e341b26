//! A certificate of our own making, kept between runs.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::TlsError;
use crate::{kept, lan};

/// How long a self-made certificate is good for: Apple's systems take no more than 825 days.
pub(super) const LIFETIME: Duration = Duration::from_secs(820 * DAY);
/// A certificate with less than this left is made anew, with a new fingerprint.
pub(super) const RENEWAL: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 24 * 3_600;

/// Key and certificate in one file, so that they always belong together.
pub(super) const FILE: &str = "certificate.pem";
/// In front of the PEM blocks, where readers of PEM skip it: Unix seconds.
const NOT_AFTER: &str = "Not after: ";

/// Key and certificate in PEM form: those kept in `state_dir`, or new ones.
pub(super) fn pem(
    state_dir: Option<&Path>,
    now: SystemTime,
) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let Some(folder) = state_dir else { return Ok(make(now)?) };
    let result = kept::keep(folder, FILE, |old| is_good_at(old, now), || Ok(make(now)?));
    result.map_err(|error| match error {
        Trouble::Make(error) => TlsError::Make(error),
        Trouble::Keep(source) => TlsError::Keep { folder: folder.to_owned(), source },
    })
}

enum Trouble {
    Make(rcgen::Error),
    Keep(io::Error),
}

impl From<rcgen::Error> for Trouble {
    fn from(error: rcgen::Error) -> Self {
        Self::Make(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Keep(error)
    }
}

/// Whether a kept certificate may still be used. What we did not write is used as it is, so that
/// it is reported when it can't be read, and never overwritten.
fn is_good_at(kept: &[u8], now: SystemTime) -> bool {
    let line = kept.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return true };
    let Some(Ok(not_after)) = line.strip_prefix(NOT_AFTER).map(|text| text.trim().parse()) else {
        return true;
    };
    now + RENEWAL < UNIX_EPOCH + Duration::from_secs(not_after)
}

pub(super) fn make(now: SystemTime) -> Result<Zeroizing<Vec<u8>>, rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(lan::host_names());
    names.extend(lan::addresses().iter().map(ToString::to_string));
    let not_after = now + LIFETIME;

    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Private Meet (made on this computer)");
    // A day back, for devices whose clock is behind.
    params.not_before = OffsetDateTime::from(now - Duration::from_secs(DAY));
    params.not_after = OffsetDateTime::from(not_after);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;

    let seconds = not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut text = Zeroizing::new(String::with_capacity(4_096));
    let key_pem = Zeroizing::new(key.serialize_pem());
    let written = write!(text, "{NOT_AFTER}{seconds}\n{}{}", *key_pem, certificate.pem());
    written.expect("a string takes any text");
    Ok(Zeroizing::new(text.as_bytes().to_vec()))
}
