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
use crate::retry::{ClusterError, LONGEST_WAIT, Refusal};

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

impl Permission {
    /// The object, without the verb.
    fn object(&self) -> String {
        let mut text = self.resource.clone();
        if !self.group.is_empty() {
            text.push_str(&format!(".{}", self.group));
        }
        if let Some(name) = &self.name {
            text.push_str(&format!("/{name}"));
        }
        text
    }

    fn place(&self) -> String {
        self.namespace
            .as_ref()
            .map_or_else(|| "the whole cluster".to_owned(), |name| format!("namespace {name}"))
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
    all
}

/// Waits for refusals and looks into them. Ends only with an error: the process cannot do its work.
pub async fn guard(ctx: &Context, own_ca: bool) -> RunError {
    let needed = needed(ctx, own_ca);
    let mut spell = Spell::default();
    loop {
        ctx.link.refused.notified().await;
        let Some(refusal) = ctx.link.take_refusal() else { continue };
        let certain = spell.refused(Instant::now()) >= GRACE;
        let report = match &refusal {
            Refusal::Credentials if certain && !ctx.settled() => return RunError::Credentials,
            Refusal::Credentials => "the API server refuses the credentials (401 Unauthorized)".to_owned(),
            Refusal::Permission(words) => match missing(ctx, &needed).await {
                // The server may refuse what it says it allows: an admission plugin, a webhook.
                Ok(missing) if missing.is_empty() => continue,
                Ok(missing) => explain(&missing),
                Err(_) => words.clone(),
            },
        };
        if ctx.settled() {
            tracing::error!("webhooks go on serving, but something is refused: {report}");
            tokio::time::sleep(SLOW).await;
        } else if certain {
            return RunError::Permission(report);
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Refusals that follow each other.
#[derive(Debug, Default)]
struct Spell(Option<(Instant, Instant)>);

impl Spell {
    /// How long it has gone on; a while without one ends it.
    fn refused(&mut self, now: Instant) -> Duration {
        let began = match self.0 {
            Some((began, last)) if now.duration_since(last) <= LONGEST_WAIT * 3 => began,
            _ => now,
        };
        self.0 = Some((began, now));
        now.duration_since(began)
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

/// Names each object with its verbs, and how to mend it.
fn explain(missing: &[Permission]) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for permission in missing {
        let line = format!("{} in {}", permission.object(), permission.place());
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, verbs)) if verbs.contains(&permission.verb) => {}
            Some((_, verbs)) => verbs.push(permission.verb),
            None => lines.push((line, vec![permission.verb])),
        }
    }
    let mut text = String::from("missing permissions:\n");
    for (object, verbs) in lines {
        text.push_str(&format!("  {} {object}\n", verbs.join(", ")));
    }
    if let Some(first) = missing.first() {
        let namespace = first.namespace.as_ref().map(|name| format!(" -n {name}")).unwrap_or_default();
        text.push_str(&format!("check: kubectl auth can-i {} {}{namespace}\n", first.verb, first.object()));
    }
    text.push_str(
        "mend: bind a role that grants these to the account in use, or use an account that has them",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_verbs_object_and_mend() {
        let of = |verb| Permission {
            verb,
            group: "apiextensions.k8s.io",
            resource: "customresourcedefinitions".into(),
            namespace: None,
            name: Some("mcpproviders.mcp-hangar.io".into()),
        };
        let text = explain(&[of("get"), of("patch")]);
        let object = "customresourcedefinitions.apiextensions.k8s.io/mcpproviders.mcp-hangar.io";
        assert!(text.contains(&format!("  get, patch {object} in the whole cluster\n")), "{text}");
        assert!(text.contains(&format!("kubectl auth can-i get {object}\n")), "{text}");
        assert!(text.contains("mend: bind a role"), "{text}");
    }

    #[test]
    fn refusals_with_a_long_pause_between_are_not_one_spell() {
        let start = Instant::now();
        let mut spell = Spell::default();
        assert_eq!(spell.refused(start), Duration::ZERO);
        assert_eq!(spell.refused(start + LONGEST_WAIT), LONGEST_WAIT);
        assert_eq!(spell.refused(start + LONGEST_WAIT * 5), Duration::ZERO);
    }
}
