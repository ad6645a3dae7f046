//! One look at one group: its status, the write where that differs, an Event where the verdict is another.
//!
//! In: the group, its wish and its members. Out: at most one write. When it is called is left to `super::keeper`.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::runtime::events::EventType;
use mcp_hangar_api::GROUP;
use mcp_hangar_api::condition::{Condition, RECONCILING};
use mcp_hangar_api::v1beta1::group::{MCPProviderGroup, MCPProviderGroupStatus};

use super::fetch::Known;
use super::life::Life;
use super::member::Member;
use super::status::{About, patch, status};
use super::wish::Wish;
use crate::context::Context;
use crate::manifests::FIELD_MANAGER;
use crate::retry::ClusterError;

/// A group with its members, by name.
pub(super) struct Seen {
    pub(super) group: Arc<Known>,
    pub(super) wish: Arc<Wish>,
    pub(super) members: Vec<Arc<Member>>,
}

/// The resource of groups, read as it comes.
pub(super) fn resource() -> ApiResource {
    ApiResource::erase::<MCPProviderGroup>(&())
}

/// One look.
pub(super) async fn reconcile(
    ctx: &Context,
    seen: &Seen,
    life: &mut Life,
    now: Timestamp,
) -> Result<(), ClusterError> {
    let began = Instant::now();
    let result = write(ctx, seen, life, now).await;
    let word = result.as_ref().map_or_else(ClusterError::kind, |()| "success");
    ctx.metrics.controllers.reconciled("group", word, began.elapsed());
    result
}

async fn write(ctx: &Context, seen: &Seen, life: &mut Life, now: Timestamp) -> Result<(), ClusterError> {
    let Seen { group, wish, members } = seen;
    let members: Vec<&Member> = members.iter().map(|member| &**member).collect();
    let about = About {
        namespace: &group.key.namespace,
        generation: group.generation,
        selector: wish.selector.as_ref(),
        policy: wish.policy,
        invalid: wish.invalid.as_deref(),
    };
    let (resource_version, old) = life.status(group);
    let new = status(&about, &members, old, now);
    ctx.metrics.controllers.group(&group.key.namespace, &group.key.name, &new);
    let Some(patch) = patch(old, &new, resource_version) else { return Ok(()) };
    let told = told(old, &new);
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &group.key.namespace, &resource());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let body = Patch::Merge(&patch);
    let call = api.patch_status(&group.key.name, &params, &body);
    let written = ctx.link.call("patch", format!("status of group {}", group.key), call).await?;
    life.wrote(&group.resource_version, written.metadata.resource_version.unwrap_or_default(), new);
    if let Some((type_, reason, note)) = told {
        let about = ObjectReference {
            api_version: Some(format!("{GROUP}/v1beta1")),
            kind: Some("MCPProviderGroup".into()),
            name: Some(group.key.name.to_string()),
            namespace: Some(group.key.namespace.to_string()),
            uid: Some(group.uid.clone()),
            ..ObjectReference::default()
        };
        tracing::info!(group = %group.key, reason, "{note}");
        ctx.event_about(&about, type_, &reason, "Reconcile", &note).await;
    }
    Ok(())
}

/// The Event of a transition: when the group has another verdict than before.
fn told(old: &MCPProviderGroupStatus, new: &MCPProviderGroupStatus) -> Option<(EventType, String, String)> {
    let find = |status: &MCPProviderGroupStatus, type_: &str| {
        status.conditions.iter().find(|condition| condition.type_ == type_).cloned()
    };
    let ready = find(new, "Ready")?;
    let reason = ready.reason?;
    if find(old, "Ready").and_then(|old: Condition| old.reason).as_ref() == Some(&reason) {
        return None;
    }
    // What starts is no trouble yet.
    let is_well = reason == "PolicyMet" || find(new, RECONCILING).is_some();
    let type_ = if is_well { EventType::Normal } else { EventType::Warning };
    Some((type_, reason, ready.message.unwrap_or_default()))
}
