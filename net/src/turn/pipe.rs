//! One stream to a relay: packets in, packets out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::DATAGRAM;

/// How long connecting may take, the TLS handshake included.
const CONNECT: Duration = Duration::from_secs(15);
/// How long one write may take; then nobody reads any more.
const WRITE: Duration = Duration::from_secs(10);
/// Bytes that are written at once, where more than one packet waits.
const BATCH: usize = 16 * 1024;
/// The bytes before the attributes of a message (RFC 8489 §5).
const MESSAGE_HEADER: usize = 20;
/// The bytes before the data of a channel (RFC 8656 §12.4).
const CHANNEL_HEADER: usize = 4;

/// Connects and passes packets until the stream or the queue ends.
///
/// # Errors
/// What the system, the certificate or the other end's framing says.
pub(super) async fn run(
    host: &str,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    waiting: mpsc::Receiver<Vec<u8>>,
    out: impl FnMut(&[u8]),
) -> io::Result<()> {
    let tcp = timeout(CONNECT, TcpStream::connect((host, port))).await??;
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else { return converse(tcp, waiting, out).await };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = timeout(CONNECT, TlsConnector::from(tls).connect(name, tcp)).await??;
    Box::pin(converse(stream, waiting, out)).await
}

async fn converse<IO: AsyncRead + AsyncWrite>(
    io: IO,
    waiting: mpsc::Receiver<Vec<u8>>,
    out: impl FnMut(&[u8]),
) -> io::Result<()> {
    let (reader, writer) = split(io);
    tokio::select! {
        ended = read(reader, out) => ended,
        ended = write(writer, waiting) => ended,
    }
}

async fn read<R: AsyncRead + Unpin>(mut reader: R, mut out: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(DATAGRAM);
    loop {
        while let Some((packet, whole)) = frame(&buffer)? {
            out(&buffer[..packet]);
            buffer.advance(whole);
        }
        buffer.reserve(DATAGRAM);
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut waiting: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut batch = Vec::new();
    while let Some(packet) = waiting.recv().await {
        batch.clear();
        push(&mut batch, &packet);
        while batch.len() < BATCH {
            let Ok(next) = waiting.try_recv() else { break };
            push(&mut batch, &next);
        }
        timeout(WRITE, async {
            writer.write_all(&batch).await?;
            writer.flush().await
        })
        .await??;
    }
    Ok(())
}

/// Adds a packet as it stands in a stream; what is neither message nor channel would break it,
/// and is left out.
fn push(batch: &mut Vec<u8>, packet: &[u8]) {
    if let Ok(Some((length, whole))) = frame_of(packet, true) {
        let start = batch.len();
        batch.extend_from_slice(&packet[..length]);
        batch.resize(start + whole, 0);
    }
}

/// Bytes of the packet that the buffer begins with, and bytes that it takes in the stream;
/// `None` while it is not there as a whole.
fn frame(buffer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    frame_of(buffer, false)
}

fn frame_of(buffer: &[u8], may_lack_padding: bool) -> io::Result<Option<(usize, usize)>> {
    let Some((head, _)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (packet, whole) = match head[0] {
        0x00..=0x3F => (MESSAGE_HEADER + length, MESSAGE_HEADER + length.next_multiple_of(4)),
        0x40..=0x7F => (CHANNEL_HEADER + length, CHANNEL_HEADER + length.next_multiple_of(4)),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    if whole > DATAGRAM {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let needed = if may_lack_padding { packet } else { whole };
    Ok((buffer.len() >= needed).then_some((packet, whole)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channel(data: &[u8]) -> Vec<u8> {
        let length = (data.len() as u16).to_be_bytes();
        [&[0x40, 0x01], &length[..], data].concat()
    }

    #[tokio::test]
    async fn packets_come_out_of_a_stream_as_they_went_in() {
        let packets: Vec<Vec<u8>> =
            (0..200_u16).map(|n| channel(&vec![n as u8; usize::from(n) * 5])).collect();
        let (one, mut other) = tokio::io::duplex(100);
        let (sender, waiting) = mpsc::channel(packets.len() + 1);
        for packet in &packets {
            sender.try_send(packet.clone()).unwrap();
        }
        sender.try_send(b"neither".to_vec()).unwrap();
        drop(sender);
        let writing = tokio::spawn(async move { write(one, waiting).await });
        let mut received = Vec::new();
        read(&mut other, |packet| received.push(packet.to_vec())).await.unwrap();
        writing.await.unwrap().unwrap();
        assert!(received == packets);
    }

    #[tokio::test]
    async fn a_relay_that_speaks_nonsense_is_left() {
        let nonsense: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        assert!(read(nonsense, |_| panic!("no packet")).await.is_err());
        let giant: &[u8] = &[0x40, 0, 0xFF, 0xFF];
        assert!(read(giant, |_| panic!("no packet")).await.is_err());
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = frame(&junk);
            let mut batch = Vec::new();
            push(&mut batch, &junk);
            prop_assert!(batch.len().is_multiple_of(4));
        }
    }
}
