//! The STUN and TURN servers of the moment. Their credentials end, so they are asked for again in
//! time; connections that are made, or search new paths, take the newest.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use wire::{IceServer, IceServers};

/// Servers that are used; more are cut off.
const SERVERS: usize = 8;
/// Addresses of one server that are used; more are cut off.
const URLS: usize = 8;
/// The first pause after an answer that did not come; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest it grows.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is known, shared by whoever asks.
#[derive(Debug, Clone)]
pub(crate) struct Ice(watch::Sender<Known>);

#[derive(Debug)]
struct Known {
    servers: Vec<IceServer>,
    ttl: Duration,
    since: Instant,
}

impl Ice {
    pub(crate) fn new() -> Self {
        let known = Known { servers: Vec::new(), ttl: Duration::ZERO, since: Instant::now() };
        Self(watch::Sender::new(known))
    }

    /// The server has told.
    pub(crate) fn learn(&self, told: IceServers) {
        let mut servers = told.ice_servers;
        servers.truncate(SERVERS);
        servers.iter_mut().for_each(|server| server.urls.truncate(URLS));
        let ttl = Duration::from_secs(told.ttl.min(u32::MAX.into()));
        self.0.send_replace(Known { servers, ttl, since: Instant::now() });
    }

    /// The newest.
    pub(crate) fn current(&self) -> Vec<IceServer> {
        self.0.borrow().servers.clone()
    }

    /// Asks again in time, for ever. `ask` answers `None` where there is no answer; `fraction` is
    /// random, from 0 to 1.
    pub(crate) async fn renew<F>(&self, ask: impl Fn() -> F, fraction: impl Fn() -> f64)
    where
        F: Future<Output = Option<IceServers>>,
    {
        let mut news = self.0.subscribe();
        let mut renewal = Renewal::default();
        loop {
            let due = renewal.due(&news.borrow_and_update(), fraction());
            tokio::select! {
                changed = news.changed() => match changed {
                    Ok(()) => renewal = Renewal::default(),
                    Err(_) => return,
                },
                () = at(due) => match ask().await {
                    Some(told) => self.learn(told),
                    None => renewal.failed(Instant::now()),
                },
            }
        }
    }
}

/// When to ask again.
#[derive(Debug, Default)]
struct Renewal {
    failures: u32,
    not_before: Option<Instant>,
}

impl Renewal {
    /// When two thirds of their time are over, a little earlier at random: a room full of clients
    /// does not ask at once. Never where they don't end.
    fn due(&self, known: &Known, fraction: f64) -> Option<Instant> {
        let lasts = known.ttl.mul_f64(2.0 / 3.0 - fraction / 10.0);
        (!known.ttl.is_zero())
            .then(|| (known.since + lasts).max(self.not_before.unwrap_or(known.since)))
    }

    fn failed(&mut self, now: Instant) {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(10));
        self.failures += 1;
        self.not_before = Some(now + pause.min(LONGEST_PAUSE));
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ttl: u64) -> IceServers {
        let server = IceServer { urls: vec!["turn:host".to_owned()], ..IceServer::default() };
        IceServers { ice_servers: vec![server], ttl }
    }

    /// After how many seconds the server is asked, if it answers those of these places only.
    fn asked(ttl: u64, times: usize, fraction: f64, answers: impl Fn(usize) -> bool) -> Vec<u64> {
        let ice = Ice::new();
        ice.learn(told(ttl));
        let start = ice.0.borrow().since;
        let (mut renewal, mut asked) = (Renewal::default(), Vec::new());
        while asked.len() < times {
            let due = renewal.due(&ice.0.borrow(), fraction);
            let Some(due) = due else { break };
            if answers(asked.len()) {
                ice.0.send_modify(|known| known.since = due);
                renewal = Renewal::default();
            } else {
                renewal.failed(due);
            }
            asked.push((due - start).as_secs());
        }
        asked
    }

    #[test]
    fn credentials_of_five_minutes_never_end_in_a_day() {
        for fraction in [0.0, 0.5, 1.0] {
            // Every fourth answer does not come.
            let asked = asked(300, 600, fraction, |count| count % 4 != 3);
            assert!(*asked.last().unwrap() > 20 * 3_600, "{asked:?}");
            assert!(asked[0] <= 200 && asked.windows(2).all(|two| two[1] - two[0] <= 202));
        }
    }

    #[test]
    fn a_server_without_an_answer_is_asked_more_and_more_rarely() {
        let asked = asked(300, 8, 0.0, |_| false);
        assert_eq!(asked, [200, 202, 206, 214, 230, 262, 322, 382]);
    }

    #[test]
    fn what_does_not_end_is_not_asked_for() {
        assert!(asked(0, 5, 0.5, |_| true).is_empty());
    }

    #[tokio::test]
    async fn what_is_learnt_is_used_at_once_and_renewed_in_time() {
        let (ice, hour) = (Ice::new(), 3_600);
        let renewing = ice.clone();
        let (answer, mut answers) = tokio::sync::mpsc::channel(1);
        let task = tokio::spawn(async move {
            let ask = || {
                let answer = answer.clone();
                async move {
                    answer.send(()).await.ok();
                    Some(told(3_600))
                }
            };
            renewing.renew(ask, || 0.0).await;
        });
        assert!(ice.current().is_empty());
        ice.learn(told(1)); // Two thirds of a second.
        assert_eq!(ice.current().len(), 1);
        answers.recv().await.unwrap();
        let mut news = ice.0.subscribe();
        news.wait_for(|known| known.ttl == Duration::from_secs(hour)).await.unwrap();
        task.abort();
    }
}
