//! Decides when each group is looked at: when its spec, its members or what they are like has changed.
//!
//! In: the watch of groups, and what the controller of providers hears. Out: looks ([`reconcile`]), at most one at a time
//! for each group, a bounded number in all, and as seldom as its [`Pace`] says. No list is asked for: members come from
//! the index, which knows the providers of those namespaces that have groups, and of no others. Everything ends when this
//! is dropped: another replica may lead by then.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use tokio::task::JoinError;

use super::fetch::Known;
use super::index::{Index, Touched};
use super::life::Life;
use super::member::Member;
use super::pace::{Pace, QUIET};
use super::reconcile::{Seen, reconcile, resource};
use super::selector::Selector;
use super::wish::Wish;
use crate::context::Context;
use crate::provider::Key;
use crate::provider::feed::{Heard, Listener, Roster};
use crate::provider::looks::{Looks, until};
use crate::provider::queue::Queue;
use crate::provider::watch::{News, objects};
use crate::retry::{ClusterError, LONGEST_WAIT};

/// Looks at the same time.
const LOOKS: usize = 8;

/// Keeps all groups for as long as it is polled.
pub(super) async fn keep(ctx: &Arc<Context>, mut providers: Listener) {
    // Dropped last: a look that ends meanwhile leaves no series behind.
    let _metrics = Forget(ctx);
    let (mut groups, waiting) = objects(ctx, &resource());
    let mut keeper = Keeper::new(ctx, &providers, waiting);
    loop {
        let due = keeper.due.next();
        tokio::select! {
            Some(heard) = providers.next() => keeper.heard(heard),
            Some((watch, news)) = groups.next() => keeper.group(watch, news),
            Some((key, done)) = keeper.looks.ended() => keeper.ended(key, done),
            () = until(due), if keeper.is_free() => {}
        }
        keeper.start();
    }
}

/// Who does not lead says nothing of groups.
struct Forget<'a>(&'a Context);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.metrics.controllers.no_groups();
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
    /// All providers.
    roster: Arc<Roster>,
    /// Those of namespaces that have groups.
    index: Index,
    members: HashMap<Key, Arc<Member>>,
    groups: HashMap<Key, Group>,
    due: Queue<Key>,
    looks: Looks<Done>,
}

impl Keeper {
    fn new(ctx: &Arc<Context>, providers: &Listener, waiting: HashSet<usize>) -> Self {
        Self {
            ctx: Arc::clone(ctx),
            waiting,
            has_providers: false,
            roster: Arc::clone(&providers.roster),
            index: Index::default(),
            members: HashMap::new(),
            groups: HashMap::new(),
            due: Queue::default(),
            looks: Looks::default(),
        }
    }

    fn is_listed(&self) -> bool {
        self.has_providers && self.waiting.is_empty()
    }

    /// Whether another look may begin.
    fn is_free(&self) -> bool {
        self.is_listed() && self.looks.count() < LOOKS
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Changed(key) if self.index.has_groups(&key.namespace) => self.provider(&key),
            Heard::Changed(_) => {}
            Heard::Listed => {
                self.has_providers = true;
                self.listed();
            }
        }
    }

    /// A provider that may be in a group is another than before.
    fn provider(&mut self, key: &Key) {
        // One that is being deleted serves nobody any more.
        let found = self.roster.open(key).filter(|known| !known.is_going);
        let labels = found.as_ref().map(|known| &known.labels);
        let Touched { stays, joined, left } = self.index.provider(&key.namespace, &key.name, labels);
        let new = found.as_ref().map(|known| Arc::new(Member::of(known)));
        let old = match &new {
            Some(new) => self.members.insert(key.clone(), Arc::clone(new)),
            None => self.members.remove(key),
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
                let wish = Arc::new(Wish::of(&group.known));
                group.wish = Arc::clone(&wish);
                group.is_urgent = true;
                self.select(&key, wish.selector.clone());
            } else if group.life.as_ref().is_some_and(|life| life.is_ours(&group.known)) {
                // A status that we wrote is not looked at again; one that somebody else wrote is.
                return;
            }
        } else {
            self.gone(&key);
            let wish = Arc::new(Wish::of(&known));
            self.select(&key, wish.selector.clone());
            let (pace, life) = (Pace::default(), Some(Life::default()));
            let group = Group { known, wish, pace, is_urgent: true, life, is_stale: false };
            self.groups.insert(key.clone(), group);
        }
        self.due.add(key, Instant::now() + QUIET);
    }

    fn gone(&mut self, key: &Key) {
        self.select(key, None);
        self.due.remove(key);
        if self.groups.remove(key).is_some() {
            self.ctx.metrics.controllers.group_is_gone(&key.namespace, &key.name);
        }
    }

    /// A group selects like this, or nobody. The first of its namespace has the providers there looked at, and the last
    /// one has them forgotten.
    fn select(&mut self, key: &Key, selector: Option<Selector>) {
        let namespace = &key.namespace;
        let had_groups = self.index.has_groups(namespace);
        if selector.is_some() && !had_groups {
            for provider in self.roster.of(namespace) {
                self.provider(&provider);
            }
        }
        self.index.group(namespace, &key.name, selector);
        if had_groups && !self.index.has_groups(namespace) {
            self.index.forget(namespace);
            self.members.retain(|member, _| member.namespace != *namespace);
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
        let (ctx, uid) = (Arc::clone(&self.ctx), group.known.uid.clone());
        self.looks.begin(key, async move {
            let result = reconcile(&ctx, &seen, &mut life, Timestamp::now()).await;
            Done { uid, life, result }
        });
    }

    /// A look that went wrong in a way that nobody thought of is begun anew from what is stored.
    fn ended(&mut self, key: Key, ended: Result<Done, JoinError>) {
        match ended {
            Ok(done) => self.looked(key, done),
            Err(error) => {
                tracing::error!(group = %key, "a look at the group failed: {error}; it is tried again");
                if let Some(group) = self.groups.get_mut(&key) {
                    group.life.get_or_insert_default();
                    self.due.add(key, Instant::now() + LONGEST_WAIT);
                }
            }
        }
    }

    fn looked(&mut self, key: Key, done: Done) {
        let Done { uid, mut life, result } = done;
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
