//! Calls to the API server: with a time limit, named errors, and one log line for an outage however many calls fail.
//!
//! In: a future of the client and what it does. Out: its result or a [`ClusterError`] that names verb and object.
//! Whoever calls decides what to do next; [`Attempts`] says how long to wait before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::BackoffBuilder;
use tokio::sync::Notify;

use crate::metrics::Metrics;
use crate::words;

/// No answer after this long is an outage; watches have limits of their own.
const PATIENCE: Duration = Duration::from_secs(10);
/// A request that goes through webhooks may wait for each of them: 5 s twice, and 30 s for a conversion.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(45);
/// How often an ongoing trouble is said again.
const REMINDER: Duration = Duration::from_secs(60);
/// Never wait longer than this before trying again.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Waits between attempts: 200 ms, growing to 5 s, with jitter, without end.
fn backoff() -> backon::ExponentialBuilder {
    backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        // Jitter adds up to as much again.
        .with_max_delay(LONGEST_WAIT / 2)
        .with_jitter()
        .without_max_times()
}

/// Counts failures in a row, for loops that do more than call one function.
#[derive(Debug, Default)]
pub struct Attempts(Option<backon::ExponentialBackoff>);

impl Attempts {
    /// The wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        self.0.get_or_insert_with(|| backoff().build()).next().unwrap_or(LONGEST_WAIT)
    }

    /// All is well again.
    pub fn succeeded(&mut self) {
        self.0 = None;
    }
}

/// The waits of a watch. A watch reports success before every attempt to list, so that only a while without failures
/// is a success.
#[derive(Debug, Default)]
pub struct WatchBackoff {
    attempts: Attempts,
    last: Option<Instant>,
}

impl WatchBackoff {
    fn failed(&mut self, now: Instant) -> Duration {
        if self.last.is_some_and(|last| now.duration_since(last) > LONGEST_WAIT * 3) {
            self.attempts.succeeded();
        }
        self.last = Some(now);
        self.attempts.failed()
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.failed(Instant::now()))
    }
}

impl kube::runtime::utils::Backoff for WatchBackoff {
    fn reset(&mut self) {}
}

/// What a failed call means for whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody answers, or the server says it cannot now.
    Away,
    /// The credentials are refused.
    Credentials,
    /// A permission is missing.
    Forbidden,
    /// The namespace is going away.
    Terminating,
    /// There is no such object, or no such namespace or kind.
    NotFound,
    /// Somebody else was faster.
    Conflict,
    /// The server looked at the request and refused it.
    Rejected,
}

impl Trouble {
    /// What an error of the client means.
    pub fn of(error: &kube::Error) -> Self {
        use kube::Error::{Api, Auth, HyperError, ReadEvents, Service};
        match error {
            Api(status) => match status.code {
                401 => Self::Credentials,
                403 if has_cause(status, "NamespaceTerminating") => Self::Terminating,
                403 => Self::Forbidden,
                404 => Self::NotFound,
                409 => Self::Conflict,
                429 | 502..=504 => Self::Away,
                _ => Self::Rejected,
            },
            HyperError(_) | Service(_) | ReadEvents(_) => Self::Away,
            Auth(_) => Self::Credentials,
            _ => Self::Rejected,
        }
    }
}

fn has_cause(status: &kube::core::Status, reason: &str) -> bool {
    status.details.as_ref().is_some_and(|details| details.causes.iter().any(|cause| cause.reason == reason))
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The client's or the server's error.
    #[error("failed to {verb} {object}: {}", words::client(.source))]
    Call {
        /// What was tried.
        verb: &'static str,
        /// With which object.
        object: String,
        /// Its words; already in the message, which is what people read.
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("failed to {verb} {object}: no answer within {} s", .limit.as_secs())]
    Timeout {
        /// What was tried.
        verb: &'static str,
        /// With which object.
        object: String,
        /// The limit.
        limit: Duration,
    },
}

