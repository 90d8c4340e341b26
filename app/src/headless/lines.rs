//! Standard input and output of the headless peer: a thread each, because neither can be waited
//! for without blocking.

use std::io::{self, BufRead, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::protocol::{COMMAND_BYTES, Event};

/// Commands that wait to be followed. When it is full, reading pauses and the writer waits.
const COMMANDS: usize = 16;
/// Events that wait to be printed. When it is full the call waits for the reader.
const EVENTS: usize = 256;

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes, without the line break.
    Command(Vec<u8>),
    /// More than [`COMMAND_BYTES`]; it was skipped.
    TooLong,
}

/// Reads lines until the input ends; then the receiver is closed.
///
/// The thread is not joined: nothing can interrupt a read of standard input, so it ends with the
/// process.
///
/// # Errors
/// When the system refuses a thread.
pub fn read_commands(input: impl io::Read + Send + 'static) -> io::Result<mpsc::Receiver<Line>> {
    let (lines, lines_out) = mpsc::channel(COMMANDS);
    thread::Builder::new().name("pm-commands".to_owned()).spawn(move || {
        let mut input = io::BufReader::new(input);
        // An input that breaks has ended.
        while let Ok(Some(line)) = next_line(&mut input) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(lines_out)
}

/// The way to standard output.
#[derive(Debug)]
pub struct Printer {
    events: mpsc::Sender<Event>,
    finished: oneshot::Receiver<()>,
}

/// Nobody reads what is printed any more.
#[derive(Debug, Clone, Copy)]
pub struct ReaderGone;

impl Printer {
    /// Prints to `output` on a thread of its own.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let (events, mut events_out) = mpsc::channel(EVENTS);
        let (done, finished) = oneshot::channel();
        thread::Builder::new().name("pm-events".to_owned()).spawn(move || {
            while let Some(event) = events_out.blocking_recv() {
                if write_line(&mut output, &event).is_err() {
                    break;
                }
            }
            drop(events_out);
            let _ = done.send(());
        })?;
        Ok(Self { events, finished })
    }

    /// Prints an event; waits while the reader is slow.
    ///
    /// # Errors
    /// [`ReaderGone`].
    pub async fn print(&self, event: Event) -> Result<(), ReaderGone> {
        self.events.send(event).await.map_err(|_| ReaderGone)
    }

    /// Waits until nobody reads any more.
    pub async fn reader_gone(&self) {
        self.events.closed().await;
    }

    /// Waits until everything is printed.
    pub async fn finish(self) {
        drop(self.events);
        let _ = self.finished.await;
    }
}

fn write_line(output: &mut impl Write, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// The next line, with memory for [`COMMAND_BYTES`] at most; `None` at the end.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let (mut any, mut too_long) = (false, false);
    loop {
        let ready = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            ready => ready?,
        };
        let end = ready.iter().position(|&byte| byte == b'\n');
        let part = end.map_or(ready, |end| &ready[..end]);
        any |= !ready.is_empty();
        if line.len() + part.len() > COMMAND_BYTES {
            too_long = true;
            line = Vec::new();
        }
        if !too_long {
            line.extend_from_slice(part);
        }
        let ended = end.is_some() || ready.is_empty();
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if ended {
            return Ok(match (any, too_long) {
                (false, _) => None,
                (true, true) => Some(Line::TooLong),
                (true, false) => Some(Line::Command(line)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Line> {
        let mut input = io::BufReader::with_capacity(7, text);
        std::iter::from_fn(|| next_line(&mut input).unwrap()).collect()
    }

    #[test]
    fn lines_are_cut_at_line_breaks_and_the_last_one_needs_none() {
        let line = |text: &str| Line::Command(text.as_bytes().to_vec());
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"one"), [line("one")]);
        let three = [line("one"), line(""), line("three is longer")];
        assert_eq!(lines(b"one\n\nthree is longer\n"), three);
    }

    #[test]
    fn a_line_without_an_end_costs_bounded_memory_and_the_next_one_counts() {
        let mut text = vec![b'x'; 5 * COMMAND_BYTES];
        text.extend_from_slice(b"\nnext\n");
        assert_eq!(lines(&text), [Line::TooLong, Line::Command(b"next".to_vec())]);
        let mut longest = vec![b'x'; COMMAND_BYTES];
        longest.push(b'\n');
        assert_eq!(lines(&longest), [Line::Command(vec![b'x'; COMMAND_BYTES])]);
    }

    #[tokio::test]
    async fn a_broken_output_is_noticed() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let printer = Printer::start(Broken).unwrap();
        printer.print(Event::Left).await.unwrap();
        printer.reader_gone().await;
        assert!(printer.print(Event::Left).await.is_err());
    }
}
