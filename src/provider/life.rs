//! What is remembered of a provider between two looks at it.
//!
//! In: the status of an earlier process, probes that ended, what was written. Out: the state to go on from, and the
//! status as it is although the watches may not show it yet. It lives as long as its provider and is lost with the
//! process: all that must survive is in the status.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;
use mcp_hangar_api::v1beta1::provider::{MCPProviderSpec, MCPProviderStatus};

use super::apply::Sent;
use super::fetch::Known;
use super::probe::{Era, Failure, Healthy, Offer};
use super::resolve::Kept;
use super::state::{Node, Source, State};
use crate::retry::Attempts;

/// What is remembered of a provider between two looks.
pub(super) struct Life {
    uid: String,
    begun: Timestamp,
    pub(super) state: State,
    /// What was read of Secrets and ConfigMaps, for which generation.
    pub(super) resolved: Option<(i64, Kept)>,
    pub(super) sent: Sent,
    written: Option<Box<Written>>,
    /// How the server was greeted last, for which generation.
    pub(super) era: Option<(i64, Era)>,
    pub(super) offer: Option<Offer>,
    pub(super) failure: Option<Failure>,
    pub(super) last_probe: Option<Timestamp>,
    pub(super) untold: Vec<Told>,
    pub(super) restarts: BTreeMap<String, i32>,
    pub(super) attempts: Attempts,
}

/// The status that was written last, while the watches may still show what was before.
struct Written {
    /// Versions of the provider that it came after.
    older: Vec<String>,
    /// The version that it made.
    version: String,
    status: MCPProviderStatus,
}

/// An Event that is to be published.
pub(super) struct Told {
    pub(super) type_: EventType,
    pub(super) reason: &'static str,
    pub(super) note: Option<String>,
    pub(super) is_logged: bool,
}

/// A probe that ended.
pub(super) struct Ended {
    /// What the server was reached with.
    pub(super) hash: String,
    pub(super) began: Timestamp,
    pub(super) took: Duration,
    pub(super) answer: Result<Healthy, Failure>,
}

impl Life {
    /// Of a provider that this process has not looked at before.
    pub(super) fn begin(known: &Known, now: Timestamp) -> Self {
        let wanted = serde_json::from_str::<MCPProviderSpec>(&known.spec).ok();
        let wanted = wanted.and_then(|spec| spec.replicas).unwrap_or(1);
        let is_current = known.status.observed_generation == Some(known.generation);
        let mut state = State::restore(&known.status, wanted, is_current, now);
        if known.status.state.is_some() {
            let text = |source: Source| known.annotations.get(source.key()).map(|text| &**text);
            state = state.having_heard(text(Source::Activity), text(Source::Wake), now);
        }
        Self {
            uid: known.uid.clone(),
            begun: now,
            state,
            resolved: None,
            sent: Sent::default(),
            written: None,
            era: None,
            offer: None,
            failure: None,
            last_probe: None,
            untold: Vec::new(),
            restarts: BTreeMap::new(),
            attempts: Attempts::default(),
        }
    }

    /// Whether it is of this provider and not of one that had the name before.
    pub(super) fn is_of(&self, known: &Known) -> bool {
        self.uid == known.uid
    }

    /// What it reads is another than before.
    pub(super) fn forget_contents(&mut self) {
        self.resolved = None;
    }

    pub(super) fn take(&mut self, ended: &Ended, generation: i64) {
        self.last_probe = Some(ended.began);
        match &ended.answer {
            Ok(healthy) => {
                self.era = Some((generation, healthy.era));
                self.offer = Some(healthy.offer.clone());
                self.failure = None;
            }
            Err(failure) => self.failure = Some(failure.clone()),
        }
    }

    /// The status as it is, though the watches may not show it yet. What they do show is not remembered here as well.
    pub(super) fn status(&mut self, known: &Known) -> (String, MCPProviderStatus) {
        self.written = self.written.take().filter(|written| written.older.contains(&known.resource_version));
        match &self.written {
            Some(written) => (written.version.clone(), written.status.clone()),
            None => (known.resource_version.clone(), known.status.clone()),
        }
    }

    pub(super) fn wrote(&mut self, seen: &str, version: String, status: MCPProviderStatus) {
        let mut older = vec![seen.to_owned()];
        if let Some(before) = self.written.take().filter(|before| before.older.iter().any(|it| it == seen)) {
            older = before.older;
            older.push(before.version);
        }
        self.written = Some(Box::new(Written { older, version, status }));
    }

    /// Whether an earlier process has said all that is known of probes.
    pub(super) fn knows_no_probe(&self) -> bool {
        use Node::{CircuitOpen, Degraded, HalfOpen, Ready, StartupFailed};
        let tells_of_probes =
            matches!(self.state.node, Ready | Degraded | CircuitOpen | HalfOpen | StartupFailed);
        tells_of_probes && self.last_probe.is_none() && self.state.since == self.begun
    }
}
