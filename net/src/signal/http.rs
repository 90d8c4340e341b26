//! Sign-in and the opening of the WebSocket. Connections go straight to the server; proxies named
//! by the environment are not used, because the calls would not go through them either.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use wire::{ClientConfig, IceServers, SignInRequest, SignInResponse};

use super::comeback::Setback;
use crate::address::{Fingerprint, ServerUrl};
use crate::session::JoinError;
use crate::tls::Tls;

/// How long each step of getting in may take.
pub(super) const STEP: Duration = Duration::from_secs(10);
/// Pause after "too many requests": servers let one or two sign in a second from one address.
const BUSY: Duration = Duration::from_millis(1_200);
/// How often it is tried again.
const BUSY_RETRIES: usize = 4;
/// Bytes of an HTTP answer that are read.
const BODY_BYTES: usize = 64 * 1024;
/// Characters of a refusal that are shown.
const REFUSAL_CHARS: usize = 200;
/// Bytes of one message of the server; the roster of a huge room is the largest.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// Bytes that wait for the system to take them; more is an error, and the socket ends.
const WRITE_BYTES: usize = 1024 * 1024;

/// What carries a WebSocket: a TCP connection, with or without TLS.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Carrier for T {}

/// An open WebSocket.
pub(crate) type Socket = WebSocketStream<Box<dyn Carrier>>;

/// A server that we talk to.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    url: ServerUrl,
    pinned: Option<Fingerprint>,
    tls: Tls,
    http: Client,
}

impl Server {
    pub(crate) fn new(url: ServerUrl, pinned: Option<Fingerprint>) -> Result<Self, JoinError> {
        let not_set_up = |reason: String| JoinError::Unreachable { server: url.origin(), reason };
        let tls = Tls::new(pinned).map_err(|error| not_set_up(error.to_string()))?;
        let http = Client::builder()
            .tls_backend_preconfigured(tls.config.clone())
            .redirect(Policy::none())
            .no_proxy()
            .timeout(STEP)
            .build()
            .map_err(|error| not_set_up(error.to_string()))?;
        Ok(Self { url, pinned, tls, http })
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.url.is_loopback()
    }

    /// What is particular about this deployment. A server that does not say is an old one, with
    /// the usual names.
    pub(crate) async fn client_config(&self) -> Result<ClientConfig, JoinError> {
        let request = self.http.get(self.url.route("client-config"));
        let response = request.send().await.map_err(|error| self.http_error(&error))?;
        if response.status() != StatusCode::OK {
            return Ok(ClientConfig::default());
        }
        let body = self.body(response).await?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Makes us a new id.
    pub(crate) async fn sign_in(&self, name: &str) -> Result<SignInResponse, JoinError> {
        for _ in 0..BUSY_RETRIES {
            match self.try_sign_in(name).await {
                Err(JoinError::Refused { status: 429, .. }) => tokio::time::sleep(BUSY).await,
                result => return result,
            }
        }
        self.try_sign_in(name).await
    }

    async fn try_sign_in(&self, name: &str) -> Result<SignInResponse, JoinError> {
        let body = SignInRequest { username: Some(name.to_owned()) };
        let request = self.http.post(self.url.route("auth/sign-in")).json(&body);
        let response = request.send().await.map_err(|error| self.http_error(&error))?;
        let status = response.status();
        let body = self.body(response).await?;
        if status == StatusCode::OK {
            let answer = serde_json::from_slice(&body);
            return answer.map_err(|_| self.not_a_server("it does not sign in"));
        }
        if status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED {
            return Err(self.not_a_server("it does not sign in"));
        }
        Err(refused(status.as_u16(), &String::from_utf8_lossy(&body)))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, JoinError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.http_error(&error))? {
            if body.len() + chunk.len() > BODY_BYTES {
                return Err(self.not_a_server("its answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The STUN and TURN servers of the moment; `None` where there is no answer.
    pub(crate) async fn ice_servers(&self, token: &str) -> Option<IceServers> {
        let request = self.http.get(self.url.route("ice-servers")).bearer_auth(token);
        let response = request.send().await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        serde_json::from_slice(&self.body(response).await.ok()?).ok()
    }

    /// Opens the WebSocket; without a token where the hello will tell it.
    pub(crate) async fn connect(&self, token: Option<&String>) -> Result<Socket, Setback> {
        let connecting = async {
            let address = (self.url.host(), self.url.port());
            let tcp = TcpStream::connect(address).await.map_err(|e| self.unreachable(&e))?;
            tcp.set_nodelay(true).map_err(|e| self.unreachable(&e))?;
            let carrier: Box<dyn Carrier> = if self.url.is_secure() {
                let name = ServerName::try_from(self.url.host())
                    .map_err(|error| self.unreachable(&error))?;
                let connector = TlsConnector::from(Arc::new(self.tls.config.clone()));
                let tls = connector.connect(name, tcp).await;
                Box::new(tls.map_err(|error| self.certificate_or(self.unreachable(&error)))?)
            } else {
                Box::new(tcp)
            };
            self.upgrade(carrier, token).await
        };
        tokio::time::timeout(STEP, connecting)
            .await
            .unwrap_or_else(|_| Err(JoinError::Timeout.into()))
    }

    async fn upgrade(
        &self,
        carrier: Box<dyn Carrier>,
        token: Option<&String>,
    ) -> Result<Socket, Setback> {
        let request = self.url.socket(token.map(String::as_str)).into_client_request();
        let mut request = request.map_err(|error| self.unreachable(&error))?;
        let origin = HeaderValue::from_str(&self.url.origin());
        let origin = origin.map_err(|error| self.unreachable(&error))?;
        request.headers_mut().insert("origin", origin);
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES))
            .max_write_buffer_size(WRITE_BYTES);
        match client_async_with_config(request, carrier, Some(config)).await {
            Ok((socket, _)) => Ok(socket),
            Err(SocketError::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let error = refused(response.status().as_u16(), &String::from_utf8_lossy(body));
                let wait = response.headers().get("retry-after").and_then(seconds);
                Err(Setback { wait, ..error.into() })
            }
            Err(error) => Err(self.unreachable(&error).into()),
        }
    }

    pub(super) fn unreachable(&self, error: &dyn std::error::Error) -> JoinError {
        JoinError::Unreachable { server: self.url.origin(), reason: error.to_string() }
    }

    pub(super) fn not_a_server(&self, reason: &str) -> JoinError {
        JoinError::NotAServer { server: self.url.origin(), reason: reason.to_owned() }
    }

    /// The innermost reason says most; and if it was the certificate, that is all that matters.
    fn http_error(&self, error: &reqwest::Error) -> JoinError {
        if error.is_timeout() {
            return JoinError::Timeout;
        }
        let mut reason: &dyn std::error::Error = error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        self.certificate_or(self.unreachable(reason))
    }

    fn certificate_or(&self, error: JoinError) -> JoinError {
        match (self.tls.take_refused(), self.pinned) {
            (Some(refused), None) => {
                JoinError::UnknownCertificate { fingerprint: refused.fingerprint }
            }
            (Some(refused), Some(_)) => JoinError::OtherCertificate { found: refused.fingerprint },
            (None, _) => error,
        }
    }
}

/// The whole seconds of a `Retry-After`.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds: u32 = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

pub(super) fn refused(status: u16, text: &str) -> JoinError {
    let text = text.trim();
    let text = if text.is_empty() { "no reason given" } else { text };
    JoinError::Refused { status, text: text.chars().take(REFUSAL_CHARS).collect() }
}
