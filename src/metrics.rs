//! Everything that `/metrics` shows, and the [`Observer`] that the webhook server reports to.
//!
//! Names start with `mcp_operator_`. Labels come from fixed sets. The request path takes no lock: each series is
//! resolved once and then found by position. Series of the controllers will join this registry.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mcp_hangar_webhooks::observer::{Admission, Conversion, Observer};
use mcp_hangar_webhooks::validation::code::CODES;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Error, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::manifests::VERSIONS;
use crate::version::Build;

const UNKNOWN: &str = "unknown";
const OTHER: &str = "other";
const KINDS: [&str; 4] = ["MCPProvider", "MCPProviderGroup", "MCPDiscoverySource", UNKNOWN];
const WEBHOOKS: [&str; 2] = ["default", "validate"];
const LABEL_VERSIONS: [&str; 3] = [VERSIONS[0], VERSIONS[1], UNKNOWN];
const OPERATIONS: [&str; 3] = ["CREATE", "UPDATE", OTHER];
const ALLOWED: [&str; 2] = ["true", "false"];
const RESULTS: [&str; 2] = ["success", "failure"];
const ADMISSION_BUCKETS: [f64; 10] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0];
const CONVERSION_BUCKETS: [f64; 10] =
    [0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 2.0];

/// The registry with its series.
pub struct Metrics {
    registry: Registry,
    admission_requests: Grid<5>,
    admission_duration: Histogram,
    admission_rejections: Grid<1>,
    conversion_objects: Grid<4>,
    conversion_duration: Histogram,
    handshakes_failed: IntCounterVec,
    panics: IntCounter,
    refused: IntCounterVec,
    certificate_expiry: IntGaugeVec,
    bundle_in_sync: IntGaugeVec,
    bundle_writes: IntCounterVec,
    selftest_passed: IntGauge,
    api_server_up: IntGauge,
}

