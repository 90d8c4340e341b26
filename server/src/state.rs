//! What all requests and connections share.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use wire::ClientConfig;
use zeroize::Zeroizing;

use crate::auth::{Secret, Tokens};
use crate::backplane::seal::Keys;
use crate::backplane::{Backplane, ClusterConfig};
use crate::config::{Config, Network, Origins, Tls};
use crate::door::Door;
use crate::ice::Ice;
use crate::kept;
use crate::limits::HttpLimits;
use crate::line::Timing;
use crate::metrics::{Metrics, files_allowed};
use crate::relay::{Relay, Settings};
use crate::tls::Identity;
use crate::web::{Files, WebError};

/// The file that the token secret is kept in.
const SECRET_FILE: &str = "token-secret";

/// Where an operator may put that file's last content, so that its tokens stay good.
const PREVIOUS_SECRET_FILE: &str = "token-secret-previous";

/// The server behind its routes. Its parts are shared, never its whole locked.
#[derive(Debug)]
pub struct State {
    pub(crate) tokens: Tokens,
    pub(crate) request_timeout: Duration,
    pub(crate) origins: Origins,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) http_limits: Option<HttpLimits>,
    /// What clients are told about STUN and TURN servers.
    pub ice: Ice,
    pub(crate) client: ClientConfig,
    pub(crate) files: Files,
    pub(crate) relay: Arc<Relay>,
    /// The way to the other servers, if there are some.
    cluster: Option<(ClusterConfig, Arc<Backplane>)>,
    /// Whether clients reach us by TLS.
    pub(crate) secure: bool,
    /// What TLS shows; `None` for plain HTTP, and until [`crate::Server`] sets it.
    pub(crate) identity: Option<Identity>,
    pub(crate) door: Arc<Door>,
    /// What opens `/metrics` on the main listener.
    pub(crate) metrics_token: Option<Secret>,
    pub(crate) tasks: Tasks,
    /// What this server counts.
    pub metrics: Arc<Metrics>,
}

impl State {
    /// Everything that a configuration says, ready to serve.
    ///
    /// # Errors
    /// [`WebError`] when the web client's folder can't be served.
    pub fn new(config: Config) -> Result<Self, WebError> {
        let metrics = Arc::<Metrics>::default();
        let folder = config.state_dir.as_deref();
        // Users of one server must be let in by the others, too.
        let of_cluster = config.cluster.as_ref().map(|cluster| Keys::token_secret(&cluster.secret));
        let own = config.sign_in.secret.or(of_cluster);
        let (secret, previous) = match (own, config.sign_in.previous_secret) {
            (Some(secret), previous) => (secret, previous),
            (None, Some(previous)) => (kept_secret(folder), Some(previous)),
            (None, None) => (kept_secret(folder), previous_secret(folder)),
        };
        let settings = Settings {
            shards: config.room_shards,
            count_addresses: config.http_rate_limit,
            timing: Timing::default(),
        };
        let relay = Arc::new(Relay::new(&settings, metrics.clone(), Instant::now()));
        let cluster = config.cluster.map(|cluster| {
            let backplane = Arc::new(Backplane::new(metrics.clone()));
            backplane.attach(&relay);
            (cluster, backplane)
        });
        Ok(Self {
            ice: Ice::new(config.ice, &secret),
            tokens: Tokens {
                issuer: config.sign_in.app_name,
                secret,
                previous,
                lifetime: config.sign_in.token_lifetime,
            },
            request_timeout: config.sign_in.request_timeout,
            origins: config.origins,
            trusted_proxies: config.trusted_proxies,
            http_limits: config.http_rate_limit.then(HttpLimits::default),
            client: ClientConfig { protocol: wire::session::VERSION, ..config.client },
            files: Files::new(&config.web)?,
            relay,
            cluster,
            secure: config.tls != Tls::Off,
            identity: None,
            door: Door::new(config.doors, files_allowed(), metrics.clone()),
            metrics_token: config.metrics.token,
            tasks: Tasks::default(),
            metrics,
        })
    }
}

impl State {
    /// Joins the other servers, if there are some.
    pub(crate) fn join_others(&self) -> Others {
        let stop = CancellationToken::new();
        let task = self.cluster.clone().map(|(config, backplane)| {
            tokio::spawn(backplane.join(config, self.relay.clone(), stop.clone()))
        });
        Others { task, stop: stop.drop_guard() }
    }

    /// Runs `work` until the server stops.
    pub(crate) fn spawn_until_stop(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.tasks.stopping.clone();
        self.tasks.spawn(async move {
            stopping.run_until_cancelled_owned(work).await;
        });
    }
}

/// The task that talks with the other servers. It outlives the connections, whose ends it tells;
/// dropping this stops it.
#[derive(Debug)]
pub(crate) struct Others {
    task: Option<JoinHandle<()>>,
    stop: DropGuard,
}

impl Others {
    /// Says goodbye to them; does not take longer than `patience`.
    pub(crate) async fn leave(self, patience: Duration) {
        drop(self.stop);
        if let Some(task) = self.task
            && timeout(patience, task).await.is_err()
        {
            tracing::debug!("the other servers were not told in time");
        }
    }
}

/// The secret of the last run; where nothing can be kept, one that is good for this run.
fn kept_secret(state_dir: Option<&Path>) -> Secret {
    let Some(folder) = state_dir else { return Secret::random() };
    let make = || std::io::Result::Ok(Zeroizing::new(Secret::random().bytes().to_vec()));
    match kept::keep(folder, SECRET_FILE, |old| old.len() >= Secret::MIN_BYTES, make) {
        Ok(bytes) => Secret::new(bytes.to_vec()),
        Err(error) => {
            tracing::warn!(
                "cannot keep the token secret ({error}); clients sign in again after a restart"
            );
            Secret::random()
        }
    }
}

/// The secret before the kept one, if the operator put it beside.
fn previous_secret(state_dir: Option<&Path>) -> Option<Secret> {
    let secret = Secret::new(std::fs::read(state_dir?.join(PREVIOUS_SECRET_FILE)).ok()?);
    if !secret.is_strong() {
        tracing::warn!("{PREVIOUS_SECRET_FILE} is too short for a secret and is not used");
        return None;
    }
    Some(secret)
}

/// The tasks of all connections, so that none outlives the server.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    /// Asks every connection to end politely.
    pub(crate) stopping: CancellationToken,
    /// Ends what is left.
    abandoned: CancellationToken,
}

/// Some connections did not end in time and were cut off.
#[derive(Debug, Error)]
#[error("{0} connections did not end in time")]
pub(crate) struct CutOff(usize);

impl Tasks {
    /// Runs `task` as long as the server lives.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abandoned = self.abandoned.clone();
        self.tracker.spawn(async move {
            abandoned.run_until_cancelled_owned(task).await;
        });
    }

    /// Runs `task`, which ends by itself soon after the server stops. It costs less.
    pub(crate) fn spawn_bounded(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Asks all to end, waits for them at most `patience` and then cuts them off.
    pub(crate) async fn end(&self, patience: Duration) -> Result<(), CutOff> {
        self.stopping.cancel();
        self.tracker.close();
        if tokio::time::timeout(patience, self.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let left = self.tracker.len();
        self.abandoned.cancel();
        self.tracker.wait().await;
        Err(CutOff(left))
    }
}
