//! Which step of a rotation comes next: `Stable(A) -> Publishing(A,B) -> Switched(B) -> Stable(B)`.
//!
//! Pure. In: the [`State`] in the Secret, what has been seen of the targets, the [`Schedule`] and the time. Out: a
//! [`Step`], which [`take`] turns into the state to write, or how long to wait and why. Each step is one write; who may
//! make it, and that nobody else made one meanwhile, is [`super::lead`]'s matter.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcp_hangar_webhooks::tls::{Authority, TlsError};

use super::record::rfc3339;
use super::state::{Reason, Schedule, Stage, State, fingerprint, is_valid, same};

/// Names of new CAs begin with it.
pub const NAME_HINT: &str = "mcp-hangar-operator webhook CA";
/// Clocks of replicas differ by less.
const SKEW: Duration = Duration::from_secs(3600);

/// What has been seen.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Somebody asks for a rotation.
    pub requested: bool,
    /// Targets that exist and were not read back with every CA that is trusted now, each with what is wrong.
    pub lacking: Vec<String>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a CA and have it trusted.
    Begin(Reason),
    /// Let the new CA sign.
    Switch,
    /// Trust the old CA no longer.
    Retire,
    /// The phase begins in the future: somebody's clock was wrong. It begins now.
    Retime,
    /// Nothing yet.
    Wait(Wait),
}

/// How long, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Not before this, where that is known.
    pub until: Option<SystemTime>,
    /// What is waited for.
    pub cause: Cause,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The CA has enough time left.
    Young,
    /// The API servers' caches.
    Caches,
    /// Targets.
    Targets(Vec<String>),
    /// Certificates of the old CA that may still be served.
    OldLeaves,
    /// A newer release.
    NewerRelease(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Young => {
                f.write_str("a new CA is made when this one has less than a year left, or on request")
            }
            Self::Caches => f.write_str("the new CA signs once every API server has had time to learn of it"),
            Self::Targets(lacking) => {
                write!(
                    f,
                    "the new CA signs once every target trusts it; still without it: {}",
                    lacking.join("; ")
                )
            }
            Self::OldLeaves => f.write_str("the old CA is trusted until no certificate of it can be in use"),
            Self::NewerRelease(phase) => {
                write!(f, "phase {phase} was made by a newer release, which goes on with it")
            }
        }
    }
}

/// Decides.
pub fn next(state: &State, facts: &Facts, schedule: &Schedule, now: SystemTime) -> Step {
    if let Stage::Newer { phase, .. } = &state.stage {
        return Step::Wait(Wait { until: None, cause: Cause::NewerRelease(phase.clone()) });
    }
    if !matches!(state.stage, Stage::Stable) && state.since > now + SKEW {
        return Step::Retime;
    }
    let until = |until, cause| Step::Wait(Wait { until: Some(until), cause });
    match &state.stage {
        Stage::Stable | Stage::Newer { .. } => {
            let due = state.active.not_after() - schedule.rotate_before;
            match (facts.requested, now >= due) {
                (true, _) => Step::Begin(Reason::Requested),
                (false, true) => Step::Begin(Reason::Age),
                (false, false) => until(due, Cause::Young),
            }
        }
        Stage::Publishing { next } => {
            if is_late(state, schedule, now) && is_valid(next, now) {
                return Step::Switch;
            }
            let seen = state.since + schedule.publish_for;
            if now < seen {
                return until(seen, Cause::Caches);
            }
            if facts.lacking.is_empty() {
                return Step::Switch;
            }
            Step::Wait(Wait { until: None, cause: Cause::Targets(facts.lacking.clone()) })
        }
        Stage::Switched { .. } => {
            let over = state.since + schedule.leaf_life + schedule.retire_grace;
            if now >= over { Step::Retire } else { until(over, Cause::OldLeaves) }
        }
    }
}

/// A target that nobody can mend must not keep us until the old CA is over: the cross certificate makes up for it.
fn is_late(state: &State, schedule: &Schedule, now: SystemTime) -> bool {
    now >= state.active.not_after() - schedule.rotate_before / 2
}

