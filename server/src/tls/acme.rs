//! Certificates from an authority by ACME (RFC 8555), proven by tls-alpn-01 (RFC 8737): the
//! authority connects to our TLS port and asks for a protocol that only we can answer.

use std::fs::DirBuilder;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::ResolvesServerCert;
use rustls::{ClientConfig, RootCertStore};
use rustls_acme::caches::DirCache;
use rustls_acme::{AcmeConfig, AcmeState, EventError, EventOk};

use super::{Facts, TlsError};
use crate::config::Acme;
use crate::metrics::{DoorMetrics, Outcome};

/// The protocol of the test (RFC 8737 §6.2). A connection that speaks it has no more to say.
pub const PROTOCOL: &[u8] = b"acme-tls/1";

/// Where keys and certificates stay, below the state folder.
const FOLDER: &str = "acme";

/// Asks for certificates and renews them when two thirds of their time are over.
#[derive(Debug)]
pub struct Order {
    state: Box<AcmeState<io::Error, io::Error>>,
    folder: std::path::PathBuf,
}

impl Order {
    /// Prepares the folder; nobody is asked yet.
    pub(super) fn new(config: &Acme, state_dir: &Path) -> Result<Self, TlsError> {
        let folder = state_dir.join(FOLDER);
        create_private(&folder)
            .map_err(|source| TlsError::Folder { folder: folder.clone(), source })?;
        let mut acme =
            AcmeConfig::new(&config.domains).contact(&config.contacts).directory(&config.directory);
        if let Some(root) = &config.root {
            acme = acme.client_tls_config(trusting(root)?);
        }
        let state = Box::new(acme.cache(DirCache::new(folder.clone())).state());
        Ok(Self { state, folder })
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        self.state.resolver()
    }

    /// Works as long as the server runs. The authority's client waits by itself after a failure,
    /// twice as long each time.
    pub(super) async fn run(mut self, metrics: &DoorMetrics) {
        while let Some(event) = self.state.next().await {
            match event {
                Ok(EventOk::DeployedCachedCert) => {
                    tracing::info!("the certificate of the last run is used");
                    self.note_end(metrics);
                }
                Ok(EventOk::DeployedNewCert) => {
                    metrics.certificate_loads.add(Outcome::Done);
                    tracing::info!("the authority gave a new certificate");
                }
                Ok(EventOk::CertCacheStore) => self.note_end(metrics),
                Ok(EventOk::AccountCacheStore) => tracing::debug!("the account's key is kept"),
                Err(EventError::CertCacheStore(error) | EventError::AccountCacheStore(error)) => {
                    tracing::error!("cannot keep what the authority gave: {error}");
                }
                Err(error) => {
                    metrics.certificate_loads.add(Outcome::Failed);
                    tracing::error!(
                        "no certificate from the authority ({error}); what worked stays, and the \
                         server tries again. Does port 443 of every name lead here?"
                    );
                }
            }
        }
    }

    /// Reads from the kept file when the certificate ends.
    fn note_end(&self, metrics: &DoorMetrics) {
        let facts = kept(&self.folder);
        if let Some(end) = facts.iter().map(|facts| facts.not_after).max() {
            metrics.certificate_ends.set(end);
            if let Some(trouble) = facts.iter().find_map(|f| f.trouble_at(SystemTime::now())) {
                tracing::warn!("a kept certificate {trouble}");
            }
        }
    }
}

/// What stands in the certificates kept below `folder`.
fn kept(folder: &Path) -> Vec<Facts> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let files = entries.filter_map(Result::ok).map(|entry| entry.path());
    let first = |path: std::path::PathBuf| {
        let pem = std::fs::read(path).ok()?;
        let der = CertificateDer::from_pem_slice(&pem).ok()?;
        Facts::of(&der).ok()
    };
    files.filter_map(first).collect()
}

fn trusting(root: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(root).and_then(Iterator::collect);
    let certificates: Vec<CertificateDer<'static>> = certificates.map_err(|source| {
        TlsError::Pem { what: "root certificate", path: root.to_owned(), source }
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
