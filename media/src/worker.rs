//! A named thread that is told to stop, and joined, by its handle's drop.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

/// The handle of a running thread.
#[derive(Debug)]
pub(crate) struct Worker {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread itself holds. The thread sleeps only by parking, so that unparking it is
/// enough to make it look around.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Worker {
    /// Starts `run` on a thread of this name.
    pub fn spawn(name: &str, run: impl FnOnce(Stop) + Send + 'static) -> std::io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Stop(Arc::clone(&stopped));
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(stop))?;
        Ok(Self { stopped, thread: Some(thread) })
    }

    /// Asks the thread to end, without waiting for it.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake();
    }

    /// Makes the thread look around.
    pub fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
        let Some(thread) = self.thread.take() else { return };
        if thread.thread().id() == thread::current().id() {
            return; // dropped by its own callback: it can't wait for itself
        }
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            tracing::error!(thread = name, "a media thread panicked");
        }
    }
}

impl Stop {
    /// Whether the thread should end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps until `deadline`; `false` as soon as the thread should end.
    pub fn sleep_until(&self, deadline: Instant) -> bool {
        loop {
            if self.is_set() {
                return false;
            }
            match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return true,
            }
        }
    }

    /// Waits for a future of `tokio::sync` without a runtime; `None` as soon as the thread should
    /// end.
    pub fn block_on<F: Future>(&self, future: F) -> Option<F::Output> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
        while !self.is_set() {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return Some(output),
                Poll::Pending => thread::park(),
            }
        }
        None
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[test]
    fn a_sleeping_thread_ends_when_its_handle_is_dropped() {
        let worker = Worker::spawn("pm-test", |stop| {
            assert!(!stop.sleep_until(Instant::now() + Duration::from_secs(60)));
        });
        let started = Instant::now();
        drop(worker.unwrap());
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_waiting_thread_ends_when_its_handle_is_dropped() {
        let (_sender, mut receiver) = mpsc::channel::<u8>(1);
        let worker = Worker::spawn("pm-test", move |stop| {
            assert!(stop.block_on(receiver.recv()).is_none());
        });
        drop(worker.unwrap());
    }

    #[test]
    fn a_thread_waits_for_a_message() {
        let (sender, mut receiver) = mpsc::channel(1);
        let (done, result) = oneshot::channel();
        let worker = Worker::spawn("pm-test", move |stop| {
            let _ = done.send(stop.block_on(receiver.recv()));
        });
        sender.blocking_send(7).unwrap();
        assert_eq!(result.blocking_recv().unwrap(), Some(Some(7)));
        drop(worker.unwrap());
    }
}
