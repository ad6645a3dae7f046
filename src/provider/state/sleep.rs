//! Sleep and wake: what carriers of traffic report, and when a provider may idle.
//!
//! In: the texts of the two annotations. Out: the times kept in the state, and the guards that read them. Each text
//! takes effect once. A time in the future counts as now. A wake that races a sleep wins: what would have kept the
//! provider awake, had it been seen in time, wakes it. The spec is never touched.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::annotation;

use super::table::Node;
use super::{Observation, State, View};

/// Clocks of those who write annotations may be ahead by as much.
const SKEW: Duration = Duration::from_secs(60);

/// An annotation that says a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// When traffic was last seen.
    Activity,
    /// When the provider was called.
    Wake,
}

/// An annotation whose value is no time. Told once for each value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which annotation.
    pub source: Source,
    /// Its value, shortened to 64 characters.
    pub value: String,
}

impl State {
    /// Takes for heard what an earlier process must have heard: what is no time, and what lies so far in the future that no
    /// clock's difference explains it. A time that has passed is judged by the times in the status.
    pub fn having_heard(mut self, activity: Option<&str>, wake: Option<&str>, now: Timestamp) -> Self {
        let latest = now.checked_add(SKEW).unwrap_or(now);
        let is_old = |text: &&str| text.parse::<Timestamp>().map_or(true, |at| at > latest);
        self.heard = [activity, wake].map(|text| text.filter(is_old).map(str::to_owned));
        self
    }

    /// Takes in what the annotations say that was not heard before.
    pub(super) fn hear(&mut self, seen: &Observation<'_>, now: Timestamp) -> Vec<Refused> {
        let [activity, wake] = &mut self.heard;
        let mut refused = Vec::new();
        if let Some(at) = news(activity, seen.activity, Source::Activity, now, &mut refused) {
            self.active_at = self.active_at.max(Some(at));
        }
        if let Some(at) = news(wake, seen.wake, Source::Wake, now, &mut refused) {
            self.woken_at = self.woken_at.max(Some(at));
        }
        if seen.wanted > 0 {
            self.is_woken = false;
        } else if self.node == Node::Cold {
            // From now on it is Cold by wish: more replicas start it, and activity alone does not.
            self.is_asleep = false;
        }
        refused
    }
}

/// The time that `text` says, where it was not heard before. Later than now counts as now: clocks differ.
fn news(
    heard: &mut Option<String>,
    text: Option<&str>,
    source: Source,
    now: Timestamp,
    refused: &mut Vec<Refused>,
) -> Option<Timestamp> {
    let text = text.filter(|text| heard.as_deref() != Some(text))?;
    *heard = Some(text.to_owned());
    match text.parse::<Timestamp>() {
        Ok(at) => Some(at.min(now)),
        Err(_) => {
            refused.push(Refused { source, value: text.chars().take(64).collect() });
            None
        }
    }
}

impl Source {
    /// Key of the annotation.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Activity => annotation::LAST_ACTIVITY,
            Self::Wake => annotation::WAKE,
        }
    }
}

impl View<'_> {
    /// When the provider falls asleep if nothing happens. `None`: never, since it is remote, idleTTL is 0 or nobody
    /// ever reported activity.
    pub(super) fn idle_at(&self) -> Option<Timestamp> {
        let ttl = self.settings.idle_ttl.filter(|_| !self.settings.is_remote)?;
        let active_at = self.state.active_at?;
        let last = Some(active_at).max(self.state.woken_at).max(self.state.started_at)?;
        last.checked_add(ttl).ok()
    }

    /// Whether a Cold provider starts.
    pub(super) fn is_called(&self) -> bool {
        let state = self.state;
        if self.settings.is_remote {
            return self.seen.wanted > 0;
        }
        if self.seen.wanted <= 0 {
            // The user's 0 is younger than any wake before it.
            return state
                .woken_at
                .is_some_and(|woken| state.stopped_at.is_none_or(|stopped| woken > stopped));
        }
        let Some(ttl) = self.settings.idle_ttl.filter(|_| state.is_asleep) else { return true };
        let since = state.stopped_at.and_then(|stopped| stopped.checked_sub(ttl).ok());
        let called = state.woken_at.max(state.active_at);
        called.is_some() && called > since
    }
}
