//! Handles whose `Drop` joins a thread must not be dropped on the runtime's own threads.

use std::ops::Deref;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Holds a media handle and drops it on a blocking thread, because its `Drop` waits until the
/// device's or codec's thread has ended.
#[derive(Debug)]
pub(super) struct OffThread<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> OffThread<T> {
    pub(super) fn new(handle: T) -> Self {
        Self(Some(handle))
    }

    /// Drops the handle now; the result says when its thread has ended. `None` where no runtime
    /// runs any more: then it has ended already.
    pub(super) fn close(mut self) -> Option<JoinHandle<()>> {
        drop_elsewhere(self.0.take()?)
    }
}

impl<T: Send + 'static> Deref for OffThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("the handle is taken out only when this is consumed")
    }
}

impl<T: Send + 'static> Drop for OffThread<T> {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            drop_elsewhere(handle);
        }
    }
}

fn drop_elsewhere<T: Send + 'static>(handle: T) -> Option<JoinHandle<()>> {
    let runtime = Handle::try_current().ok()?;
    Some(runtime.spawn_blocking(move || drop(handle)))
}
