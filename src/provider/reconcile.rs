//! One look at one provider: fetch, resolve, build, apply, status.
//!
//! In: what the watches know, what is remembered of it ([`Life`]) and a probe that ended. Out: writes where something
//! differs, an Event for each transition, and when to look and to probe again. When it is called is left to
//! `super::keeper`; it never waits for a probe.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::events::EventType;
use mcp_hangar_api::GROUP;
use mcp_hangar_api::v1beta1::provider::{MCPProviderSpec, Mode, ProviderState};
use mcp_hangar_webhooks::kind::Version;

use super::apply::{apply, remove};
use super::build::{self, Contents, Objects, Provider, hash};
use super::conditions::{Facts, Trouble, diagnose};
use super::fetch::{Known, Seen};
use super::life::{Ended, Life, Told};
use super::probe::{Field, Probe};
use super::resolve::{self, Kept, Resolved, judge, of_mode};
use super::state::{self, Node, Observation, Settings, Source, step};
use super::status::{About, patch, status};
use super::watch::resource;
use crate::context::Context;
use crate::manifests::FIELD_MANAGER;
use crate::retry::{ClusterError, LONGEST_WAIT};

/// Transitions that may follow each other in one look.
const ROUNDS: usize = 4;

/// How often to look whether a trouble is over whose end the watches do not show.
const UNSEEN: Duration = Duration::from_secs(30);

/// What to do next.
#[derive(Default)]
pub(super) struct Next {
    /// Look again.
    pub(super) again: Option<Duration>,
    /// Probe so often.
    pub(super) plan: Option<Plan>,
}

/// How to probe.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) probe: Probe,
    pub(super) every: Duration,
    pub(super) hash: String,
}

/// The spec taken apart.
struct Wish {
    /// The spec, or what is wrong with it.
    spec: Result<MCPProviderSpec, String>,
    settings: Settings,
    endpoint: String,
    contents: Contents,
    /// What is run, what is asked, and how: what an answer is about.
    hash: Option<String>,
    objects: Option<Objects>,
    trouble: Option<Trouble>,
}

/// One look.
pub(super) async fn reconcile(
    ctx: &Context,
    seen: &Seen,
    life: &mut Life,
    ended: Option<Ended>,
    now: Timestamp,
) -> Result<Next, ClusterError> {
    let known = &*seen.provider;
    if known.is_going {
        return Ok(Next::default());
    }
    let wish = wish(ctx, known, life).await?;
    // What was asked of another endpoint, or with other headers, says nothing.
    let ended = ended.filter(|ended| Some(&ended.hash) == wish.hash.as_ref());
    if let Some(ended) = &ended {
        life.take(ended, known.generation);
        if ended.answer.is_err() {
            ctx.metrics.controllers.provider_probe_failed(&known.key.namespace, &known.key.name);
        }
    }
    let effects = advance(life, seen, &wish, ended.as_ref(), now);
    let mode = wish.spec.as_ref().ok().map(|spec| spec.mode);
    let mut trouble = wish.trouble.clone();
    match (mode, &wish.objects, effects.replicas) {
        (Some(Mode::Remote), _, _) => remove(ctx, seen).await?,
        (Some(Mode::Container), Some(objects), Some(replicas)) => {
            let mut objects = objects.clone();
            objects.deployment.spec.replicas = Some(replicas);
            trouble = trouble.into_iter().chain(apply(ctx, seen, &objects, &mut life.sent).await?).min();
        }
        _ => {}
    }
    if mode == Some(Mode::Container) {
        let pods: Vec<Pod> = seen.pods.iter().map(|pod| Pod::clone(pod)).collect();
        let status = seen.deployment.as_ref().and_then(|it| it.status.as_ref());
        trouble = trouble.into_iter().chain(diagnose(status, &pods)).min();
    }
    let plan = plan(&wish, life, seen, &effects, known.generation);
    let plan = plan.unwrap_or_else(|missing| {
        trouble = trouble.take().into_iter().chain([missing]).min();
        None
    });
    write(ctx, seen, life, &wish, trouble.as_ref(), now).await?;
    tell(ctx, known, life).await;
    count_restarts(ctx, seen, life);
    let more = effects.transition.map(|_| Duration::ZERO);
    let unseen = trouble.as_ref().is_some_and(Trouble::is_unseen).then_some(UNSEEN);
    let untold = (!life.untold.is_empty()).then_some(LONGEST_WAIT);
    let again = effects.again_at.map(|at| wait(now, at)).into_iter().chain(unseen).chain(untold).min();
    Ok(Next { again: more.or(again), plan })
}

/// Time until then; a little later, so that it has passed by then.
fn wait(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default() + Duration::from_millis(1)
}

