//! What the spec says about health and sleep, as numbers; and the state of a provider that another process knew.
//!
//! In: a spec, or a status. Out: [`Settings`], or the [`State`] to go on from after a restart. Both are total: an
//! absent or unreadable value counts as its default, since the rules have judged the spec before.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::duration;
use mcp_hangar_api::shape::provider::{self as shape, MCPProviderStatus, ProviderState};
use mcp_hangar_api::v1beta1::provider::{Lifecycle, MCPProviderSpec, Mode};

use super::{Node, State};

/// Shorter times between probes count as this: v1alpha1 takes any above 0, and a server must not be flooded by us.
const SHORTEST: Duration = Duration::from_secs(1);

/// What the spec says about health and sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// There are no pods, and it never idles.
    pub is_remote: bool,
    /// Time to become healthy in.
    pub startup_timeout: Duration,
    /// Time without activity after which it sleeps. `None`: never.
    pub idle_ttl: Option<Duration>,
    /// How it is probed. `None`: Ready follows the pods.
    pub health_check: Option<HealthCheck>,
    /// When it is given up. Its numbers count also where it is off, for a provider that was Dead before.
    pub breaker: Breaker,
}

/// How a provider is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Time between two probes.
    pub interval: Duration,
    /// Time after which a probe has failed.
    pub timeout: Duration,
    /// Failed probes in a row that are too many.
    pub failure_threshold: u32,
    /// Good probes in a row that are enough.
    pub success_threshold: u32,
}

/// When a provider is given up, and how it is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Whether Degraded may become Dead.
    pub is_enabled: bool,
    /// Failures in a row, counted from the first.
    pub failure_threshold: u32,
    /// Good probes that close the half-open circuit.
    pub success_threshold: u32,
    /// Time from Dead to the half-open circuit.
    pub reset_timeout: Duration,
    /// Probes that the half-open circuit lets through.
    pub half_open_requests: u32,
}

impl Settings {
    /// Reads a spec.
    pub fn of(spec: &MCPProviderSpec) -> Self {
        let Lifecycle { idle_ttl, startup_timeout, shutdown_grace_period: _ } =
            spec.lifecycle.clone().unwrap_or_default();
        let idle_ttl = time(idle_ttl.as_deref(), 300);
        Self {
            is_remote: spec.mode == Mode::Remote,
            startup_timeout: time(startup_timeout.as_deref(), 30),
            idle_ttl: Some(idle_ttl).filter(|ttl| !ttl.is_zero()),
            health_check: health_check(spec.health_check.clone().unwrap_or_default()),
            breaker: breaker(spec.circuit_breaker.clone().unwrap_or_default()),
        }
    }
}

fn health_check(written: shape::HealthCheck) -> Option<HealthCheck> {
    let shape::HealthCheck { enabled, interval, timeout, failure_threshold, success_threshold } = written;
    let interval = time(interval.as_deref(), 30).max(SHORTEST);
    enabled.unwrap_or(true).then(|| HealthCheck {
        interval,
        timeout: time(timeout.as_deref(), 5).min(interval),
        failure_threshold: count(failure_threshold, 3),
        success_threshold: count(success_threshold, 1),
    })
}

fn breaker(written: shape::CircuitBreaker) -> Breaker {
    let shape::CircuitBreaker {
        enabled,
        failure_threshold,
        success_threshold,
        reset_timeout,
        half_open_requests,
    } = written;
    Breaker {
        is_enabled: enabled.unwrap_or(true),
        failure_threshold: count(failure_threshold, 5),
        success_threshold: count(success_threshold, 2),
        reset_timeout: time(reset_timeout.as_deref(), 30).max(SHORTEST),
        half_open_requests: count(half_open_requests, 3),
    }
}

/// Failures in a row that the status of such a provider counts at most: more of them are no news.
pub(crate) fn most_counted(check: shape::HealthCheck, circuit: shape::CircuitBreaker) -> u32 {
    let check = health_check(check).map_or(0, |check| check.failure_threshold);
    check.max(breaker(circuit).failure_threshold)
}

fn time(text: Option<&str>, default: u64) -> Duration {
    text.and_then(|text| duration::parse(text).ok())
        .and_then(|time| u64::try_from(time.nanos()).ok())
        .map_or(Duration::from_secs(default), Duration::from_nanos)
}

fn count(number: Option<i32>, default: u32) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0).unwrap_or(default)
}

impl State {
    /// The state to go on from, as a status tells it. Waits begin anew.
    ///
    /// `is_current`: the status describes the present generation, so that what it says was decided knowing `wanted`.
    pub fn restore(status: &MCPProviderStatus, wanted: i32, is_current: bool, now: Timestamp) -> Self {
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let node = match status.state {
            None | Some(ProviderState::Cold) => Node::Cold,
            Some(ProviderState::Initializing) => Node::Initializing,
            Some(ProviderState::Ready) => Node::Ready,
            Some(ProviderState::Degraded) => Node::Degraded,
            Some(ProviderState::Dead) => match ready.and_then(|condition| condition.reason.as_deref()) {
                Some("StartupFailed" | "NameTaken" | "SecretAccessMissing") => Node::StartupFailed,
                Some("InvalidSpec") => Node::InvalidSpec,
                _ => Node::CircuitOpen,
            },
        };
        let at = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            time.as_ref().map(|time| time.0)
        };
        let failures = status.consecutive_failures.and_then(|count| u32::try_from(count).ok());
        let active_at = at(&status.last_activity_at);
        let was_seen = is_current && status.state.is_some();
        Self {
            node,
            failures: failures.unwrap_or(0),
            failed_startups: u32::from(node == Node::StartupFailed),
            started_at: at(&status.last_started_at),
            stopped_at: at(&status.last_stopped_at),
            active_at,
            is_asleep: was_seen && node == Node::Cold && wanted > 0 && active_at.is_some(),
            is_woken: was_seen && node != Node::Cold && wanted <= 0,
            ..Self::new(now)
        }
    }
}
