//! The rules of the election, pure: what is known of the Lease and since when, and what follows from it now.
//!
//! In: Leases as the API server shows them, and times of this replica's own clock that only goes forward. Out: the next
//! write, or how long to wait, and the term that a write gives. The rules are client-go's: a Lease is judged by how long
//! *we* have seen it unchanged, never by the times that its holder wrote into it. Beyond these, one that somebody
//! deleted or filled by hand never leads to two leaders: who comes by a Lease in an unusual way waits before it leads.

use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use crate::manifests::labels;

/// A Lease that wants more than this is filled with rubbish.
pub const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// What a replica brings to the election.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Different for every process, also for one that starts again in the same pod.
    pub identity: String,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// How long the others wait after the last sign of a leader.
    pub lease_duration: Duration,
    /// How long a leader works after its last renewal; shorter than the above.
    pub renew_deadline: Duration,
    /// Between two attempts.
    pub retry_period: Duration,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Look at the Lease first: nothing is known, or not whether our last write was done.
    Look,
    /// There is none: make it.
    Create(Lease),
    /// It is free, or its holder has been silent for too long.
    Acquire(Lease),
    /// It is ours: say so again.
    Renew(Lease),
    /// Another holds it. This long at least, unless it is given up before.
    Wait(Duration),
}

/// The Lease as it was last seen.
#[derive(Debug)]
struct Seen {
    lease: Option<Lease>,
    /// When it was first seen so.
    since: Instant,
}

/// One replica's view of the election.
#[derive(Debug)]
pub struct View {
    candidate: Candidate,
    seen: Option<Seen>,
    /// Whether `seen` is what the API server has, as far as we can know.
    current: bool,
    /// End of our term.
    until: Option<Instant>,
    /// Only a renewal that is sent after this time gives a term.
    not_before: Option<Instant>,
    /// How often the Lease has changed hands; survives its deletion.
    transitions: i32,
}

impl View {
    /// Nothing has been seen yet.
    pub fn new(candidate: Candidate) -> Self {
        Self { candidate, seen: None, current: false, until: None, not_before: None, transitions: 0 }
    }

    /// Who we are.
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// The end of our term, if there is one.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    /// Who holds it, as far as we know; empty when nobody does.
    pub fn holder(&self) -> &str {
        self.seen.as_ref().and_then(|seen| seen.lease.as_ref()).map(holder).unwrap_or_default()
    }

    /// What to do now; `wall` is for people who read the Lease.
    pub fn decide(&self, now: Instant, wall: SystemTime) -> Decision {
        let Some(Seen { lease, since }) = self.seen.as_ref().filter(|_| self.current) else {
            return Decision::Look;
        };
        let Some(lease) = lease else { return Decision::Create(self.fresh(wall)) };
        if self.is_ours(lease) {
            return Decision::Renew(self.held(lease, wall, false));
        }
        // Named by nobody while our term lasts: somebody has wiped it, and all others wait for longer than that.
        let wiped = holder(lease).is_empty() && self.until(now).is_some();
        let free = *since + self.patience(lease);
        if is_released(lease) || wiped || free <= now {
            return Decision::Acquire(self.held(lease, wall, !wiped));
        }
        Decision::Wait(free - now)
    }

    /// Takes note of the Lease as it was read; `now` is after the answer came.
    pub fn saw(&mut self, lease: Option<Lease>, now: Instant) {
        self.current = true;
        if self.seen.as_ref().is_some_and(|seen| version(seen.lease.as_ref()) == version(lease.as_ref())) {
            return;
        }
        if let Some(lease) = &lease {
            self.transitions = self.transitions.max(transitions(lease));
            match (self.is_ours(lease), self.until(now)) {
                // Ours, and not by a write that we know to be done.
                (true, None) => self.not_before = Some(now + self.candidate.lease_duration),
                (true, Some(_)) => {}
                // Wiped is not taken; released by another hand may be taken by anybody at once.
                (false, _) if holder(lease).is_empty() && !is_released(lease) => {}
                (false, _) => self.until = None,
            }
        }
        self.seen = Some(Seen { lease, since: now });
    }