async fn wish(ctx: &Context, known: &Known, life: &mut Life) -> Result<Wish, ClusterError> {
    let judged = judge(known).map(of_mode);
    let Ok(spec) = &judged else {
        // Times and thresholds count for nothing then; the endpoint stays what it was.
        let endpoint = known.status.endpoint.clone().unwrap_or_default();
        let settings = Settings::of(&MCPProviderSpec {
            mode: Mode::Container,
            container: None,
            remote: None,
            replicas: None,
            lifecycle: None,
            health_check: None,
            circuit_breaker: None,
            pod: None,
            tools: None,
            observability: None,
        });
        let nothing = Contents::new();
        return Ok(Wish {
            spec: judged,
            settings,
            endpoint,
            contents: nothing,
            hash: None,
            objects: None,
            trouble: None,
        });
    };
    let resolved = match &life.resolved {
        Some((generation, resolved)) if *generation == known.generation => resolved.open(),
        _ => {
            let resolved = resolve::read(ctx, &known.key, spec).await?;
            life.resolved = Some((known.generation, Kept::of(&resolved)));
            resolved
        }
    };
    let Resolved { contents, trouble } = resolved;
    let settings = Settings::of(spec);
    let provider = Provider {
        name: &known.key.name,
        namespace: &known.key.namespace,
        uid: &known.uid,
        annotations: &known.annotations,
        spec,
    };
    let (endpoint, hash, objects) = match spec.mode {
        Mode::Remote => {
            let endpoint = spec.remote.as_ref().and_then(|remote| remote.endpoint.clone());
            (endpoint.unwrap_or_default(), Some(hash::of_remote(spec, &contents)), None)
        }
        // The rules have seen that there is an image.
        Mode::Container => match build::build(&provider, 0, &contents) {
            Ok(objects) => (objects.endpoint.clone(), Some(objects.config_hash.clone()), Some(objects)),
            Err(_) => (build::endpoint(&provider), None, None),
        },
    };
    // What is asked where and how patiently rolls no pods, and is worth another try as much as a new template is.
    let patience = settings.health_check.as_ref().map(|check| check.timeout);
    let hash = hash.map(|hash| hash::short(&format!("{hash} {endpoint} {patience:?}")));
    Ok(Wish { spec: judged, settings, endpoint, contents, hash, objects, trouble })
}

/// Steps until nothing follows any more; a transition is one Event.
fn advance(
    life: &mut Life,
    seen: &Seen,
    wish: &Wish,
    ended: Option<&Ended>,
    now: Timestamp,
) -> state::Effects {
    let known = &*seen.provider;
    let pods = seen.deployment.as_ref().and_then(|it| it.status.as_ref());
    let mut observation = Observation {
        is_invalid: wish.spec.is_err(),
        wanted: wish.spec.as_ref().ok().and_then(|spec| spec.replicas).unwrap_or(1),
        ready_pods: pods.and_then(|status| status.ready_replicas).unwrap_or(0),
        probe: ended.map(|ended| state::Probe { began: ended.began, is_good: ended.answer.is_ok() }),
        template: wish.hash.as_deref(),
        activity: known.annotations.get(Source::Activity.key()).map(String::as_str),
        wake: known.annotations.get(Source::Wake.key()).map(String::as_str),
    };
    let mut round = 0;
    loop {
        let (next, effects) = step(&life.state, &observation, now, &wish.settings);
        life.state = next;
        for refused in &effects.refused {
            let note = format!(
                "the annotation {} is no time and is ignored: \"{}\"; write one such as 2026-01-02T15:04:05Z",
                refused.source.key(),
                refused.value.escape_default()
            );
            life.untold.push(Told {
                type_: EventType::Warning,
                reason: "AnnotationIgnored",
                note: Some(note),
                is_logged: false,
            });
        }
        if let Some(row) = effects.transition.filter(|row| !row.is_silent && !is_birth(known, row)) {
            let type_ = match row.to.state() {
                ProviderState::Degraded | ProviderState::Dead => EventType::Warning,
                ProviderState::Cold | ProviderState::Initializing | ProviderState::Ready => EventType::Normal,
            };
            life.untold.push(Told { type_, reason: row.reason, note: None, is_logged: false });
        }
        round += 1;
        observation.probe = None;
        if effects.transition.is_none() || round == ROUNDS {
            return effects;
        }
    }
}

/// A provider that is new was never Cold for anybody to see: its status says that it starts, and no Event does.
fn is_birth(known: &Known, row: &state::Row) -> bool {
    known.status.state.is_none() && row.from == [Node::Cold]
}

/// How to probe, if at all. A container that has no ready pod yet has nobody to answer.
fn plan(
    wish: &Wish,
    life: &Life,
    seen: &Seen,
    effects: &state::Effects,
    generation: i64,
) -> Result<Option<Plan>, Trouble> {
    let (Ok(spec), Some(hash), Some(every)) = (&wish.spec, &wish.hash, effects.probe_every) else {
        return Ok(None);
    };
    let pods = seen.deployment.as_ref().and_then(|it| it.status.as_ref());
    let has_pods = pods.and_then(|status| status.ready_replicas).unwrap_or(0) > 0;
    if spec.mode == Mode::Container && !has_pods && life.state.node == Node::Initializing {
        return Ok(None);
    }
    if matches!(wish.trouble, Some(Trouble::SecretAccess { .. })) {
        return Ok(None);
    }
    let era = life.era.filter(|(of, _)| *of == generation).map(|(_, era)| era);
    let probe = resolve::probe(spec, &wish.endpoint, &wish.settings, &wish.contents, era)?;
    Ok(Some(Plan { probe, every, hash: hash.clone() }))
}

