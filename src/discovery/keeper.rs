//! Decides when each source is looked at: when it or what it looks at has changed, and when its interval has passed.
//!
//! In: the watch of sources, what sources look at ([`super::watch`]), and what the controller of providers hears. Out:
//! looks ([`reconcile`]), at most one at a time for each source, a bounded number in all, and bursts as one. Everything
//! ends when this is dropped: another replica may lead by then.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::DynamicObject;
use tokio::task::JoinError;

use super::neighbours::Neighbours;
use super::reconcile::{Life, Next, reconcile, resource};
use super::source::{Settings, Source};
use super::watch::{Interests, Touch, Watches};
use crate::context::Context;
use crate::provider::Key;
use crate::provider::feed::{Heard, Listener};
use crate::provider::looks::{Looks, until};
use crate::provider::queue::Queue;
use crate::provider::watch::{News, objects};
use crate::retry::{ClusterError, LONGEST_WAIT};

/// Looks at the same time.
const LOOKS: usize = 4;
/// After a change, so long until the look: what comes in a burst is seen at once.
const QUIET: Duration = Duration::from_millis(200);
/// Between the end of a look and the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps all sources for as long as it is polled.
pub(super) async fn keep(ctx: &Arc<Context>, mut providers: Listener) {
    let (mut sources, waiting) = objects(ctx, &resource());
    let mut keeper = Keeper::new(ctx, &providers, waiting);
    let _metrics = Forget(ctx);
    loop {
        let due = keeper.due.next();
        tokio::select! {
            Some(heard) = providers.next() => keeper.heard(heard),
            Some((watch, news)) = sources.next() => keeper.source(watch, news),
            Some(touch) = keeper.watches.touches.next() => keeper.touched(touch),
            Some((key, done)) = keeper.looks.ended() => keeper.ended(key, done),
            () = until(due), if keeper.is_free() => {}
        }
        keeper.start();
    }
}

/// Who does not lead says nothing of sources.
struct Forget<'a>(&'a Context);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.metrics.controllers.sources(0);
    }
}

/// A source, and what follows from its spec.
struct Entry {
    source: Arc<Source>,
    settings: Result<Arc<Settings>, String>,
    /// While nobody looks at it.
    life: Option<Life>,
    /// When the last look ended.
    ended: Option<Instant>,
    /// Changed while somebody looked at it.
    is_stale: bool,
    /// Names that it wants.
    names: BTreeSet<String>,
}

/// A look that is over.
struct Done {
    uid: String,
    life: Life,
    result: Result<Next, ClusterError>,
}

struct Keeper {
    ctx: Arc<Context>,
    /// Numbers of the watches that have not listed yet.
    waiting: HashSet<usize>,
    /// All providers have been told: before that, nobody knows what exists.
    has_providers: bool,
    providers: Neighbours,
    sources: BTreeMap<Key, Entry>,
    watches: Watches,
    interests: Interests,
    due: Queue<Key>,
    looks: Looks<Done>,
}

impl Keeper {
    fn new(ctx: &Arc<Context>, providers: &Listener, waiting: HashSet<usize>) -> Self {
        Self {
            ctx: Arc::clone(ctx),
            waiting,
            has_providers: false,
            providers: Neighbours::new(&providers.roster),
            sources: BTreeMap::new(),
            watches: Watches::default(),
            interests: Interests::default(),
            due: Queue::default(),
            looks: Looks::default(),
        }
    }

    fn is_free(&self) -> bool {
        self.waiting.is_empty() && self.has_providers && self.looks.count() < LOOKS
    }

    fn source(&mut self, watch: usize, news: News<DynamicObject>) {
        match news {
            News::Listed => {
                self.waiting.remove(&watch);
            }
            News::Gone(key) => {
                self.sources.remove(&key);
                self.due.remove(&key);
                self.interests.forget(&key);
                if self.near(&key).next().is_none() {
                    self.providers.leave(&key.namespace);
                }
            }
            News::Is(key, object) => self.known(Arc::new(Source::of(key, object))),
        }
        self.ctx.metrics.controllers.sources(self.sources.len());
    }