impl ClusterError {
    /// What it means.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Call { source, .. } => Trouble::of(source),
            Self::Timeout { .. } => Trouble::Away,
        }
    }

    /// Refused by a policy, a quota or a webhook, and not because the account may not do it at all: those words are
    /// `User "x" cannot patch resource "y"`.
    pub fn by_admission(&self) -> bool {
        matches!(self, Self::Call { source, .. } if matches!(&**source, kube::Error::Api(status)
            if status.code == 403 && !(status.message.contains("User \"") && status.message.contains("\" cannot "))))
    }

    /// What was tried, whatever became of it.
    fn topic(&self) -> String {
        match self {
            Self::Call { verb, object, .. } | Self::Timeout { verb, object, .. } => {
                format!("{verb} {object}")
            }
        }
    }

    /// A fixed word for it.
    pub fn kind(&self) -> &'static str {
        match self.trouble() {
            Trouble::Away => "away",
            Trouble::Credentials => "credentials",
            Trouble::Forbidden => "forbidden",
            Trouble::Terminating => "terminating",
            Trouble::NotFound => "not_found",
            Trouble::Conflict => "conflict",
            Trouble::Rejected => "rejected",
        }
    }
}

/// The connection to the API server as all tasks together see it.
pub struct Link {
    server: String,
    metrics: Arc<Metrics>,
    outage: Mutex<Outage>,
    seldom: Seldom,
    refusal: Mutex<Option<Refusal>>,
    /// Whether there is a certificate, without which no webhook answers.
    serving: AtomicBool,
    /// Told when a permission or the credentials were refused.
    pub refused: Notify,
}

/// The last thing that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The credentials.
    Credentials,
    /// A permission, in the server's words.
    Permission(String),
}

impl Link {
    /// Nothing is known yet.
    pub fn new(server: String, metrics: Arc<Metrics>) -> Self {
        Self {
            server,
            metrics,
            outage: Mutex::default(),
            seldom: Seldom::default(),
            refusal: Mutex::default(),
            serving: AtomicBool::new(false),
            refused: Notify::new(),
        }
    }

    /// There is a certificate: the webhooks answer, whatever becomes of the API server.
    pub fn serves(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// Whether the webhooks have a certificate.
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// Whether nobody answered last time.
    pub fn is_away(&self) -> bool {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).since.is_some()
    }

    /// Makes a call, limits its time, and takes note of how it went.
    pub async fn call<T>(
        &self,
        verb: &'static str,
        object: impl Into<String>,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        let result = limited(PATIENCE, verb, object.into(), call).await;
        match &result {
            Ok(_) => self.reached(),
            Err(error) => self.note(error),
        }
        result
    }

    /// Makes a call that goes through webhooks: that it takes long or fails says nothing about the API server.
    pub async fn probe<T>(
        &self,
        verb: &'static str,
        object: impl Into<String>,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        let result = limited(WEBHOOK_PATIENCE, verb, object.into(), call).await;
        if let Err(error) = &result
            && matches!(error.trouble(), Trouble::Forbidden | Trouble::Credentials)
            && !error.by_admission()
        {
            self.note(error);
        }
        result
    }

    /// Takes note of a failed watch.
    pub fn watch_failed(&self, object: &str, error: kube::runtime::watcher::Error) {
        use kube::runtime::watcher::Error;
        let source = match error {
            Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => {
                error
            }
            Error::WatchError(status) => kube::Error::Api(status),
            Error::NoResourceVersion => return,
        };
        // The server ends watches all the time; only what cannot be started again is an outage.
        if matches!(&source, kube::Error::Api(status) if status.code == 410) {
            return;
        }
        self.note(&ClusterError::Call { verb: "watch", object: object.to_owned(), source: Box::new(source) });
    }

