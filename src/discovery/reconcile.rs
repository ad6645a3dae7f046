//! One look at one source: scan, plan, apply, status.
//!
//! In: the source, the providers of its namespace, what is remembered of it ([`Life`]). Out: writes where something
//! differs, Events for what happened, and when to look again. When it is called is left to [`super::keeper`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::events::EventType;
use mcp_hangar_api::v1beta1::discovery::{MCPDiscoverySource, MCPDiscoverySourceStatus};
use mcp_hangar_api::{FINALIZER, GROUP};
use serde_json::json;

use super::apply::{self, apply};
use super::mark::Claim;
use super::merge::Maker;
use super::neighbours::Crowd;
use super::plan::{Plan, plan};
use super::prune::{Memory, Moment};
use super::scan::{Looked, scan};
use super::source::{Settings, Source};
use super::status::{Outcome, Scanned, joined, patch, status};
use super::watch::Thing;
use crate::context::Context;
use crate::manifests::FIELD_MANAGER;
use crate::retry::{Attempts, ClusterError};

/// What is remembered of a source between two looks.
#[derive(Default)]
pub(super) struct Life {
    memory: Memory,
    /// What the times of the memory are counted from.
    born: Option<Instant>,
    written: Option<Written>,
    pub(super) attempts: Attempts,
    /// What is wrong with items and with the whole, as it was told last.
    told: Told,
}

#[derive(Default, PartialEq)]
struct Told {
    faults: Vec<String>,
    errors: BTreeMap<String, String>,
    paused: bool,
    held: Vec<String>,
}

/// The status that was written last, while the watch may still show what was before.
struct Written {
    older: Vec<String>,
    version: String,
    status: MCPDiscoverySourceStatus,
}

/// What to do next.
#[derive(Default)]
pub(super) struct Next {
    /// Look again then, if nothing happens before.
    pub(super) again: Option<Duration>,
    /// Something failed that may go better soon.
    pub(super) may_mend: bool,
    /// Names that it wants: who frees one wakes it.
    pub(super) names: BTreeSet<String>,
    /// What it found.
    pub(super) things: BTreeSet<Thing>,
}

/// The resource of sources, read as it comes.
pub(super) fn resource() -> ApiResource {
    ApiResource::erase::<MCPDiscoverySource>(&())
}

/// One look.
pub(super) async fn reconcile(
    ctx: &Context,
    source: &Arc<Source>,
    settings: &Result<Arc<Settings>, String>,
    providers: Crowd,
    life: &mut Life,
) -> Result<Next, ClusterError> {
    if source.is_going {
        return leave(ctx, source, settings, &providers, life).await;
    }
    let settings = match settings {
        Ok(settings) => Arc::clone(settings),
        Err(says) => {
            life.memory = Memory::default();
            write(ctx, source, life, &Outcome::Invalid(says.clone())).await?;
            let told = Told { faults: vec![says.clone()], ..Told::default() };
            tell(ctx, source, life, told, "InvalidSpec").await;
            return Ok(Next::default());
        }
    };
    if settings.blocks_deletion != source.has_finalizer {
        finalizer(ctx, source, settings.blocks_deletion).await?;
    }
    if settings.paused {
        life.memory = Memory::default();
        write(ctx, source, life, &Outcome::Paused).await?;
        tell(ctx, source, life, Told { paused: true, ..Told::default() }, "Paused").await;
        return Ok(Next::default());
    }
    look(ctx, source, &settings, providers, life).await
}

