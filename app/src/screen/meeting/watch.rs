//! Says when a picture is new, so that the window is drawn then and not otherwise.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use iced::Subscription;
use iced::futures::{SinkExt, Stream};
use media::{Frame, Slot};
use tokio::time::{Instant, MissedTickBehavior};

/// How often the slots are looked at. Reading a version is a lock and a copy.
const LOOK_EVERY: Duration = Duration::from_millis(8);
/// Pictures are shown at most 30 times a second; the rest are never converted.
const REFRESH_AT_MOST_EVERY: Duration = Duration::from_millis(32);
/// Without a new picture, this is how often one looks who speaks.
const LISTEN_EVERY: Duration = Duration::from_millis(250);
/// Refreshes on their way to the window. Whoever waits here is this watch alone: a slow window
/// gets fewer of them.
const REFRESHES: usize = 1;

/// Speaks up when a slot has a new picture; and now and then, when there is somebody who could
/// speak (`company`). A new `generation` is a new watch.
pub(super) fn pictures(
    generation: u64,
    slots: Vec<Slot<Frame>>,
    company: bool,
) -> Subscription<()> {
    Subscription::run_with(Watch { generation, company, slots }, watch)
}

struct Watch {
    generation: u64,
    company: bool,
    slots: Vec<Slot<Frame>>,
}

impl Hash for Watch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.generation, self.company).hash(state);
    }
}

fn watch(watch: &Watch) -> impl Stream<Item = ()> + use<> {
    let (slots, company) = (watch.slots.clone(), watch.company);
    iced::stream::channel(REFRESHES, async move |mut refresh| {
        let mut tick =
            tokio::time::interval(if slots.is_empty() { LISTEN_EVERY } else { LOOK_EVERY });
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = 0;
        let mut last = Instant::now();
        loop {
            tick.tick().await;
            // Versions only grow, so their sum changes when any of them does.
            let versions: u64 = slots.iter().map(Slot::version).sum();
            let waited = last.elapsed();
            let new = versions != seen && waited >= REFRESH_AT_MOST_EVERY;
            if new || (company && waited >= LISTEN_EVERY) {
                seen = versions;
                last = Instant::now();
                if refresh.send(()).await.is_err() {
                    return;
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use iced::futures::StreamExt;

    use super::*;

    /// Long enough for many looks.
    const QUIET: Duration = Duration::from_millis(150);

    fn frame() -> Frame {
        Frame::new(16, 16, Clock::now())
    }

    #[tokio::test]
    async fn one_new_picture_is_one_refresh_and_none_is_none() {
        let slots = vec![Slot::new(), Slot::new()];
        let mut refreshes =
            Box::pin(watch(&Watch { generation: 0, company: false, slots: slots.clone() }));
        let none = tokio::time::timeout(QUIET, refreshes.next()).await;
        assert!(none.is_err(), "nothing was new");
        slots[0].put(frame());
        slots[1].put(frame());
        refreshes.next().await.unwrap();
        let none = tokio::time::timeout(QUIET, refreshes.next()).await;
        assert!(none.is_err(), "both were seen at once");
    }

    #[tokio::test]
    async fn with_company_somebody_listens_now_and_then() {
        let mut refreshes =
            Box::pin(watch(&Watch { generation: 0, company: true, slots: Vec::new() }));
        let before = Instant::now();
        refreshes.next().await.unwrap();
        refreshes.next().await.unwrap();
        assert!(before.elapsed() >= LISTEN_EVERY);
    }
}