/// Makes the state that a step leads to; `None` when there is nothing to write.
pub fn take(
    state: &State,
    step: &Step,
    schedule: &Schedule,
    now: SystemTime,
) -> Result<Option<State>, TlsError> {
    let mut after = State { revision: state.revision.saturating_add(1), since: now, ..state.clone() };
    match (step, &state.stage) {
        (Step::Begin(reason), Stage::Stable) => {
            after.reason = *reason;
            after.stage = Stage::Publishing { next: Arc::new(new_authority(schedule, now)?) };
        }
        (Step::Switch, Stage::Publishing { next }) => {
            after.active = Arc::new(crossed(next, &state.active, now)?);
            after.stage = Stage::Switched { previous: vec![state.active.certificate_pem()] };
        }
        (Step::Retire, Stage::Switched { previous }) => {
            previous.iter().for_each(|certificate| after.retire(certificate));
            after.active = Arc::new(copy(&state.active, now)?);
            after.stage = Stage::Stable;
        }
        (Step::Retime, _) => {}
        _ => return Ok(None),
    }
    Ok(Some(after))
}

/// Somebody put another CA into the Secret: it signs from now on, and what was in use before stays trusted for as long
/// as after a rotation.
pub fn replaced(held: &State, found: &State, now: SystemTime) -> Result<State, TlsError> {
    let mut previous = vec![held.active.certificate_pem()];
    previous.extend(held.previous().iter().cloned());
    let mine = found.active.certificate_pem();
    previous.retain(|certificate| *certificate != mine);
    Ok(State {
        revision: held.revision.max(found.revision).saturating_add(1),
        since: now,
        reason: Reason::Replaced,
        active: Arc::new(crossed(&found.active, &held.active, now)?),
        stage: Stage::Switched { previous },
        retired: held.retired.iter().filter(|known| **known != fingerprint(&mine)).cloned().collect(),
    })
}

/// The CA as this replica presents it when it turns to a state. Where that lets a CA sign that the one before has not
/// vouched for (somebody mixed the Secret up, or we missed a step), this replica does, for those who trust only the latter.
pub fn presented(before: Option<&State>, state: &State, now: SystemTime) -> Arc<Authority> {
    let active = Arc::clone(&state.active);
    let Some(before) = before.filter(|before| !same(&before.active, &active)) else { return active };
    if active.cross_pem().is_some() {
        return active;
    }
    crossed(&active, &before.active, now).map_or(active, Arc::new)
}

/// Makes a CA.
pub fn new_authority(schedule: &Schedule, now: SystemTime) -> Result<Authority, TlsError> {
    Authority::generate_for(NAME_HINT, now, schedule.ca_life)
}

/// `next` with a certificate by which those who only know `old` accept it; without one when `old` is over.
fn crossed(next: &Authority, old: &Authority, now: SystemTime) -> Result<Authority, TlsError> {
    let mut next = copy(next, now)?;
    if is_valid(old, now) {
        let cross = old.cross_sign(&next, now)?;
        next.carry(&cross)?;
    }
    Ok(next)
}

/// The same CA without a cross certificate.
fn copy(authority: &Authority, now: SystemTime) -> Result<Authority, TlsError> {
    Authority::from_pem(&authority.certificate_pem(), &authority.key_pem(), now)
}

/// What a step is called, for Events and people.
pub fn words(step: &Step) -> String {
    match step {
        Step::Begin(Reason::Requested) => "a new CA is made: it was asked for".into(),
        Step::Begin(_) => "a new CA is made: this one is near its end".into(),
        Step::Switch => "the new CA signs".into(),
        Step::Retire => "the old CA is trusted no longer".into(),
        Step::Retime => "the phase begins anew: its time lies in the future".into(),
        Step::Wait(Wait { until: Some(until), cause }) => {
            format!("nothing until {}: {cause}", rfc3339(*until))
        }
        Step::Wait(Wait { until: None, cause }) => cause.to_string(),
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
