//! What a replica does about the Secret that it finds: keeps, adopts, restores, takes over, makes. Pure.
//!
//! In: the Secret as [`super::super::record`] read it and the state in memory. The Secret is right, unless it is older
//! than the memory, damaged, or signs with a CA that nobody announced: then the memory is, or both are.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcp_hangar_webhooks::tls::TlsError;

use super::PATIENCE;
use crate::trust::record::Observed;
use crate::trust::rotation::{new_authority, replaced};
use crate::trust::state::{Reason, Schedule, Stage, State, same};

/// What a replica holds in memory.
#[derive(Debug, Clone)]
pub struct Held {
    /// The state.
    pub state: State,
    /// False when it is only what was left of a damaged Secret: another replica may know more.
    pub certain: bool,
}

/// What to do about the Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The Secret and the memory agree.
    Keep,
    /// Take what the Secret says.
    Adopt,
    /// Write the memory into a new Secret.
    Recreate,
    /// Make a CA and write it into a new Secret.
    Bootstrap,
    /// Write the memory over what is spoilt, damaged or older.
    Restore,
    /// The Secret's CA is good, but nobody announced it: sign with it and go on trusting the one in memory.
    TakeOver,
    /// Give other replicas time to restore it.
    Wait,
    /// Make a CA and write it over the spoilt one: nobody has a good one.
    Emergency,
}

/// Decides. `held` is usable now, `waited` is how long the Secret has been less than good, and `trusted_before` says that
/// the targets trust somebody already.
pub fn decide(observed: &Observed, held: Option<&Held>, waited: Duration, trusted_before: bool) -> Action {
    let patient = waited < PATIENCE;
    match (observed, held) {
        (Observed::Absent, Some(_)) => Action::Recreate,
        (Observed::Absent, None) if trusted_before && patient => Action::Wait,
        (Observed::Absent, None) => Action::Bootstrap,
        (Observed::Spoilt { .. }, Some(_)) => Action::Restore,
        // Made later than now: whoever made it has another clock, and this one has nothing better to offer.
        (Observed::Spoilt { early: true, .. }, None) => Action::Wait,
        (Observed::Spoilt { .. }, None) if patient => Action::Wait,
        (Observed::Spoilt { .. }, None) => Action::Emergency,
        (Observed::Good(_) | Observed::Damaged { .. }, None) => Action::Adopt,
        (Observed::Good(found), Some(held)) => compare(found, true, held, patient),
        (Observed::Damaged { state, .. }, Some(held)) => compare(state, false, held, patient),
    }
}

fn compare(found: &State, whole: bool, held: &Held, patient: bool) -> Action {
    let Held { state: held, certain } = held;
    if found.revision > held.revision || matches!(found.stage, Stage::Newer { .. }) {
        return if whole && found.is_same(held) { Action::Keep } else { Action::Adopt };
    }
    let active = found.active.certificate_pem();
    // Another certificate of a CA that we hold, such as its cross certificate, is no other CA.
    let is_ours = found.active.subject() == held.active.subject();
    if !is_ours && !held.knows(&active) && !held.has_retired(&active) {
        return Action::TakeOver;
    }
    if !whole {
        return if !certain && patient { Action::Wait } else { Action::Restore };
    }
    if found.is_same(held) {
        Action::Keep
    } else if found.revision == held.revision && same(&found.active, &held.active) {
        // Two replicas that both restored a lost Secret and went on from there.
        Action::Adopt
    } else {
        Action::Restore
    }
}

/// An action with the state that it is about.
#[derive(Debug)]
pub enum Plan {
    /// Nothing to do.
    Keep,
    /// Look again soon.
    Wait,
    /// Serve this from now on.
    Adopt(Held),
    /// Write this into a new Secret, then serve it.
    Create(State, &'static str),
    /// Write this over the Secret that was found, then serve it.
    Replace(State, &'static str),
}

/// Makes the state that an action writes or takes.
pub fn plan(
    action: Action,
    observed: Observed,
    held: Option<State>,
    schedule: &Schedule,
    now: SystemTime,
) -> Result<Plan, TlsError> {
    let restored = "restored from memory";
    Ok(match (action, observed, held) {
        (Action::Adopt, Observed::Good(state), _) => Plan::Adopt(Held { state: *state, certain: true }),
        (Action::Adopt, Observed::Damaged { state, .. }, _) => {
            Plan::Adopt(Held { state: *state, certain: false })
        }
        (Action::Wait, ..) => Plan::Wait,
        (Action::Recreate, _, Some(held)) => Plan::Create(held, restored),
        (Action::Bootstrap, ..) => {
            let active = Arc::new(new_authority(schedule, now)?);
            Plan::Create(State::first(active, Reason::Bootstrap, 1, now), "created")
        }
        (Action::Restore, observed, Some(held)) => {
            let revision = above(&observed, &held);
            Plan::Replace(State { revision, ..held }, restored)
        }
        (Action::TakeOver, Observed::Good(found) | Observed::Damaged { state: found, .. }, Some(held)) => {
            Plan::Replace(replaced(&held, &found, now)?, "changed by somebody else, taken over")
        }
        (Action::Emergency, Observed::Spoilt { revision, spare, .. }, _) => {
            let (active, how) = match spare {
                Some(spare) => (spare, "of the next phase used in an emergency"),
                None => (Arc::new(new_authority(schedule, now)?), "made in an emergency"),
            };
            Plan::Replace(State::first(active, Reason::Emergency, revision.saturating_add(1), now), how)
        }
        // Keep; the other pairs cannot be.
        _ => Plan::Keep,
    })
}

/// The revision with which a state is restored: above anything that it is written over, so that all who hold that adopt.
fn above(observed: &Observed, held: &State) -> u64 {
    let over = match observed {
        Observed::Absent => return held.revision,
        Observed::Good(found) | Observed::Damaged { state: found, .. } => found.revision,
        Observed::Spoilt { revision, .. } => *revision,
    };
    held.revision.max(over.saturating_add(1))
}
