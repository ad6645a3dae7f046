//! Takes part in the election: looks at the Lease, writes what [`View`] decides, and tells work through a [`Switch`].
//!
//! In: the candidate and a token that says when to give up. Out: a [`Leadership`], a metric, log lines and Events about
//! the Lease. No call takes so long that a term could pass meanwhile without work being told. On the token work is
//! dropped first, and only when none is left the Lease is given up, so that the next leader need not wait.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::events::EventType;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::election::{Candidate, Decision, View};
use super::{Leadership, Switch, Term};
use crate::context::Context;
use crate::manifests::FIELD_MANAGER;
use crate::retry::{ClusterError, Trouble};

/// Giving up the Lease may take this long; after that it runs out by itself.
const PARTING: Duration = Duration::from_secs(2);
/// A write that somebody else was faster with is followed by a look, and by one more write at most.
const ROUNDS: usize = 2;

/// A place in the election.
pub struct Election {
    candidate: Candidate,
    switch: Switch,
    give_up: CancellationToken,
    ended: CancellationToken,
}

impl Election {
    /// Takes a place; the election itself is [`keep`].
    pub fn enter(candidate: Candidate, give_up: CancellationToken) -> (Self, Leadership) {
        let (switch, leadership) = Leadership::new(Term::Follower);
        (Self { candidate, switch, give_up, ended: CancellationToken::new() }, leadership)
    }

    /// Cancelled when the Lease has been given up, or cannot be.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }
}

/// Takes part until told to give up; then gives up and returns.
pub async fn keep(ctx: Arc<Context>, election: Election) {
    let Election { candidate, switch, give_up, ended } = election;
    let _ended = ended.drop_guard();
    let api = Api::namespaced(ctx.client.clone(), &candidate.namespace);
    tracing::info!(
        identity = candidate.identity,
        lease = format!("{}/{}", candidate.namespace, candidate.name),
        "takes part in the election of a leader"
    );
    ctx.metrics.leads(false);
    let mut seat = Seat { ctx, api, view: View::new(candidate), switch, led: false, followed: String::new() };
    loop {
        let wait = tokio::select! {
            biased;
            () = give_up.cancelled() => break,
            wait = seat.attempt() => wait,
        };
        tokio::select! {
            () = give_up.cancelled() => break,
            () = sleep(wait) => {}
        }
    }
    seat.give_up().await;
}

/// One replica in the election.
struct Seat {
    ctx: Arc<Context>,
    api: Api<Lease>,
    view: View,
    switch: Switch,
    /// Whether we led when we last looked.
    led: bool,
    /// Whose lead was last said.
    followed: String,
}

impl Seat {
    /// Looks, writes what follows, and says how long to wait before the next time.
    async fn attempt(&mut self) -> Duration {
        let mut decision = Decision::Look;
        for _ in 0..ROUNDS {
            match self.step().await {
                Ok(done) => {
                    decision = done;
                    break;
                }
                Err(error) => {
                    self.view.failed();
                    self.say(&error);
                    if !matches!(error.trouble(), Trouble::Conflict) {
                        break;
                    }
                }
            }
        }
        self.show();
        let pause = self.view.pause(&decision, random());
        match self.view.until(now()) {
            Some(until) => pause.min(until - now()),
            None => pause,
        }
    }

