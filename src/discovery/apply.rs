//! Makes, changes and deletes the providers of a source.
//!
//! In: a plan. Out: what became of each write. A provider is made by a create, so that nobody's is ever taken over;
//! changed by server-side apply of our own fields, bound to its uid; deleted only while it is still the source's own, bound
//! to uid and version. At most a few writes at a time.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use super::mark::Claim;
use super::merge::Wish;
use super::plan::Plan;
use super::source::Source;
use crate::context::Context;
use crate::provider::watch::resource;
use crate::retry::{ClusterError, Trouble};

/// Whom the fields of discovered providers belong to.
pub(super) const MANAGER: &str = "mcp-hangar-discovery";
/// Writes at the same time: enough to keep an API server busy beside what is done about the providers meanwhile.
const WRITES: usize = 32;
/// Characters of a refusal.
const TEXT: usize = 512;

/// What became of the writes.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) created: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) deleted: Vec<String>,
    /// There already, and the source's own: the watch was behind.
    kept: Vec<String>,
    /// Gone already, or another's by now.
    gone: Vec<String>,
    /// Refused, by name.
    pub(super) failed: BTreeMap<String, String>,
    /// One that is worth another try soon.
    pub(super) error: Option<ClusterError>,
}

enum Done {
    Created,
    Changed,
    Deleted,
    Kept,
    Gone,
}

/// Makes all writes; deletes last.
pub(super) async fn apply(ctx: &Context, source: &Source, plan: &Plan) -> Outcome {
    let write = Write { ctx, source };
    let mut outcome = Outcome::default();
    let mut steps: Vec<Vec<Step<'_>>> = vec![
        plan.creates.iter().map(Step::Create).collect(),
        plan.updates.iter().map(|(wish, uid)| Step::Change(wish, uid)).collect(),
        plan.deletes.iter().map(|(name, uid)| Step::Delete(name, uid)).collect(),
    ];
    for steps in steps.drain(..) {
        if steps.iter().any(|step| matches!(step, Step::Delete(..)))
            && !write.is_wished(&mut outcome, plan).await
        {
            break;
        }
        let steps: Vec<BoxFuture<'_, _>> = steps.into_iter().map(|step| write.step(step).boxed()).collect();
        let mut done = stream::iter(steps).buffer_unordered(WRITES);
        while let Some((name, result)) = done.next().await {
            outcome.take(name, result);
        }
    }
    for names in [&mut outcome.created, &mut outcome.changed, &mut outcome.deleted] {
        names.sort();
    }
    outcome
}

/// Deletes what the source owns, because it goes itself.
pub(super) async fn remove(
    ctx: &Context,
    source: &Source,
    all: &[(String, String)],
) -> Result<(), ClusterError> {
    let write = Write { ctx, source };
    let steps = all.iter().map(|(name, uid)| write.step(Step::Delete(name, uid)).boxed());
    let steps: Vec<BoxFuture<'_, _>> = steps.collect();
    let mut gone = stream::iter(steps).buffer_unordered(WRITES);
    while let Some((_, result)) = gone.next().await {
        result?;
    }
    Ok(())
}

/// One write.
enum Step<'a> {
    Create(&'a Wish),
    Change(&'a Wish, &'a str),
    Delete(&'a str, &'a str),
}

impl Outcome {
    fn take(&mut self, name: String, result: Result<Done, ClusterError>) {
        match result {
            Ok(Done::Created) => self.created.push(name),
            Ok(Done::Changed) => self.changed.push(name),
            Ok(Done::Deleted) => self.deleted.push(name),
            Ok(Done::Kept) => self.kept.push(name),
            Ok(Done::Gone) => self.gone.push(name),
            Err(error) => {
                let text: String = error.to_string().chars().take(TEXT).collect();
                self.failed.insert(name, text);
                if !(error.by_admission() || error.trouble() == Trouble::Rejected) {
                    self.error.get_or_insert(error);
                }
            }
        }
    }

