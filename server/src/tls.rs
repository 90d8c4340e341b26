//! Certificates: from files, from an authority by ACME, or of our own making and kept.
//!
//! Whatever happens to files or authorities, the certificate that worked is shown until there is
//! a better one; connections that exist never notice.

pub mod facts;

mod acme;
mod files;
mod own;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::Notify;

use crate::config::Tls;
use crate::metrics::DoorMetrics;

pub use acme::PROTOCOL as ACME_PROTOCOL;
pub use facts::{Facts, NoFacts};

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
    /// The folder for certificates from an authority can't be used.
    #[error("cannot keep certificates in {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no folder for them.
    #[error("certificates from an authority need a state folder: set --state-dir")]
    NoFolder,
    /// Certificate and key are not usable, or not for one another.
    #[error("cannot serve TLS with this certificate and key")]
    Unusable(#[from] rustls::Error),
}

/// The SHA-256 of a certificate; shows as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// That of a certificate in DER form.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

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

/// What a server shows to its clients. Clones show the same, also after a change.
#[derive(Debug, Clone)]
pub struct Identity {
    resolver: Arc<dyn ResolvesServerCert>,
    /// What is shown, unless an authority's client keeps it.
    shown: Option<Arc<Shown>>,
}

impl Identity {
    /// What the configuration says, and what keeps it fresh; `None` for plain HTTP.
    ///
    /// # Errors
    /// [`TlsError`] that names what is missing.
    pub fn new(
        tls: &Tls,
        state_dir: Option<&Path>,
        now: SystemTime,
    ) -> Result<Option<(Self, Keeper)>, TlsError> {
        Ok(match tls {
            Tls::Off => None,
            Tls::SelfSigned => Some((Self::self_signed(state_dir, now)?, Keeper::Nothing)),
            Tls::Files { certificate, key } => {
                let (watch, first) = files::Watch::new(certificate, key)?;
                let identity = Self::of(first);
                Some((identity, Keeper::Files(watch)))
            }
            Tls::Acme(config) => {
                let order = acme::Order::new(config, state_dir.ok_or(TlsError::NoFolder)?)?;
                Some((Self { resolver: order.resolver(), shown: None }, Keeper::Acme(order)))
            }
        })
    }

    /// Of our own making: the one kept in `state_dir`, or a new one where there is none.
    ///
    /// # Errors
    /// [`TlsError`] when the folder can't be used or holds something else.
    pub fn self_signed(state_dir: Option<&Path>, now: SystemTime) -> Result<Self, TlsError> {
        let pem = own::pem(state_dir, now)?;
        let path = state_dir.unwrap_or(Path::new("memory")).join(own::FILE);
        Ok(Self::of(from_pem(&path, &pem, &path, &pem)?))
    }

    /// For an acceptor that speaks one of `protocols` (ALPN; none means any). The certificate
    /// inside follows every change, so this is made once.
    ///
    /// # Errors
    /// [`TlsError::Unusable`] when the cryptography at hand speaks no TLS of today.
    pub fn config(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.resolver.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Of the certificate that is shown now; `None` while an authority has given none.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::of(self.shown.as_ref()?.get().cert.first()?))
    }

    /// What stands in the certificate that is shown now.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        Facts::of(self.shown.as_ref()?.get().cert.first()?).ok()
    }

    /// Whether the certificate comes from an authority that tests us by [`ACME_PROTOCOL`].
    pub(crate) fn is_acme(&self) -> bool {
        self.shown.is_none()
    }

    fn of(key: CertifiedKey) -> Self {
        let shown = Arc::new(Shown(RwLock::new(Arc::new(key))));
        Self { resolver: shown.clone(), shown: Some(shown) }
    }
}

/// The certificate of the moment.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn get(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

/// What keeps an [`Identity`] fresh while the server runs.
#[derive(Debug)]
pub enum Keeper {
    /// It needs nothing.
    Nothing,
    /// Files are read again when they change.
    Files(files::Watch),
    /// An authority is asked for certificates.
    Acme(acme::Order),
}

impl Keeper {
    /// Works until it is dropped. `reload` asks it to look at once.
    pub async fn run(self, identity: &Identity, reload: &Notify, metrics: &DoorMetrics) {
        if let Some(facts) = identity.facts() {
            metrics.certificate_ends.set(facts.not_after);
        }
        match (self, &identity.shown) {
            (Self::Files(watch), Some(shown)) => watch.run(shown, reload, metrics).await,
            (Self::Acme(order), _) => order.run(metrics).await,
            _ => std::future::pending().await,
        }
    }
}

fn from_pem(
    certificate: &Path,
    certificate_pem: &[u8],
    key: &Path,
    key_pem: &[u8],
) -> Result<CertifiedKey, TlsError> {
    let error = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { what, path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate_pem)
        .collect::<Result<_, _>>()
        .map_err(error("certificate", certificate))?;
    if chain.is_empty() {
        return Err(error("certificate", certificate)(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(error("private key", key))?;
    Ok(CertifiedKey::from_der(chain, key, &default_provider())?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    use super::own::{FILE, LIFETIME, RENEWAL, make};
    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn fingerprint(folder: &Path, now: SystemTime) -> String {
        Identity::self_signed(Some(folder), now).unwrap().fingerprint().unwrap().to_string()
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
        let made = || Identity::self_signed(None, now()).unwrap().fingerprint().unwrap();
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
        assert!(files::Watch::new(&path, &path).is_ok());
        let missing = folder.path().join("missing.pem");
        let error = files::Watch::new(&path, &missing).unwrap_err();
        assert!(error.to_string().contains("missing.pem"), "{error}");
        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        assert!(matches!(
            files::Watch::new(&path, &empty),
            Err(TlsError::Pem { what: "private key", .. })
        ));
        let other = folder.path().join("other.pem");
        fs::write(&other, &*make(now()).unwrap()).unwrap();
        assert!(matches!(files::Watch::new(&path, &other), Err(TlsError::Unusable(_))));
    }
}
