//! Decides when each provider is looked at and probed: on a change, when its time has come, when a probe has ended.
//!
//! In: the changes of all watches. Out: looks ([`reconcile`]), at most one at a time for each provider and a bounded
//! number in all, and probes in tasks of their own, so that a slow server delays no other. Everything ends when this is
//! dropped: another replica may lead by then.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::build::Reference;
use super::fetch::{Key, Mirror};
use super::life::{Ended, Life};
use super::probe::Prober;
use super::queue::Queue;
use super::reconcile::{Next, Plan, measure, reconcile};
use super::watch::{Change, Watches};
use crate::context::Context;
use crate::retry::{ClusterError, LONGEST_WAIT};

/// Looks at the same time.
const LOOKS: usize = 16;
/// Probes at the same time.
const PROBES: usize = 256;

/// Keeps all providers for as long as it is polled.
pub(super) async fn keep(ctx: &Arc<Context>) {
    let Watches { mut changes, waiting } = Watches::start(ctx);
    let mut keeper = Keeper::new(ctx, waiting);
    let _metrics = Forget(ctx);
    loop {
        let due = keeper.due.next();
        tokio::select! {
            Some(change) = changes.next() => keeper.heard(change),
            Some(done) = keeper.looks.join_next_with_id() => keeper.ended(done),
            Some(ended) = keeper.probes.join_next() => {
                if let Ok((key, ended)) = ended {
                    keeper.probed(key, ended);
                }
            }
            () = until(due), if keeper.is_free() => {}
        }
        keeper.start();
    }
}

/// Who does not lead says nothing of providers.
struct Forget<'a>(&'a Context);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.metrics.controllers.no_providers();
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// What a time in the queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum What {
    Look,
    Probe,
}

/// What is known of the probes of a provider.
#[derive(Default)]
struct Probing {
    plan: Option<Plan>,
    running: Option<AbortHandle>,
    /// When the last one began.
    began: Option<Instant>,
    /// One that ended and that nobody has looked at yet.
    ended: Option<Ended>,
}

/// A look that is over.
struct Done {
    key: Key,
    life: Life,
    result: Result<Next, ClusterError>,
}

struct Keeper {
    ctx: Arc<Context>,
    prober: Arc<Prober>,
    permits: Arc<Semaphore>,
    mirror: Mirror,
    /// Numbers of the watches that have not listed yet.
    waiting: HashSet<usize>,
    due: Queue<(Key, What)>,
    /// Of providers that nobody looks at right now.
    lives: HashMap<Key, Life>,
    /// Looked at right now; true: to be looked at again.
    busy: HashMap<Key, bool>,
    /// What they read has changed meanwhile.
    stale: HashSet<Key>,
    references: HashMap<Key, Vec<Reference>>,
    probing: HashMap<Key, Probing>,
    looks: JoinSet<Done>,
    /// Whom a look is about.
    about: HashMap<Id, Key>,
    probes: JoinSet<(Key, Ended)>,
}

impl Keeper {
    fn new(ctx: &Arc<Context>, waiting: HashSet<usize>) -> Self {
        Self {
            ctx: Arc::clone(ctx),
            prober: Arc::new(Prober::default()),
            permits: Arc::new(Semaphore::new(PROBES)),
            mirror: Mirror::default(),
            waiting,
            due: Queue::default(),
            lives: HashMap::new(),
            busy: HashMap::new(),
            stale: HashSet::new(),
            references: HashMap::new(),
            probing: HashMap::new(),
            looks: JoinSet::new(),
            about: HashMap::new(),
            probes: JoinSet::new(),
        }
    }

    /// Whether another look may begin.
    fn is_free(&self) -> bool {
        self.waiting.is_empty() && self.looks.len() < LOOKS
    }

    fn heard(&mut self, change: Change) {
        if let Change::Listed(number) = change {
            self.waiting.remove(&number);
            return;
        }
        let (keys, is_content) = self.mirror.take(change);
        for key in keys {
            if is_content {
                self.stale.insert(key.clone());
            }
            self.due.add((key, What::Look), Instant::now());
        }
    }

    /// Starts what is due.
    fn start(&mut self) {
        let now = Instant::now();
        while self.is_free() {
            match self.due.pop(now) {
                Some((key, What::Look)) => self.look(key),
                Some((key, What::Probe)) => self.probe(key),
                None => return,
            }
        }
    }

    fn look(&mut self, key: Key) {
        if let Some(again) = self.busy.get_mut(&key) {
            *again = true;
            return;
        }
        let Some(seen) = self.mirror.fetch(&key) else { return self.forget(&key) };
        if self.lives.get(&key).is_some_and(|life| !life.is_of(&seen.provider)) {
            self.forget(&key);
        }
        let begin = || Life::begin(&seen.provider, Timestamp::now());
        let mut life = self.lives.remove(&key).unwrap_or_else(begin);
        if self.stale.remove(&key) {
            life.forget_contents();
        }
        let ended = self.probing.get_mut(&key).and_then(|probing| probing.ended.take());
        self.busy.insert(key.clone(), false);
        let name = key.clone();
        let ctx = Arc::clone(&self.ctx);
        let look = self.looks.spawn(async move {
            let began = Instant::now();
            let result = reconcile(&ctx, &seen, &mut life, ended, Timestamp::now()).await;
            measure(&ctx, began, &result);
            Done { key, life, result }
        });
        self.about.insert(look.id(), name);
    }

