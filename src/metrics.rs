//! Everything that `/metrics` shows, and the [`Observer`] that the webhook server reports to.
//!
//! Names start with `mcp_operator_`. Labels come from fixed sets. The request path takes no lock: each series is
//! resolved once and then found by position. Series of the controllers are in [`controllers`].

pub mod controllers;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mcp_hangar_webhooks::observer::{Admission, Conversion, Observer};
use mcp_hangar_webhooks::validation::code::CODES;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use self::controllers::Controllers;
use crate::manifests::{RESOURCES, VERSIONS};
use crate::trust::state::PHASES;
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

/// A name with its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The whole name.
    pub name: String,
    /// In the order in which they are documented.
    pub labels: Vec<String>,
}

/// The registry with its series.
pub struct Metrics {
    registry: Registry,
    series: Vec<Series>,
    requests: Requests,
    certificate_expiry: IntGaugeVec,
    bundle_in_sync: IntGaugeVec,
    bundle_writes: IntCounterVec,
    ca_phase: IntGaugeVec,
    ca_rotations: IntCounterVec,
    selftest_passed: IntGauge,
    selftest_time: IntGauge,
    api_server_up: IntGauge,
    leader: IntGauge,
    leader_transitions: IntCounterVec,
    migration: Migration,
    /// The series of the controllers.
    pub controllers: Controllers,
}

/// The series of the storage migration, by resource.
struct Migration {
    remaining: IntGaugeVec,
    done: IntCounterVec,
    failed: IntGaugeVec,
}

/// The series of the webhook server.
struct Requests {
    admission: Grid<5>,
    admission_duration: Histogram,
    rejections: Grid<1>,
    conversion: Grid<4>,
    conversion_duration: Histogram,
    handshakes_failed: IntCounterVec,
    panics: IntCounter,
    refused: IntCounterVec,
}

impl Requests {
    fn register(r: &mut Register) -> Result<Self, Error> {
        let codes: Vec<_> = CODES.iter().map(|code| code.id).chain([UNKNOWN]).collect();
        let took = "Time from the body read to the answer ready.";
        let admission = r.counters(
            "admission_requests_total",
            "Answered admission reviews.",
            &["webhook", "kind", "version", "operation", "allowed"],
        )?;
        let rejections =
            r.counters("admission_rejections_total", "Errors in refused objects, by code.", &["code"])?;
        let conversion = r.counters(
            "conversion_objects_total",
            "Objects in conversion reviews.",
            &["kind", "from", "to", "result"],
        )?;
        let failed = "Failed TLS handshakes.";
        let panics = "Handlers that panicked; the caller got a 500.";
        let refused = "Connections and requests over a limit.";
        Ok(Self {
            admission: Grid::new(admission, [&WEBHOOKS, &KINDS, &LABEL_VERSIONS, &OPERATIONS, &ALLOWED]),
            admission_duration: r.histogram("admission_duration_seconds", took, &ADMISSION_BUCKETS)?,
            rejections: Grid::new(rejections, [&codes]),
            conversion: Grid::new(conversion, [&KINDS, &LABEL_VERSIONS, &LABEL_VERSIONS, &RESULTS]),
            conversion_duration: r.histogram("conversion_duration_seconds", took, &CONVERSION_BUCKETS)?,
            handshakes_failed: r.counters("webhook_handshakes_failed_total", failed, &["reason"])?,
            panics: r.counter("webhook_panics_total", panics)?,
            refused: r.counters("webhook_refused_total", refused, &["limit"])?,
        })
    }
}

impl Migration {
    fn register(r: &mut Register) -> Result<Self, Error> {
        let remaining = "Stored objects that have not been looked at yet.";
        let done = "Stored objects that were written in the storage version.";
        let failed = "Stored objects that could not be written; they are tried again.";
        let series = Self {
            remaining: r.gauges("storage_migration_remaining", remaining, &["resource"])?,
            done: r.counters("storage_migration_done_total", done, &["resource"])?,
            failed: r.gauges("storage_migration_failed", failed, &["resource"])?,
        };
        for resource in RESOURCES {
            series.remaining.with_label_values(&[resource]).set(0);
            series.done.with_label_values(&[resource]).inc_by(0);
            series.failed.with_label_values(&[resource]).set(0);
        }
        Ok(series)
    }
}

impl Metrics {
    /// Registers every series, those of requests without any value yet.
    pub fn new(build: &Build) -> Result<Self, Error> {
        let mut r = Register::default();
        let info =
            r.gauges("build_info", "Always 1; the labels say what runs.", &["version", "revision", "rust"])?;
        info.with_label_values(&[build.version, build.revision, build.rust]).set(1);
        r.registry.register(Box::new(ProcessCollector::for_self()))?;
        let requests = Requests::register(&mut r)?;
        let expiry = "Last second of a certificate in use.";
        let in_sync = "1 while the target carries our bundle and address.";
        let selftest = "1 after the API server was seen to use the webhooks.";
        Ok(Self {
            requests,
            certificate_expiry: r.gauges("certificate_expiry_timestamp_seconds", expiry, &["which"])?,
            bundle_in_sync: r.gauges("ca_bundle_in_sync", in_sync, &["target"])?,
            bundle_writes: r.counters("ca_bundle_writes_total", "Repairs of a target.", &["target"])?,
            ca_phase: r.gauges("ca_rotation_phase", "1 for the phase of the CA rotation.", &["phase"])?,
            ca_rotations: r.counters(
                "ca_rotations_total",
                "CAs that this replica put to use, by reason.",
                &["reason"],
            )?,
            selftest_passed: r.gauge("selftest_passed", selftest)?,
            selftest_time: r.gauge("selftest_last_timestamp_seconds", "When the last self-test ended.")?,
            api_server_up: r.gauge("api_server_up", "1 while the API server answers.")?,
            leader: r.gauge("leader", "1 while this replica leads.")?,
            leader_transitions: r.counters(
                "leader_transitions_total",
                "How often this replica came to lead or ceased to.",
                &["to"],
            )?,
            migration: Migration::register(&mut r)?,
            controllers: Controllers::register(&mut r)?,
            series: r.series,
            registry: r.registry,
        })
    }

