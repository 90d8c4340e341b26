//! The routes, and what every request passes through.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as FromState};
use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use tokio::time::timeout;
use tower_http::cors::{AllowOrigin, CorsLayer};
use wire::{SignInResponse, limits};

use crate::auth::{User, requested_name};
use crate::config::Origins;
use crate::door::Pass;
use crate::limits::Kind;
use crate::listen::refusal;
use crate::metrics::{self, Refused};
use crate::state::State;
use crate::upgrade;
use crate::web::plain;

/// The address of a connection's other end, put into each request by whoever accepts
/// connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// All routes of the server.
pub fn router(state: Arc<State>) -> Router {
    let limited = from_fn_with_state(state.clone(), limit);
    let mut router = Router::new()
        .route("/health", get(health).route_layer(limited.clone()))
        .route("/client-config", get(client_config).route_layer(limited.clone()))
        .route("/ice-servers", get(ice_servers).route_layer(limited.clone()))
        .route("/auth/sign-in", post(sign_in).route_layer(limited).get(file))
        .route("/ws", get(upgrade::open).route_layer(from_fn_with_state(state.clone(), crowd)))
        .fallback(file);
    if state.metrics_token.is_some() {
        router = router.route("/metrics", get(metrics));
    }
    if let Some(cors) = cors(&state.origins) {
        router = router.layer(cors);
    }
    router.layer(from_fn_with_state(state.clone(), protect)).with_state(state)
}

async fn health() -> Response {
    plain(StatusCode::OK, "OK")
}