async fn look(
    ctx: &Context,
    source: &Arc<Source>,
    settings: &Arc<Settings>,
    providers: Crowd,
    life: &mut Life,
) -> Result<Next, ClusterError> {
    let began = Instant::now();
    let Looked { scan, may_mend, things } = scan(ctx, &source.key.namespace, settings).await;
    let faults = scan.faults.clone();
    let passed = life.born.get_or_insert_with(Instant::now).elapsed();
    let now = Moment { read: Timestamp::now(), passed };
    let memory = std::mem::take(&mut life.memory);
    let planned = decide(ctx, source, settings, scan, providers, memory, now).await;
    let (plan, memory) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            tracing::error!(source = %source.key, "planning failed: {error}; it is tried again");
            return Ok(Next { again: Some(settings.refresh), ..Next::default() });
        }
    };
    life.memory = memory;
    let done = apply(ctx, source, &plan).await;
    let took = began.elapsed();
    ctx.metrics.controllers.scanned(took);
    let managed = done.managed(&plan.managed);
    say(ctx, source, &done).await;
    let names = plan.items.iter().map(|item| item.name.clone()).collect();
    // A little later, so that it has passed by then.
    let again = plan.verdict.again.filter(|_| settings.prunes).map(|again| again + Duration::from_millis(10));
    let may_mend = may_mend || done.error.is_some();
    let again = again.map_or(settings.refresh, |again| again.min(settings.refresh));
    if done.error.is_none() && settings.prunes && plan.is_in_doubt() {
        // The next look, which is at once, has more to say.
        return Ok(Next { again: Some(again), may_mend, names, things });
    }
    let told = told(&plan, &faults, &done.failed);
    let scanned = Scanned {
        plan,
        faults,
        failed: done.failed,
        deleted: done.deleted,
        managed,
        prunes: settings.prunes,
        refresh: settings.refresh,
        took,
    };
    write(ctx, source, life, &Outcome::Scanned(Box::new(scanned))).await?;
    tell(ctx, source, life, told, "SyncFailed").await;
    if let Some(error) = &done.error {
        tracing::debug!(source = %source.key, kind = error.kind(), "{error}; it is tried again");
    }
    Ok(Next { again: Some(again), may_mend, names, things })
}

/// Ten thousand items take their time, which is not taken from the webhooks.
async fn decide(
    ctx: &Context,
    source: &Arc<Source>,
    settings: &Arc<Settings>,
    scan: super::found::Scan,
    providers: Crowd,
    mut memory: Memory,
    now: Moment,
) -> Result<(Plan, Memory), tokio::task::JoinError> {
    let (source, settings, policy) = (Arc::clone(source), Arc::clone(settings), ctx.policy.clone());
    let work = move || {
        let maker = Maker {
            source: &source.key.name,
            namespace: &source.key.namespace,
            uid: &source.uid,
            controller: settings.controller,
            template: &settings.template,
            policy: &policy,
        };
        let plan = plan(&maker, &settings, &scan, &providers.lives(), &mut memory, now);
        (plan, memory)
    };
    tokio::task::spawn_blocking(work).await
}

/// It is being deleted: its own go first, where that was asked for.
async fn leave(
    ctx: &Context,
    source: &Arc<Source>,
    settings: &Result<Arc<Settings>, String>,
    providers: &Crowd,
    life: &mut Life,
) -> Result<Next, ClusterError> {
    if !source.has_finalizer {
        return Ok(Next::default());
    }
    let claim = Claim { source: &source.key.name, namespace: &source.key.namespace, uid: &source.uid };
    let mine: Vec<_> = providers
        .lives()
        .into_iter()
        .filter(|(name, live)| live.origin_of(name, &claim).is_some())
        .map(|(name, live)| (name, live.uid))
        .collect();
    // Where the spec cannot be read any more, nothing is deleted that might have been meant to stay.
    let owns = settings.as_ref().is_ok_and(|settings| settings.controller);
    let blocks = settings.as_ref().is_ok_and(|settings| settings.blocks_deletion);
    if mine.is_empty() || !blocks {
        finalizer(ctx, source, false).await?;
        return Ok(Next::default());
    }
    let names: Vec<_> = mine.iter().map(|(name, _)| name.clone()).collect();
    let how = if owns { "deletes its providers first" } else { "stays until its providers are deleted" };
    let says = format!("{how} (spec.ownership.blockDeletion): {}", joined(&names, ", "));
    write(ctx, source, life, &Outcome::Going(says)).await?;
    if owns {
        apply::remove(ctx, source, &mine).await?;
    }
    Ok(Next { again: Some(Duration::from_secs(5)), ..Next::default() })
}

