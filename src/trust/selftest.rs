//! Has the API server prove that it uses our webhooks: a bad object must be denied by us, a good one accepted.
//!
//! Dry-run creates of both versions, after every injection, at the start and now and then. The good v1alpha1 object is
//! converted on its way to the stored version, so that one request goes through all three webhooks. Out: a metric, a
//! log line and an Event, which name the exact error and the usual fix. Nothing is ever stored.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::events::EventType;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::context::Context;
use crate::manifests::{Endpoint, FIELD_MANAGER, GROUP, VERSIONS};
use crate::retry::{Attempts, ClusterError, Trouble};
use crate::words;

/// The API server's caches and the Service's endpoints get this long.
const CATCH_UP: Duration = Duration::from_secs(30);
/// Between two tests after a failure.
const SLOW: Duration = Duration::from_secs(60);
/// Between two tests when all is well.
const RESYNC: Duration = Duration::from_secs(600);

/// A refusal without a code of ours: nobody asked us.
const NOT_OURS: &str = "it was refused, but not by our webhooks";

/// A test that did not go as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was tried.
    pub check: String,
    /// The exact error.
    pub error: String,
    /// What usually helps.
    pub advice: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { check, error, advice } = self;
        write!(f, "{check}: {error}; {advice}")
    }
}

/// Tests again and again for as long as the process lives; `injected` says when something was written.
pub async fn keep(ctx: &Context, mut injected: watch::Receiver<u64>, listening: &str) {
    if injected.wait_for(|count| *count > 0).await.is_err() {
        return;
    }
    let mut began = Instant::now();
    let mut attempts = Attempts::default();
    let mut reported: Option<Result<(), Failure>> = None;
    loop {
        let wait = match run(ctx).await {
            Some(Ok(())) => {
                attempts.succeeded();
                report(ctx, &mut reported, Ok(()), listening).await;
                RESYNC
            }
            Some(Err(failure)) if began.elapsed() >= CATCH_UP => {
                report(ctx, &mut reported, Err(failure), listening).await;
                SLOW
            }
            Some(Err(failure)) => {
                tracing::debug!("self-test not passed yet: {failure}");
                attempts.failed()
            }
            // Nothing can be said while the API server is away.
            None => attempts.failed(),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {
                if wait == RESYNC {
                    began = Instant::now();
                }
            }
            changed = injected.changed() => {
                if changed.is_err() {
                    return;
                }
                began = Instant::now();
                attempts.succeeded();
            }
        }
    }
}

/// Says a result that is news.
async fn report(
    ctx: &Context,
    reported: &mut Option<Result<(), Failure>>,
    result: Result<(), Failure>,
    listening: &str,
) {
    ctx.metrics.selftest(result.is_ok());
    if reported.as_ref() == Some(&result) {
        return;
    }
    match &result {
        Ok(()) => {
            tracing::info!(
                webhooks = listening,
                "self-test passed: the API server uses our webhooks in both versions"
            );
            if reported.is_some() {
                let note = "The API server uses the webhooks again.";
                ctx.event(EventType::Normal, "SelfTestPassed", "SelfTest", note).await;
            }
        }
        Err(failure) => {
            tracing::error!(webhooks = listening, "self-test failed: {failure}");
            ctx.event(EventType::Warning, "SelfTestFailed", "SelfTest", &failure.to_string()).await;
        }
    }
    *reported = Some(result);
}

/// One round; `None` when the API server is away.
async fn run(ctx: &Context) -> Option<Result<(), Failure>> {
    for version in VERSIONS {
        for good in [false, true] {
            let result = create(ctx, version, good).await;
            if let Err(error @ ClusterError::Call { .. }) = &result
                && error.trouble() == Trouble::Away
                && !error.to_string().contains("webhook")
            {
                return None;
            }
            let judged = if good { judge_good(&result) } else { judge_bad(&result) };
            if let Err(error) = judged {
                let kind = if good { "good" } else { "bad" };
                let check = format!("dry-run create of a {kind} {version} MCPProvider in {}", ctx.namespace);
                return Some(Err(Failure { advice: advice(&error, &ctx.endpoint), check, error }));
            }
        }
    }
    Some(Ok(()))
}

async fn create(ctx: &Context, version: &str, good: bool) -> Result<DynamicObject, ClusterError> {
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(GROUP, version, "MCPProvider"),
        "mcpproviders",
    );
    let mut object = DynamicObject::new("", &resource).data(json!({"spec": spec(version, good)}));
    object.metadata.name = None;
    object.metadata.generate_name = Some("mcp-hangar-selftest-".into());
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &ctx.namespace, &resource);
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()) };
    let label = format!("a {version} MCPProvider in {} (dry run)", ctx.namespace);
    ctx.link.probe("create", label, api.create(&params, &object)).await
}

