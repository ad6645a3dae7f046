//! One probe on its way: which greeting is tried when, and what `rmcp` makes of the answers.
//!
//! In: what to ask and the way to the server. Out: what the server is, or the verdict on the last attempt that says most.
//! HTTP is left to `client` and `wire`, words to `verdict`.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, InitializeRequestParams, PaginatedRequestParams,
    ProtocolVersion,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::SseRetryPolicy;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use tokio::time::{Instant, timeout_at};

use super::client::{Client, FAREWELL, Seen};
use super::failure::{Kind, clean};
use super::tools::Offer;
use super::verdict::{About, Verdict};
use super::wire::{self, Stage, Trouble, Wire};
use super::{Era, Healthy, Probe};

/// One probe on its way.
pub(super) struct Asking<'a> {
    pub(super) probe: &'a Probe,
    pub(super) wire: &'a Arc<Wire>,
}

/// How one attempt failed.
struct Missed {
    trouble: Option<Trouble>,
    verdict: Verdict,
}

impl Asking<'_> {
    /// Asks in one era, then in the other where that may help; where an answer is long in coming, in both at once, so
    /// that a server which leaves unknown methods unanswered is still asked in time.
    pub(super) async fn both(&self, first: Era) -> Result<Healthy, (Vec<Era>, Verdict)> {
        let second = first.other();
        let seen = Arc::new(Seen::new());
        let mut one = Box::pin(self.attempt(first, Arc::clone(&seen)));
        let patience =
            Instant::now() + self.probe.timeout.mul_f32(if self.probe.era.is_some() { 0.6 } else { 0.4 });
        let missed = match timeout_at(patience, &mut one).await {
            Ok(Ok(healthy)) => return Ok(healthy),
            Ok(Err(missed)) if !missed.may_be_other_era() => return Err((vec![first], missed.verdict)),
            Ok(Err(missed)) => missed,
            Err(_) if !matches!(wire::now_at(&seen.stage), Stage::Answer | Stage::Body) => {
                return one.await.map_err(|missed| (vec![first], missed.verdict));
            }
            Err(_) => {
                let two = Box::pin(self.attempt(second, Arc::new(Seen::new())));
                return match futures::future::select_ok([one as Pinned<'_>, two]).await {
                    Ok((healthy, _)) => Ok(healthy),
                    Err(missed) => Err((vec![first, second], missed.verdict)),
                };
            }
        };
        match self.attempt(second, Arc::new(Seen::new())).await {
            Ok(healthy) => Ok(healthy),
            // Who was greeted well and failed later is not asked about the other greeting.
            Err(_)
                if missed.verdict.0 == Kind::Protocol
                    && missed.trouble.is_none()
                    && self.probe.era.is_some() =>
            {
                Err((vec![first, second], missed.verdict))
            }
            Err(last) => Err((vec![first, second], last.verdict)),
        }
    }

    async fn attempt(&self, era: Era, seen: Arc<Seen>) -> Result<Healthy, Missed> {
        let client = Client { wire: Arc::clone(self.wire), seen: Arc::clone(&seen) };
        let mut config = StreamableHttpClientTransportConfig::with_uri(self.wire.url.as_str())
            .reinit_on_expired_session(false);
        config.retry_config = Arc::new(Never);
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let greeting = me().serve_with_lifecycle(transport, lifecycle(era));
        let mut running = match timeout_at(self.wire.deadline, greeting).await {
            Ok(Ok(running)) => running,
            Ok(Err(error)) => return Err(self.missed(&seen, greeted(era, &error))),
            Err(_) => return Err(self.missed(&seen, None)),
        };
        let listed = timeout_at(self.wire.deadline, self.list(&running)).await;
        let answer = match listed {
            Ok(Ok(names)) => Ok(self.healthy(era, &running, names)),
            Ok(Err(answered)) => Err(self.missed(&seen, answered)),
            Err(_) => Err(self.missed(&seen, None)),
        };
        // Ends the session, if there is one; how it ends changes nothing.
        let _ = running.close_with_timeout(FAREWELL).await;
        answer
    }

    /// The names of all tools.
    async fn list(
        &self,
        running: &RunningService<RoleClient, ClientConfig>,
    ) -> Result<Vec<String>, Option<Answered>> {
        let has_tools = running.peer_info().is_some_and(|info| info.capabilities.tools.is_some());
        if !has_tools {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..self.probe.limits.pages {
            let page = running.list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await;
            let page = page.map_err(|error| match error {
                ServiceError::McpError(error) => {
                    Some(Answered::error("tools/list", error.code.0, &error.message))
                }
                ServiceError::UnexpectedResponse => {
                    Some(Answered::Other("tools/list was answered with something else"))
                }
                _ => None,
            })?;
            names.extend(page.tools.into_iter().map(|tool| tool.name.into_owned()));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(names);
            }
        }
        Err(Some(Answered::Other("tools/list has more pages than a probe reads")))
    }

    fn healthy(
        &self,
        era: Era,
        running: &RunningService<RoleClient, ClientConfig>,
        names: Vec<String>,
    ) -> Healthy {
        let info = running.peer_info();
        let itself = info.as_ref().and_then(|info| info.server_info.as_ref());
        let moved = self.wire.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.wire.budget.load(Ordering::Relaxed);
        Healthy {
            era,
            protocol: info.as_ref().map_or(String::new(), |info| clean(info.protocol_version.as_str(), 32)),
            name: itself.map(|itself| clean(&itself.name, 128)),
            version: itself.map(|itself| clean(&itself.version, 64)),
            offer: Offer::of(names, &self.probe.allow, &self.probe.deny, self.probe.limits.tools),
            moved: moved.as_ref().map(wire::shown),
            bytes: self.probe.limits.bytes.saturating_sub(u64::try_from(left).unwrap_or(0)),
        }
    }

    /// What was missed: the trouble on the way, or else what was answered.
    fn missed(&self, seen: &Seen, answered: Option<Answered>) -> Missed {
        let about = self.about();
        let trouble = seen.trouble();
        let verdict = match (&trouble, answered) {
            (Some(trouble), _) => about.judge(trouble),
            (None, Some(Answered::Error { method, code, message })) => about.error(method, code, &message),
            (None, Some(Answered::Other(says))) => {
                (Kind::Protocol, says.to_owned(), vec!["see the server's log, or update it".into()])
            }
            (None, None) if Instant::now() >= self.wire.deadline => {
                about.judge(&Trouble::Timeout(wire::now_at(&seen.stage)))
            }
            (None, None) => about.judge(&self.wire.or_too_large(Trouble::Garbage)),
        };
        Missed { trouble, verdict }
    }

    fn about(&self) -> About<'_> {
        About {
            place: self.probe.place,
            host: self.wire.url.host_str().unwrap_or(""),
            port: self.wire.url.port_or_known_default().unwrap_or(0),
            path: self.wire.url.path(),
            is_tls: self.wire.tls.is_some(),
            has_headers: !self.wire.headers.is_empty(),
            has_ca: self.probe.ca_bundle.is_some(),
            timeout: self.probe.timeout,
            bytes: self.probe.limits.bytes,
        }
    }
}

