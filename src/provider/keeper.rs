//! Decides when each provider is looked at: on a change, when its time has come, when a probe has ended.
//!
//! In: the changes of all watches. Out: looks ([`reconcile`]), at most one at a time for each provider and a bounded
//! number in all; what they plan for probes is left to [`Probing`]. While the API server is away, all looks wait
//! together. Everything ends when this is dropped: another replica may lead by then.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use tokio::task::JoinError;

use super::feed::Feed;
use super::fetch::{Key, Mirror};
use super::life::Life;
use super::looks::{Looks, until};
use super::probing::Probing;
use super::queue::Queue;
use super::reconcile::{Next, measure, reconcile};
use super::watch::{Change, Watches};
use crate::context::Context;
use crate::retry::{Attempts, ClusterError, LONGEST_WAIT, Trouble};

/// Looks at the same time.
const LOOKS: usize = 16;

/// Keeps all providers for as long as it is polled.
pub(super) async fn keep(ctx: &Arc<Context>, feed: &Feed) {
    // Dropped last: a look that ends meanwhile leaves no series behind.
    let _metrics = Shown::begin(ctx);
    let Watches { mut changes, waiting } = Watches::start(ctx);
    let mut keeper = Keeper::new(ctx, feed, waiting);
    loop {
        let due = keeper.due();
        tokio::select! {
            Some(change) = changes.next() => {
                let about = Feed::about(&change);
                keeper.heard(change);
                about.into_iter().for_each(|key| feed.changed(key));
                if keeper.waiting.is_empty() {
                    feed.listed();
                }
            }
            Some((key, done)) = keeper.looks.ended() => keeper.ended(key, done),
            ended = keeper.probing.ended() => {
                if let Some(key) = ended {
                    keeper.want(key, Instant::now());
                }
            }
            () = until(due) => {}
        }
        keeper.start();
    }
}

/// Who does not lead says nothing of providers.
struct Shown<'a>(&'a Context);

impl<'a> Shown<'a> {
    fn begin(ctx: &'a Context) -> Self {
        ctx.metrics.controllers.keeps_providers();
        Self(ctx)
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.metrics.controllers.no_providers();
    }
}

/// A look that is over.
struct Done {
    life: Box<Life>,
    result: Result<Next, ClusterError>,
}

struct Keeper {
    ctx: Arc<Context>,
    mirror: Mirror,
    /// Numbers of the watches that have not listed yet.
    waiting: HashSet<usize>,
    due: Queue<Key>,
    /// Of providers that nobody looks at right now.
    lives: HashMap<Key, Box<Life>>,
    /// Looked at right now; true: to be looked at again.
    busy: HashMap<Key, bool>,
    /// What they read has changed meanwhile.
    stale: HashSet<Key>,
    probing: Probing,
    looks: Looks<Done>,
    /// The API server is away: no look begins before that time.
    pause: Option<Instant>,
    outage: Attempts,
}

impl Keeper {
    fn new(ctx: &Arc<Context>, feed: &Feed, waiting: HashSet<usize>) -> Self {
        Self {
            ctx: Arc::clone(ctx),
            mirror: Mirror::new(feed.roster()),
            waiting,
            due: Queue::default(),
            lives: HashMap::new(),
            busy: HashMap::new(),
            stale: HashSet::new(),
            probing: Probing::new(),
            looks: Looks::default(),
            pause: None,
            outage: Attempts::default(),
        }
    }

    /// Whether another look may begin.
    fn is_free(&self) -> bool {
        self.waiting.is_empty() && self.looks.count() < LOOKS
    }

    /// When something is to be started.
    fn due(&self) -> Option<Instant> {
        let look = self.due.next().filter(|_| self.is_free()).max(self.pause.filter(|_| self.is_free()));
        look.into_iter().chain(self.probing.next()).min()
    }

    /// A look at the provider at that time at the latest.
    fn want(&mut self, key: Key, at: Instant) {
        self.due.add(key, at);
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
            self.want(key, Instant::now());
        }
    }

    /// Starts what is due.
    fn start(&mut self) {
        let now = Instant::now();
        self.probing.start(now);
        if self.pause.is_some_and(|end| now < end) {
            return;
        }
        self.pause = None;
        while self.is_free() {
            let due = self.due.next();
            let Some(key) = self.due.pop(now) else { return };
            let late = now.saturating_duration_since(due.unwrap_or(now));
            self.ctx.metrics.controllers.waited("provider", late);
            self.look(key);
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
        let begin = || Box::new(Life::begin(&seen.provider, Timestamp::now()));
        let mut life = self.lives.remove(&key).unwrap_or_else(begin);
        if self.stale.remove(&key) {
            life.forget_contents();
        }
        let ended = self.probing.take(&key);
        self.busy.insert(key.clone(), false);
        let ctx = Arc::clone(&self.ctx);
        self.looks.begin(key, async move {
            let began = Instant::now();
            let result = reconcile(&ctx, &seen, &mut life, ended, Timestamp::now()).await;
            measure(&ctx, began, &result);
            Done { life, result }
        });
    }

    /// A look that went wrong in a way that nobody thought of is begun anew from what is stored.
    fn ended(&mut self, key: Key, ended: Result<Done, JoinError>) {
        match ended {
            Ok(done) => self.looked(key, done),
            Err(error) => {
                tracing::error!(provider = %key, "a look at the provider failed: {error}; it is tried again");
                self.busy.remove(&key);
                self.want(key, Instant::now() + LONGEST_WAIT);
            }
        }
    }

    fn looked(&mut self, key: Key, done: Done) {
        let Done { mut life, result } = done;
        let now = Instant::now();
        if self.busy.remove(&key) == Some(true) {
            self.want(key.clone(), now);
        }
        self.take_note(result.as_ref().err().map(ClusterError::trouble), now);
        match result {
            Ok(Next { again, plan }) => {
                life.attempts.succeeded();
                self.mirror.settle(&key, life.sent.versions());
                if let Some(wait) = again {
                    self.want(key.clone(), now + wait);
                }
                self.probing.plan(&key, plan, now);
            }
            Err(error) => {
                self.ctx.link.tell("provider", &key.to_string(), &error);
                self.want(key.clone(), now + life.attempts.failed());
                self.probing.go_on(&key, now);
            }
        }
        self.lives.insert(key, life);
    }

    /// Where the API server is away, one wait is enough for all providers; any answer ends it.
    fn take_note(&mut self, trouble: Option<Trouble>, now: Instant) {
        if trouble == Some(Trouble::Away) {
            self.pause.get_or_insert_with(|| now + self.outage.failed());
        } else if !self.ctx.link.is_away() {
            self.outage.succeeded();
            self.pause = None;
        }
    }

    /// The provider is gone, and everything that was made for it goes by itself.
    fn forget(&mut self, key: &Key) {
        self.probing.plan(key, None, Instant::now());
        self.due.remove(key);
        self.lives.remove(key);
        self.stale.remove(key);
        self.ctx.metrics.controllers.provider_is_gone(&key.namespace, &key.name);
    }
}
