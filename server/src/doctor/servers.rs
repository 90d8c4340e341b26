//! The brokers by which servers work as one: whether they are there, and speak NATS.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Finding;
use super::here::lookup;
use super::visit::PATIENCE;
use crate::config::Config;

/// Bytes of a broker's first line.
const LINE_BYTES: u64 = 64 * 1024;

/// Asks every broker of these settings for its first line; nothing is sent, so no password is
/// tried.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for broker in config.cluster.iter().flat_map(|cluster| &cluster.servers) {
        findings.push(ask(broker.host(), broker.port()).await);
    }
    findings
}

async fn ask(host: &str, port: u16) -> Finding {
    const CHECK: &str = "other servers";
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it took more than 5 seconds");
    let line = match timeout(PATIENCE, first_line(host, port)).await {
        Ok(line) => line,
        Err(_) => Err(late()),
    };
    match line {
        Ok(line) if line.starts_with("INFO ") => {
            Finding::ok(CHECK, format!("the broker at {host}:{port} answers"))
        }
        Ok(_) => Finding::wrong(
            CHECK,
            format!("what answers at {host}:{port} is no NATS broker"),
            "check --nats: NATS usually listens on 4222",
        ),
        Err(error) => Finding::wrong(
            CHECK,
            format!("no answer from the broker at {host}:{port} ({error})"),
            "start nats-server there, and let this computer reach it",
        ),
    }
}

/// A broker speaks first, in the clear, also where TLS follows.
async fn first_line(host: &str, port: u16) -> io::Result<String> {
    let tcp = TcpStream::connect(lookup(host, port).await?).await?;
    let mut line = String::new();
    BufReader::new(tcp.take(LINE_BYTES)).read_line(&mut line).await?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::super::Verdict;
    use super::*;

    #[tokio::test]
    async fn only_a_broker_that_speaks_nats_will_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let says = async |words: &[u8]| {
            let asked = ask("127.0.0.1", port);
            let answered = async {
                let (mut tcp, _) = listener.accept().await.unwrap();
                tcp.write_all(words).await.unwrap();
            };
            tokio::join!(asked, answered).0.verdict
        };
        assert_eq!(says(b"INFO {\"server_id\":\"x\"}\r\n").await, Verdict::Ok);
        assert_eq!(says(b"SSH-2.0-x\r\n").await, Verdict::Wrong);
        drop(listener);
        assert_eq!(ask("127.0.0.1", port).await.verdict, Verdict::Wrong);
    }
}
