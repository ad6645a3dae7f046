//! Decides when each group is looked at: when its spec, its members or what they are like has changed.
//!
//! In: the watch of groups, and what the controller of providers hears. Out: looks ([`reconcile`]), at most one at a time
//! for each group, a bounded number in all, and as seldom as its [`Pace`] says. No list is asked for: members come from
//! the index. Everything ends when this is dropped: another replica may lead by then.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::watcher;
use tokio::task::{Id, JoinError, JoinSet};

use super::fetch::Known;
use super::index::{Index, Touched};
use super::life::Life;
use super::member::Member;
use super::pace::{Pace, QUIET};
use super::reconcile::{Seen, reconcile, resource};
use super::wish::Wish;
use crate::context::Context;
use crate::provider::Key;
use crate::provider::feed::{Heard, Listener};
use crate::provider::queue::Queue;
use crate::provider::watch::{News, news};
use crate::retry::{ClusterError, LONGEST_WAIT};

/// Looks at the same time.
const LOOKS: usize = 8;

/// Keeps all groups for as long as it is polled.
pub(super) async fn keep(ctx: &Arc<Context>, mut providers: Listener) {
    // Dropped last: a look that ends meanwhile leaves no series behind.
    let _metrics = Forget(ctx);
    let (mut groups, waiting) = watches(ctx);
    let mut keeper = Keeper::new(ctx, waiting);
    loop {
        let due = keeper.due.next();
        tokio::select! {
            Some(heard) = providers.next() => keeper.provider(heard),
            Some((watch, news)) = groups.next() => keeper.group(watch, news),
            Some(done) = keeper.looks.join_next_with_id() => keeper.ended(done),
            () = until(due), if keeper.is_free() => {}
        }
        keeper.start();
    }
}

type Groups = SelectAll<BoxStream<'static, (usize, News<DynamicObject>)>>;

/// A watch of groups for each place, by number, and the numbers.
fn watches(ctx: &Arc<Context>) -> (Groups, HashSet<usize>) {
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

/// Who does not lead says nothing of groups.
struct Forget<'a>(&'a Context);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.metrics.controllers.no_groups();
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// A group, and what follows from its spec.
struct Group {
    known: Arc<Known>,
    wish: Arc<Wish>,
    pace: Pace,
    /// Its spec has changed: a person waits for what follows.
    is_urgent: bool,
    /// While nobody looks at it.
    life: Option<Life>,
    /// Changed while somebody looked at it.
    is_stale: bool,
}

/// A look that is over.
struct Done {
    key: Key,
    uid: String,
    life: Life,
    result: Result<(), ClusterError>,
}

