//! From the listening socket to requests: TLS, time-outs, and the end of it all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HOST, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::door::Pass;
use crate::http::{Peer, metrics_router};
use crate::metrics::Refused;
use crate::state::State;
use crate::tls::ACME_PROTOCOL;
use crate::web::plain;

/// Connections that may be in their handshake at once; more wait in the system's backlog.
const HANDSHAKES: usize = 1_024;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and how long a connection may wait for the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// Connections at once that read metrics; more wait in the system's backlog.
const METRICS_CONNECTIONS: usize = 16;
/// The pause after the system refused us a connection, for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refused connections between two lines in the log about them.
const REFUSALS_PER_LINE: u64 = 600;
/// How long somebody who is turned away may take to hear it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(3);
/// When those who were turned away may come again, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Accepts connections until the server stops.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    state: Arc<State>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let stopping = state.tasks.stopping.clone();
    let accepting = async {
        let mut refused_by_system = 0_u64;
        loop {
            let permit = handshakes.clone().acquire_owned().await;
            let (tcp, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if refused_by_system.is_multiple_of(REFUSALS_PER_LINE) {
                        tracing::error!("cannot accept connections: {error}");
                    }
                    refused_by_system += 1;
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Behind a proxy, requests tell who it is.
            let named = !state.is_trusted_proxy(address.ip());
            match state.door.enter(descriptor(&tcp), named.then_some(address.ip())) {
                Ok(pass) => {
                    let (tls, router, in_task) = (tls.clone(), router.clone(), state.clone());
                    state.tasks.spawn(async move {
                        let connection = shake_hands(tcp, tls, &in_task).await;
                        drop(permit);
                        if let Some(connection) = connection {
                            connection.serve(address, pass, router, &in_task).await;
                        }
                    });
                }
                Err(reason) => {
                    let Some(answering) = state.door.may_answer() else { continue };
                    state.tasks.spawn(turn_away(tcp, tls.clone(), reason, answering));
                }
            }
        }
    };
    stopping.run_until_cancelled(accepting).await;
}

#[cfg(unix)]
fn descriptor(tcp: &TcpStream) -> Option<u64> {
    u64::try_from(std::os::fd::AsRawFd::as_raw_fd(tcp)).ok()
}

#[cfg(not(unix))]
fn descriptor(_: &TcpStream) -> Option<u64> {
    None
}

/// What a connection turned out to be.
enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Plain HTTP where TLS is spoken: somebody left out `https://`.
    Astray(TcpStream),
    /// An authority that wanted to see our answer to its challenge, and saw it.
    Challenge(Box<TlsStream<TcpStream>>),
}

/// The connection, if it is ready in time.
async fn shake_hands(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    state: &State,
) -> Option<Connection> {
    let refused = &state.metrics.door.refused;
    match timeout(HANDSHAKE_TIMEOUT, handshake(tcp, tls)).await {
        Ok(Ok(connection)) => return Some(connection),
        Ok(Err(error)) => {
            refused.add(Refused::Tls);
            tracing::debug!("a handshake failed: {}", error.kind());
        }
        Err(_) => {
            refused.add(Refused::Timeout);
            tracing::debug!("a handshake took too long");
        }
    }
    None
}

async fn handshake(tcp: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Connection> {
    // Signals are small and urgent.
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Connection::Plain(tcp)) };
    let mut first = [0];
    tcp.peek(&mut first).await?;
    // TLS begins with a 22 (RFC 8446 §5.1), HTTP with the letters of its method.
    if first[0].is_ascii_uppercase() {
        return Ok(Connection::Astray(tcp));
    }
    let tls = Box::new(tls.accept(tcp).await?);
    if tls.get_ref().1.alpn_protocol() == Some(ACME_PROTOCOL) {
        return Ok(Connection::Challenge(tls));
    }
    Ok(Connection::Tls(tls))
}

impl Connection {
    async fn serve(self, address: SocketAddr, pass: Pass, router: Router, state: &State) {
        let peer = Some((Peer(address.ip()), pass));
        let stopping = &state.tasks.stopping;
        match self {
            Self::Plain(io) => serve(io, peer, router, stopping).await,
            Self::Tls(io) => serve(*io, peer, router, stopping).await,
            Self::Astray(io) => {
                serve(io, peer, Router::new().fallback(redirect), stopping).await;
            }
            Self::Challenge(mut io) => {
                // The authority has seen all that it wanted.
                let _ = timeout(REFUSAL_TIMEOUT, io.shutdown()).await;
            }
        }
    }
}

/// Tells somebody why there is no place, in the little time that there is for it.
async fn turn_away(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    reason: Refused,
    _answering: OwnedSemaphorePermit,
) {
    let router = Router::new().fallback(async move || refusal(reason));
    let answer = async {
        let never = CancellationToken::new();
        match handshake(tcp, tls).await {
            Ok(Connection::Plain(io) | Connection::Astray(io)) => {
                serve(io, None, router, &never).await;
            }
            Ok(Connection::Tls(io) | Connection::Challenge(io)) => {
                serve(*io, None, router, &never).await;
            }
            Err(error) => tracing::trace!("nobody heard the refusal: {}", error.kind()),
        }
    };
    if timeout(REFUSAL_TIMEOUT, answer).await.is_err() {
        tracing::trace!("nobody heard the refusal in time");
    }
}

/// The answer to a newcomer for whom there is no place.
pub(crate) fn refusal(reason: Refused) -> Response<Body> {
    let mut response = match reason {
        Refused::Address => {
            plain(StatusCode::TOO_MANY_REQUESTS, "Too many connections from your address")
        }
        _ => plain(StatusCode::SERVICE_UNAVAILABLE, "The server is full; try again soon"),
    };
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Serves the requests of one connection, until it becomes a WebSocket or ends.
pub(crate) async fn serve<IO>(
    io: IO,
    peer: Option<(Peer, Pass)>,
    router: Router,
    stopping: &CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        if let Some((peer, pass)) = peer.clone() {
            request.extensions_mut().insert(peer);
            // A WebSocket takes it along, and outlives this function.
            request.extensions_mut().insert(pass);
        }
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if ended.is_err() {
        tracing::trace!("a connection ended with an error");
    }
}

/// Answers on the listener that is for metrics alone.
pub(crate) async fn metrics(listener: TcpListener, state: Arc<State>) {
    let places = Arc::new(Semaphore::new(METRICS_CONNECTIONS));
    let router = metrics_router(state.clone());
    loop {
        let place = places.clone().acquire_owned().await;
        let Ok((tcp, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (router, stopping) = (router.clone(), state.tasks.stopping.clone());
        state.tasks.spawn(async move {
            serve(tcp, None, router, &stopping).await;
            drop(place);
        });
    }
}

/// Sends a browser to the same place by TLS.
async fn redirect(request: Request<Body>) -> Response<Body> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Ok(target) = HeaderValue::try_from(format!("https://{host}{path}")) else {
        return plain(StatusCode::BAD_REQUEST, "This server speaks HTTPS");
    };
    let mut response = plain(StatusCode::TEMPORARY_REDIRECT, "This server speaks HTTPS");
    response.headers_mut().insert(LOCATION, target);
    response
}
