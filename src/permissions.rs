//! Which permissions the operator needs, and what is said when one is missing.
//!
//! The list is a value, so that one message can name all that is missing and generated RBAC can come from it. Nothing
//! is asked of the API server until it has refused something; then each permission is asked for, and when some are
//! still missing after a grace (RBAC may be created after the pod), the process ends with a message that helps.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use crate::context::Context;
use crate::exit::RunError;
use crate::manifests::{GROUP, RESOURCES, crd_name};
use crate::retry::{ClusterError, Refusal};

/// A refusal is certain after this long.
const GRACE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);
/// How often missing permissions are looked at again once the operator has settled.
const SLOW: Duration = Duration::from_secs(60);

/// One thing the operator must be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Such as `patch`.
    pub verb: &'static str,
    /// API group, empty for the core.
    pub group: &'static str,
    /// Plural name.
    pub resource: String,
    /// Namespace, `None` for the whole cluster.
    pub namespace: Option<String>,
    /// One object, or any.
    pub name: Option<String>,
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, group, resource, namespace, name } = self;
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if let Some(name) = name {
            write!(f, "/{name}")?;
        }
        match namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => f.write_str(" in the whole cluster"),
        }
    }
}

/// All that the parts of this release need; `own_ca` is false when certificates come from files.
pub fn needed(ctx: &Context, own_ca: bool) -> Vec<Permission> {
    const WATCH: [&str; 3] = ["get", "list", "watch"];
    let mut all = Vec::new();
    let mut add =
        |verbs: &[&'static str], group, resource: &str, namespace: Option<&str>, name: Option<&str>| {
            all.extend(verbs.iter().map(|&verb| Permission {
                verb,
                group,
                resource: resource.to_owned(),
                namespace: namespace.map(str::to_owned),
                // Nobody can be allowed to create one name only.
                name: name.filter(|_| verb != "create").map(str::to_owned),
            }));
        };
    let namespace = Some(ctx.namespace.as_str());
    if own_ca {
        add(&WATCH, "", "secrets", namespace, Some(&ctx.ca_secret));
        add(&["create", "update"], "", "secrets", namespace, Some(&ctx.ca_secret));
    }
    let writes: &[&str] = if ctx.applies() { &["patch", "create"] } else { &["patch"] };
    for resource in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        add(&WATCH, "admissionregistration.k8s.io", resource, None, Some(&ctx.configuration_name));
        add(writes, "admissionregistration.k8s.io", resource, None, Some(&ctx.configuration_name));
    }
    for resource in RESOURCES {
        let name = crd_name(resource);
        add(&WATCH, "apiextensions.k8s.io", "customresourcedefinitions", None, Some(&name));
        add(writes, "apiextensions.k8s.io", "customresourcedefinitions", None, Some(&name));
    }
    add(&["create"], GROUP, "mcpproviders", namespace, None);
    if ctx.applies() {
        add(&["get", "create"], "", "namespaces", None, Some(&ctx.namespace));
    }
    all.dedup();
    all
}

/// Waits for refusals and looks into them. Ends only with an error: the process cannot do its work.
pub async fn guard(ctx: &Context, own_ca: bool) -> RunError {
    let needed = needed(ctx, own_ca);
    loop {
        ctx.link.refused.notified().await;
        let began = Instant::now();
        while let Some(refusal) = ctx.link.take_refusal() {
            let report = match &refusal {
                Refusal::Credentials => String::new(),
                Refusal::Permission(words) => match missing(ctx, &needed).await {
                    // The server may refuse what it says it allows: an admission plugin, a webhook.
                    Ok(missing) if missing.is_empty() => break,
                    Ok(missing) => explain(&missing),
                    Err(_) => format!("  {words}"),
                },
            };
            if !ctx.settled() && began.elapsed() >= GRACE {
                return match refusal {
                    Refusal::Credentials => RunError::Credentials,
                    Refusal::Permission(_) => RunError::Permission(report),
                };
            }
            if ctx.settled() {
                tracing::error!("permissions are missing; webhooks go on serving\n{report}");
                tokio::time::sleep(SLOW).await;
            } else {
                // As long as it is refused, some task tries again and says so.
                let _ = tokio::time::timeout(PAUSE * 6, ctx.link.refused.notified()).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn missing(ctx: &Context, needed: &[Permission]) -> Result<Vec<Permission>, ClusterError> {
    let answers: Vec<_> = stream::iter(needed.to_vec())
        .map(|permission| async move {
            allowed(ctx, &permission).await.map(|allowed| (!allowed).then_some(permission))
        })
        .buffered(8)
        .collect()
        .await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

async fn allowed(ctx: &Context, permission: &Permission) -> Result<bool, ClusterError> {
    let Permission { verb, group, resource, namespace, name } = permission.clone();
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.into()),
                group: Some(group.into()),
                resource: Some(resource),
                namespace,
                name,
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(ctx.client.clone());
    let answer = ctx
        .link
        .call("create", "selfsubjectaccessreview", api.create(&PostParams::default(), &review))
        .await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Names each one, and how to mend it.
fn explain(missing: &[Permission]) -> String {
    let mut text = String::from("missing:\n");
    for permission in missing {
        text.push_str(&format!("  {permission}\n"));
    }
    if let Some(first) = missing.first() {
        text.push_str(&format!("check one with: {}\n", can_i(first)));
    }
    text.push_str(
        "mend it with the RBAC objects of the chart or of deploy/operator.yaml, bound to the account in use, or use an account that has them",
    );
    text
}

fn can_i(permission: &Permission) -> String {
    let Permission { verb, group, resource, namespace, name } = permission;
    let mut text = format!("kubectl auth can-i {verb} {resource}");
    if !group.is_empty() {
        text.push_str(&format!(".{group}"));
    }
    if let Some(name) = name {
        text.push_str(&format!("/{name}"));
    }
    if let Some(namespace) = namespace {
        text.push_str(&format!(" -n {namespace}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_verb_resource_and_mend() {
        let permission = Permission {
            verb: "patch",
            group: "apiextensions.k8s.io",
            resource: "customresourcedefinitions".into(),
            namespace: None,
            name: Some("mcpproviders.mcp-hangar.io".into()),
        };
        let text = explain(&[permission]);
        assert!(text.contains(
            "patch customresourcedefinitions.apiextensions.k8s.io/mcpproviders.mcp-hangar.io in the whole cluster"
        ));
        assert!(text.contains(
            "kubectl auth can-i patch customresourcedefinitions.apiextensions.k8s.io/mcpproviders.mcp-hangar.io"
        ));
        assert!(text.contains("deploy/operator.yaml"));
    }
}