    fn known(&mut self, source: Arc<Source>) {
        let key = source.key.clone();
        if let Some(entry) = self.sources.get_mut(&key).filter(|entry| entry.source.uid == source.uid) {
            let is_news = source.wishes_other_than(&entry.source);
            if entry.source.generation != source.generation {
                entry.settings = source.settings(&self.ctx.policy).map(Arc::new);
            }
            entry.source = source;
            if !is_news {
                return;
            }
        } else {
            self.providers.enter(&key.namespace);
            let settings = source.settings(&self.ctx.policy).map(Arc::new);
            let (life, names) = (Some(Life::default()), BTreeSet::new());
            let entry = Entry { source, settings, life, ended: None, is_stale: false, names };
            self.sources.insert(key.clone(), entry);
        }
        if let Some(Ok(settings)) = self.sources.get(&key).map(|entry| &entry.settings) {
            self.watches.need(&self.ctx, settings);
        }
        self.wake(&key, Duration::ZERO);
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Listed => self.has_providers = true,
            Heard::Changed(key) => {
                let Some(by) = self.providers.changed(&key) else { return };
                let made = by.into_iter().flatten().map(|source| key.named(&source));
                let near = self.near(&key).filter(|(_, it)| it.names.contains(&*key.name));
                let sources: BTreeSet<Key> = made.chain(near.map(|(it, _)| it.clone())).collect();
                sources.iter().for_each(|source| self.wake(source, QUIET));
            }
        }
    }

    /// The sources of the same namespace.
    fn near(&self, key: &Key) -> impl Iterator<Item = (&Key, &Entry)> {
        let from = Key { namespace: Arc::clone(&key.namespace), name: "".into() };
        let namespace = Arc::clone(&key.namespace);
        self.sources.range(from..).take_while(move |(it, _)| it.namespace == namespace)
    }

    fn touched(&mut self, touch: Touch) {
        let sources = self.sources.iter();
        let sources = sources.filter_map(|(key, entry)| Some((key, &**entry.settings.as_ref().ok()?)));
        let concerned = self.interests.touched(touch, sources);
        concerned.iter().for_each(|key| self.wake(key, QUIET));
    }

    /// To be looked at soon, but not at once again.
    fn wake(&mut self, key: &Key, wait: Duration) {
        let Some(entry) = self.sources.get_mut(key) else { return };
        if entry.life.is_none() {
            entry.is_stale = true;
            return;
        }
        let now = Instant::now();
        let rested = entry.ended.filter(|_| !wait.is_zero()).map_or(now, |ended| ended + PAUSE);
        self.due.add(key.clone(), rested.max(now + wait));
    }

    /// Starts what is due.
    fn start(&mut self) {
        let now = Instant::now();
        while self.is_free() {
            let Some(key) = self.due.pop(now) else { return };
            self.look(&key);
        }
    }

    fn look(&mut self, key: &Key) {
        let Some(entry) = self.sources.get_mut(key) else { return };
        let Some(mut life) = entry.life.take() else {
            entry.is_stale = true;
            return;
        };
        let (source, settings) = (Arc::clone(&entry.source), entry.settings.clone());
        let providers = self.providers.crowd(&key.namespace);
        let ctx = Arc::clone(&self.ctx);
        self.looks.begin(key.clone(), async move {
            let began = Instant::now();
            let result = reconcile(&ctx, &source, &settings, providers, &mut life).await;
            let word = result.as_ref().map_or_else(ClusterError::kind, |_| "success");
            ctx.metrics.controllers.reconciled("discovery", word, began.elapsed());
            Done { uid: source.uid.clone(), life, result }
        });
    }

    fn ended(&mut self, key: Key, ended: Result<Done, JoinError>) {
        match ended {
            Ok(done) => self.looked(key, done),
            Err(error) => {
                tracing::error!(source = %key, "a look at the source failed: {error}; it is tried again");
                if let Some(entry) = self.sources.get_mut(&key) {
                    entry.life = Some(Life::default());
                    self.due.add(key, Instant::now() + LONGEST_WAIT);
                }
            }
        }
    }

    fn looked(&mut self, key: Key, done: Done) {
        let Done { uid, mut life, result } = done;
        let now = Instant::now();
        let Some(entry) = self.sources.get_mut(&key) else { return };
        if entry.source.uid != uid {
            // Another of that name was made meanwhile, and has a life of its own.
            return;
        }
        entry.ended = Some(now);
        let wait = match result {
            Ok(Next { again, may_mend, names, things }) => {
                entry.names = names;
                self.interests.found(&key, things);
                if may_mend {
                    let soon = life.attempts.failed();
                    Some(again.map_or(soon, |again| again.min(soon)))
                } else {
                    life.attempts.succeeded();
                    again
                }
            }
            Err(error) => {
                self.ctx.link.tell("source", &key.to_string(), &error);
                Some(life.attempts.failed())
            }
        };
        entry.life = Some(life);
        if std::mem::take(&mut entry.is_stale) {
            self.due.add(key.clone(), now + PAUSE);
        }
        if let Some(wait) = wait {
            self.due.add(key, now + wait);
        }
    }
}
