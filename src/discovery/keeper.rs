//! Decides when each source is looked at: when it or what it looks at has changed, and when its interval has passed.
//!
//! In: the watch of sources, what sources look at ([`super::watch`]), and what the controller of providers hears. Out:
//! looks ([`reconcile`]), at most one at a time for each source, a bounded number in all, and bursts as one. Everything
//! ends when this is dropped: another replica may lead by then.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::watcher;
use mcp_hangar_api::annotation::{DISCOVERED_BY, LAST_ACTIVITY, WAKE};
use tokio::task::{Id, JoinError, JoinSet};

use super::reconcile::{Life, Next, reconcile, resource};
use super::source::{Settings, Source};
use super::watch::{Interests, Touch, Watches};
use crate::context::Context;
use crate::provider::feed::{Heard, Listener};
use crate::provider::queue::Queue;
use crate::provider::watch::{News, news};
use crate::provider::{Key, Known};
use crate::retry::{ClusterError, LONGEST_WAIT};

/// Looks at the same time.
const LOOKS: usize = 4;
/// After a change, so long until the look: what comes in a burst is seen at once.
const QUIET: Duration = Duration::from_millis(200);
/// Between the end of a look and the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps all sources for as long as it is polled.
pub(super) async fn keep(ctx: &Arc<Context>, mut providers: Listener) {
    let (mut sources, waiting) = watches(ctx);
    let mut keeper = Keeper::new(ctx, waiting);
    let _metrics = Forget(ctx);
    loop {
        let due = keeper.due.next();
        tokio::select! {
            Some(heard) = providers.next() => keeper.provider(heard),
            Some((watch, news)) = sources.next() => keeper.source(watch, news),
            Some(touch) = keeper.watches.touches.next() => keeper.touched(touch),
            Some(done) = keeper.looks.join_next_with_id() => keeper.ended(done),
            () = at(due), if keeper.is_free() => {}
        }
        keeper.start();
    }
}

type Sources = SelectAll<BoxStream<'static, (usize, News<DynamicObject>)>>;

/// A watch of sources for each place, by number, and the numbers.
fn watches(ctx: &Arc<Context>) -> (Sources, HashSet<usize>) {
    let mut all = SelectAll::new();
    for (number, place) in ctx.places.watched().into_iter().enumerate() {
        let api = match place {
            Some(namespace) => Api::namespaced_with(ctx.client.clone(), namespace, &resource()),
            None => Api::all_with(ctx.client.clone(), &resource()),
        };
        let news = news(ctx, api, watcher::Config::default()).map(move |news| (number, news));
        all.push(news.boxed());
    }
    let numbers = (0..all.len()).collect();
    (all, numbers)
}

/// Who does not lead says nothing of sources.
struct Forget<'a>(&'a Context);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.metrics.controllers.sources(0);
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
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
    key: Key,
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
    providers: HashMap<Arc<str>, BTreeMap<Arc<str>, Arc<Known>>>,
    sources: BTreeMap<Key, Entry>,
    watches: Watches,
    interests: Interests,
    due: Queue<Key>,
    looks: JoinSet<Done>,
    /// Whom a look is about.
    about: HashMap<Id, Key>,
}

impl Keeper {
    fn new(ctx: &Arc<Context>, waiting: HashSet<usize>) -> Self {
        Self {
            ctx: Arc::clone(ctx),
            waiting,
            has_providers: false,
            providers: HashMap::new(),
            sources: BTreeMap::new(),
            watches: Watches::default(),
            interests: Interests::default(),
            due: Queue::default(),
            looks: JoinSet::new(),
            about: HashMap::new(),
        }
    }

    fn is_free(&self) -> bool {
        self.waiting.is_empty() && self.has_providers && self.looks.len() < LOOKS
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

    fn provider(&mut self, heard: Heard) {
        let (key, new) = match heard {
            Heard::Listed => {
                self.has_providers = true;
                return;
            }
            Heard::Is(known) => (known.key.clone(), Some(known)),
            Heard::Gone(key) => (key, None),
        };
        let here = self.providers.entry(key.namespace.clone()).or_default();
        let old = match &new {
            Some(new) => here.insert(key.name.clone(), Arc::clone(new)),
            None => here.remove(&key.name),
        };
        if here.is_empty() {
            self.providers.remove(&key.namespace);
        }
        if old.as_ref().map(|old| facts(old)) == new.as_ref().map(|new| facts(new)) {
            return;
        }
        let by = [&old, &new].into_iter().flatten().filter_map(|it| it.annotations.get(DISCOVERED_BY));
        let mut sources: BTreeSet<Key> =
            by.filter_map(|by| by.split_once('/')).map(|(source, _)| key.named(source)).collect();
        let from = Key { namespace: key.namespace.clone(), name: "".into() };
        let near = self.sources.range(from..).take_while(|(it, _)| it.namespace == key.namespace);
        sources.extend(near.filter(|(_, it)| it.names.contains(&*key.name)).map(|(it, _)| it.clone()));
        sources.iter().for_each(|source| self.wake(source, QUIET));
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
        let here = self.providers.get(&key.namespace);
        let providers: Vec<_> = here.into_iter().flat_map(BTreeMap::values).cloned().collect();
        let (ctx, name) = (Arc::clone(&self.ctx), key.clone());
        let look = self.looks.spawn(async move {
            let began = Instant::now();
            let result = reconcile(&ctx, &source, &settings, providers, &mut life).await;
            let word = result.as_ref().map_or_else(ClusterError::kind, |_| "success");
            ctx.metrics.controllers.reconciled("discovery", word, began.elapsed());
            Done { key: name, uid: source.uid.clone(), life, result }
        });
        self.about.insert(look.id(), key.clone());
    }

    fn ended(&mut self, ended: Result<(Id, Done), JoinError>) {
        match ended {
            Ok((id, done)) => {
                self.about.remove(&id);
                self.looked(done);
            }
            Err(error) => {
                let Some(key) = self.about.remove(&error.id()) else { return };
                tracing::error!(source = %key, "a look at the source failed: {error}; it is tried again");
                if let Some(entry) = self.sources.get_mut(&key) {
                    entry.life = Some(Life::default());
                    self.due.add(key, Instant::now() + LONGEST_WAIT);
                }
            }
        }
    }

    fn looked(&mut self, done: Done) {
        let Done { key, uid, mut life, result } = done;
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
                say(&self.ctx, &key, &error);
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

/// What counts of a provider here. What traffic and probes write does not.
fn facts(known: &Known) -> impl PartialEq + use<'_> {
    let annotations = known.annotations.iter().filter(|(name, _)| *name != LAST_ACTIVITY && *name != WAKE);
    let annotations: Vec<_> = annotations.collect();
    (&known.uid, known.generation, known.is_going, &known.owner, &known.labels, annotations)
}

fn say(ctx: &Context, key: &Key, error: &ClusterError) {
    use crate::retry::Trouble::{Away, Conflict, Credentials, Forbidden, NotFound, Rejected, Terminating};
    let is_expected = match error.trouble() {
        // Said where the connection is watched over; or somebody was faster, and the change comes by the watch.
        Away | Forbidden | Credentials | Conflict | NotFound | Terminating => true,
        Rejected => false,
    };
    if !is_expected && ctx.link.say_now(&format!("source {key}"), &error.to_string()) {
        tracing::warn!(source = %key, kind = error.kind(), "{error}; it is tried again");
    }
}
