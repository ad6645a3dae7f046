//! What state a provider is in, and what follows: a pure function of observations and time.
//!
//! In: the state so far, what was observed, the time, the settings of the spec. Out: the next state and its effects: at
//! most one transition, the pods to run, when to probe and when to ask again. The transitions stand in one table,
//! [`table::TABLE`], from which the diagram in the docs is written. Probing, scaling, events and status are left to
//! others; nothing here reads a clock.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

pub mod diagram;
pub mod settings;
mod sleep;
pub mod table;
#[cfg(test)]
mod tests;

pub use settings::{Breaker, HealthCheck, Settings};
pub use sleep::{Refused, Source};
pub use table::{Node, Row};

/// The next state, and what follows from it. At most one row of the table fires.
pub fn step(state: &State, seen: &Observation<'_>, now: Timestamp, settings: &Settings) -> (State, Effects) {
    let mut next = state.clone();
    let refused = next.hear(seen, now);
    next.count(seen.probe);
    let view = View { state: &next, seen, now, settings };
    let transition = table::TABLE.iter().find(|row| row.from.contains(&state.node) && (row.guard)(&view));
    if let Some(row) = transition {
        next.enter(row.to, seen.wanted > 0, now);
    }
    if let Some(template) = seen.template {
        next.template = Some(template.to_owned());
    }
    let view = View { state: &next, seen, now, settings };
    let effects = Effects {
        transition,
        refused,
        replicas: view.replicas(),
        probe_every: view.probe_every(),
        again_at: table::deadline(&view),
    };
    (next, effects)
}

/// What is remembered of a provider from one step to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where in the diagram the provider is.
    pub node: Node,
    /// Since when it is there.
    pub since: Timestamp,
    /// Failed probes in a row.
    pub failures: u32,
    /// Good probes in a row, since the node was entered.
    pub successes: u32,
    /// Startups in a row that failed.
    pub failed_startups: u32,
    /// Probes let through by the half-open circuit, and the good ones among them.
    pub trial: (u32, u32),
    /// Hash of the pod template, or of what a remote provider is reached with.
    pub template: Option<String>,
    /// When it last went from Cold to Initializing.
    pub started_at: Option<Timestamp>,
    /// When it last became Cold.
    pub stopped_at: Option<Timestamp>,
    /// When traffic was last reported. Present means: there is an activity source, and the provider may idle.
    pub active_at: Option<Timestamp>,
    /// When it was last called by the wake annotation.
    pub woken_at: Option<Timestamp>,
    /// It is Cold because it was idle, not because nobody wants pods.
    pub is_asleep: bool,
    /// It runs although the spec says 0, because it was woken.
    pub is_woken: bool,
    /// Texts of the annotations that were looked at already: each takes effect once.
    pub heard: [Option<String>; 2],
}

/// What a step is told. Everything but `probe` is what holds now, not what changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation<'a> {
    /// The spec breaks a rule that makes it useless.
    pub is_invalid: bool,
    /// Replicas that the spec asks for.
    pub wanted: i32,
    /// Pods that are ready.
    pub ready_pods: i32,
    /// A probe that ended since the last step.
    pub probe: Option<Probe>,
    /// Hash of the pod template, or of what a remote provider is reached with.
    pub template: Option<&'a str>,
    /// Text of the annotation `mcp-hangar.io/last-activity`.
    pub activity: Option<&'a str>,
    /// Text of the annotation `mcp-hangar.io/wake`.
    pub wake: Option<&'a str>,
}

/// A probe that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When it began: a probe begun before the state was entered says nothing about it.
    pub began: Timestamp,
    /// Whether the server answered MCP.
    pub is_good: bool,
}

/// What follows from a step.
#[derive(Clone, Debug)]
pub struct Effects {
    /// The row that fired: one event, unless the row is silent.
    pub transition: Option<&'static Row>,
    /// Annotations that are no time, each told once: one event each.
    pub refused: Vec<Refused>,
    /// Pods to run. `None`: leave the Deployment as it is.
    pub replicas: Option<i32>,
    /// Time between probes. `None`: do not probe.
    pub probe_every: Option<Duration>,
    /// When to step again where nothing is observed before.
    pub again_at: Option<Timestamp>,
}

/// Everything that a guard may look at.
pub(crate) struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) seen: &'a Observation<'a>,
    pub(crate) now: Timestamp,
    pub(crate) settings: &'a Settings,
}

impl State {
    /// A provider that was never seen: Cold.
    pub fn new(now: Timestamp) -> Self {
        Self {
            node: Node::Cold,
            since: now,
            failures: 0,
            successes: 0,
            failed_startups: 0,
            trial: (0, 0),
            template: None,
            started_at: None,
            stopped_at: None,
            active_at: None,
            woken_at: None,
            is_asleep: false,
            is_woken: false,
            heard: [None, None],
        }
    }

    /// Counts a probe where it is about the present node.
    fn count(&mut self, probe: Option<Probe>) {
        let Some(probe) = probe.filter(|probe| probe.began >= self.since && self.node.is_probed()) else {
            return;
        };
        if probe.is_good {
            self.successes = self.successes.saturating_add(1);
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.successes = 0;
        }
        if self.node == Node::HalfOpen {
            let (done, good) = self.trial;
            self.trial = (done.saturating_add(1), good.saturating_add(u32::from(probe.is_good)));
        }
    }

    fn enter(&mut self, to: Node, is_wanted: bool, now: Timestamp) {
        match to {
            Node::Cold => {
                self.stopped_at = Some(now);
                (self.is_asleep, self.is_woken) = (is_wanted, false);
                (self.failures, self.failed_startups) = (0, 0);
            }
            Node::Initializing => {
                if self.node == Node::Cold {
                    self.started_at = Some(now);
                    (self.is_asleep, self.is_woken) = (false, !is_wanted);
                }
                if self.node != Node::StartupFailed {
                    self.failed_startups = 0;
                }
                self.failures = 0;
            }
            Node::Ready => (self.failures, self.failed_startups) = (0, 0),
            Node::StartupFailed => self.failed_startups = self.failed_startups.saturating_add(1),
            Node::Degraded | Node::CircuitOpen | Node::HalfOpen | Node::InvalidSpec => {}
        }
        (self.node, self.since, self.successes, self.trial) = (to, now, 0, (0, 0));
    }
}

impl View<'_> {
    /// Pods to run now. Neither sleeping nor waking touches the spec: only the Deployment is scaled.
    fn replicas(&self) -> Option<i32> {
        match self.state.node {
            Node::InvalidSpec => None,
            Node::Cold => Some(0),
            _ => Some(self.seen.wanted.max(1)),
        }
    }

    /// A starting provider and a half-open circuit are asked more often: somebody waits for the answer.
    fn probe_every(&self) -> Option<Duration> {
        const STARTING: Duration = Duration::from_secs(1);
        const TRYING: Duration = Duration::from_secs(5);
        let interval = self.settings.health_check.as_ref()?.interval;
        match self.state.node {
            Node::Initializing => Some(interval.min(STARTING)),
            Node::HalfOpen => Some(interval.min(TRYING)),
            Node::Ready | Node::Degraded => Some(interval),
            Node::Cold | Node::CircuitOpen | Node::StartupFailed | Node::InvalidSpec => None,
        }
    }
}