    /// Every series of our own, with or without values. Documents are held against it.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> Result<Vec<u8>, Error> {
        let mut text = String::with_capacity(16 * 1024);
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text)?;
        self.controllers.write(&mut text);
        Ok(text.into_bytes())
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

    /// There is no such certificate any more.
    pub fn certificate_is_gone(&self, which: &str) {
        // It may never have been there.
        let _ = self.certificate_expiry.remove_label_values(&[which]);
    }

    /// The phase of the CA rotation.
    pub fn ca_phase(&self, phase: &str) {
        self.ca_phase.reset();
        for known in PHASES {
            self.ca_phase.with_label_values(&[known]).set(i64::from(known == phase));
        }
        if !PHASES.contains(&phase) {
            self.ca_phase.with_label_values(&[OTHER]).set(1);
        }
    }

    /// This replica put another CA to use.
    pub fn ca_rotated(&self, reason: &str) {
        self.ca_rotations.with_label_values(&[reason]).inc();
    }

    /// The result of the last self-test.
    pub fn selftest(&self, passed: bool) {
        self.selftest_passed.set(i64::from(passed));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        self.selftest_time.set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// This replica came to lead, or ceased to.
    pub fn leader_turned(&self, leads: bool) {
        self.leader_transitions.with_label_values(&[if leads { "leader" } else { "follower" }]).inc();
    }

    /// How far the storage migration of a resource is.
    pub fn migration(&self, resource: &str, remaining: i64, failed: usize) {
        self.migration.remaining.with_label_values(&[resource]).set(remaining);
        let failed = i64::try_from(failed).unwrap_or(i64::MAX);
        self.migration.failed.with_label_values(&[resource]).set(failed);
    }

    /// An object was written in the storage version, or need not be.
    pub fn migrated(&self, resource: &str) {
        self.migration.done.with_label_values(&[resource]).inc();
    }

    /// Whether the API server answers.
    pub fn api_server(&self, up: bool) {
        self.api_server_up.set(i64::from(up));
    }
}

impl Observer for Metrics {
    fn admission(&self, record: &Admission<'_>) {
        let Admission { webhook, kind, version, operation, allowed, codes, elapsed } = *record;
        self.requests
            .admission
            .add([webhook, kind, version, operation, if allowed { "true" } else { "false" }], 1);
        self.requests.admission_duration.observe(elapsed.as_secs_f64());
        for code in codes {
            self.requests.rejections.add([code], 1);
        }
    }

    fn conversion(&self, record: &Conversion<'_>) {
        let Conversion { kind, from, to, objects, succeeded, elapsed } = *record;
        self.requests
            .conversion
            .add([kind, from, to, if succeeded { "success" } else { "failure" }], objects as u64);
        self.requests.conversion_duration.observe(elapsed.as_secs_f64());
    }

    fn panicked(&self, _path: &str) {
        self.requests.panics.inc();
    }

    fn refused(&self, limit: &'static str) {
        self.requests.refused.with_label_values(&[limit]).inc();
    }

    fn handshake_failed(&self, reason: &'static str) {
        self.requests.handshakes_failed.with_label_values(&[reason]).inc();
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

/// Makes series and remembers them.
#[derive(Default)]
struct Register {
    registry: Registry,
    series: Vec<Series>,
}

impl Register {
    fn options(&mut self, name: &str, help: &str, labels: &[&str]) -> Opts {
        let name = format!("mcp_operator_{name}");
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        self.series.push(Series { name: name.clone(), labels });
        Opts::new(name, help)
    }

    fn add<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M, Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&mut self, name: &str, help: &str) -> Result<IntCounter, Error> {
        let options = self.options(name, help, &[]);
        self.add(IntCounter::with_opts(options)?)
    }

    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        let options = self.options(name, help, labels);
        self.add(IntCounterVec::new(options, labels)?)
    }

    fn gauge(&mut self, name: &str, help: &str) -> Result<IntGauge, Error> {
        let options = self.options(name, help, &[]);
        self.add(IntGauge::with_opts(options)?)
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        let options = self.options(name, help, labels);
        self.add(IntGaugeVec::new(options, labels)?)
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, Error> {
        let options = HistogramOpts::from(self.options(name, help, labels)).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, labels)?)
    }

    fn histogram(&mut self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Error> {
        let options = HistogramOpts::from(self.options(name, help, &[])).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(options)?)
    }
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
