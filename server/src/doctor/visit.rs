//! One request to a server, by a client that takes any certificate and remembers it: the doctor
//! must look at servers with broken ones, too.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long anybody may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Where to ask.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    address: SocketAddr,
    tls: bool,
    name: &'a str,
}

/// What a server said.
#[derive(Debug)]
pub(super) struct Answer {
    /// Of the HTTP answer.
    pub(super) status: u16,
    head: String,
    /// Of the HTTP answer.
    pub(super) body: String,
    /// The server's own certificate.
    pub(super) certificate: Option<Vec<u8>>,
}

impl Answer {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl<'a> Visit<'a> {
    /// To `address`, under `name`.
    pub(super) fn new(address: SocketAddr, tls: bool, name: &'a str) -> Self {
        Self { address, tls, name }
    }

    /// Asks for a page.
    pub(super) async fn get(&self, path: &str) -> io::Result<Answer> {
        self.ask("GET", path, &[], "").await
    }

    /// Any request. What comes after the head of a 101 is not waited for.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host());
        if !headers.iter().any(|(name, _)| *name == "Connection") {
            request.push_str("Connection: close\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it took more than 5 seconds");
        timeout(PATIENCE, self.talk(&request)).await.map_err(|_| late())?
    }

    /// The server as it stands in a URL.
    pub(super) fn host(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let name = if self.name.contains(':') && !self.name.starts_with('[') {
            format!("[{}]", self.name)
        } else {
            self.name.to_owned()
        };
        if self.address.port() == usual { name } else { format!("{name}:{}", self.address.port()) }
    }

    async fn talk(&self, request: &str) -> io::Result<Answer> {
        let tcp = TcpStream::connect(self.address).await?;
        if !self.tls {
            return read(tcp, request, None).await;
        }
        let name = ServerName::try_from(self.name.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|_| io::Error::other("this is no host name"))?;
        let tls = TlsConnector::from(Arc::new(curious()?)).connect(name, tcp).await?;
        let certificates = tls.get_ref().1.peer_certificates();
        let certificate = certificates.and_then(|all| all.first()).map(|first| first.to_vec());
        read(tls, request, certificate).await
    }
}

async fn read<IO: AsyncRead + AsyncWrite + Unpin>(
    mut io: IO,
    request: &str,
    certificate: Option<Vec<u8>>,
) -> io::Result<Answer> {
    io.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    let mut limited = io.take(ANSWER_BYTES);
    loop {
        let is_upgraded = bytes.starts_with(b"HTTP/1.1 101")
            && bytes.windows(4).any(|window| window == b"\r\n\r\n");
        // Some end TLS without a farewell; what came counts.
        if is_upgraded || matches!(limited.read_buf(&mut bytes).await, Ok(0) | Err(_)) {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("what answers there is no web server"))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned(), certificate })
}

fn curious() -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Curious))
        .with_no_client_auth())
}

/// Takes any certificate whose key signs.
#[derive(Debug)]
struct Curious;

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