    /// The last refusal, forgotten by asking.
    pub fn take_refusal(&self) -> Option<Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: &ClusterError) {
        let refusal = match error.trouble() {
            Trouble::Away => return self.away(error),
            Trouble::Credentials => Refusal::Credentials,
            Trouble::Forbidden => Refusal::Permission(error.to_string()),
            Trouble::NotFound | Trouble::Conflict | Trouble::Terminating | Trouble::Rejected => {
                return self.reached();
            }
        };
        self.reached();
        if self.seldom.due(&error.topic(), &error.to_string(), Instant::now()) {
            tracing::warn!(kind = error.kind(), "{error}");
        }
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        self.refused.notify_one();
    }

    fn away(&self, error: &ClusterError) {
        self.metrics.api_server(false);
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = outage.failed(Instant::now()) {
            let webhooks = if self.serving.load(Ordering::Relaxed) {
                "webhooks go on serving"
            } else {
                "until then there is no certificate and webhooks do not answer"
            };
            tracing::warn!(
                server = self.server,
                "waiting for the API server, for {} s now ({error}); trying again every {} s at the latest; {webhooks}",
                since.as_secs(),
                LONGEST_WAIT.as_secs(),
            );
        }
    }

    fn reached(&self) {
        self.metrics.api_server(true);
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lasted) = outage.succeeded(Instant::now()) {
            tracing::info!(server = self.server, "the API server answers again after {} s", lasted.as_secs());
        }
    }

    /// Says why an object of that kind is tried again, where nobody else says it.
    pub fn tell(&self, kind: &str, object: &str, error: &ClusterError) {
        use Trouble::{Away, Conflict, Credentials, Forbidden, NotFound, Rejected, Terminating};
        let is_expected = match error.trouble() {
            // Said where the connection is watched over; or somebody was faster, and the change comes by the watch.
            Away | Forbidden | Credentials | Conflict | NotFound | Terminating => true,
            Rejected => false,
        };
        if !is_expected && self.say_now(&format!("{kind} {object}"), &error.to_string()) {
            tracing::warn!(object, kind = error.kind(), "{error}; it is tried again");
        }
    }

    /// Whether a trouble that may go on for long is to be said now.
    pub fn say_now(&self, topic: &str, text: &str) -> bool {
        self.seldom.due(topic, text, Instant::now())
    }
}

async fn limited<T>(
    limit: Duration,
    verb: &'static str,
    object: String,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(ClusterError::Call { verb, object, source: Box::new(source) }),
        Err(_) => Err(ClusterError::Timeout { verb, object, limit }),
    }
}

/// When an outage began and when one was last said.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    said: Option<Instant>,
}

impl Outage {
    /// How long it has lasted, when that is to be said. A server that answers every other call is not a new outage each time.
    fn failed(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let patience = if self.said.is_some_and(|said| said >= since) { REMINDER } else { LONGEST_WAIT };
        if self.said.is_some_and(|said| now.duration_since(said) < patience) {
            return None;
        }
        self.said = Some(now);
        Some(now.duration_since(since))
    }

    /// How long it has lasted, when it ends now and was said.
    fn succeeded(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.take()?;
        self.said.filter(|said| *said >= since).map(|_| now.duration_since(since))
    }
}

/// Keeps a trouble from being said more than once a minute; a new text about the same topic is said at once.
#[derive(Default)]
struct Seldom(Mutex<HashMap<String, (String, Instant)>>);

