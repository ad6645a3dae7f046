//! The series of the controllers: how looks at objects go, and what each provider's status says.
//!
//! In: states, probes, restarts. Out: series by namespace and name, which go away with their object, and all together
//! when this replica leads no more.

use std::time::Duration;

use mcp_hangar_api::v1beta1::provider::ProviderState;
use prometheus::{Error, HistogramVec, IntCounterVec, IntGaugeVec};

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
    state: IntGaugeVec,
    tools: IntGaugeVec,
    probes_failed: IntCounterVec,
    restarts: IntCounterVec,
}

impl Controllers {
    pub(super) fn register(r: &mut Register) -> Result<Self, Error> {
        let (namespace, name) = ("namespace", "name");
        Ok(Self {
            reconciles: r.counters("reconcile_total", "Looks at an object.", &["controller", "result"])?,
            reconcile_duration: r.histograms(
                "reconcile_duration_seconds",
                "Time of a look at an object, with its writes.",
                &["controller"],
                &RECONCILE_BUCKETS,
            )?,
            state: r.gauges(
                "provider_state",
                "1 for the state of a provider.",
                &[namespace, name, "state"],
            )?,
            tools: r.gauges("provider_tools_count", "Tools that a provider offers.", &[namespace, name])?,
            probes_failed: r.counters(
                "provider_health_check_failures_total",
                "Failed probes of a provider.",
                &[namespace, name],
            )?,
            restarts: r.counters(
                "provider_restarts_total",
                "Restarts of a provider's containers.",
                &[namespace, name],
            )?,
        })
    }

    /// A look at an object is over.
    pub fn reconciled(&self, controller: &str, result: &str, took: Duration) {
        self.reconciles.with_label_values(&[controller, result]).inc();
        self.reconcile_duration.with_label_values(&[controller]).observe(took.as_secs_f64());
    }

    /// What a provider's status says.
    pub fn provider(&self, namespace: &str, name: &str, state: ProviderState, tools: Option<i32>) {
        for (known, word) in STATES {
            let gauge = self.state.with_label_values(&[namespace, name, word]);
            gauge.set(i64::from(known == state));
        }
        if let Some(tools) = tools {
            self.tools.with_label_values(&[namespace, name]).set(tools.into());
        }
    }

    /// A probe of a provider failed.
    pub fn provider_probe_failed(&self, namespace: &str, name: &str) {
        self.probes_failed.with_label_values(&[namespace, name]).inc();
    }

    /// Containers of a provider were started again.
    pub fn provider_restarted(&self, namespace: &str, name: &str, times: u64) {
        if times > 0 {
            self.restarts.with_label_values(&[namespace, name]).inc_by(times);
        }
    }

    /// There is no such provider any more. Its series may never have been there.
    pub fn provider_is_gone(&self, namespace: &str, name: &str) {
        for (_, word) in STATES {
            let _ = self.state.remove_label_values(&[namespace, name, word]);
        }
        let labels = [namespace, name];
        let _ = self.tools.remove_label_values(&labels);
        let _ = self.probes_failed.remove_label_values(&labels);
        let _ = self.restarts.remove_label_values(&labels);
    }

    /// This replica says nothing of providers any more.
    pub fn no_providers(&self) {
        self.state.reset();
        self.tools.reset();
        self.probes_failed.reset();
        self.restarts.reset();
    }
}