    /// The providers that there are now.
    pub(super) fn managed(&self, before: &BTreeSet<String>) -> BTreeSet<String> {
        let is_gone: BTreeSet<&String> = self.deleted.iter().chain(&self.gone).collect();
        let new = self.created.iter().chain(&self.kept);
        before.iter().filter(|name| !is_gone.contains(name)).chain(new).cloned().collect()
    }
}

#[derive(Clone, Copy)]
struct Write<'a> {
    ctx: &'a Context,
    source: &'a Source,
}

impl<'a> Write<'a> {
    async fn step(self, step: Step<'a>) -> (String, Result<Done, ClusterError>) {
        match step {
            Step::Create(wish) => (wish.name.clone(), self.create(wish).await),
            Step::Change(wish, uid) => (wish.name.clone(), self.change(wish, uid).await),
            Step::Delete(name, uid) => (name.to_owned(), self.delete(name, uid).await),
        }
    }

    fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.ctx.client.clone(), &self.source.key.namespace, &resource())
    }

    fn object(&self, name: &str) -> String {
        format!("MCPProvider {}/{name}", self.source.key.namespace)
    }

    /// Whether the source still says what was planned for: who pauses or edits it has nothing deleted any more.
    async fn is_wished(&self, outcome: &mut Outcome, plan: &Plan) -> bool {
        let Source { key, uid, generation, .. } = self.source;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.ctx.client.clone(), &key.namespace, &super::reconcile::resource());
        let get = api.get_metadata_opt(&key.name);
        match self.ctx.link.call("get", format!("MCPDiscoverySource {key}"), get).await {
            Ok(found) => found.is_some_and(|it| {
                let meta = it.metadata;
                let is_staying = meta.deletion_timestamp.is_none();
                is_staying && meta.uid.as_deref() == Some(uid) && meta.generation == Some(*generation)
            }),
            Err(error) => {
                let says = error.to_string();
                outcome.failed.extend(plan.deletes.iter().map(|(name, _)| (name.clone(), says.clone())));
                outcome.error.get_or_insert(error);
                false
            }
        }
    }

    async fn create(&self, wish: &Wish) -> Result<Done, ClusterError> {
        let Ok(object) = serde_json::from_value::<DynamicObject>(wish.object.clone()) else {
            return Ok(Done::Gone);
        };
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let api = self.api();
        let call = api.create(&params, &object);
        match self.ctx.link.probe("create", self.object(&wish.name), call).await {
            Ok(_) => Ok(Done::Created),
            Err(error) if error.trouble() == Trouble::Conflict => {
                let there = self.found(&wish.name).await?;
                there.filter(|meta| is_ours(meta, self.source)).map(|_| Done::Kept).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn change(&self, wish: &Wish, uid: &str) -> Result<Done, ClusterError> {
        let Some(found) = self.ours(&wish.name, uid).await? else { return Ok(Done::Gone) };
        let api = self.api();
        if let Some(patch) = adoption(&found) {
            let patch = serde_json::from_value(patch).map(Patch::Json::<()>);
            if let Ok(patch) = patch {
                let params = PatchParams::default();
                let call = api.patch_metadata(&wish.name, &params, &patch);
                self.ctx.link.probe("patch", self.object(&wish.name), call).await?;
            }
        }
        let mut body = wish.object.clone();
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            // Should it be deleted and another be made meanwhile, that one is not taken over.
            metadata.insert("uid".into(), json!(uid));
        }
        let patch = Patch::Apply(&body);
        let params = PatchParams::apply(MANAGER).force();
        let call = api.patch_metadata(&wish.name, &params, &patch);
        self.ctx.link.probe("patch", self.object(&wish.name), call).await.map(|_| Done::Changed)
    }

    async fn delete(&self, name: &str, uid: &str) -> Result<Done, ClusterError> {
        let Some(found) = self.ours(name, uid).await? else { return Ok(Done::Gone) };
        if found.deletion_timestamp.is_some() {
            return Ok(Done::Gone);
        }
        let mut params = DeleteParams::background();
        params.preconditions = Some(Preconditions {
            uid: Some(uid.to_owned()),
            // Who takes it over or writes to it meanwhile is asked first.
            resource_version: found.resource_version,
        });
        let api = self.api();
        match self.ctx.link.call("delete", self.object(name), api.delete(name, &params)).await {
            Ok(_) => Ok(Done::Deleted),
            Err(error) if error.trouble() == Trouble::NotFound => Ok(Done::Gone),
            Err(error) => Err(error),
        }
    }

    /// The provider as the API server has it now, while it is the source's own.
    async fn ours(&self, name: &str, uid: &str) -> Result<Option<ObjectMeta>, ClusterError> {
        let found = self.found(name).await?;
        Ok(found.filter(|meta| meta.uid.as_deref() == Some(uid) && is_ours(meta, self.source)))
    }

    async fn found(&self, name: &str) -> Result<Option<ObjectMeta>, ClusterError> {
        let api = self.api();
        let found = self.ctx.link.call("get", self.object(name), api.get_metadata_opt(name)).await?;
        Ok(found.map(|found| found.metadata))
    }
}

fn is_ours(meta: &ObjectMeta, source: &Source) -> bool {
    let claim = Claim { source: &source.key.name, namespace: &source.key.namespace, uid: &source.uid };
    let name = meta.name.as_deref().unwrap_or_default();
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let is_ours = |all| claim.is_ours(name, all, owner.map(|owner| owner.uid.as_str()));
    meta.annotations.as_ref().is_some_and(is_ours)
}

/// What was created belongs to our manager as an update does, and would stay when an apply leaves it out: this makes it an
/// apply's. Needed once.
fn adoption(meta: &ObjectMeta) -> Option<Value> {
    let entries = meta.managed_fields.as_ref()?;
    let is_ours = |entry: &ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(MANAGER)
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    };
    let is = |entry: &ManagedFieldsEntry, operation: &str| {
        is_ours(entry) && entry.operation.as_deref() == Some(operation)
    };
    if !entries.iter().any(|entry| is(entry, "Update")) {
        return None;
    }
    let applied = entries.iter().any(|entry| is(entry, "Apply"));
    let kept: Vec<_> = entries
        .iter()
        .filter(|entry| !(applied && is(entry, "Update")))
        .cloned()
        .map(|mut entry| {
            if is(&entry, "Update") {
                entry.operation = Some("Apply".into());
            }
            entry
        })
        .collect();
    Some(json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version},
        {"op": "replace", "path": "/metadata/managedFields", "value": kept},
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_created_becomes_an_apply_once() {
        let meta = |entries: Value| -> ObjectMeta {
            serde_json::from_value(json!({"resourceVersion": "7", "managedFields": entries})).unwrap()
        };
        let entry = |manager: &str, operation: &str| json!({"manager": manager, "operation": operation});
        let operations = |entries: Value| {
            adoption(&meta(entries)).map(|patch| {
                let all = patch[1]["value"].as_array().unwrap().clone();
                all.iter()
                    .map(|it| format!("{} {}", it["manager"], it["operation"]))
                    .collect::<Vec<_>>()
                    .join(", ")
            })
        };
        assert_eq!(operations(json!([entry(MANAGER, "Apply"), entry("kubectl", "Update")])), None);
        assert_eq!(
            operations(json!([entry(MANAGER, "Update"), entry("kubectl", "Update")])).unwrap(),
            format!("\"{MANAGER}\" \"Apply\", \"kubectl\" \"Update\"")
        );
        assert_eq!(
            operations(json!([entry(MANAGER, "Apply"), entry(MANAGER, "Update")])).unwrap(),
            format!("\"{MANAGER}\" \"Apply\"")
        );
    }
}