impl Metrics {
    /// Registers every series that does not depend on a request.
    pub fn new(build: &Build) -> Result<Self, Error> {
        let registry = Registry::new();
        let r = &registry;
        let info =
            gauges(r, "build_info", "Always 1; the labels say what runs.", &["version", "revision", "rust"])?;
        info.with_label_values(&[build.version, build.revision, build.rust]).set(1);
        r.register(Box::new(ProcessCollector::for_self()))?;
        let codes = CODES.iter().map(|code| code.id).chain([UNKNOWN]).collect::<Vec<_>>();
        Ok(Self {
            admission_requests: Grid::new(
                counters(
                    r,
                    "admission_requests_total",
                    "Answered admission reviews.",
                    &["webhook", "kind", "version", "operation", "allowed"],
                )?,
                [&WEBHOOKS, &KINDS, &LABEL_VERSIONS, &OPERATIONS, &ALLOWED],
            ),
            admission_duration: histogram(
                r,
                "admission_duration_seconds",
                "Time from the body read to the answer ready.",
                &ADMISSION_BUCKETS,
            )?,
            admission_rejections: Grid::new(
                counters(r, "admission_rejections_total", "Errors in refused objects, by code.", &["code"])?,
                [&codes],
            ),
            conversion_objects: Grid::new(
                counters(
                    r,
                    "conversion_objects_total",
                    "Objects in conversion reviews.",
                    &["kind", "from", "to", "result"],
                )?,
                [&KINDS, &LABEL_VERSIONS, &LABEL_VERSIONS, &RESULTS],
            ),
            conversion_duration: histogram(
                r,
                "conversion_duration_seconds",
                "Time from the body read to the answer ready.",
                &CONVERSION_BUCKETS,
            )?,
            handshakes_failed: counters(
                r,
                "webhook_handshakes_failed_total",
                "Failed TLS handshakes.",
                &["reason"],
            )?,
            panics: counter(r, "webhook_panics_total", "Handlers that panicked; the caller got a 500.")?,
            refused: counters(
                r,
                "webhook_refused_total",
                "Connections and requests over a limit.",
                &["limit"],
            )?,
            certificate_expiry: gauges(
                r,
                "certificate_expiry_timestamp_seconds",
                "Last second of a certificate in use.",
                &["which"],
            )?,
            bundle_in_sync: gauges(
                r,
                "ca_bundle_in_sync",
                "1 while the target carries our bundle and address.",
                &["target"],
            )?,
            bundle_writes: counters(r, "ca_bundle_writes_total", "Repairs of a target.", &["target"])?,
            selftest_passed: gauge(
                r,
                "selftest_passed",
                "1 after the API server was seen to use the webhooks.",
            )?,
            api_server_up: gauge(r, "api_server_up", "1 while the API server answers.")?,
            registry,
        })
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> Result<Vec<u8>, Error> {
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// The last second of `ca` or `leaf`.
    pub fn certificate_expires(&self, which: &str, at: SystemTime) {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        self.certificate_expiry.with_label_values(&[which]).set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// Whether a target carries what it should.
    pub fn bundle_in_sync(&self, target: &str, in_sync: bool) {
        self.bundle_in_sync.with_label_values(&[target]).set(i64::from(in_sync));
    }

    /// A target was written.
    pub fn bundle_written(&self, target: &str) {
        self.bundle_writes.with_label_values(&[target]).inc();
    }

    /// The result of the last self-test.
    pub fn selftest(&self, passed: bool) {
        self.selftest_passed.set(i64::from(passed));
    }

    /// Whether the API server answers.
    pub fn api_server(&self, up: bool) {
        self.api_server_up.set(i64::from(up));
    }
}

impl Observer for Metrics {
    fn admission(&self, record: &Admission<'_>) {
        let Admission { webhook, kind, version, operation, allowed, codes, elapsed } = *record;
        self.admission_requests
            .add([webhook, kind, version, operation, if allowed { "true" } else { "false" }], 1);
        self.admission_duration.observe(elapsed.as_secs_f64());
        for code in codes {
            self.admission_rejections.add([code], 1);
        }
    }

    fn conversion(&self, record: &Conversion<'_>) {
        let Conversion { kind, from, to, objects, succeeded, elapsed } = *record;
        self.conversion_objects
            .add([kind, from, to, if succeeded { "success" } else { "failure" }], objects as u64);
        self.conversion_duration.observe(elapsed.as_secs_f64());
    }

    fn panicked(&self, _path: &str) {
        self.panics.inc();
    }

    fn refused(&self, limit: &'static str) {
        self.refused.with_label_values(&[limit]).inc();
    }

    fn handshake_failed(&self, reason: &'static str) {
        self.handshakes_failed.with_label_values(&[reason]).inc();
    }
}

/// A counter for each combination of labels from fixed sets, made when it is first counted. A value outside its set
/// counts as the set's last.
struct Grid<const N: usize> {
    counters: IntCounterVec,
    labels: [Vec<&'static str>; N],
    series: Vec<OnceLock<IntCounter>>,
}

impl<const N: usize> Grid<N> {
    fn new(counters: IntCounterVec, labels: [&[&'static str]; N]) -> Self {
        let labels = labels.map(<[_]>::to_vec);
        let size = labels.iter().map(Vec::len).product();
        Self { counters, labels, series: (0..size).map(|_| OnceLock::new()).collect() }
    }

    fn add(&self, values: [&str; N], count: u64) {
        let mut index = 0;
        let mut known = [""; N];
        for ((set, value), slot) in self.labels.iter().zip(values).zip(&mut known) {
            let position =
                set.iter().position(|known| *known == value).unwrap_or(set.len().saturating_sub(1));
            *slot = set.get(position).copied().unwrap_or(UNKNOWN);
            index = index * set.len() + position;
        }
        if let Some(series) = self.series.get(index) {
            series.get_or_init(|| self.counters.with_label_values(&known)).inc_by(count);
        }
    }
}

fn full(name: &str) -> String {
    format!("mcp_operator_{name}")
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, Error> {
    let metric = IntCounter::new(full(name), help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
    let metric = IntCounterVec::new(Opts::new(full(name), help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, Error> {
    let metric = IntGauge::new(full(name), help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
    let metric = IntGaugeVec::new(Opts::new(full(name), help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Error> {
    let metric = Histogram::with_opts(HistogramOpts::new(full(name), help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render().unwrap()).unwrap()
    }

    #[test]
    fn counts_an_admission_by_its_labels() {
        let metrics = Metrics::new(&Build::current()).unwrap();
        let record = Admission {
            webhook: "validate",
            kind: "MCPProvider",
            version: "v1alpha1",
            operation: "UPDATE",
            allowed: false,
            codes: &["HGR000", "HGR000"],
            elapsed: Duration::from_micros(80),
        };
        metrics.admission(&record);
        metrics.admission(&record);
        let text = text(&metrics);
        let line = r#"mcp_operator_admission_requests_total{allowed="false",kind="MCPProvider",operation="UPDATE",version="v1alpha1",webhook="validate"} 2"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains(r#"mcp_operator_admission_rejections_total{code="unknown"} 4"#), "{text}");
        assert!(text.contains("mcp_operator_admission_duration_seconds_count 2"), "{text}");
    }

    #[test]
    fn a_version_that_a_client_sent_never_becomes_a_label() {
        let metrics = Metrics::new(&Build::current()).unwrap();
        metrics.conversion(&Conversion {
            kind: "MCPProvider",
            from: "v9\"evil",
            to: "v1beta1",
            objects: 3,
            succeeded: true,
            elapsed: Duration::ZERO,
        });
        let line = r#"mcp_operator_conversion_objects_total{from="unknown",kind="MCPProvider",result="success",to="v1beta1"} 3"#;
        assert!(text(&metrics).contains(line));
        assert!(!text(&metrics).contains("evil"));
    }

    #[test]
    fn shows_the_build_and_the_process() {
        let text = text(&Metrics::new(&Build::current()).unwrap());
        assert!(text.contains("mcp_operator_build_info{"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
