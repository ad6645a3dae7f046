//! The series of the controllers: how looks at objects go, and what each provider's status says.
//!
//! In: states, probes, restarts. Out: series by namespace and name, which go away with their object, and all together
//! when this replica leads no more. A provider is one small entry here, from which its series are written: 10,000 of them
//! as gauges would hold 60 MiB.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_hangar_api::v1beta1::group::MCPProviderGroupStatus;
use mcp_hangar_api::v1beta1::provider::ProviderState;
use prometheus::{Error, Histogram, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::Register;

const RECONCILE_BUCKETS: [f64; 10] = [0.000_5, 0.001, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];
const STATES: [(ProviderState, &str); 5] = [
    (ProviderState::Cold, "Cold"),
    (ProviderState::Initializing, "Initializing"),
    (ProviderState::Ready, "Ready"),
    (ProviderState::Degraded, "Degraded"),
    (ProviderState::Dead, "Dead"),
];

/// The series of the controllers.
pub struct Controllers {
    reconciles: IntCounterVec,
    reconcile_duration: HistogramVec,
    reconcile_wait: HistogramVec,
    members: IntGaugeVec,
    sources: IntGauge,
    scans: Histogram,
    /// None while this replica keeps none.
    providers: Mutex<Option<Providers>>,
}

/// By namespace and name.
type Providers = HashMap<Box<str>, BTreeMap<Box<str>, Provider>>;

/// What is shown of a provider; what was never said of it has no series.
#[derive(Clone, Copy, Debug, Default)]
struct Provider {
    state: Option<ProviderState>,
    tools: Option<i32>,
    probes_failed: u64,
    restarts: u64,
}

/// A series for each provider.
struct Family {
    name: &'static str,
    type_: &'static str,
    help: &'static str,
    value: fn(&Provider) -> Option<i64>,
}

const STATE: (&str, &str) = ("provider_state", "1 for the state of a provider.");
const FAMILIES: [Family; 3] = [
    Family {
        name: "provider_tools_count",
        type_: "gauge",
        help: "Tools that a provider offers.",
        value: |it| it.tools.map(i64::from),
    },
    Family {
        name: "provider_health_check_failures_total",
        type_: "counter",
        help: "Failed probes of a provider.",
        value: |it| count(it.probes_failed),
    },
    Family {
        name: "provider_restarts_total",
        type_: "counter",
        help: "Restarts of a provider's containers.",
        value: |it| count(it.restarts),
    },
];

fn count(times: u64) -> Option<i64> {
    i64::try_from(times).ok().filter(|times| *times > 0)
}

impl Controllers {
    pub(super) fn register(r: &mut Register) -> Result<Self, Error> {
        let reconciles = r.counters("reconcile_total", "Looks at an object.", &["controller", "result"])?;
        let reconcile_duration = r.histograms(
            "reconcile_duration_seconds",
            "Time of a look at an object, with its writes.",
            &["controller"],
            &RECONCILE_BUCKETS,
        )?;
        let reconcile_wait = r.histograms(
            "reconcile_wait_seconds",
            "Time that a look at an object waited for its turn.",
            &["controller"],
            &RECONCILE_BUCKETS,
        )?;
        let members = r.gauges(
            "group_provider_count",
            "Members of a group in a state.",
            &["namespace", "name", "state"],
        )?;
        let sources = r.gauge("discovery_source_count", "Discovery sources that are looked after.")?;
        let scans = r.histogram(
            "discovery_sync_duration_seconds",
            "Time of a scan of a source, with the writes that follow.",
            &RECONCILE_BUCKETS,
        )?;
        r.options(STATE.0, STATE.1, &["namespace", "name", "state"]);
        for family in &FAMILIES {
            r.options(family.name, family.help, &["namespace", "name"]);
        }
        let providers = Mutex::new(Some(Providers::new()));
        Ok(Self { reconciles, reconcile_duration, reconcile_wait, members, sources, scans, providers })
    }

    /// A look at an object is over.
    pub fn reconciled(&self, controller: &str, result: &str, took: Duration) {
        self.reconciles.with_label_values(&[controller, result]).inc();
        self.reconcile_duration.with_label_values(&[controller]).observe(took.as_secs_f64());
    }

    /// A look at an object begins, so long after it was due.
    pub fn waited(&self, controller: &str, time: Duration) {
        self.reconcile_wait.with_label_values(&[controller]).observe(time.as_secs_f64());
    }

    /// What a provider's status says.
    pub fn provider(&self, namespace: &str, name: &str, state: ProviderState, tools: Option<i32>) {
        self.change(namespace, name, |it| {
            it.state = Some(state);
            it.tools = tools.or(it.tools);
        });
    }

    /// What a group's status says.
    pub fn group(&self, namespace: &str, name: &str, status: &MCPProviderGroupStatus) {
        let MCPProviderGroupStatus {
            ready_count,
            degraded_count,
            cold_count,
            dead_count,
            initializing_count,
            ..
        } = status;
        for (state, word) in STATES {
            let count = match state {
                ProviderState::Cold => cold_count,
                ProviderState::Initializing => initializing_count,
                ProviderState::Ready => ready_count,
                ProviderState::Degraded => degraded_count,
                ProviderState::Dead => dead_count,
            };
            let gauge = self.members.with_label_values(&[namespace, name, word]);
            gauge.set(count.unwrap_or(0).into());
        }
    }

    /// There is no such group any more. Its series may never have been there.
    pub fn group_is_gone(&self, namespace: &str, name: &str) {
        for (_, word) in STATES {
            let _ = self.members.remove_label_values(&[namespace, name, word]);
        }
    }

    /// This replica says nothing of groups any more.
    pub fn no_groups(&self) {
        self.members.reset();
    }

    /// Discovery sources that are looked after; none where this replica does not lead.
    pub fn sources(&self, count: usize) {
        self.sources.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A scan of a source is over.
    pub fn scanned(&self, took: Duration) {
        self.scans.observe(took.as_secs_f64());
    }

    /// A probe of a provider failed.
    pub fn provider_probe_failed(&self, namespace: &str, name: &str) {
        self.change(namespace, name, |it| it.probes_failed += 1);
    }

    /// Containers of a provider were started again.
    pub fn provider_restarted(&self, namespace: &str, name: &str, times: u64) {
        if times > 0 {
            self.change(namespace, name, |it| it.restarts += times);
        }
    }

    /// There is no such provider any more. Its series may never have been there.
    pub fn provider_is_gone(&self, namespace: &str, name: &str) {
        let mut all = self.all();
        let Some(all) = all.as_mut() else { return };
        let Some(providers) = all.get_mut(namespace) else { return };
        providers.remove(name);
        if providers.is_empty() {
            all.remove(namespace);
        }
    }

    /// This replica keeps providers from now on.
    pub fn keeps_providers(&self) {
        self.all().get_or_insert_default();
    }

    /// This replica says nothing of providers any more, whatever a look that was under way still finds out.
    pub fn no_providers(&self) {
        *self.all() = None;
    }

    /// Adds the series of all providers to a text for Prometheus. Names of Kubernetes hold nothing to be escaped.
    pub(super) fn write(&self, text: &mut String) {
        let all = self.all();
        let Some(all) = all.as_ref().filter(|all| !all.is_empty()) else { return };
        let rows = || {
            let rows = all.iter().flat_map(|(namespace, all)| all.iter().map(move |it| (namespace, it)));
            rows.map(|(namespace, (name, it))| (format!(r#"name="{name}",namespace="{namespace}""#), it))
        };
        // Writing to a string does not fail.
        head(text, STATE.0, "gauge", STATE.1);
        for (labels, it) in rows() {
            for (state, word) in STATES.iter().filter(|_| it.state.is_some()) {
                let value = u8::from(it.state == Some(*state));
                let _ = writeln!(text, r#"mcp_operator_{}{{{labels},state="{word}"}} {value}"#, STATE.0);
            }
        }
        for Family { name, type_, help, value } in &FAMILIES {
            let mut begun = false;
            for (labels, it) in rows() {
                let Some(value) = value(it) else { continue };
                if !std::mem::replace(&mut begun, true) {
                    head(text, name, type_, help);
                }
                let _ = writeln!(text, "mcp_operator_{name}{{{labels}}} {value}");
            }
        }
    }

    fn change(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Provider)) {
        let mut all = self.all();
        let Some(all) = all.as_mut() else { return };
        if !all.contains_key(namespace) {
            all.insert(namespace.into(), BTreeMap::new());
        }
        let Some(providers) = all.get_mut(namespace) else { return };
        match providers.get_mut(name) {
            Some(known) => change(known),
            None => change(providers.entry(name.into()).or_default()),
        }
    }

    fn all(&self) -> MutexGuard<'_, Option<Providers>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn head(text: &mut String, name: &str, type_: &str, help: &str) {
    let _ = writeln!(text, "# HELP mcp_operator_{name} {help}\n# TYPE mcp_operator_{name} {type_}");
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;
    use crate::version::Build;

    use super::*;

    #[test]
    fn a_provider_has_the_series_that_something_is_known_for_and_loses_all_of_them() {
        let metrics = Metrics::new(&Build::current()).unwrap();
        let shown = || {
            let text = String::from_utf8(metrics.render().unwrap()).unwrap();
            let of = |line: &&str| line.starts_with("mcp_operator_provider_");
            text.lines().filter(of).map(str::to_owned).collect::<Vec<_>>()
        };
        let controllers = &metrics.controllers;
        controllers.provider("team", "weather", ProviderState::Ready, Some(3));
        controllers.provider("team", "weather", ProviderState::Degraded, None);
        controllers.provider_probe_failed("team", "weather");
        controllers.provider_restarted("team", "weather", 0);
        let labels = r#"name="weather",namespace="team""#;
        let mut expected: Vec<String> = ["Cold", "Initializing", "Ready", "Degraded", "Dead"]
            .map(|state| {
                let value = u8::from(state == "Degraded");
                format!(r#"mcp_operator_provider_state{{{labels},state="{state}"}} {value}"#)
            })
            .into();
        expected.push(format!("mcp_operator_provider_tools_count{{{labels}}} 3"));
        expected.push(format!("mcp_operator_provider_health_check_failures_total{{{labels}}} 1"));
        assert_eq!(shown(), expected);
        controllers.provider_restarted("team", "weather", 2);
        assert_eq!(shown().last().unwrap(), &format!("mcp_operator_provider_restarts_total{{{labels}}} 2"));
        controllers.provider_is_gone("team", "weather");
        assert!(shown().is_empty() && controllers.all().as_ref().unwrap().is_empty());
        controllers.provider("team", "weather", ProviderState::Ready, None);
        controllers.no_providers();
        controllers.provider("team", "late", ProviderState::Ready, None);
        assert!(shown().is_empty());
        controllers.keeps_providers();
        assert!(shown().is_empty());
        controllers.provider("team", "weather", ProviderState::Ready, None);
        assert_eq!(shown().len(), 5);
    }
}
