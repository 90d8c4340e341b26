//! The self-made certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use server::{Config, Server};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::house::{ask, soon};

/// Takes any certificate whose key signs; the test looks at its fingerprint afterwards.
#[derive(Debug)]
struct Curious(Arc<CryptoProvider>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Connects by TLS and takes what certificate there is.
pub async fn connect(address: SocketAddr) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Curious(provider)))
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.unwrap()
}

/// The SHA-256 of the certificate that was really shown.
pub fn fingerprint(stream: &TlsStream<TcpStream>) -> String {
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    Sha256::digest(&certificates[0]).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn start() -> Server {
    let listen = "127.0.0.1:0".parse().unwrap();
    Server::bind(Config { listen, ..Config::default() }).await.unwrap()
}

#[tokio::test]
async fn the_fingerprint_is_that_of_the_certificate_that_is_shown() {
    let stop = CancellationToken::new();
    let server = start().await;
    let (address, expected) = (server.address(), server.fingerprint().unwrap().to_string());
    assert_eq!(server.url(), format!("https://{address}"));
    let running = tokio::spawn(server.run(stop.clone().cancelled_owned()));
    let stream = connect(address).await;
    assert_eq!(fingerprint(&stream), expected);
    let answer = ask(stream, address, "GET /health HTTP/1.1", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    stop.cancel();
    soon(running).await.unwrap();
}

#[tokio::test]
async fn whoever_forgets_the_s_is_sent_to_the_right_place() {
    let stop = CancellationToken::new();
    let server = start().await;
    let address = server.address();
    let _running = tokio::spawn(server.run(stop.clone().cancelled_owned()));
    let tcp = TcpStream::connect(address).await.unwrap();
    let answer = ask(tcp, address, "GET /room?x=1 HTTP/1.1", "").await;
    assert_eq!(answer.status, 307);
    let expected = format!("https://{address}/room?x=1");
    assert_eq!(answer.header("location"), Some(expected.as_str()));
    stop.cancel();
}

#[tokio::test]
async fn those_who_never_finish_their_handshake_hold_nobody_up() {
    let stop = CancellationToken::new();
    let server = start().await;
    let address = server.address();
    let _running = tokio::spawn(server.run(stop.clone().cancelled_owned()));
    let mut idlers = Vec::new();
    for _ in 0..50 {
        idlers.push(TcpStream::connect(address).await.unwrap());
    }
    let stream = connect(address).await;
    assert_eq!(ask(stream, address, "GET /health HTTP/1.1", "").await.status, 200);
    stop.cancel();
}
