//! Clients that come by TCP or TLS: one connection is one client, and its allocation ends with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::hub::{Change, DATAGRAM, Hub, Outlet, STREAM_QUEUE};
use super::message::frame;
use super::quota::network;
use super::relay::Relay;
use crate::metrics::TurnRefused;

/// How long the first byte, and a TLS handshake, may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may be silent without an allocation.
const IDLE: Duration = Duration::from_secs(30);
/// How long one write may take; then nobody reads any more.
const WRITE: Duration = Duration::from_secs(10);
/// Bytes that are written at once, where more than one packet waits.
const BATCH: usize = 16 * 1024;
/// The pause after the system refused us a connection, for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the task ends.
pub(super) async fn accept(hub: Arc<Hub>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let (tcp, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!("no TURN connection accepted: {}", error.kind());
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(share) = hub.connections.take(network(client.ip())) else {
            hub.metrics.turn.refused.add(TurnRefused::Quota);
            continue;
        };
        let (hub, tls) = (hub.clone(), tls.clone());
        let over = hub.over.clone();
        tokio::spawn(over.run_until_cancelled_owned(async move {
            if serve(&hub, tcp, client, tls).await.is_err() {
                tracing::trace!("a TURN connection ended with an error");
            }
            drop(share);
        }));
    }
}

/// TLS begins with this byte (RFC 8446 §5.1); STUN and channels with others.
const TLS_HANDSHAKE: u8 = 22;

async fn serve(
    hub: &Arc<Hub>,
    tcp: TcpStream,
    client: SocketAddr,
    tls: Option<TlsAcceptor>,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut first = [0];
    timeout(HANDSHAKE, tcp.peek(&mut first)).await??;
    if first[0] != TLS_HANDSHAKE {
        return converse(hub, tcp, client).await;
    }
    let Some(tls) = tls else { return Ok(()) };
    let stream = timeout(HANDSHAKE, tls.accept(tcp)).await??;
    Box::pin(converse(hub, stream, client)).await
}

/// Serves one client over any stream.
pub(super) async fn converse<IO>(hub: &Arc<Hub>, io: IO, client: SocketAddr) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reader, writer) = split(io);
    let (queue, waiting) = mpsc::channel(STREAM_QUEUE);
    let outlet = Outlet::Stream(queue);
    let mut relay: Option<Arc<Relay>> = None;
    let reading = async {
        let mut buffer = BytesMut::with_capacity(DATAGRAM);
        loop {
            while let Some(length) = whole_frame(&buffer)? {
                match hub.take(relay.as_ref(), &outlet, client, &buffer[..length]) {
                    None => {}
                    Some(Change::Opened(opened)) => relay = Some(opened),
                    Some(Change::Closed) => {
                        relay.take().inspect(|relay| relay.over.cancel());
                    }
                }
                buffer.advance(length);
            }
            relay.take_if(|relay| relay.over.is_cancelled());
            buffer.reserve(DATAGRAM);
            let read = reader.read_buf(&mut buffer);
            let read = match &relay {
                None => timeout(IDLE, read).await??,
                Some(relay) => match relay.over.run_until_cancelled(read).await {
                    Some(read) => read?,
                    None => continue,
                },
            };
            if read == 0 {
                return Ok(());
            }
        }
    };
    let ended = tokio::select! {
        ended = reading => ended,
        ended = write(writer, waiting) => ended,
    };
    relay.inspect(|relay| relay.over.cancel());
    ended
}

/// How long the first frame is, if it is there as a whole.
fn whole_frame(buffer: &[u8]) -> io::Result<Option<usize>> {
    let Some((head, _)) = buffer.split_first_chunk() else { return Ok(None) };
    match frame(*head) {
        Some((_, length)) if length <= DATAGRAM => Ok((buffer.len() >= length).then_some(length)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Writes what waits, several packets at once if they are there.
async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut waiting: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    while let Some(mut batch) = waiting.recv().await {
        while batch.len() < BATCH {
            let Ok(next) = waiting.try_recv() else { break };
            batch.extend_from_slice(&next);
        }
        timeout(WRITE, async {
            writer.write_all(&batch).await?;
            writer.flush().await
        })
        .await??;
    }
    Ok(())
}