async fn write(
    ctx: &Context,
    seen: &Seen,
    life: &mut Life,
    wish: &Wish,
    trouble: Option<&Trouble>,
    now: Timestamp,
) -> Result<(), ClusterError> {
    let known = &*seen.provider;
    let names: fn(Field) -> &'static str = match known.version {
        Version::V1Alpha1 => Field::v1alpha1,
        Version::V1Beta1 => Field::hub,
    };
    // A server that starts is seldom there at the first probe: that is no news yet.
    let check = wish.settings.health_check.as_ref().map_or(0, |check| check.failure_threshold);
    let is_early = life.state.node == Node::Initializing && life.state.failures < check;
    let probe = life.failure.as_ref().filter(|_| !is_early).map(|failure| failure.message(names));
    let (resource_version, old) = life.status(known);
    let about = About {
        seen,
        mode: wish.spec.as_ref().ok().map(|spec| spec.mode),
        state: &life.state,
        facts: Facts {
            generation: known.generation,
            version: known.version,
            endpoint: &wish.endpoint,
            is_remote: wish.settings.is_remote,
            is_probed: wish.settings.health_check.is_some(),
            tools: None,
            unknown: life.offer.as_ref().map(|offer| offer.unknown.as_slice()).unwrap_or_default(),
            trouble,
            probe: probe.as_deref(),
            invalid: wish.spec.as_ref().err().map(String::as_str),
        },
        offer: life.offer.as_ref(),
        last_probe: life.last_probe,
        is_fresh: life.knows_no_probe(),
    };
    let new = status(&about, &old, now);
    let enough = check.max(wish.settings.breaker.failure_threshold);
    if let Some(patch) = patch(&old, &new, &resource_version, enough) {
        let api: Api<DynamicObject> =
            Api::namespaced_with(ctx.client.clone(), &known.key.namespace, &resource());
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let body = Patch::Merge(&patch);
        let call = api.patch_status(&known.key.name, &params, &body);
        let written = ctx.link.call("patch", format!("status of provider {}", known.key), call).await?;
        let version = written.metadata.resource_version.unwrap_or_default();
        life.wrote(&known.resource_version, version, new.clone());
    }
    ctx.metrics.controllers.provider(
        &known.key.namespace,
        &known.key.name,
        life.state.node.state(),
        new.tools_count,
    );
    let ready = new.conditions.iter().find(|condition| condition.type_ == "Ready");
    let message = ready.and_then(|ready| ready.message.clone()).unwrap_or_default();
    for told in &mut life.untold {
        told.note.get_or_insert_with(|| message.clone());
    }
    Ok(())
}

/// Publishes what happened; what the API server is not there to take is told at the next look.
async fn tell(ctx: &Context, known: &Known, life: &mut Life) {
    let about = ObjectReference {
        api_version: Some(format!("{GROUP}/v1beta1")),
        kind: Some("MCPProvider".into()),
        name: Some(known.key.name.to_string()),
        namespace: Some(known.key.namespace.to_string()),
        uid: Some(known.uid.clone()),
        ..ObjectReference::default()
    };
    while let Some(told) = life.untold.first_mut() {
        let note = told.note.clone().unwrap_or_default();
        if !std::mem::replace(&mut told.is_logged, true) {
            tracing::info!(provider = %known.key, reason = told.reason, "{note}");
        }
        if !ctx.event_about(&about, told.type_, told.reason, "Reconcile", &note).await {
            return;
        }
        life.untold.remove(0);
    }
}

/// Counts restarts of containers since this process first saw their pods.
fn count_restarts(ctx: &Context, seen: &Seen, life: &mut Life) {
    let key = &seen.provider.key;
    let mut now = BTreeMap::new();
    for pod in &seen.pods {
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let count: i32 = statuses.map(|status| status.restart_count).sum();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let before = life.restarts.get(&name).copied().unwrap_or(count);
        ctx.metrics.controllers.provider_restarted(
            &key.namespace,
            &key.name,
            u64::try_from(count - before).unwrap_or(0),
        );
        now.insert(name, count);
    }
    life.restarts = now;
}

/// How long a look took, for metrics.
pub(super) fn measure(ctx: &Context, began: Instant, result: &Result<Next, ClusterError>) {
    let word = match result {
        Ok(_) => "success",
        Err(error) => error.kind(),
    };
    ctx.metrics.controllers.reconciled("provider", word, began.elapsed());
}
