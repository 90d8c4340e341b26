//! A running server as its guests see it: through firewalls, proxies and names.

use std::time::SystemTime;

use axum::http::Uri;
use httpdate::parse_http_date;
use serde_json::Value;

use super::here::{fingerprint, judge, lookup};
use super::visit::Visit;
use super::{Finding, relay};
use crate::config::Config;
use crate::tls::Facts;
use crate::turn::TurnConfig;

/// Clocks that differ by more than this make tokens and credentials fail.
const CLOCKS_MAY_DIFFER_SECONDS: u64 = 30;

/// Looks at the server at `url`.
pub(super) async fn examine(config: &Config, url: &Uri, now: SystemTime) -> Vec<Finding> {
    const CHECK: &str = "address";
    let Some((tls, host)) = scheme_and_host(url) else {
        let mend = "give it as https://meet.example or http://127.0.0.1:3000";
        return vec![Finding::wrong(CHECK, "this is no server's address", mend)];
    };
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let address = match lookup(host, port).await {
        Ok(address) => address,
        Err(error) => {
            let mend = "check the name, and its A or AAAA record";
            return vec![Finding::wrong(CHECK, format!("{host} has no address: {error}"), mend)];
        }
    };
    let visit = Visit::new(address, tls, host);
    let answer = match visit.get("/health").await {
        Ok(answer) => answer,
        Err(error) => {
            let mend = format!("let TCP to port {port} through, and check that the server runs");
            return vec![Finding::wrong(CHECK, format!("no answer: {error}"), mend)];
        }
    };
    let mut findings = Vec::new();
    findings.push(if (answer.status, answer.body.as_str()) == (200, "OK") {
        Finding::ok(CHECK, "the server answers, and is well")
    } else {
        let found = format!("something answers {}, but not as this server does", answer.status);
        Finding::wrong(CHECK, found, "does the proxy lead to the server?")
    });
    if let Some(certificate) = &answer.certificate {
        findings.extend(shown(certificate, host, now));
    }
    findings.extend(answer.header("date").map(|date| clocks(date, now)));
    findings.push(socket(&visit, tls).await);
    if let Some(turn) = &config.turn {
        let port = turn.port.unwrap_or(TurnConfig::PORT);
        let mut at = address;
        at.set_port(port);
        findings.extend(relay::ask(at).await);
    }
    findings
}

fn scheme_and_host(url: &Uri) -> Option<(bool, &str)> {
    let tls = match url.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    Some((tls, url.host()?))
}

/// The certificate as guests get it.
fn shown(certificate: &[u8], host: &str, now: SystemTime) -> Vec<Finding> {
    const CHECK: &str = "certificate there";
    let Ok(facts) = Facts::of(certificate) else {
        return vec![Finding::wrong(CHECK, "can't be read", "make or get a new one")];
    };
    let mut findings = vec![Finding { check: CHECK, ..judge(&facts, now) }];
    if !facts.covers(host) {
        findings.push(Finding::wrong(
            CHECK,
            format!("it is not for {host}"),
            format!("get one that names {host}, or use one of its names in links"),
        ));
    }
    findings.push(Finding::ok("fingerprint there", fingerprint(certificate)));
    findings
}

/// Compares this computer's clock with the server's.
fn clocks(date: &str, now: SystemTime) -> Finding {
    const CHECK: &str = "clocks";
    let Ok(theirs) = parse_http_date(date) else {
        let mend = "look at what stands between this computer and the server";
        return Finding::note(CHECK, "the server's date can't be read", mend);
    };
    let differ = now.duration_since(theirs).unwrap_or_else(|error| error.duration()).as_secs();
    if differ > CLOCKS_MAY_DIFFER_SECONDS {
        let found = format!("this computer's and the server's differ by {differ} seconds");
        return Finding::wrong(
            CHECK,
            found,
            "set both, for instance with `timedatectl set-ntp true`",
        );
    }
    Finding::ok(CHECK, "this computer's and the server's agree")
}

/// Signs in and opens a WebSocket, as the server's own page does.
async fn socket(visit: &Visit<'_>, tls: bool) -> Finding {
    const CHECK: &str = "WebSocket";
    let origin = format!("{}://{}", if tls { "https" } else { "http" }, visit.host());
    let json = [("Content-Type", "application/json")];
    let body = r#"{"username":"doctor"}"#;
    let token = match visit.ask("POST", "/auth/sign-in", &json, body).await {
        Ok(answer) if answer.status == 200 => serde_json::from_str::<Value>(&answer.body)
            .ok()
            .and_then(|answer| answer["accessToken"].as_str().map(str::to_owned)),
        Ok(answer) => {
            let found = format!("nobody can sign in: {}", answer.status);
            return Finding::wrong(CHECK, found, "look into the server's log, and at the proxy");
        }
        Err(error) => {
            let mend = "look at what stands between this computer and the server";
            return Finding::wrong(CHECK, format!("nobody can sign in: {error}"), mend);
        }
    };
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "cHJpdmF0ZSBtZWV0IGRyLg=="),
        ("Origin", &origin),
    ];
    let path = format!("/ws?token={}", token.unwrap_or_default());
    match visit.ask("GET", &path, &headers, "").await {
        Ok(answer) if answer.status == 101 => Finding::ok(CHECK, "it opens, for the server's page"),
        Ok(answer) if answer.status == 403 => Finding::wrong(
            CHECK,
            "the server's own page is a stranger to it: 403",
            "does the proxy pass Host on, and X-Forwarded-Proto? Name it with --trusted-proxy, or \
             list the page's origin in ALLOWED_ORIGINS",
        ),
        Ok(answer) => Finding::wrong(
            CHECK,
            format!("it does not open: {}", answer.status),
            "let the proxy pass upgrades on (HTTP/1.1, Connection and Upgrade)",
        ),
        Err(error) => Finding::wrong(
            CHECK,
            format!("it does not open: {error}"),
            "let the proxy pass upgrades on (HTTP/1.1, Connection and Upgrade)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::Verdict;
    use super::*;

    #[test]
    fn clocks_are_compared_by_the_date_of_an_answer() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(clocks("Sun, 06 Nov 1994 08:49:37 GMT", now).verdict, Verdict::Ok);
        let later = clocks("Sun, 06 Nov 1994 08:51:37 GMT", now);
        assert_eq!(later.verdict, Verdict::Wrong);
        assert!(later.found.contains("120 seconds"), "{later}");
        assert_eq!(clocks("yesterday", now).verdict, Verdict::Note);
    }
}
