//! What reading masked messages costs in three WebSocket layers, from memory, without a system
//! call: tokio-tungstenite, tokio-websockets, and the server's own codec.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use futures_util::StreamExt;
use server::codec::{Decoder, Event};
use tokio::io::{join, sink};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_websockets::ServerBuilder;
use wire::limits::FRAME_BYTES;

use crate::frames::masked;

/// What all three read at once.
const READ_BYTES: usize = 16 * 1024;

/// The messages.
#[derive(Debug, Args)]
pub struct Layers {
    /// Bytes in each, several with commas.
    #[arg(long, value_delimiter = ',', default_values_t = [32, 430, 4_096])]
    bytes: Vec<usize>,
    /// How many are read in one measurement.
    #[arg(long, default_value_t = 100_000)]
    messages: usize,
    /// How often everything is repeated, all layers in turn.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

/// Runs the measurement and writes its table.
///
/// # Errors
/// When a layer does not read what was written.
pub fn run(layers: &Layers, mut out: impl Write) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    writeln!(out, "bytes,round,layer,ns_per_message")?;
    for &bytes in &layers.bytes {
        let text = "x".repeat(bytes);
        let stream = masked(1, text.as_bytes()).repeat(layers.messages);
        for round in 1..=layers.rounds {
            for layer in ["tokio-tungstenite", "tokio-websockets", "own codec"] {
                let input = stream.clone();
                let started = Instant::now();
                let read = match layer {
                    "tokio-tungstenite" => runtime.block_on(tungstenite(&input)),
                    "tokio-websockets" => runtime.block_on(websockets(&input)),
                    _ => own(input)?,
                };
                let took: Duration = started.elapsed();
                ensure!(read == layers.messages, "{layer} read {read} messages");
                let each = took.as_nanos() as f64 / read as f64;
                writeln!(out, "{bytes},{round},{layer},{each:.0}")?;
            }
        }
    }
    Ok(())
}

async fn tungstenite(input: &[u8]) -> usize {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(FRAME_BYTES))
        .max_frame_size(Some(FRAME_BYTES));
    let io = join(input, sink());
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let messages = socket.take_while(|message| std::future::ready(message.is_ok()));
    messages.count().await
}

async fn websockets(input: &[u8]) -> usize {
    let config = tokio_websockets::Config::default();
    let limits = tokio_websockets::Limits::default().max_payload_len(Some(FRAME_BYTES));
    let socket = ServerBuilder::new().config(config).limits(limits).serve(join(input, sink()));
    let messages = socket.take_while(|message| std::future::ready(message.is_ok()));
    messages.count().await
}

fn own(mut input: Vec<u8>) -> anyhow::Result<usize> {
    let mut decoder = Decoder::new(FRAME_BYTES);
    let mut read = 0;
    // In pieces as the socket would give them.
    for piece in input.chunks_mut(READ_BYTES) {
        let mut piece = piece;
        while let Some(event) = decoder.next(&mut piece)? {
            read += usize::from(matches!(event, Event::Message(_)));
        }
    }
    Ok(read)
}