/// Sets the finalizer, or takes it away.
async fn finalizer(ctx: &Context, source: &Source, is_wanted: bool) -> Result<(), ClusterError> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &source.key.namespace, &resource());
    let object = format!("finalizers of MCPDiscoverySource {}", source.key);
    let get = api.get_metadata_opt(&source.key.name);
    let Some(found) = ctx.link.call("get", object.clone(), get).await? else { return Ok(()) };
    let metadata = found.metadata;
    if metadata.uid.as_deref() != Some(&source.uid) {
        return Ok(());
    }
    let mut names = metadata.finalizers.unwrap_or_default();
    names.retain(|name| name != FINALIZER);
    if is_wanted {
        names.push(FINALIZER.to_owned());
    }
    let body = json!({"metadata": {"resourceVersion": metadata.resource_version, "finalizers": names}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let body = Patch::Merge(&body);
    let call = api.patch_metadata(&source.key.name, &params, &body);
    match ctx.link.probe("patch", object, call).await {
        Err(error) if error.trouble() != crate::retry::Trouble::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn write(
    ctx: &Context,
    source: &Source,
    life: &mut Life,
    outcome: &Outcome,
) -> Result<(), ClusterError> {
    let (version, old) = match &life.written {
        Some(Written { older, version, status }) if older.contains(&source.resource_version) => {
            (version.clone(), status.clone())
        }
        _ => (source.resource_version.clone(), source.status.clone()),
    };
    let new = status(outcome, source.generation, &old, Timestamp::now());
    let Some(patch) = patch(&old, &new, &version) else { return Ok(()) };
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &source.key.namespace, &resource());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let body = Patch::Merge(&patch);
    let call = api.patch_status(&source.key.name, &params, &body);
    let written =
        ctx.link.call("patch", format!("status of MCPDiscoverySource {}", source.key), call).await?;
    let mut older = vec![source.resource_version.clone()];
    let seen = &source.resource_version;
    if let Some(before) = life.written.take().filter(|before| before.older.contains(seen)) {
        older = before.older;
        older.push(before.version);
    }
    let version = written.metadata.resource_version.unwrap_or_default();
    life.written = Some(Written { older, version, status: new });
    Ok(())
}

fn told(plan: &Plan, faults: &[String], failed: &BTreeMap<String, String>) -> Told {
    let errors = plan.items.iter().filter_map(|item| Some((item.name.clone(), item.error.clone()?)));
    let failed = failed.iter().map(|(name, says)| (name.clone(), says.clone()));
    Told {
        faults: faults.to_vec(),
        errors: errors.chain(failed).collect(),
        paused: false,
        held: plan.verdict.wait.keys().cloned().collect(),
    }
}

fn about(source: &Source) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{GROUP}/v1beta1")),
        kind: Some("MCPDiscoverySource".into()),
        name: Some(source.key.name.to_string()),
        namespace: Some(source.key.namespace.to_string()),
        uid: Some(source.uid.clone()),
        ..ObjectReference::default()
    }
}

/// What was written, one Event for each kind of write.
async fn say(ctx: &Context, source: &Source, done: &apply::Outcome) {
    let about = about(source);
    for (names, reason, verb) in [
        (&done.created, "ProviderDiscovered", "made"),
        (&done.changed, "ProviderUpdated", "changed"),
        (&done.deleted, "ProviderPruned", "deleted, not found any more:"),
    ] {
        if !names.is_empty() {
            let note = format!("{verb} {}", joined(names, ", "));
            tracing::info!(source = %source.key, reason, "{note}");
            ctx.event_about(&about, EventType::Normal, reason, "Sync", &note).await;
        }
    }
}

/// What goes otherwise than before, one Event for each; `reason` is that of a fault.
async fn tell(ctx: &Context, source: &Source, life: &mut Life, new: Told, reason: &'static str) {
    let old = std::mem::take(&mut life.told);
    let mut events: Vec<(EventType, &str, String)> = Vec::new();
    if new.paused && !old.paused {
        events.push((EventType::Normal, reason, "paused by spec.paused".to_owned()));
    }
    if !new.faults.is_empty() && new.faults != old.faults && !new.paused {
        events.push((EventType::Warning, reason, joined(&new.faults, "; ")));
    }
    if new.faults.is_empty() && !old.faults.is_empty() && !new.paused {
        events.push((EventType::Normal, "Synced", "the scan was complete again".to_owned()));
    }
    let fresh: Vec<_> = new
        .errors
        .iter()
        .filter(|(name, says)| old.errors.get(*name) != Some(says))
        .map(|(name, says)| format!("{name}: {says}"))
        .collect();
    if !fresh.is_empty() {
        events.push((EventType::Warning, "ProviderSkipped", joined(&fresh, "; ")));
    }
    if !new.held.is_empty() && new.held != old.held {
        let note = format!("not deleted before a second clean scan: {}", joined(&new.held, ", "));
        events.push((EventType::Warning, "PruningHeld", note));
    }
    life.told = new;
    let about = about(source);
    for (type_, reason, note) in events {
        tracing::info!(source = %source.key, reason, "{note}");
        ctx.event_about(&about, type_, reason, "Sync", &note).await;
    }
}
