//! Which permissions the operator needs, and what is said when one is missing.
//!
//! The list is a value, so that one message can name all that is missing and generated RBAC can come from it. Each
//! permission is asked for once, after a grace (RBAC may be created after the pod), and again when the API server has
//! refused something; when that happens before all was in place, the process ends with a message that helps.

pub mod rules;

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
use crate::provider::places::Places;
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
    /// Plural name; `/status` behind it where that is meant.
    pub resource: String,
    /// Namespace, `None` for the whole cluster.
    pub namespace: Option<String>,
    /// One object, or any.
    pub name: Option<String>,
}

impl Permission {
    /// The object, without the verb.
    fn object(&self) -> String {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let mut text = resource.to_owned();
        if !self.group.is_empty() {
            text.push_str(&format!(".{}", self.group));
        }
        if let Some(name) = &self.name {
            text.push_str(&format!("/{name}"));
        }
        if !subresource.is_empty() {
            text.push_str(&format!(" --subresource={subresource}"));
        }
        text
    }

    fn place(&self) -> String {
        self.namespace
            .as_ref()
            .map_or_else(|| "the whole cluster".to_owned(), |name| format!("namespace {name}"))
    }
}

/// What the permissions are about. Generated roles put text of a template where a cluster has names.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Namespace of the CA Secret and of the self-test.
    pub namespace: &'a str,
    /// Name of the CA Secret.
    pub ca_secret: &'a str,
    /// Name of both webhook configurations.
    pub configuration_name: &'a str,
    /// Whether the operator itself applies CRDs and configurations.
    pub applies: bool,
    /// False when certificates come from files.
    pub own_ca: bool,
    /// Name of the Lease, where there is an election.
    pub lease: Option<&'a str>,
    /// Whether stored objects are written in the storage version.
    pub migrates: bool,
    /// Where providers are looked after, where they are.
    pub places: Option<&'a Places>,
}

/// All that the parts of this release need; `own_ca` is false when certificates come from files.
pub fn needed(ctx: &Context, own_ca: bool) -> Vec<Permission> {
    needed_in(Scope {
        namespace: &ctx.namespace,
        ca_secret: &ctx.ca_secret,
        configuration_name: &ctx.configuration_name,
        applies: ctx.applies(),
        own_ca,
        lease: ctx.lease.as_deref(),
        migrates: ctx.migrate_rate > 0,
        places: Some(&ctx.places),
    })
}

