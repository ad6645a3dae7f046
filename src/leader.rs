//! Which replica does what only one may do: rotation, storage migration and, later, the controllers.
//!
//! In: a Lease that all replicas look at. Out: [`Leadership`], which work asks before it starts and which drops it in
//! time. [`election`] is pure and decides from what was seen and when; [`elect`] makes the calls. Webhooks, bundles and
//! readiness never ask: they are the same in every replica.

pub mod elect;
pub mod election;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::Instant;

pub use elect::{Election, keep};

/// Whether this replica leads, and until when at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    /// Another may lead.
    Follower,
    /// Nobody else leads before this time, whatever becomes of us.
    Until(Instant),
    /// There is no election.
    Always,
}

/// Tells work whether this replica leads. Clones are the same leadership.
#[derive(Clone)]
pub struct Leadership {
    term: watch::Receiver<Term>,
    /// Pieces of work that exist right now.
    busy: Arc<watch::Sender<usize>>,
}

impl Leadership {
    /// Without an election this replica leads for as long as it lives.
    pub fn always() -> Self {
        Self::new(Term::Always).1
    }

    /// For tests: a leadership that is given and taken by hand.
    pub fn by_hand(leads: bool) -> (Switch, Self) {
        Self::new(if leads { Term::Always } else { Term::Follower })
    }

    fn new(term: Term) -> (Switch, Self) {
        let (sender, term) = watch::channel(term);
        let busy = Arc::new(watch::Sender::new(0));
        let switch = Switch { term: sender, busy: Arc::clone(&busy) };
        (switch, Self { term, busy })
    }

    /// Whether this replica leads right now. By the clock: a process that was stopped past its term does not.
    pub fn leads(&self) -> bool {
        match *self.term.borrow() {
            Term::Follower => false,
            Term::Until(until) => Instant::now() < until,
            Term::Always => true,
        }
    }

    /// Runs `work` whenever this replica leads and drops it the moment it does not. Never returns. Work that ends by
    /// itself is started again when leadership was lost and has come back.
    ///
    /// A request that is already on its way cannot be called back: what a leader writes carries a `resourceVersion`.
    pub async fn while_leading<F, Fut>(&self, mut work: F)
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = ()>,
    {
        let mut term = self.term.clone();
        loop {
            gained(&mut term).await;
            let busy = Busy::new(&self.busy);
            // Asked again once we count as busy: who gives up the Lease waits for those.
            if self.leads() {
                let guarded = self.guard(work());
                tokio::select! {
                    biased;
                    () = lost(&mut term) => {}
                    () = guarded => {}
                }
            }
            drop(busy);
            lost(&mut term).await;
        }
    }

    /// Not polled again once the term is over, even where the timer that says so is late.
    async fn guard(&self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        poll_fn(|context| if self.leads() { work.as_mut().poll(context) } else { Poll::Ready(()) }).await;
    }
}

/// Gives and takes a [`Leadership`].
pub struct Switch {
    term: watch::Sender<Term>,
    busy: Arc<watch::Sender<usize>>,
}

impl Switch {
    /// This replica leads until it is told otherwise.
    pub fn give(&self) {
        self.term.send_replace(Term::Always);
    }

    /// It does not lead any more.
    pub fn take(&self) {
        self.term.send_replace(Term::Follower);
    }

    fn until(&self, until: Instant) {
        self.term.send_replace(Term::Until(until));
    }

    /// Waits until no work is left that was started under this leadership.
    pub async fn idle(&self) {
        // The sender is ours, so that it cannot be gone.
        let _ = self.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }
}

/// Counts one piece of work for as long as it lives.
struct Busy<'a>(&'a watch::Sender<usize>);

impl<'a> Busy<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|busy| *busy += 1);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy = busy.saturating_sub(1));
    }
}

/// Waits until this replica leads.
async fn gained(term: &mut watch::Receiver<Term>) {
    loop {
        let leads = match *term.borrow_and_update() {
            Term::Follower => false,
            Term::Until(until) => Instant::now() < until,
            Term::Always => true,
        };
        if leads {
            return;
        }
        changed(term).await;
    }
}

/// Waits until this replica does not lead.
async fn lost(term: &mut watch::Receiver<Term>) {
    loop {
        let now = *term.borrow_and_update();
        match now {
            Term::Follower => return,
            Term::Until(until) => tokio::select! {
                () = tokio::time::sleep_until(until) => {
                    if *term.borrow() == now {
                        return;
                    }
                }
                () = changed(term) => {}
            },
            Term::Always => changed(term).await,
        }
    }
}

/// Waits for news; when nobody is left to send any, for ever.
async fn changed(term: &mut watch::Receiver<Term>) {
    if term.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
#[path = "leader/tests.rs"]
mod tests;
