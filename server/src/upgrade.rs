//! `GET /ws`: who may open a WebSocket (RFC 6455 §4.2), and its life from there on.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Request, State as FromState};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use wire::limits::FRAME_BYTES;

use crate::auth::User;
use crate::client::Client;
use crate::door::Pass;
use crate::http::Peer;
use crate::socket::{self, Timing};
use crate::state::State;
use crate::web::plain;

/// What a connection reads at once; its buffer exists as long as the connection, so it is small.
const READ_BYTES: usize = 4 * 1024;
/// What is collected before the system is asked to write.
const WRITE_BYTES: usize = 16 * 1024;

/// How long what a client still sends is read and dropped after the farewell. Closing at once
/// would reset the connection, and the client might never see why it was closed.
const LINGER: Duration = Duration::from_secs(1);
/// How much of it is read at most.
const LINGER_BYTES: usize = 1024 * 1024;

/// Answers a request for a WebSocket: 401 without a token, 400 without an upgrade, 403 for a page
/// of a stranger, otherwise 101.
pub async fn open(FromState(state): FromState<Arc<State>>, mut request: Request) -> Response {
    let token = token(request.uri().query().unwrap_or_default());
    let Ok(user) = state.tokens.check(&token, SystemTime::now()) else {
        return plain(StatusCode::UNAUTHORIZED, wire::sign_in::UNAUTHORIZED);
    };
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (Some(key), Some(on_upgrade)) = (upgrade_key(request.headers()), on_upgrade) else {
        let mut response = plain(StatusCode::BAD_REQUEST, "Bad request: this is a WebSocket");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    };
    let peer = request.extensions().get::<Peer>().copied();
    let scheme = state.scheme(peer, request.headers());
    if !state.origins.allow(request.headers(), scheme) {
        return plain(StatusCode::FORBIDDEN, "Forbidden: this origin is not allowed");
    }
    let accept = derive_accept_key(key.as_bytes());
    let pass = request.extensions_mut().remove::<Pass>();
    state.clone().tasks.spawn(live(state, user, on_upgrade, pass));

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let accept = HeaderValue::try_from(accept).expect("base64 is a header value");
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn token(query: &str) -> String {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    percent_decode_str(value.unwrap_or_default()).decode_utf8_lossy().into_owned()
}

/// The client's key, if its request is an upgrade to the WebSocket protocol we know.
fn upgrade_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let names = |header, wanted: &str| {
        headers.get_all(header).iter().any(|value: &HeaderValue| {
            let value = value.to_str().unwrap_or_default();
            value.split(',').any(|name| name.trim().eq_ignore_ascii_case(wanted))
        })
    };
    let is_upgrade = names(CONNECTION, "upgrade")
        && names(UPGRADE, "websocket")
        && names(SEC_WEBSOCKET_VERSION, "13");
    is_upgrade.then(|| headers.get(SEC_WEBSOCKET_KEY)).flatten()
}

/// Holds the connection's pass until it is gone.
async fn live(state: Arc<State>, user: User, on_upgrade: OnUpgrade, _pass: Option<Pass>) {
    let Ok(upgraded) = on_upgrade.await else {
        tracing::debug!("a client left during its upgrade");
        return;
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_message_size(Some(FRAME_BYTES))
        .max_frame_size(Some(FRAME_BYTES));
    let io = TokioIo::new(upgraded);
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let client = Client::new(Arc::new(user), state.relay.clone(), Instant::now().into_std());
    tracing::debug!("a client connected");
    let socket = socket::serve(socket, client, Timing::default(), &state.tasks.stopping).await;
    let _ = timeout(LINGER, linger(socket.into_inner())).await;
    tracing::debug!("a client is gone");
}

async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    io.shutdown().await?;
    let mut dropped = 0;
    let mut buffer = [0; READ_BYTES];
    while dropped < LINGER_BYTES {
        match io.read(&mut buffer).await? {
            0 => break,
            bytes => dropped += bytes,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_wherever_it_stands() {
        let check = |query: &str, expected: &str| assert_eq!(token(query), expected, "{query}");
        check("token=a.b-c_d", "a.b-c_d");
        check("v=1&token=a%2Eb&x", "a.b");
        check("", "");
        check("mytoken=a", "");
        check("token=", "");
    }

    #[test]
    fn only_a_whole_upgrade_has_a_key() {
        let whole = [
            (CONNECTION, "keep-alive, Upgrade"),
            (UPGRADE, "WebSocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers: HeaderMap =
            whole.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect();
        assert!(upgrade_key(&headers).is_some());
        for (name, _) in whole {
            let mut headers = headers.clone();
            headers.remove(name);
            assert!(upgrade_key(&headers).is_none());
        }
    }
}
