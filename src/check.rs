//! `check`: whether the API server uses the webhooks, asked from outside the operator, by dry-runs.
//!
//! In: where the cluster is, and a namespace. Out: one line for each object that was tried, in each version a bad one
//! that our webhooks must refuse and a good one that they must take, and what usually helps where it went wrong.
//! The objects and how an answer is judged are those of [`crate::trust::selftest`], which the operator runs by itself.

use std::io::Write;
use std::time::{Duration, Instant};

use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::json;

use crate::cli::CheckArgs;
use crate::context::find_cluster;
use crate::exit::{ExitCode, RunError};
use crate::manifests::{Endpoint, FIELD_MANAGER, GROUP, VERSIONS};
use crate::retry::ClusterError;
use crate::trust::selftest;
use crate::words;

/// One answer must not take longer; the webhooks have 5 seconds of it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// An object that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempt {
    version: &'static str,
    good: bool,
}

impl Attempt {
    fn all() -> impl Iterator<Item = Self> {
        VERSIONS.into_iter().flat_map(|version| [false, true].map(|good| Self { version, good }))
    }

    /// What passed when it passed.
    fn promise(self) -> String {
        let Self { version, good } = self;
        if good {
            format!("a good {version} MCPProvider is taken")
        } else {
            format!("a bad {version} MCPProvider is refused by our webhooks")
        }
    }
}

/// Runs every attempt and says how it went; the code is that of the worst.
pub fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<ExitCode, RunError> {
    let task = |reason: String| RunError::Task { task: "the check", reason };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| task(error.to_string()))?;
    runtime.block_on(async {
        let config = find_cluster(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
        let client = connect(config)?;
        let deadline = Instant::now() + args.timeout;
        let mut code = ExitCode::Ok;
        for attempt in Attempt::all() {
            let answer = insist(&client, args, attempt, deadline).await;
            let line = match &answer {
                Ok(()) => format!("ok      {}\n", attempt.promise()),
                Err(failure) => {
                    code = ExitCode::Failure;
                    format!("FAILED  {}: {failure}\n", attempt.promise())
                }
            };
            out.write_all(line.as_bytes())
                .and_then(|()| out.flush())
                .map_err(|error| task(error.to_string()))?;
        }
        Ok(code)
    })
}

fn connect(config: Config) -> Result<Client, RunError> {
    Client::try_from(config).map_err(|error| RunError::Client(words::client(&error)))
}

/// Tries until it passes or the time is over; then says the last failure and what usually helps.
async fn insist(
    client: &Client,
    args: &CheckArgs,
    attempt: Attempt,
    deadline: Instant,
) -> Result<(), String> {
    loop {
        let result = create(client, args.namespace(), attempt).await;
        let judged = if attempt.good { selftest::judge_good(&result) } else { selftest::judge_bad(&result) };
        let Err(error) = judged else { return Ok(()) };
        if Instant::now() >= deadline {
            let endpoint = Endpoint::Service {
                name: args.service_name.clone(),
                namespace: args.namespace().to_owned(),
                port: 443,
            };
            return Err(format!("{error}; {}", selftest::advice(&error, &endpoint)));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn create(client: &Client, namespace: &str, attempt: Attempt) -> Result<DynamicObject, ClusterError> {
    let Attempt { version, good } = attempt;
    let kind = GroupVersionKind::gvk(GROUP, version, "MCPProvider");
    let resource = ApiResource::from_gvk_with_plural(&kind, "mcpproviders");
    let mut object = DynamicObject::new("", &resource).data(json!({"spec": selftest::spec(version, good)}));
    object.metadata.name = None;
    object.metadata.generate_name = Some("mcp-hangar-check-".into());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()) };
    let (verb, label) = ("create", format!("a {version} MCPProvider in {namespace} (dry run)"));
    match tokio::time::timeout(PATIENCE, api.create(&params, &object)).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(source)) => Err(ClusterError::Call { verb, object: label, source: Box::new(source) }),
        Err(_) => Err(ClusterError::Timeout { verb, object: label, limit: PATIENCE }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_a_good_and_a_bad_object_in_each_version() {
        let tried: Vec<(&str, bool)> =
            Attempt::all().map(|attempt| (attempt.version, attempt.good)).collect();
        assert_eq!(tried, [("v1alpha1", false), ("v1alpha1", true), ("v1beta1", false), ("v1beta1", true)]);
    }
}
