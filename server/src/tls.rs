//! Certificates: from files, or of our own making and kept.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{kept, lan};

/// How long a self-made certificate is good for: Apple's systems take no more than 825 days.
const LIFETIME: Duration = Duration::from_secs(820 * DAY);
/// A certificate with less than this left is made anew, with a new fingerprint.
const RENEWAL: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 24 * 3_600;

/// Key and certificate in one file, so that they always belong together.
const FILE: &str = "certificate.pem";
/// In front of the PEM blocks, where readers of PEM skip it: Unix seconds.
const NOT_AFTER: &str = "Not after: ";

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file of the operator's can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The state folder can't be used.
    #[error("cannot keep the self-made certificate in {}", folder.display())]
    Keep {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not PEM, or not of the kind it should be.
    #[error("there is no usable {what} in {}", path.display())]
    Pem {
        /// Certificate or private key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: pem::Error,
    },
    /// The certificate could not be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// Certificate and key are not usable, or not for one another.
    #[error("cannot serve TLS with this certificate and key")]
    Unusable(#[from] rustls::Error),
}

/// The SHA-256 of a certificate; shows as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a server shows to its clients.
#[derive(Debug, Clone)]
pub struct Identity {
    /// For the acceptor.
    pub config: Arc<ServerConfig>,
    /// Of the server's own certificate.
    pub fingerprint: Fingerprint,
}

impl Identity {
    /// From the operator's files.
    ///
    /// # Errors
    /// [`TlsError`] that names the file.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            let error = |source| TlsError::Read { path: path.to_owned(), source };
            fs::read(path).map(Zeroizing::new).map_err(error)
        };
        Self::from_pem(certificate, &read(certificate)?, key, &read(key)?)
    }

    /// Of our own making: the one kept in `state_dir`, or a new one where there is none.
    ///
    /// # Errors
    /// [`TlsError`] when the folder can't be used or holds something else.
    pub fn self_signed(state_dir: Option<&Path>, now: SystemTime) -> Result<Self, TlsError> {
        let pem = match state_dir {
            None => make(now)?,
            Some(folder) => {
                let result =
                    kept::keep(folder, FILE, |old| is_good_at(old, now), || Ok(make(now)?));
                result.map_err(|error| match error {
                    Trouble::Make(error) => TlsError::Make(error),
                    Trouble::Keep(source) => TlsError::Keep { folder: folder.to_owned(), source },
                })?
            }
        };
        let path = state_dir.unwrap_or(Path::new("memory")).join(FILE);
        Self::from_pem(&path, &pem, &path, &pem)
    }

    fn from_pem(
        certificate: &Path,
        certificate_pem: &[u8],
        key: &Path,
        key_pem: &[u8],
    ) -> Result<Self, TlsError> {
        let error = |what, path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Pem { what, path, source }
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate_pem)
            .collect::<Result<_, _>>()
            .map_err(error("certificate", certificate))?;
        let first = chain
            .first()
            .ok_or(pem::Error::NoItemsFound)
            .map_err(error("certificate", certificate))?;
        let fingerprint = Fingerprint(Sha256::digest(first).into());
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(error("private key", key))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), fingerprint })
    }
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

fn make(now: SystemTime) -> Result<Zeroizing<Vec<u8>>, rcgen::Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn fingerprint(folder: &Path, now: SystemTime) -> String {
        Identity::self_signed(Some(folder), now).unwrap().fingerprint.to_string()
    }

    #[test]
    fn a_kept_certificate_keeps_its_fingerprint_until_it_is_nearly_over() {
        let folder = tempfile::tempdir().unwrap();
        let first = fingerprint(folder.path(), now());
        assert_eq!(first.len(), 64);
        assert_eq!(first, fingerprint(folder.path(), now()));
        assert_eq!(first, fingerprint(folder.path(), now() + LIFETIME - 2 * RENEWAL));
        let renewed = fingerprint(folder.path(), now() + LIFETIME - RENEWAL);
        assert_ne!(first, renewed);
        assert_eq!(renewed, fingerprint(folder.path(), now() + LIFETIME));
    }

    #[test]
    fn without_a_folder_every_certificate_is_new() {
        let made = || Identity::self_signed(None, now()).unwrap().fingerprint;
        assert_ne!(made(), made());
    }

    #[test]
    fn a_file_that_is_not_ours_is_named_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "my diary").unwrap();
        let error = Identity::self_signed(Some(folder.path()), now()).unwrap_err();
        assert!(error.to_string().contains("certificate.pem"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "my diary");
    }

    #[test]
    fn files_of_the_operator_are_used_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let pem = make(now()).unwrap();
        let path = folder.path().join("both.pem");
        fs::write(&path, &*pem).unwrap();
        assert!(Identity::from_files(&path, &path).is_ok());
        let missing = folder.path().join("missing.pem");
        let error = Identity::from_files(&path, &missing).unwrap_err();
        assert!(error.to_string().contains("missing.pem"), "{error}");
        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        assert!(matches!(
            Identity::from_files(&path, &empty),
            Err(TlsError::Pem { what: "private key", .. })
        ));
        let other = folder.path().join("other.pem");
        fs::write(&other, &*make(now()).unwrap()).unwrap();
        assert!(matches!(Identity::from_files(&path, &other), Err(TlsError::Unusable(_))));
    }
}