/// The bad one lacks the image.
pub(crate) fn spec(version: &str, good: bool) -> Value {
    let image = "registry.example.com/mcp-hangar-selftest@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    match (version == VERSIONS[0], good) {
        (true, true) => json!({"mode": "container", "image": image}),
        (true, false) => json!({"mode": "container"}),
        (false, true) => json!({"mode": "Container", "container": {"image": image}}),
        (false, false) => json!({"mode": "Container"}),
    }
}

/// A bad object must be denied, and by us: our denials carry a code.
pub(crate) fn judge_bad<T>(result: &Result<T, ClusterError>) -> Result<(), String> {
    match result {
        Ok(_) => Err("it was accepted".into()),
        Err(ClusterError::Call { source, .. }) => match &**source {
            kube::Error::Api(status) if status.message.contains("[HGR") => Ok(()),
            // The schema's own rules stand behind ours.
            kube::Error::Api(status) if status.code == 422 => Err(format!("{NOT_OURS}: {}", status.message)),
            error => Err(words::client(error)),
        },
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn judge_good<T>(result: &Result<T, ClusterError>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(ClusterError::Call { source, .. }) => Err(words::client(source)),
        Err(error) => Err(error.to_string()),
    }
}

/// What usually helps, by the words that the API server uses.
pub(crate) fn advice(error: &str, endpoint: &Endpoint) -> String {
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    let (peer, door) = match endpoint {
        Endpoint::Service { name, namespace, .. } => {
            (format!("Service {namespace}/{name}"), "the pods' webhook port (9443)".to_owned())
        }
        Endpoint::Url(url) => (url.to_string(), format!("port {}", url.port())),
    };
    if has(&["it was accepted", NOT_OURS]) {
        return "the webhook configurations are missing, or their rules or selectors leave this namespace out".into();
    }
    if has(&["x509", "certificate"]) {
        return format!(
            "the caBundle does not fit the certificate at {peer}: something else answers there, or it is being repaired"
        );
    }
    if has(&["no endpoints available", "connection refused"]) {
        return format!("nobody listens at {peer}: is a pod ready, and is the address right?");
    }
    if has(&["deadline exceeded", "Timeout", "i/o timeout", "no route to host", "no answer within"]) {
        return format!(
            "a firewall or NetworkPolicy keeps the API server from {peer}: open {door} for it (on private GKE clusters: a firewall rule)"
        );
    }
    if has(&["service \"", "no such host"]) {
        return format!("{peer} does not exist: see --service-name, --service-namespace and --webhook-url");
    }
    if has(&["is forbidden"]) {
        return "the operator may not create mcpproviders there: see its RBAC".into();
    }
    if has(&["could not find the requested resource", "not found"]) {
        return "the CRDs, or the namespace, are not there".into();
    }
    format!("see the operator's log and the webhook at {peer}")
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(message: &str) -> Result<(), ClusterError> {
        let source = kube::Error::Api(Status::failure(message, "Invalid").with_code(422).boxed());
        Err(ClusterError::Call { verb: "create", object: "x".into(), source: Box::new(source) })
    }

    #[test]
    fn a_denial_counts_only_when_it_is_ours() {
        let ours = "spec.image: Required value: must be set when spec.mode is \"container\" [HGR101]";
        assert_eq!(judge_bad(&refused(ours)), Ok(()));
        assert_eq!(
            judge_bad(&refused("spec.mode: Unsupported value")),
            Err("it was refused, but not by our webhooks: spec.mode: Unsupported value".into())
        );
        assert_eq!(judge_bad(&Ok(())), Err("it was accepted".into()));
    }

    #[test]
    fn a_good_object_must_be_accepted() {
        assert_eq!(judge_good(&Ok(())), Ok(()));
        assert!(judge_good(&refused("failed calling webhook")).is_err());
    }

    #[test]
    fn the_usual_fix_follows_the_servers_words() {
        let service = Endpoint::default_service("mcp-system");
        let check = |error: &str, expected: &str| {
            let advice = advice(error, &service);
            assert!(advice.contains(expected), "{advice}");
        };
        check("failed calling webhook: context deadline exceeded", "NetworkPolicy");
        check("tls: failed to verify certificate: x509: certificate signed by unknown authority", "caBundle");
        check("no endpoints available for service \"x\"", "is a pod ready");
        check("service \"x\" not found", "--service-name");
        check("mcpproviders.mcp-hangar.io is forbidden: User", "RBAC");
        check("it was accepted", "webhook configurations are missing");
        check(NOT_OURS, "webhook configurations are missing");
    }
}