    /// A look that went wrong in a way that nobody thought of is begun anew from what is stored.
    fn ended(&mut self, ended: Result<(Id, Done), JoinError>) {
        match ended {
            Ok((id, done)) => {
                self.about.remove(&id);
                self.looked(done);
            }
            Err(error) => {
                let Some(key) = self.about.remove(&error.id()) else { return };
                tracing::error!(provider = %key, "a look at the provider failed: {error}; it is tried again");
                self.busy.remove(&key);
                self.due.add((key, What::Look), Instant::now() + LONGEST_WAIT);
            }
        }
    }

    fn looked(&mut self, done: Done) {
        let Done { key, mut life, result } = done;
        let now = Instant::now();
        if self.busy.remove(&key) == Some(true) {
            self.due.add((key.clone(), What::Look), now);
        }
        match result {
            Ok(Next { again, plan, references }) => {
                life.attempts.succeeded();
                if let Some(wait) = again {
                    self.due.add((key.clone(), What::Look), now + wait);
                }
                let known = self.references.get(&key);
                if known.map_or(!references.is_empty(), |known| *known != references) {
                    self.mirror.reads(&key, references.clone());
                    self.references.insert(key.clone(), references);
                }
                self.plan(&key, plan, now);
            }
            Err(error) => {
                self.say(&key, &error);
                self.due.add((key.clone(), What::Look), now + life.attempts.failed());
            }
        }
        self.lives.insert(key, life);
    }

    fn say(&self, key: &Key, error: &ClusterError) {
        use crate::retry::Trouble::{
            Away, Conflict, Credentials, Forbidden, NotFound, Rejected, Terminating,
        };
        let expected = match error.trouble() {
            // Said where the connection is watched over; or somebody was faster, and the change comes by the watch.
            Away | Forbidden | Credentials | Conflict | NotFound | Terminating => true,
            Rejected => false,
        };
        if !expected && self.ctx.link.say_now(&format!("provider {key}"), &error.to_string()) {
            tracing::warn!(provider = %key, kind = error.kind(), "{error}; it is tried again");
        }
    }

    /// The first probe is made at once, later ones by the interval; a shorter interval counts from the last one.
    fn plan(&mut self, key: &Key, plan: Option<Plan>, now: Instant) {
        let due = (key.clone(), What::Probe);
        let Some(plan) = plan else {
            self.due.remove(&due);
            if let Some(running) = self.probing.remove(key).and_then(|probing| probing.running) {
                running.abort();
            }
            return;
        };
        let probing = self.probing.entry(key.clone()).or_default();
        let old = probing.plan.replace(plan.clone());
        let is_other = old.as_ref().is_none_or(|old| old.hash != plan.hash || old.every != plan.every);
        if is_other && old.as_ref().is_some_and(|old| old.hash != plan.hash) {
            // Another endpoint, or other headers.
            probing.began = None;
            if let Some(running) = probing.running.take() {
                running.abort();
            }
        }
        if probing.running.is_some() || probing.ended.is_some() {
            return;
        }
        let at = probing.began.map_or(now, |began| began + spread(plan.every));
        if is_other {
            self.due.set(due, at.max(now));
        } else {
            self.due.add(due, at.max(now));
        }
    }

    fn probe(&mut self, key: Key) {
        let Some(probing) = self.probing.get_mut(&key) else { return };
        let Some(Plan { probe, hash, every: _ }) = probing.plan.clone() else { return };
        if probing.running.is_some() {
            return;
        }
        probing.began = Some(Instant::now());
        let (prober, permits) = (Arc::clone(&self.prober), Arc::clone(&self.permits));
        probing.running = Some(self.probes.spawn(async move {
            let permit = permits.acquire_owned().await;
            let began = Timestamp::now();
            let answer = prober.ask(&probe).await;
            drop(permit);
            (key, Ended { hash, began, answer })
        }));
    }

    fn probed(&mut self, key: Key, ended: Ended) {
        let Some(probing) = self.probing.get_mut(&key) else { return };
        if probing.plan.as_ref().is_none_or(|plan| plan.hash != ended.hash) {
            return;
        }
        probing.running = None;
        probing.ended = Some(ended);
        self.due.add((key, What::Look), Instant::now());
    }

    /// The provider is gone, and everything that was made for it goes by itself.
    fn forget(&mut self, key: &Key) {
        self.plan(key, None, Instant::now());
        self.due.remove(&(key.clone(), What::Look));
        self.lives.remove(key);
        self.stale.remove(key);
        if self.references.remove(key).is_some_and(|known| !known.is_empty()) {
            self.mirror.reads(key, []);
        }
        self.ctx.metrics.controllers.provider_is_gone(&key.namespace, &key.name);
    }
}

/// The interval, up to a tenth less or more: probes that began together part ways.
fn spread(every: Duration) -> Duration {
    let share = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
    every.mul_f64(0.9 + 0.2 * f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_spread_by_a_tenth() {
        for _ in 0..1000 {
            let spread = spread(Duration::from_secs(10));
            assert!((9.0..=11.0).contains(&spread.as_secs_f64()), "{spread:?}");
        }
    }
}