/// The list behind [`needed`], without a cluster: roles are generated from it, see [`rules`].
pub fn needed_in(scope: Scope<'_>) -> Vec<Permission> {
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
    let namespace = Some(scope.namespace);
    if scope.own_ca {
        add(&WATCH, "", "secrets", namespace, Some(scope.ca_secret));
        add(&["create", "update"], "", "secrets", namespace, Some(scope.ca_secret));
    }
    let writes: &[&str] = if scope.applies { &["patch", "create"] } else { &["patch"] };
    for resource in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        add(&WATCH, "admissionregistration.k8s.io", resource, None, Some(scope.configuration_name));
        add(writes, "admissionregistration.k8s.io", resource, None, Some(scope.configuration_name));
    }
    for resource in RESOURCES {
        let name = crd_name(resource);
        add(&WATCH, "apiextensions.k8s.io", "customresourcedefinitions", None, Some(&name));
        add(writes, "apiextensions.k8s.io", "customresourcedefinitions", None, Some(&name));
    }
    if scope.migrates {
        for resource in RESOURCES {
            add(&["list", "patch"], GROUP, resource, None, None);
            let name = crd_name(resource);
            add(&["patch"], "apiextensions.k8s.io", "customresourcedefinitions/status", None, Some(&name));
        }
    }
    if let Some(lease) = scope.lease {
        add(&["get", "create", "update"], "coordination.k8s.io", "leases", namespace, Some(lease));
    }
    const KEEP: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];
    let watched = scope.places.map(Places::watched).unwrap_or_default();
    for &place in &watched {
        add(&["list", "watch"], GROUP, "mcpproviders", place, None);
        add(&["patch"], GROUP, "mcpproviders/status", place, None);
        add(&["list", "watch"], GROUP, "mcpprovidergroups", place, None);
        add(&["patch"], GROUP, "mcpprovidergroups/status", place, None);
        // A source makes, changes and deletes providers, and has a finalizer where it blocks its deletion.
        add(&["get", "create", "patch", "delete"], GROUP, "mcpproviders", place, None);
        add(&["get", "list", "watch", "patch"], GROUP, "mcpdiscoverysources", place, None);
        add(&["patch"], GROUP, "mcpdiscoverysources/status", place, None);
        add(&["update"], GROUP, "mcpdiscoverysources/finalizers", place, None);
        // Which namespaces a source selects, their labels say.
        add(&WATCH, "", "namespaces", None, place);
        // Some clusters ask for this of who sets an owner that blocks deletion.
        add(&["update"], GROUP, "mcpproviders/finalizers", place, None);
        add(&KEEP, "apps", "deployments", place, None);
        add(&KEEP, "", "services", place, None);
        add(&["list", "watch"], "", "pods", place, None);
        add(&WATCH, "", "configmaps", place, None);
        add(&["create", "patch"], "events.k8s.io", "events", place, None);
    }
    for place in scope.places.map(Places::secrets).unwrap_or_default() {
        add(&WATCH, "", "secrets", place, None);
    }
    for place in scope.places.map(Places::configmaps).unwrap_or_default() {
        add(&WATCH, "", "configmaps", place, None);
    }
    if !watched.contains(&None) {
        add(&["create"], GROUP, "mcpproviders", namespace, None);
        add(&["create", "patch"], "events.k8s.io", "events", namespace, None);
    }
    if scope.applies {
        add(&["get", "create"], "", "namespaces", None, Some(scope.namespace));
    }
    all
}

/// Looks ahead once, then waits for refusals and looks into them. Ends only with an error: the process cannot do its work.
pub async fn guard(ctx: &Context, own_ca: bool) -> RunError {
    let needed = needed(ctx, own_ca);
    tokio::select! {
        error = look_into_refusals(ctx, &needed) => error,
        error = look_ahead(ctx, &needed) => error,
    }
}

/// Says what is missing although nobody has been refused yet: what only a rotation in years needs is not missed until
/// then. Asked once, after the grace; again only while something is missing or there is no answer.
async fn look_ahead(ctx: &Context, needed: &[Permission]) -> RunError {
    let mut wait = GRACE;
    loop {
        tokio::time::sleep(wait).await;
        wait = SLOW;
        match missing(ctx, needed).await {
            Ok(missing) if missing.is_empty() => return std::future::pending().await,
            Ok(missing) => {
                let report = explain(&missing);
                tracing::error!("some of what the operator does, now or later, will be refused: {report}");
            }
            Err(_) => {}
        }
    }
}

async fn look_into_refusals(ctx: &Context, needed: &[Permission]) -> RunError {
    let mut spell = Spell::default();
    loop {
        ctx.link.refused.notified().await;
        let Some(refusal) = ctx.link.take_refusal() else { continue };
        let certain = spell.refused(Instant::now()) >= GRACE;
        let report = match &refusal {
            Refusal::Credentials if certain && !ctx.settled() && !ctx.link.is_serving() => {
                return RunError::Credentials;
            }
            Refusal::Credentials => "the API server refuses the credentials (401 Unauthorized)".to_owned(),
            Refusal::Permission(words) => match missing(ctx, needed).await {
                // The server may refuse what it says it allows: an admission plugin, a webhook.
                Ok(missing) if missing.is_empty() => continue,
                Ok(missing) => explain(&missing),
                Err(_) => words.clone(),
            },
        };
        // During a rolling update this may be the only pod left that answers.
        if ctx.settled() || ctx.link.is_serving() {
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
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
        None => (resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.into()),
                group: Some(group.into()),
                resource: Some(resource),
                subresource,
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
