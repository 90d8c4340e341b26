//! A plain TCP connection in two halves: its task reads, and whoever has something for the client
//! writes.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::line::Line;

/// The connection as its own task sees it.
#[derive(Debug)]
pub(super) struct Direct {
    read: OwnedReadHalf,
    line: Arc<Line>,
}

impl Direct {
    /// Reads from `read` and writes to the other half, which `line` holds.
    pub(super) fn new(read: OwnedReadHalf, line: Arc<Line>) -> Self {
        Self { read, line }
    }

    fn write_half(&self) -> io::Result<&OwnedWriteHalf> {
        self.line.direct().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Direct {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Direct {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let half = self.write_half()?;
        loop {
            ready!(half.as_ref().poll_write_ready(cx))?;
            match half.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.write_half()?.as_ref()).shutdown(Shutdown::Write))
    }
}
