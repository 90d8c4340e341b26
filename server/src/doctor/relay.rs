//! The media relay: whether STUN and TURN answer (RFC 8489, 8656), and whether peers could reach
//! what it announces.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::visit::PATIENCE;
use super::{Finding, own_address};
use crate::config::Config;
use crate::lan;
use crate::turn::TurnConfig;

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING: u16 = 0x0001;
const BINDING_ANSWER: u16 = 0x0101;
const ALLOCATE: u16 = 0x0003;
const ALLOCATE_REFUSED: u16 = 0x0113;
const HEAD_BYTES: usize = 20;
/// Tries over UDP, where anything may be lost.
const TRIES: u32 = 3;

/// Looks at the relay of these settings; `runs` says whether the server is there to answer.
pub(super) async fn examine(config: &Config, runs: bool) -> Vec<Finding> {
    const CHECK: &str = "media relay";
    let Some(turn) = &config.turn else {
        let mend = "set TURN=on, unless TURN_URLS names another relay";
        return vec![Finding::note(CHECK, "off: guests behind strict firewalls can't meet", mend)];
    };
    let port = turn.port.unwrap_or(TurnConfig::PORT);
    let own = SocketAddr::new(own_address(config).ip(), port);
    let mut findings =
        if runs { ask(own).await } else { vec![is_free(config.listen.ip(), port, turn).await] };
    let announced =
        if turn.addresses.is_empty() { lan::addresses() } else { turn.addresses.clone() };
    if announced.iter().all(|address| is_private(*address)) && turn.host.is_none() {
        findings.push(Finding::note(
            CHECK,
            "it announces an address of a private network",
            "that is right for a LAN; for guests from the internet, set TURN_ADDRESS",
        ));
    }
    findings
}

/// Asks a relay by UDP and by TCP.
pub(super) async fn ask(address: SocketAddr) -> Vec<Finding> {
    let udp = match by_udp(address, BINDING).await {
        Ok(kind) if kind == BINDING_ANSWER => {
            Finding::ok("STUN by UDP", format!("port {} answers", address.port()))
        }
        other => silent("STUN by UDP", address, "UDP", other.err()),
    };
    let turn = match by_udp(address, ALLOCATE).await {
        Ok(kind) if kind == ALLOCATE_REFUSED => {
            Finding::ok("TURN by UDP", "the relay asks for credentials, as it should")
        }
        other => silent("TURN by UDP", address, "UDP", other.err()),
    };
    let tcp = match timeout(PATIENCE, by_tcp(address, ALLOCATE)).await {
        Ok(Ok(kind)) if kind == ALLOCATE_REFUSED => {
            Finding::ok("TURN by TCP", "the relay asks for credentials, as it should")
        }
        Ok(other) => silent("TURN by TCP", address, "TCP", other.err()),
        Err(_) => silent("TURN by TCP", address, "TCP", None),
    };
    vec![udp, turn, tcp]
}

fn silent(check: &'static str, to: SocketAddr, by: &str, error: Option<io::Error>) -> Finding {
    let why = error.map(|error| format!(" ({error})")).unwrap_or_default();
    Finding::wrong(
        check,
        format!("no answer from port {}{why}", to.port()),
        format!("let {by} to port {} through firewalls and routers, to the server", to.port()),
    )
}

async fn is_free(ip: IpAddr, port: u16, turn: &TurnConfig) -> Finding {
    const CHECK: &str = "media relay";
    match UdpSocket::bind((ip, port)).await {
        Ok(_) => Finding::ok(CHECK, format!("UDP port {port} is free")),
        Err(error) if turn.port.is_some() => Finding::wrong(
            CHECK,
            format!("cannot listen on UDP port {port}: {error}"),
            "stop the program that has it, or choose another with --turn-port",
        ),
        Err(_) => Finding::note(
            CHECK,
            format!("UDP port {port} is taken; the relay will take another"),
            "firewalls need a fixed one: choose it with --turn-port",
        ),
    }
}

/// Networks that the internet does not reach.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// A request without attributes, but for an allocation's wish for UDP (RFC 8656 §18.8).
fn request(kind: u16) -> io::Result<(Vec<u8>, [u8; 12])> {
    let mut transaction = [0; 12];
    getrandom::fill(&mut transaction).map_err(io::Error::other)?;
    let wish: &[u8] = if kind == ALLOCATE { &[0x00, 0x19, 0x00, 0x04, 17, 0, 0, 0] } else { &[] };
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend([0, wish.len() as u8]);
    bytes.extend(MAGIC);
    bytes.extend(transaction);
    bytes.extend(wish);
    Ok((bytes, transaction))
}

/// The type of an answer to that transaction.
fn kind_of(answer: &[u8], transaction: &[u8; 12]) -> io::Result<u16> {
    match answer {
        [high, low, _, _, rest @ ..]
            if rest.starts_with(&MAGIC) && rest[4..].starts_with(transaction) =>
        {
            Ok(u16::from_be_bytes([*high, *low]))
        }
        _ => Err(io::Error::other("what answers is no relay")),
    }
}

async fn by_udp(address: SocketAddr, kind: u16) -> io::Result<u16> {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    let (request, transaction) = request(kind)?;
    let mut answer = [0; 1500];
    for _ in 0..TRIES {
        socket.send(&request).await?;
        if let Ok(length) = timeout(PATIENCE / TRIES, socket.recv(&mut answer)).await {
            return kind_of(&answer[..length?], &transaction);
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came back"))
}

async fn by_tcp(address: SocketAddr, kind: u16) -> io::Result<u16> {
    let mut tcp = TcpStream::connect(address).await?;
    let (request, transaction) = request(kind)?;
    tcp.write_all(&request).await?;
    let mut head = [0; HEAD_BYTES];
    tcp.read_exact(&mut head).await?;
    kind_of(&head, &transaction)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[tokio::test]
    async fn a_port_where_nobody_answers_is_named() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        drop(silent.local_addr());
        let address = silent.local_addr().unwrap();
        drop(silent);
        let findings = ask(address).await;
        assert_eq!(findings.len(), 3);
        for finding in findings {
            assert_eq!(finding.verdict, Verdict::Wrong, "{finding}");
            assert!(finding.to_string().contains(&address.port().to_string()), "{finding}");
        }
    }

    #[test]
    fn only_an_answer_to_the_question_counts() {
        let (request, transaction) = request(BINDING).unwrap();
        assert_eq!(request.len(), HEAD_BYTES);
        assert_eq!(kind_of(&request, &transaction).unwrap(), BINDING);
        assert!(kind_of(&request[..19], &transaction).is_err());
        assert!(kind_of(b"HTTP/1.1 400 Bad Request", &transaction).is_err());
        assert!(kind_of(b"", &transaction).is_err());
    }
}