    async fn step(&mut self) -> Result<Decision, ClusterError> {
        let mut decision = self.view.decide(now(), SystemTime::now());
        if decision == Decision::Look || self.view.until(now()).is_none() {
            let name = self.view.candidate().name.clone();
            let found = self.limited("get", self.api.get_opt(&name)).await?;
            self.view.saw(found, now());
            self.show();
            decision = self.view.decide(now(), SystemTime::now());
        }
        let params = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.into()) };
        let sent = now();
        let written = match &decision {
            Decision::Create(lease) => self.limited("create", self.api.create(&params, lease)).await?,
            Decision::Acquire(lease) | Decision::Renew(lease) => {
                let name = self.view.candidate().name.clone();
                self.limited("update", self.api.replace(&name, &params, lease)).await?
            }
            Decision::Look | Decision::Wait(_) => return Ok(decision),
        };
        self.view.wrote(written, matches!(decision, Decision::Create(_)), sent, now());
        Ok(decision)
    }

    /// A call that leaves time for another before our term is over.
    async fn limited<T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        let now = now();
        let usual = self.view.candidate().renew_deadline / 2;
        let limit = self.view.until(now).map_or(usual, |until| usual.min(until - now));
        let call = self.ctx.link.call(verb, self.object(), call);
        timeout(limit, call)
            .await
            .unwrap_or_else(|_| Err(ClusterError::Timeout { verb, object: self.object(), limit }))
    }

    /// Tells everybody where we stand.
    fn show(&mut self) {
        let until = self.view.until(now());
        match until {
            Some(until) => self.switch.until(Instant::from_std(until)),
            None => self.switch.take(),
        }
        match (self.led, until.is_some()) {
            (false, true) => self.turned(true, "became leader"),
            (true, false) => self.turned(false, "stopped leading"),
            _ => {}
        }
        let holder = self.view.holder();
        let another = !holder.is_empty() && holder != self.view.candidate().identity;
        if until.is_none() && another && holder != self.followed {
            tracing::info!(lease = self.object(), leader = holder, "follows");
            self.followed = holder.to_owned();
        }
    }

    fn turned(&mut self, leads: bool, what: &'static str) {
        self.led = leads;
        self.followed.clear();
        self.ctx.metrics.leads(leads);
        self.ctx.metrics.leader_turned(leads);
        let Candidate { identity, .. } = self.view.candidate();
        let (note, action) = (format!("{identity} {what}"), if leads { "Lead" } else { "Follow" });
        tracing::info!(lease = self.object(), identity, "{what}");
        let (ctx, lease) = (Arc::clone(&self.ctx), self.reference());
        // Nobody waits for it: a renewal must not come late because of an Event.
        tokio::spawn(async move {
            ctx.event_about(&lease, EventType::Normal, "LeaderElection", action, &note).await;
        });
    }

    /// Drops the work, then lets the others know that they need not wait.
    async fn give_up(&mut self) {
        self.switch.take();
        if self.led {
            self.turned(false, "stopped leading");
        }
        let parting = async {
            self.switch.idle().await;
            for _ in 0..=ROUNDS {
                match self.part().await {
                    Ok(()) => return,
                    Err(error) => {
                        self.view.failed();
                        self.say(&error);
                        if error.trouble() != Trouble::Conflict {
                            return;
                        }
                    }
                }
            }
        };
        if timeout(PARTING, parting).await.is_err() {
            tracing::warn!(
                lease = self.object(),
                "failed to give up the Lease in time; it runs out by itself"
            );
        }
    }

    async fn part(&mut self) -> Result<(), ClusterError> {
        let wall = SystemTime::now();
        let name = self.view.candidate().name.clone();
        if self.view.decide(now(), wall) == Decision::Look {
            let found = self.limited("get", self.api.get_opt(&name)).await?;
            self.view.saw(found, now());
        }
        let Some(lease) = self.view.release(wall) else { return Ok(()) };
        let params = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.into()) };
        self.limited("update", self.api.replace(&name, &params, &lease)).await?;
        tracing::info!(lease = self.object(), "gave up the Lease");
        Ok(())
    }

    fn say(&self, error: &ClusterError) {
        let expected = match error.trouble() {
            // Said where the connection is watched over, or the race that this is.
            Trouble::Away | Trouble::Forbidden | Trouble::Credentials | Trouble::Conflict => true,
            // Beside a cluster the namespace is being made.
            Trouble::NotFound => self.ctx.applies(),
            Trouble::Terminating | Trouble::Rejected => false,
        };
        if !expected && self.ctx.link.say_now("leader", &error.to_string()) {
            tracing::error!(kind = error.kind(), "{error}");
        }
    }

    fn object(&self) -> String {
        let Candidate { namespace, name, .. } = self.view.candidate();
        format!("lease {namespace}/{name}")
    }

    fn reference(&self) -> ObjectReference {
        let Candidate { namespace, name, .. } = self.view.candidate();
        ObjectReference {
            api_version: Some("coordination.k8s.io/v1".into()),
            kind: Some("Lease".into()),
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectReference::default()
        }
    }
}

/// A name that no other process has, and by which people find the pod.
pub fn identity(pod: Option<&str>) -> String {
    let host = pod.map(str::to_owned).or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host = host.as_deref().map(str::trim).filter(|host| !host.is_empty()).unwrap_or(FIELD_MANAGER);
    format!("{host}_{:016x}{:016x}", random_bits(), random_bits())
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Between 0 and 1.
fn random() -> f64 {
    f64::from(u32::try_from(random_bits() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

/// The standard library keys its hash maps with the system's random numbers.
fn random_bits() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_names_the_pod_and_is_never_the_same_again() {
        let one = identity(Some("operator-abc"));
        assert!(one.starts_with("operator-abc_"), "{one}");
        assert_ne!(one, identity(Some("operator-abc")));
        assert!(!identity(None).starts_with('_'));
    }
}
