//! The transitions of a provider, as one table.
//!
//! In: a node and a view of state, observation, time and settings. Out: the first row whose guard holds is the
//! transition. Order matters: an invalid spec and a wish for no pods come before everything else. The docs are
//! written from the same rows.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::v1beta1::provider::ProviderState;

use super::View;

/// A place in the diagram. Dead has four, since it is left in four ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// Nothing runs, by wish.
    Cold,
    /// Starting; no good probe yet.
    Initializing,
    /// Answers MCP.
    Ready,
    /// Answered before, and fails now.
    Degraded,
    /// Dead: too many failures in a row; not probed.
    CircuitOpen,
    /// Dead: the circuit lets some probes through, to see.
    HalfOpen,
    /// Dead: it did not become healthy in time.
    StartupFailed,
    /// Dead: the spec breaks a rule.
    InvalidSpec,
}

/// One transition.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The nodes that it leaves.
    pub from: &'static [Node],
    /// What makes it happen, for people.
    pub when: &'static str,
    /// What makes it happen.
    pub(crate) guard: fn(&View<'_>) -> bool,
    /// The node that it enters.
    pub to: Node,
    /// The reason of its event, one word.
    pub reason: &'static str,
    /// Dead stays Dead for the same reason: no event, no write.
    pub is_silent: bool,
}

use Node::{CircuitOpen, Cold, Degraded, HalfOpen, Initializing, InvalidSpec, Ready, StartupFailed};

/// Every node.
pub const NODES: [Node; 8] =
    [Cold, Initializing, Ready, Degraded, CircuitOpen, HalfOpen, StartupFailed, InvalidSpec];
const NOT_COLD: &[Node] = &[Initializing, Ready, Degraded, CircuitOpen, HalfOpen, StartupFailed, InvalidSpec];
const NOT_INVALID: &[Node] = &[Cold, Initializing, Ready, Degraded, CircuitOpen, HalfOpen, StartupFailed];
const FAILED: &[Node] = &[CircuitOpen, HalfOpen, StartupFailed];

