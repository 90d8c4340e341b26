//! `GET /ws`: who may open a WebSocket (RFC 6455 §4.2), and its life from there on.

mod direct;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Request, State as FromState};
use axum::http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wire::{IceServers, SessionLimits, UserId};

use crate::auth::User;
use crate::client::{Client, Closing, Desk};
use crate::door::Pass;
use crate::http::Peer;
use crate::line::{End, Line, Talk};
use crate::metrics::{Closed, Refused, held};
use crate::state::State;
use crate::web::plain;

use direct::Direct;

/// Bytes that the system may hold for a connection whose client does not read. It takes twice of
/// what it is asked for and counts its own overhead among them.
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Who comes in by a WebSocket.
struct Guest {
    /// Unknown until the hello where the address of the connection says nothing.
    user: Option<User>,
    /// By which name the client knows this server.
    host: Option<String>,
    address: IpAddr,
    /// Held until the connection is gone.
    pass: Option<Pass>,
}

/// Answers a request for a WebSocket: 401 for a wrong token, or none where there is a query; 400
/// without an upgrade; 403 for a page of a stranger; otherwise 101. Who comes without a query says
/// hello.
pub async fn open(FromState(state): FromState<Arc<State>>, mut request: Request) -> Response {
    let refuse = |reason, status, text| {
        state.metrics.door.refused.add(reason);
        plain(status, text)
    };
    let key = upgrade_key(request.headers()).cloned();
    let user = match request.uri().query() {
        None if key.is_some() => None,
        query => match state.tokens.check(&token(query.unwrap_or_default()), SystemTime::now()) {
            Ok(user) => Some(user),
            Err(_) => {
                let text = wire::sign_in::UNAUTHORIZED;
                return refuse(Refused::Token, StatusCode::UNAUTHORIZED, text);
            }
        },
    };
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (Some(key), Some(on_upgrade)) = (key, on_upgrade) else {
        let text = "Bad request: this is a WebSocket";
        let mut response = refuse(Refused::Upgrade, StatusCode::BAD_REQUEST, text);
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    };
    let peer = request.extensions().get::<Peer>().copied();
    let scheme = state.scheme(peer, request.headers());
    if !state.origins.allow(request.headers(), scheme) {
        let text = "Forbidden: this origin is not allowed";
        return refuse(Refused::Origin, StatusCode::FORBIDDEN, text);
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let address = state.client_address(peer, request.headers());
    let pass = request.extensions_mut().remove::<Pass>();
    let guest = Guest { user, host, address, pass };
    state.clone().tasks.spawn(enter(state, guest, on_upgrade));

    let accept = derive_accept_key(key.as_bytes());
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

/// Takes the connection back from the HTTP layer, and gives it a task of its own.
async fn enter(state: Arc<State>, guest: Guest, on_upgrade: OnUpgrade) {
    let Ok(upgraded) = on_upgrade.await else {
        tracing::debug!("a client left during its upgrade");
        return;
    };
    let now = Instant::now().into_std();
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(Parts { io, read_buf, .. }) => {
            let tcp = io.into_inner();
            bound_send_buffer(&tcp);
            let (read, write) = tcp.into_split();
            let line = Line::new(Some(write), now);
            live(&state, guest, Direct::new(read, line.clone()), &read_buf, line);
        }
        Err(upgraded) => match upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>() {
            Ok(Parts { io, read_buf, .. }) => {
                let tls = Box::new(io.into_inner());
                bound_send_buffer(tls.get_ref().0);
                live(&state, guest, tls, &read_buf, Line::new(None, now));
            }
            Err(upgraded) => other(&state, guest, upgraded),
        },
    }
}

/// Whatever else a connection may be made of.
fn other(state: &Arc<State>, guest: Guest, upgraded: Upgraded) {
    let line = Line::new(None, Instant::now().into_std());
    live(state, guest, TokioIo::new(upgraded), &[], line);
}

fn bound_send_buffer(tcp: &TcpStream) {
    if let Err(error) = SockRef::from(tcp).set_send_buffer_size(SEND_BUFFER_BYTES / 2) {
        tracing::debug!("the send buffer stays as it is: {}", error.kind());
    }
}

fn live<IO>(state: &Arc<State>, guest: Guest, io: IO, first: &[u8], line: Arc<Line>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Guest { user, host, address, pass } = guest;
    let (relay, desk) = (state.relay.clone(), state.clone());
    let now = Instant::now().into_std();
    let greeted = user.is_some();
    let parts = (relay.clone(), line.clone());
    let client = Client::new(user, parts, (desk, host.as_deref()), Some(address), now);
    relay.watch(&line, greeted, now);
    state.metrics.door.opened.inc();
    let open = held(&state.metrics.door.open);
    let metrics = state.metrics.clone();
    tracing::debug!("a client connected");
    let talk = Talk::new(io, first, line, client);
    state.tasks.spawn_bounded(async move {
        let end = talk.run().await;
        metrics.door.closed.add(counted(end));
        tracing::debug!("a client is gone");
        drop((open, pass));
    });
}

fn counted(end: End) -> Closed {
    let End::Close(closing) = end else { return Closed::Gone };
    match closing {
        Closing::GOING_AWAY | Closing::RESTART => Closed::Stopping,
        Closing::TOO_BIG => Closed::TooBig,
        Closing::NOT_JSON => Closed::NotJson,
        Closing::BROKEN => Closed::Broken,
        Closing::SILENT => Closed::Silent,
        Closing::TOO_SLOW => Closed::TooSlow,
        Closing::MOVED => Closed::Moved,
        Closing::EXPIRED => Closed::Expired,
        _ => Closed::Policy,
    }
}

impl Desk for State {
    fn check(&self, token: &str) -> Option<User> {
        self.tokens.check(token, SystemTime::now()).ok()
    }

    fn ice_servers(&self, user: &UserId, host: Option<&str>) -> IceServers {
        let ice_servers = self.ice.servers(user, host, SystemTime::now());
        IceServers { ice_servers, ttl: self.ice.ttl() }
    }

    fn limits(&self) -> SessionLimits {
        SessionLimits { base: self.client.limits.clone(), ..SessionLimits::default() }
    }
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
