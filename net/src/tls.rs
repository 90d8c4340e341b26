//! Which server certificates are accepted: those that the system trusts, or exactly the one whose
//! fingerprint we were told.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::address::Fingerprint;

/// What the last handshake with an unacceptable certificate showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Of the certificate that the server showed.
    pub(crate) fingerprint: Fingerprint,
}

/// A TLS configuration and the memory of what it refused.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) config: ClientConfig,
    refused: Arc<Mutex<Option<Refused>>>,
}

impl Tls {
    /// Accepts exactly `pinned`, or what the system trusts where there is none.
    ///
    /// # Errors
    /// When the cryptography library refuses its own defaults.
    pub(crate) fn new(pinned: Option<Fingerprint>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let refused = Arc::new(Mutex::new(None));
        let verifier = Verifier {
            trust: match pinned {
                Some(fingerprint) => Trust::Pinned(fingerprint),
                None => Trust::System(SystemTrust::new(&provider)),
            },
            provider: Arc::clone(&provider),
            refused: Arc::clone(&refused),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self { config, refused })
    }

    /// The certificate that the last failed handshake refused, if that was the reason.
    pub(crate) fn take_refused(&self) -> Option<Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The system's own verifier; none where the system has no certificates at all, so that a pinned
/// server can still be asked about.
#[derive(Debug)]
struct SystemTrust(Option<Arc<dyn ServerCertVerifier>>);

impl SystemTrust {
    fn new(provider: &Arc<CryptoProvider>) -> Self {
        match rustls_platform_verifier::Verifier::new(Arc::clone(provider)) {
            Ok(verifier) => Self(Some(Arc::new(verifier))),
            Err(error) => {
                tracing::warn!(%error, "no trusted certificates on this system");
                Self(None)
            }
        }
    }
}

#[derive(Debug)]
enum Trust {
    Pinned(Fingerprint),
    System(SystemTrust),
}

/// Decides about a server's certificate. The signatures of the handshake are always checked: a
/// pinned certificate is worth nothing without the proof that the server has its key.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    refused: Arc<Mutex<Option<Refused>>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint = fingerprint_of(end_entity);
        let verdict = match &self.trust {
            Trust::Pinned(pinned) if *pinned == fingerprint => Ok(ServerCertVerified::assertion()),
            Trust::Pinned(_) | Trust::System(SystemTrust(None)) => {
                Err(CertificateError::UnknownIssuer.into())
            }
            Trust::System(SystemTrust(Some(system))) => system.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        };
        let refused = verdict.is_err().then_some(Refused { fingerprint });
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// SHA-256 of the certificate's DER bytes.
fn fingerprint_of(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint::from_bytes(Sha256::digest(certificate.as_ref()).into())
}
