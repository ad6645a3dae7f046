//! The probes of all providers: when each is due, which run, and what ended and nobody has looked at yet.
//!
//! In: a plan for each provider. Out: whose probe has ended, and its answer. Probes run in tasks of their own, a bounded
//! number at a time; servers that let the last one wait have a lane of their own, so that they delay only each other.
//! Everything ends when this is dropped.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::fetch::Key;
use super::life::Ended;
use super::probe::Prober;
use super::queue::Queue;
use super::reconcile::Plan;
use crate::retry::LONGEST_WAIT;

/// Probes at the same time in each of the two lanes.
const LANE: usize = 128;
/// A probe that took longer puts its provider's next one in the slow lane.
const SLOW: Duration = Duration::from_secs(1);

/// The probes of all providers.
pub(super) struct Probing {
    prober: Arc<Prober>,
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    due: Queue<Key>,
    of: HashMap<Key, Probes>,
    tasks: JoinSet<(Key, Ended)>,
}

/// What is known of the probes of a provider.
#[derive(Default)]
struct Probes {
    plan: Option<Plan>,
    running: Option<AbortHandle>,
    /// When the last one began.
    began: Option<Instant>,
    /// The last one took long.
    is_slow: bool,
    /// One that ended and that nobody has looked at yet.
    ended: Option<Ended>,
}

impl Probing {
    pub(super) fn new() -> Self {
        Self {
            prober: Arc::new(Prober::default()),
            quick: Arc::new(Semaphore::new(LANE)),
            slow: Arc::new(Semaphore::new(LANE)),
            due: Queue::default(),
            of: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// The first probe is made at once, later ones by the interval; a shorter interval counts from the last one.
    pub(super) fn plan(&mut self, key: &Key, plan: Option<Plan>, now: Instant) {
        let Some(plan) = plan else {
            self.due.remove(key);
            if let Some(running) = self.of.remove(key).and_then(|probes| probes.running) {
                running.abort();
            }
            return;
        };
        let probes = self.of.entry(key.clone()).or_default();
        let old = probes.plan.replace(plan.clone());
        let is_other = old.as_ref().is_none_or(|old| old.hash != plan.hash || old.every != plan.every);
        if old.is_some_and(|old| old.hash != plan.hash) {
            // Another endpoint, or other headers.
            probes.began = None;
            probes.is_slow = false;
            if let Some(running) = probes.running.take() {
                running.abort();
            }
        }
        if probes.running.is_some() || probes.ended.is_some() {
            return;
        }
        let at = probes.began.map_or(now, |began| began + spread(plan.every)).max(now);
        if is_other {
            self.due.set(key.clone(), at);
        } else {
            self.due.add(key.clone(), at);
        }
    }

    /// By the plan that there is, for somebody who could not make another one.
    pub(super) fn go_on(&mut self, key: &Key, now: Instant) {
        if let Some(plan) = self.of.get(key).and_then(|probes| probes.plan.clone()) {
            self.plan(key, Some(plan), now);
        }
    }

    /// When a probe is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.next()
    }

    /// Starts those that are due.
    pub(super) fn start(&mut self, now: Instant) {
        while let Some(key) = self.due.pop(now) {
            self.begin(key, now);
        }
    }

    fn begin(&mut self, key: Key, now: Instant) {
        let Some(probes) = self.of.get_mut(&key) else { return };
        let Some(Plan { probe, hash, every: _ }) = probes.plan.clone() else { return };
        if probes.running.is_some() {
            return;
        }
        probes.began = Some(now);
        let lane = Arc::clone(if probes.is_slow { &self.slow } else { &self.quick });
        let prober = Arc::clone(&self.prober);
        probes.running = Some(self.tasks.spawn(async move {
            let permit = lane.acquire_owned().await;
            let (began, clock) = (Timestamp::now(), Instant::now());
            let answer = prober.ask(&probe).await;
            drop(permit);
            (key, Ended { hash, began, took: clock.elapsed(), answer })
        }));
    }

    /// Waits for one that ends, and says whose it is; never ends where none runs.
    pub(super) async fn ended(&mut self) -> Option<Key> {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, (key, ended)))) => self.keep(id, key, ended),
            Some(Err(error)) => {
                self.broke(&error);
                None
            }
            None => std::future::pending().await,
        }
    }

    fn keep(&mut self, id: Id, key: Key, ended: Ended) -> Option<Key> {
        let probes = self.of.get_mut(&key).filter(|probes| probes.runs(id))?;
        probes.running = None;
        probes.is_slow = ended.took > SLOW;
        probes.ended = Some(ended);
        Some(key)
    }

    /// A probe that went wrong in a way that nobody thought of is made again; one that was called off is not.
    fn broke(&mut self, error: &JoinError) {
        let id = error.id();
        let Some((key, probes)) = self.of.iter_mut().find(|(_, probes)| probes.runs(id)) else { return };
        tracing::error!(provider = %key, "a probe of the provider failed: {error}; it is made again");
        probes.running = None;
        self.due.add(key.clone(), Instant::now() + LONGEST_WAIT);
    }

    /// What ended since somebody last asked.
    pub(super) fn take(&mut self, key: &Key) -> Option<Ended> {
        self.of.get_mut(key)?.ended.take()
    }
}

impl Probes {
    fn runs(&self, id: Id) -> bool {
        self.running.as_ref().is_some_and(|running| running.id() == id)
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