struct Keeper {
    ctx: Arc<Context>,
    /// Numbers of the watches that have not listed yet.
    waiting: HashSet<usize>,
    /// All providers have been told.
    has_providers: bool,
    index: Index,
    members: HashMap<Key, Arc<Member>>,
    groups: HashMap<Key, Group>,
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
            index: Index::default(),
            members: HashMap::new(),
            groups: HashMap::new(),
            due: Queue::default(),
            looks: JoinSet::new(),
            about: HashMap::new(),
        }
    }

    fn is_listed(&self) -> bool {
        self.has_providers && self.waiting.is_empty()
    }

    /// Whether another look may begin.
    fn is_free(&self) -> bool {
        self.is_listed() && self.looks.len() < LOOKS
    }

    fn provider(&mut self, heard: Heard) {
        let (key, found) = match heard {
            Heard::Is(known) => (known.key.clone(), Some(known)),
            Heard::Gone(key) => (key, None),
            Heard::Listed => {
                self.has_providers = true;
                return self.listed();
            }
        };
        // One that is being deleted serves nobody any more.
        let found = found.filter(|known| !known.is_going);
        let labels = found.as_ref().map(|known| &known.labels);
        let Touched { stays, joined, left } = self.index.provider(&key.namespace, &key.name, labels);
        let new = found.as_ref().map(|known| Arc::new(Member::of(known)));
        let old = match &new {
            Some(new) => self.members.insert(key.clone(), Arc::clone(new)),
            None => self.members.remove(&key),
        };
        let differs = old.zip(new).is_some_and(|(old, new)| new.differs(&old));
        let now = Instant::now();
        for name in joined.into_iter().chain(left).chain(stays.into_iter().filter(|_| differs)) {
            self.changed(&key.named(&name), now);
        }
    }

    fn group(&mut self, watch: usize, news: News<DynamicObject>) {
        match news {
            News::Is(key, found) => self.is(Arc::new(Known::of(key, found))),
            News::Gone(key) => self.gone(&key),
            News::Listed => {
                self.waiting.remove(&watch);
                self.listed();
            }
        }
    }

    /// Everything is there now that groups find their places by.
    fn listed(&mut self) {
        if self.is_listed() {
            self.index.settle();
        }
    }

    fn is(&mut self, known: Arc<Known>) {
        let key = known.key.clone();
        if known.is_going {
            return self.gone(&key);
        }
        let before = self.groups.get_mut(&key).filter(|group| group.known.uid == known.uid);
        if let Some(group) = before {
            let is_other = known.wishes_other_than(&group.known);
            group.known = known;
            if is_other {
                group.wish = Arc::new(Wish::of(&group.known));
                group.is_urgent = true;
                self.index.group(&key.namespace, &key.name, group.wish.selector.clone());
            }
            // A status that we wrote is not looked at again; one that somebody else wrote is.
            let is_ours = |life: &Life| life.is_ours(&group.known);
            if !is_other && group.life.as_ref().is_some_and(is_ours) {
                return;
            }
        } else {
            self.gone(&key);
            let wish = Arc::new(Wish::of(&known));
            self.index.group(&key.namespace, &key.name, wish.selector.clone());
            let (pace, life) = (Pace::default(), Some(Life::default()));
            let group = Group { known, wish, pace, is_urgent: true, life, is_stale: false };
            self.groups.insert(key.clone(), group);
        }
        self.due.add(key, Instant::now() + QUIET);
    }

    fn gone(&mut self, key: &Key) {
        self.index.group(&key.namespace, &key.name, None);
        self.due.remove(key);
        if self.groups.remove(key).is_some() {
            self.ctx.metrics.controllers.group_is_gone(&key.namespace, &key.name);
        }
    }

    /// A member has changed, come or gone.
    fn changed(&mut self, key: &Key, now: Instant) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let members = self.index.count(&key.namespace, &key.name);
        let due = group.pace.changed(now, members);
        if !group.is_urgent {
            self.due.set(key.clone(), due);
        }
    }

    /// Starts what is due.
    fn start(&mut self) {
        let now = Instant::now();
        while self.is_free() {
            let due = self.due.next();
            let Some(key) = self.due.pop(now) else { return };
            let late = now.saturating_duration_since(due.unwrap_or(now));
            self.ctx.metrics.controllers.waited("group", late);
            self.look(key, now);
        }
    }

    fn look(&mut self, key: Key, now: Instant) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let Some(mut life) = group.life.take() else {
            group.is_stale = true;
            return;
        };
        group.pace.looks(now);
        group.is_urgent = false;
        let members = self.index.members(&key.namespace, &key.name);
        let members = members.filter_map(|name| self.members.get(&key.named(name)).cloned()).collect();
        let seen = Seen { group: Arc::clone(&group.known), wish: Arc::clone(&group.wish), members };
        let (ctx, uid, name) = (Arc::clone(&self.ctx), group.known.uid.clone(), key.clone());
        let look = self.looks.spawn(async move {
            let result = reconcile(&ctx, &seen, &mut life, Timestamp::now()).await;
            Done { key, uid, life, result }
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
                tracing::error!(group = %key, "a look at the group failed: {error}; it is tried again");
                if let Some(group) = self.groups.get_mut(&key) {
                    group.life.get_or_insert_default();
                    self.due.add(key, Instant::now() + LONGEST_WAIT);
                }
            }
        }
    }

    fn looked(&mut self, done: Done) {
        let Done { key, uid, mut life, result } = done;
        let Some(group) = self.groups.get_mut(&key) else {
            // It went away meanwhile, and the look has told its counts.
            return self.ctx.metrics.controllers.group_is_gone(&key.namespace, &key.name);
        };
        if group.known.uid != uid {
            return;
        }
        let now = Instant::now();
        if std::mem::take(&mut group.is_stale) {
            self.due.add(key.clone(), now);
        }
        match result {
            Ok(()) => life.attempts.succeeded(),
            Err(error) => {
                self.ctx.link.tell("group", &key.to_string(), &error);
                self.due.add(key, now + life.attempts.failed());
            }
        }
        group.life = Some(life);
    }
}