/// A stream that breaks is not opened again.
#[derive(Debug)]
struct Never;

impl SseRetryPolicy for Never {
    fn retry(&self, _times: usize) -> Option<Duration> {
        None
    }
}

type Pinned<'a> = Pin<Box<dyn Future<Output = Result<Healthy, Missed>> + Send + 'a>>;

impl Missed {
    /// Whether the other greeting may do better: not where no server was reached, or it said why.
    fn may_be_other_era(&self) -> bool {
        match &self.trouble {
            None | Some(Trouble::Garbage | Trouble::ContentType { .. } | Trouble::Closed) => true,
            Some(Trouble::Status { status, .. }) => !matches!(status, 401 | 403 | 421 | 429),
            Some(_) => false,
        }
    }
}

/// What a server answered instead of what was asked.
enum Answered {
    Error { method: &'static str, code: i32, message: String },
    Other(&'static str),
}

impl Answered {
    fn error(method: &'static str, code: i32, message: &str) -> Self {
        Self::Error { method, code, message: message.to_owned() }
    }
}

/// What the answer to a greeting was, if there was one.
fn greeted(era: Era, error: &ClientInitializeError) -> Option<Answered> {
    match error {
        ClientInitializeError::JsonRpcError(error) => {
            Some(Answered::error(era.method(), error.code.0, &error.message))
        }
        ClientInitializeError::NoCompatibleProtocolVersion { .. } => {
            Some(Answered::Other("the server knows no version of the protocol that the operator knows"))
        }
        ClientInitializeError::ExpectedInitResult(_)
        | ClientInitializeError::ExpectedInitResponse(_)
        | ClientInitializeError::ConflictInitResponseId(..)
        | ClientInitializeError::UncorrelatedErrorResponse { .. } => {
            Some(Answered::Other("the greeting was answered with something else"))
        }
        _ => None,
    }
}

fn lifecycle(era: Era) -> ClientLifecycleMode {
    match era {
        Era::Initialize => ClientLifecycleMode::Initialize,
        Era::Discover => {
            ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
        }
    }
}

fn me() -> ClientConfig {
    let itself = Implementation::new("mcp-hangar-operator", env!("CARGO_PKG_VERSION"));
    let mut me = InitializeRequestParams::new(ClientCapabilities::default(), itself);
    me.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
    me
}