async fn client_config(FromState(state): FromState<Arc<State>>) -> Response {
    let mut response = json(&state.client);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The STUN and TURN servers, for those who are signed in.
async fn ice_servers(FromState(state): FromState<Arc<State>>, headers: HeaderMap) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let token = text(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let now = SystemTime::now();
    let Some(Ok(user)) = token.map(|token| state.tokens.check(token, now)) else {
        let mut response = plain(StatusCode::UNAUTHORIZED, "Unauthorized");
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    };
    let mut response = json(&state.ice.answer(&user.id, text(HOST), now));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn sign_in(FromState(state): FromState<Arc<State>>, body: Body) -> Response {
    let Ok(body) = timeout(state.request_timeout, to_bytes(body, limits::SIGN_IN_BYTES)).await
    else {
        return plain(StatusCode::REQUEST_TIMEOUT, "Request timeout");
    };
    let Ok(body) = body else {
        state.metrics.door.refused.add(Refused::SignIn);
        return plain(StatusCode::BAD_REQUEST, wire::sign_in::INVALID_BODY);
    };
    let user = match requested_name(&body) {
        Ok(name) => User::new(name),
        Err(error) => {
            state.metrics.door.refused.add(Refused::SignIn);
            return plain(StatusCode::BAD_REQUEST, error.text());
        }
    };
    state.metrics.door.sign_ins.inc();
    let mut response = json(&SignInResponse {
        access_token: state.tokens.issue(&user, SystemTime::now()),
        token_type: "Bearer".to_owned(),
        user_id: user.id,
        username: user.name,
    });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A file of the web client, otherwise its page; nothing else can be done with one.
async fn file(FromState(state): FromState<Arc<State>>, request: Request) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return state.files.serve(request.uri().path(), request.headers()).await;
    }
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
    response
}

fn json(value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value).expect("strings and numbers serialise");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The counters, for whoever shows the token.
async fn metrics(FromState(state): FromState<Arc<State>>, headers: HeaderMap) -> Response {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(7));
    let is_right = shown.is_some_and(|(scheme, token)| {
        let known = state.metrics_token.as_ref();
        scheme.eq_ignore_ascii_case(b"Bearer ") && known.is_some_and(|known| known.equals(token))
    });
    if is_right {
        return counters(&state);
    }
    let mut response = plain(StatusCode::UNAUTHORIZED, "Unauthorized");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The routes of the listener that is for metrics alone.
pub(crate) fn metrics_router(state: Arc<State>) -> Router {
    let answer = async move || counters(&state);
    Router::new().route("/metrics", get(answer)).route("/health", get(health))
}

fn counters(state: &State) -> Response {
    state.relay.take_stock();
    let mut response = Response::new(Body::from(state.metrics.render()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Counts connections that come through a proxy for the address behind it.
async fn crowd(FromState(state): FromState<Arc<State>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let pass = request.extensions().get::<Pass>();
    if let Some((peer, pass)) = peer.zip(pass)
        && state.is_trusted_proxy(peer.0)
        && let Err(reason) = pass.name(state.client_address(Some(peer), request.headers()))
    {
        return refusal(reason);
    }
    next.run(request).await
}

/// Counts requests for each address and method.
async fn limit(FromState(state): FromState<Arc<State>>, request: Request, next: Next) -> Response {
    let kind = match *request.method() {
        Method::GET | Method::HEAD => Kind::Get,
        Method::POST => Kind::Post,
        _ => return next.run(request).await,
    };
    let peer = request.extensions().get::<Peer>().copied();
    let address = state.client_address(peer, request.headers());
    let taken = match &state.http_limits {
        Some(limits) => limits.take(address, kind, Instant::now()),
        None => Ok(()),
    };
    match taken {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            state.metrics.door.refused.add(Refused::Rate);
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
    }
}

async fn protect(
    FromState(state): FromState<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    state.files.protect(response.headers_mut());
    response
}

/// Pages of other origins sign in, too, where their WebSockets are welcome. No cookies are
/// involved, so credentials are not.
fn cors(origins: &Origins) -> Option<CorsLayer> {
    let allowed = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Listed(listed) if listed.is_empty() => return None,
        Origins::Listed(_) => {
            let origins = origins.clone();
            AllowOrigin::predicate(move |origin: &HeaderValue, _: &Parts| {
                origin.to_str().is_ok_and(|origin| origins.lists(origin))
            })
        }
    };
    let cors = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([CONTENT_TYPE, AUTHORIZATION])
        .expose_headers([RETRY_AFTER]);
    Some(cors)
}

impl State {
    /// Who asks: the other end of the connection, or, where that is a proxy we trust, the last
    /// address in its list that is none.
    pub(crate) fn client_address(&self, peer: Option<Peer>, headers: &HeaderMap) -> IpAddr {
        let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0);
        if !self.is_trusted_proxy(peer) {
            return peer;
        }
        let lists = headers.get_all("x-forwarded-for").iter().rev();
        for list in lists.map(|list| list.to_str().unwrap_or_default()) {
            for entry in list.rsplit(',') {
                match address_of(entry.trim()) {
                    Some(address) if self.is_trusted_proxy(address) => {}
                    Some(address) => return address,
                    // What stands further left may be the client's own invention.
                    None => return peer,
                }
            }
        }
        peer
    }

    /// The scheme in the client's address bar.
    pub(crate) fn scheme(&self, peer: Option<Peer>, headers: &HeaderMap) -> &'static str {
        if peer.is_some_and(|peer| self.is_trusted_proxy(peer.0)) {
            let forwarded = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
            match forwarded.map(str::trim) {
                Some("https" | "wss") => return "https",
                Some("http" | "ws") => return "http",
                _ => {}
            }
        }
        if self.secure { "https" } else { "http" }
    }

    pub(crate) fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|proxies| proxies.contains(address))
    }
}

/// An address as proxies write it, with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    text.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn only_what_a_trusted_proxy_adds_is_believed() {
        let trusted_proxies = vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let state = State::new(Config { trusted_proxies, ..Config::default() }).unwrap();
        let check = |peer: &str, lists: &[&'static str], expected: &str| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append("x-forwarded-for", HeaderValue::from_static(list));
            }
            let address = state.client_address(Some(Peer(peer.parse().unwrap())), &headers);
            assert_eq!(address.to_string(), expected, "{peer} {lists:?}");
        };
        check("192.0.2.1", &["203.0.113.1"], "192.0.2.1");
        check("127.0.0.1", &[], "127.0.0.1");
        check("::ffff:127.0.0.1", &["203.0.113.1"], "203.0.113.1");
        check("127.0.0.1", &["198.51.100.1, 203.0.113.1"], "203.0.113.1");
        check("127.0.0.1", &["198.51.100.1", "203.0.113.1, 10.0.0.1"], "203.0.113.1");
        check("127.0.0.1", &["203.0.113.1:4711"], "203.0.113.1");
        check("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1");
        check("127.0.0.1", &["198.51.100.1, unknown"], "127.0.0.1");
        check("127.0.0.1", &["10.0.0.1"], "127.0.0.1");
    }
}
