//! The kernel's floor: a relay that does nothing but read a message and `send` it to each
//! recipient. Nobody is signed in, nothing is checked, queued or measured.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::rc::Rc;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use crate::frames::{Cutter, unmasked};

/// What is read at once.
const READ_BYTES: usize = 4 * 1024;
/// As long as a user id.
const SENDER: &str = "00000000-0000-4000-8000-000000000000";

type Rooms = Rc<RefCell<HashMap<String, Vec<Rc<TcpStream>>>>>;

/// Serves until it is killed.
///
/// # Errors
/// When it can't listen.
pub fn run(mut out: impl Write) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(out, "listening on http://{}", listener.local_addr()?)?;
        out.flush()?;
        let rooms = Rooms::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let rooms = rooms.clone();
            // A client that breaks off ends its own task only.
            spawn_local(async move { drop(serve(stream, rooms).await) });
        }
    })
}

async fn serve(mut stream: TcpStream, rooms: Rooms) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        anyhow::ensure!(stream.read_buf(&mut head).await? > 0, "gone");
    }
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(answer.as_bytes()).await?;
    let stream = Rc::new(stream);
    let mut cutter = Cutter::default();
    let mut buffer = [0; READ_BYTES];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => cutter.feed(&buffer[..read], |frame| {
                // What can't be sent at once is lost: the floor keeps no queue.
                let _ = act(&stream, &rooms, frame.payload);
            }),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    for seats in rooms.borrow_mut().values_mut() {
        seats.retain(|seat| !Rc::ptr_eq(seat, &stream));
    }
    Ok(())
}

fn act(stream: &Rc<TcpStream>, rooms: &Rooms, payload: &[u8]) -> anyhow::Result<()> {
    let text = std::str::from_utf8(payload)?;
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let kind = after(r#""type":""#).and_then(|rest| rest.split('"').next());
    let room = after(r#""room":""#).and_then(|rest| rest.split('"').next());
    match (kind, room) {
        (Some("chat.message"), Some(room)) => {
            let open = text.strip_suffix('}').context("no object")?;
            let frame = unmasked(format!(r#"{open},"from":"{SENDER}"}}"#).as_bytes());
            for seat in rooms.borrow().get(room).into_iter().flatten() {
                let _ = seat.try_write(&frame);
            }
        }
        (Some("chat.join"), Some(room)) => {
            rooms.borrow_mut().entry(room.to_owned()).or_default().push(stream.clone());
            stream.try_write(&unmasked(br#"{"type":"room.users"}"#))?;
        }
        (Some("session.hello"), _) => {
            stream.try_write(&unmasked(br#"{"type":"session.welcome"}"#))?;
        }
        _ => {}
    }
    Ok(())
}