    /// A write is done, whose answer came at `now`; the term counts from before it was `sent`.
    pub fn wrote(&mut self, lease: Lease, created: bool, sent: Instant, now: Instant) {
        if created && self.until(now).is_none() {
            // Nobody can see who worked under a Lease that is gone; whoever it was has noticed by then.
            self.not_before = Some(now + self.candidate.lease_duration);
        }
        self.transitions = self.transitions.max(transitions(&lease));
        self.seen = Some(Seen { lease: Some(lease), since: now });
        self.current = true;
        if self.not_before.is_none_or(|not_before| not_before <= sent) {
            self.until = Some(sent + self.candidate.renew_deadline);
        }
    }

    /// A call failed, or its answer never came: it may have been done or not.
    pub fn failed(&mut self) {
        self.current = false;
    }

    /// Gives up the term; what is returned is to be written, if the Lease is ours. Only when the work has ended.
    pub fn release(&mut self, wall: SystemTime) -> Option<Lease> {
        self.until = None;
        let ours = self.seen.as_ref()?.lease.as_ref().filter(|lease| self.is_ours(lease))?;
        let mut lease = ours.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(RELEASED);
        spec.renew_time = micro_time(wall);
        Some(lease)
    }

    /// How long from `now` until the next attempt, at the latest. `random` is between 0 and 1 and keeps replicas apart.
    pub fn pause(&self, decision: &Decision, random: f64) -> Duration {
        let retry = self.candidate.retry_period.mul_f64(1.0 + JITTER * random.clamp(0.0, 1.0));
        match decision {
            Decision::Wait(remaining) => retry.min(*remaining),
            _ => retry,
        }
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == self.candidate.identity
    }

    /// A holder with longer terms than ours is given the time it asks for, within reason.
    fn patience(&self, lease: &Lease) -> Duration {
        let theirs = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        let theirs = Duration::from_secs(u64::try_from(theirs).unwrap_or_default());
        if theirs > LONGEST_LEASE {
            return self.candidate.lease_duration;
        }
        self.candidate.lease_duration.max(theirs)
    }

    fn fresh(&self, wall: SystemTime) -> Lease {
        let metadata = ObjectMeta {
            name: Some(self.candidate.name.clone()),
            namespace: Some(self.candidate.namespace.clone()),
            labels: Some(labels()),
            ..ObjectMeta::default()
        };
        let spec = LeaseSpec { lease_transitions: Some(self.transitions), ..LeaseSpec::default() };
        let lease = Lease { metadata, spec: Some(spec) };
        self.held(&lease, wall, false)
    }

    /// The Lease with us as its holder; everything else that somebody wrote into it stays.
    fn held(&self, lease: &Lease, wall: SystemTime, changes_hands: bool) -> Lease {
        let mut lease = lease.clone();
        let spec = lease.spec.get_or_insert_default();
        if changes_hands || spec.acquire_time.is_none() {
            spec.acquire_time = micro_time(wall);
        }
        spec.lease_transitions = Some(self.transitions.saturating_add(i32::from(changes_hands)));
        spec.holder_identity = Some(self.candidate.identity.clone());
        let seconds = self.candidate.lease_duration.as_secs_f64().ceil();
        // Checked on the command line; a Lease counts in whole seconds.
        #[allow(clippy::cast_possible_truncation)]
        let seconds = seconds as i32;
        spec.lease_duration_seconds = Some(seconds);
        spec.renew_time = micro_time(wall);
        lease
    }
}

/// Waits are up to this much longer.
const JITTER: f64 = 0.2;
/// With nobody as its holder, the duration of a Lease that was given up, as client-go writes it.
const RELEASED: i32 = 1;

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn is_released(lease: &Lease) -> bool {
    let duration = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    holder(lease).is_empty() && duration == Some(RELEASED)
}

fn transitions(lease: &Lease) -> i32 {
    lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default().max(0)
}

/// What tells two states of the Lease apart. Any write counts: one that changes nothing for us only makes us wait longer.
fn version(lease: Option<&Lease>) -> Option<(Option<&str>, Option<&str>)> {
    lease.map(|lease| (lease.metadata.uid.as_deref(), lease.metadata.resource_version.as_deref()))
}

fn micro_time(wall: SystemTime) -> Option<MicroTime> {
    Timestamp::try_from(wall).ok().map(MicroTime)
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "world_tests.rs"]
mod world;
