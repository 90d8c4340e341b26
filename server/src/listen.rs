//! From the listening socket to requests: TLS, time-outs, and the end of it all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{HOST, LOCATION};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::http::Peer;
use crate::state::State;
use crate::web::plain;

/// Connections that may be in their handshake at once; more wait in the system's backlog.
const HANDSHAKES: usize = 1_024;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and how long a connection may wait for the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// The pause after the system refused us a connection, for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
        loop {
            let permit = handshakes.clone().acquire_owned().await;
            let (tcp, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (tls, router, in_task) = (tls.clone(), router.clone(), state.clone());
            state.tasks.spawn(async move {
                let handshake = timeout(HANDSHAKE_TIMEOUT, handshake(tcp, tls));
                let connection = handshake.await;
                drop(permit);
                match connection {
                    Ok(Ok(connection)) => connection.serve(address, router, &in_task).await,
                    Ok(Err(error)) => tracing::debug!("a handshake failed: {}", error.kind()),
                    Err(_) => tracing::debug!("a handshake took too long"),
                }
            });
        }
    };
    stopping.run_until_cancelled(accepting).await;
}

/// What a connection turned out to be.
enum Connection {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// Plain HTTP where TLS is spoken: somebody left out `https://`.
    Astray(TcpStream),
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
    Ok(Connection::Tls(Box::new(tls.accept(tcp).await?)))
}

impl Connection {
    async fn serve(self, address: SocketAddr, router: Router, state: &State) {
        match self {
            Self::Plain(io) => serve(io, address, router, state).await,
            Self::Tls(io) => serve(*io, address, router, state).await,
            Self::Astray(io) => serve(io, address, Router::new().fallback(redirect), state).await,
        }
    }
}

/// Serves the requests of one connection, until it becomes a WebSocket or ends.
async fn serve<IO>(io: IO, address: SocketAddr, router: Router, state: &State)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(address.ip()));
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
        () = state.tasks.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if ended.is_err() {
        tracing::trace!("a connection ended with an error");
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