impl Seldom {
    fn due(&self, topic: &str, text: &str, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match said.get(topic) {
            Some((last, at)) if last == text && now.duration_since(*at) < REMINDER => false,
            _ => {
                said.insert(topic.to_owned(), (text.to_owned(), now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn api(code: u16, reason: &str) -> kube::Error {
        kube::Error::Api(Status::failure("words", reason).with_code(code).boxed())
    }

    #[test]
    fn an_outage_is_said_once_and_then_once_a_minute() {
        let start = Instant::now();
        let mut outage = Outage::default();
        assert_eq!(outage.failed(start), Some(Duration::ZERO));
        assert_eq!(outage.failed(start + Duration::from_secs(59)), None);
        assert_eq!(outage.failed(start + Duration::from_secs(60)), Some(Duration::from_secs(60)));
        assert_eq!(outage.failed(start + Duration::from_secs(61)), None);
        assert_eq!(outage.succeeded(start + Duration::from_secs(70)), Some(Duration::from_secs(70)));
        assert_eq!(outage.succeeded(start + Duration::from_secs(71)), None);
        // It answers now and then only.
        let often: Vec<_> = (72..132_u64)
            .filter_map(|second| {
                let said = outage.failed(start + Duration::from_secs(second));
                outage.succeeded(start + Duration::from_secs(second));
                said
            })
            .collect();
        assert_eq!(often.len(), 12, "every 5 s");
    }

    #[test]
    fn the_same_trouble_is_not_said_twice_a_minute() {
        let start = Instant::now();
        let seldom = Seldom::default();
        assert!(seldom.due("a", "x", start));
        assert!(!seldom.due("a", "x", start));
        assert!(seldom.due("a", "y", start));
        assert!(seldom.due("b", "y", start));
        assert!(seldom.due("a", "y", start + REMINDER));
    }

    #[test]
    fn a_terminating_namespace_is_not_a_missing_permission() {
        let cause = StatusCause {
            reason: "NamespaceTerminating".into(),
            message: String::new(),
            field: String::new(),
        };
        let details: StatusDetails = serde_json::from_value(serde_json::json!({"causes": [cause]})).unwrap();
        let status = Status::failure("is being terminated", "Forbidden").with_code(403).with_details(details);
        assert_eq!(Trouble::of(&kube::Error::Api(status.boxed())), Trouble::Terminating);
        assert_eq!(Trouble::of(&api(403, "Forbidden")), Trouble::Forbidden);
    }

    #[test]
    fn a_policy_that_refuses_an_object_is_not_a_missing_permission() {
        let of = |message: &str| {
            let source = kube::Error::Api(Status::failure(message, "Forbidden").with_code(403).boxed());
            ClusterError::Call { verb: "patch", object: "x".into(), source: Box::new(source) }.by_admission()
        };
        assert!(of("admission webhook \"x\" denied the request: no"));
        assert!(of("mcpproviders.mcp-hangar.io \"a\" is forbidden: exceeded quota: q"));
        assert!(!of(
            "mcpproviders.mcp-hangar.io \"a\" is forbidden: User \"b\" cannot patch resource \"mcpproviders\" in API group"
        ));
    }

    #[test]
    fn a_busy_server_is_away_and_a_broken_webhook_is_not() {
        for code in [429, 503, 504] {
            assert_eq!(Trouble::of(&api(code, "")), Trouble::Away);
        }
        assert_eq!(Trouble::of(&api(500, "InternalError")), Trouble::Rejected);
    }

    #[test]
    fn waits_grow_to_five_seconds_and_start_again_after_success() {
        let mut attempts = Attempts::default();
        let first = attempts.failed();
        assert!(first < Duration::from_millis(500), "{first:?}");
        let last = (0..10).map(|_| attempts.failed()).last().unwrap();
        assert!(last >= LONGEST_WAIT / 2 && last <= LONGEST_WAIT, "{last:?}");
        attempts.succeeded();
        assert!(attempts.failed() < Duration::from_millis(500));
    }

    #[test]
    fn a_watch_that_keeps_failing_waits_longer_and_longer() {
        let start = Instant::now();
        let mut watch = WatchBackoff::default();
        let mut waits = (0..8).map(|n| watch.failed(start + LONGEST_WAIT * n));
        assert!(waits.next().unwrap() < Duration::from_millis(500));
        assert!(waits.last().unwrap() >= LONGEST_WAIT / 2);
        assert!(watch.failed(start + LONGEST_WAIT * 20) < Duration::from_millis(500));
    }
}