const fn row(
    from: &'static [Node],
    when: &'static str,
    guard: fn(&View<'_>) -> bool,
    to: Node,
    reason: &'static str,
) -> Row {
    Row { from, when, guard, to, reason, is_silent: false }
}

const fn silent(row: Row) -> Row {
    Row { is_silent: true, ..row }
}

/// The transitions. The first whose guard holds is taken.
pub static TABLE: [Row; 15] = [
    row(NOT_INVALID, "spec breaks a rule", |it| it.seen.is_invalid, InvalidSpec, "InvalidSpec"),
    row(NOT_COLD, "replicas 0", |it| it.is_unwanted(), Cold, "ScaledToZero"),
    row(NOT_COLD, "idleTTL passed", |it| it.is_idle(), Cold, "Idle"),
    row(&[Cold], "wanted replicas > 0, or woken", |it| it.is_called(), Initializing, "Starting"),
    row(FAILED, "new pod template", |it| it.has_new_template(), Initializing, "TemplateChanged"),
    row(&[InvalidSpec], "spec mended", |it| !it.seen.is_invalid, Initializing, "SpecMended"),
    row(&[Initializing], "successThreshold", |it| it.is_healthy(), Ready, "ProviderReady"),
    row(
        &[Initializing],
        "startupTimeout",
        |it| it.has_passed(it.settings.startup_timeout),
        StartupFailed,
        "StartupFailed",
    ),
    row(&[Ready], "failureThreshold", |it| it.is_failing(), Degraded, "HealthCheckFailing"),
    row(&[Degraded], "successThreshold", |it| it.is_healthy(), Ready, "Recovered"),
    row(&[Degraded], "circuitBreaker.failureThreshold", |it| it.is_given_up(), CircuitOpen, "CircuitOpen"),
    silent(row(
        &[CircuitOpen],
        "resetTimeout",
        |it| it.has_passed(it.settings.breaker.reset_timeout),
        HalfOpen,
        "CircuitHalfOpen",
    )),
    row(&[HalfOpen], "circuitBreaker.successThreshold good", |it| it.is_proven(), Ready, "CircuitClosed"),
    silent(row(
        &[HalfOpen],
        "halfOpenRequests without enough good",
        |it| it.is_disproven(),
        CircuitOpen,
        "CircuitOpen",
    )),
    row(
        &[StartupFailed],
        "backoff, 10s to 5m",
        |it| it.has_passed(backoff(it.state.failed_startups)),
        Initializing,
        "Retrying",
    ),
];

/// Time from a failed startup to the next, by the number of those that failed in a row.
pub fn backoff(failed_startups: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(300);
    let doublings = failed_startups.saturating_sub(1).min(5);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

/// When a guard may begin to hold without any observation. Never in the past.
pub(super) fn deadline(it: &View<'_>) -> Option<Timestamp> {
    let wait = match it.state.node {
        Cold | InvalidSpec | Ready | Degraded | HalfOpen => None,
        Initializing => Some(it.settings.startup_timeout),
        CircuitOpen => Some(it.settings.breaker.reset_timeout),
        StartupFailed => Some(backoff(it.state.failed_startups)),
    };
    let own = wait.and_then(|wait| it.state.since.checked_add(wait).ok());
    let idle = it.idle_at().filter(|_| !matches!(it.state.node, Cold | InvalidSpec));
    own.into_iter().chain(idle).min().map(|at| at.max(it.now))
}

impl Node {
    /// The state that users see.
    pub const fn state(self) -> ProviderState {
        match self {
            Self::Cold => ProviderState::Cold,
            Self::Initializing => ProviderState::Initializing,
            Self::Ready => ProviderState::Ready,
            Self::Degraded => ProviderState::Degraded,
            Self::CircuitOpen | Self::HalfOpen | Self::StartupFailed | Self::InvalidSpec => {
                ProviderState::Dead
            }
        }
    }

    /// Whether probes count here.
    pub(super) const fn is_probed(self) -> bool {
        matches!(self, Self::Initializing | Self::Ready | Self::Degraded | Self::HalfOpen)
    }
}

/// The guards.
impl View<'_> {
    fn has_passed(&self, wait: Duration) -> bool {
        self.state.since.checked_add(wait).is_ok_and(|end| end <= self.now)
    }

    fn is_unwanted(&self) -> bool {
        !self.seen.is_invalid && self.seen.wanted <= 0 && !self.state.is_woken
    }

    fn is_idle(&self) -> bool {
        !self.seen.is_invalid && self.idle_at().is_some_and(|at| at <= self.now)
    }

    fn has_new_template(&self) -> bool {
        matches!((self.seen.template, &self.state.template), (Some(new), Some(old)) if new != old)
    }

    /// Where nothing is probed, Ready follows the pods; a remote provider has none that could say no.
    fn is_healthy(&self) -> bool {
        match &self.settings.health_check {
            Some(check) => self.state.successes >= check.success_threshold,
            None => self.follows_well(),
        }
    }

    fn is_failing(&self) -> bool {
        match &self.settings.health_check {
            Some(check) => self.state.failures >= check.failure_threshold,
            None => !self.follows_well(),
        }
    }

    fn follows_well(&self) -> bool {
        self.settings.is_remote || self.seen.ready_pods > 0
    }

    fn is_given_up(&self) -> bool {
        let breaker = &self.settings.breaker;
        self.settings.health_check.is_some()
            && breaker.is_enabled
            && self.state.failures >= breaker.failure_threshold
    }

    /// More good probes than are let through can never be asked for.
    fn needed(&self) -> u32 {
        self.settings.breaker.success_threshold.min(self.settings.breaker.half_open_requests)
    }

    fn is_proven(&self) -> bool {
        match self.settings.health_check {
            Some(_) => self.state.trial.1 >= self.needed(),
            None => self.follows_well(),
        }
    }

    /// As soon as it is certain: the probes that are left could not make up for those that failed.
    fn is_disproven(&self) -> bool {
        let (done, good) = self.state.trial;
        let left = self.settings.breaker.half_open_requests.saturating_sub(done);
        self.settings.health_check.is_some() && good.saturating_add(left) < self.needed()
    }
}
