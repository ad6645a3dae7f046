//! Puts the bundle and our address where the API server looks: two webhook configurations and three CRDs.
//!
//! Woken by every change of one of the five objects and of the bundle, and by a slow clock. [`decide`] (pure) compares
//! an object with what it should say and gives the smallest patch; nothing is written when nothing differs, since a
//! write to a CRD has every stored object converted again. The leader keeps all of it right; any replica mends a bundle
//! that it could not be called by. With `--webhook-url` missing objects are applied, and the entries of the
//! configurations are kept right whole.

pub mod decide;
pub mod inspect;
pub mod read;
pub mod target;

use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use futures::{FutureExt, StreamExt, stream};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use serde_json::Value;
use tokio::sync::watch;

use super::pace::{INTERVAL, Pace};
use super::{Bundle, pokes, store};
use crate::context::Context;
use crate::leader::Leadership;
use crate::manifests::FIELD_MANAGER;
use crate::retry::{Attempts, ClusterError, Trouble};
use decide::{Decision, Wanted};
use read::Found;
use target::CLAIM;
pub use target::{TARGETS, Target};

/// Between two looks when nothing has been heard.
const RESYNC: Duration = Duration::from_secs(60);
/// A burst of events is one reason to look.
const SETTLE: Duration = Duration::from_millis(20);
/// How long applied CRDs may take to be served.
const ESTABLISH: Duration = Duration::from_secs(30);

/// What is known of one target.
#[derive(Debug)]
struct Track {
    target: Target,
    dirty: bool,
    /// Whether it has been applied since the start.
    applied: bool,
    in_sync: bool,
    pace: Pace,
}

/// How one look at a target ended.
enum Outcome {
    /// It says what it should; written or not.
    InSync { written: bool },
    /// It differs in what the leader will mend.
    Left,
    /// It cannot be repaired by us; why has been said.
    Lacking,
    /// Too many repairs lately.
    Paced,
}

/// What goes wrong with one target.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The API server.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Our own objects.
    #[error("failed to write manifest of {target}: {source}")]
    Manifest {
        /// Which.
        target: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

impl InjectError {
    /// A fixed word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cluster(error) => error.kind(),
            Self::Manifest { .. } => "manifest",
        }
    }
}

/// Keeps the five objects right for as long as the process lives; counts up `injected` when something was written, and
/// looks at all of them when `leading` changes.
pub async fn keep(
    ctx: &Context,
    mut bundle: watch::Receiver<Option<Bundle>>,
    leadership: &Leadership,
    mut leading: watch::Receiver<bool>,
    injected: &watch::Sender<u64>,
) {
    let mut tracks = TARGETS.map(|target| Track {
        target,
        dirty: true,
        applied: false,
        in_sync: false,
        pace: Pace::default(),
    });
    let streams = TARGETS.iter().enumerate().map(|(index, target)| {
        pokes(ctx, &target.resource(), None, &target.name(ctx)).map(move |()| index).boxed()
    });
    let mut events = pin!(stream::select_all(streams));
    let mut attempts = Attempts::default();
    let mut told = false;
    loop {
        let current = match bundle.wait_for(Option::is_some).await {
            Ok(current) => current.clone(),
            Err(_) => return,
        };
        let Some(current) = current else { continue };
        let (written, wait) = pass(ctx, &mut tracks, &current, leadership, &mut attempts).await;
        let looked_at_all = tracks.iter().all(|track| !track.dirty);
        if looked_at_all {
            ctx.settle();
        }
        if written || (looked_at_all && !told) {
            told |= looked_at_all;
            injected.send_modify(|count| *count += 1);
        }
        tokio::select! {
            changed = bundle.changed() => {
                if changed.is_err() {
                    return;
                }
                mark(&mut tracks, None);
            }
            changed = leading.changed() => {
                if changed.is_err() {
                    return;
                }
                mark(&mut tracks, None);
            }
            event = events.next() => {
                mark(&mut tracks, event.filter(|&event| !is_claim(event)));
                tokio::time::sleep(SETTLE).await;
                while let Some(Some(event)) = events.next().now_or_never() {
                    mark(&mut tracks, Some(event).filter(|&event| !is_claim(event)));
                }
            }
            () = tokio::time::sleep(wait) => {
                if wait == RESYNC {
                    mark(&mut tracks, None);
                }
            }
        }
    }
}

fn mark(tracks: &mut [Track], index: Option<usize>) {
    for (at, track) in tracks.iter_mut().enumerate() {
        track.dirty |= index.is_none_or(|index| index == at);
    }
}

/// Whether the target at that place says whose the cluster is ([`rival`]): then its events are about all.
fn is_claim(index: usize) -> bool {
    TARGETS.get(index) == Some(&CLAIM)
}

/// Looks at every dirty target; says whether something was written and how long to wait.
async fn pass(
    ctx: &Context,
    tracks: &mut [Track],
    bundle: &Bundle,
    leadership: &Leadership,
    attempts: &mut Attempts,
) -> (bool, Duration) {
    let (mut any_written, mut failed, mut paced) = (false, false, false);
    for track in tracks.iter_mut().filter(|track| track.dirty) {
        let label = track.target.label();
        match look(ctx, track, bundle, leadership.leads()).await {
            Ok(Outcome::InSync { written }) => {
                (track.dirty, track.in_sync) = (false, true);
                any_written |= written;
                if written {
                    ctx.metrics.bundle_written(label);
                }
            }
            Ok(Outcome::Left | Outcome::Lacking) => (track.dirty, track.in_sync) = (false, false),
            Ok(Outcome::Paced) => {
                track.in_sync = false;
                paced = true;
            }
            Err(error) => {
                track.in_sync = false;
                failed = true;
                say(ctx, label, &error);
            }
        }
        ctx.metrics.bundle_in_sync(label, track.in_sync);
    }
    let wait = match (failed, paced) {
        (true, _) => attempts.failed(),
        (false, true) => INTERVAL,
        (false, false) => {
            attempts.succeeded();
            RESYNC
        }
    };
    (any_written, wait)
}

fn say(ctx: &Context, label: &str, error: &InjectError) {
    if let InjectError::Cluster(error) = error
        && matches!(error.trouble(), Trouble::Away | Trouble::Forbidden | Trouble::Credentials)
    {
        return;
    }
    if ctx.link.say_now(label, &error.to_string()) {
        tracing::error!(target_object = label, kind = error.kind(), "{error}");
    }
}

async fn look(
    ctx: &Context,
    track: &mut Track,
    bundle: &Bundle,
    leads: bool,
) -> Result<Outcome, InjectError> {
    let target = track.target;
    let name = target.name(ctx);
    let resource = target.resource();
    let object = format!("{} {name}", resource.kind);
    let api: Api<DynamicObject> = Api::all_with(ctx.client.clone(), &resource);
    let found = ctx.link.call("get", &object, read::read(&ctx.client, &resource, &name)).await?;
    if let Some(rival) = rival(ctx, target, bundle, found.as_ref()).await? {
        let reason = format!(
            "another operator has this cluster: the webhooks lead to its Service {rival}; a CRD has room for one, so nothing is written here"
        );
        if ctx.link.say_now(target.label(), &reason) {
            tracing::error!(
                "{object}: {reason}; uninstall one of the two, and apply the other's manifests again"
            );
        }
        return Ok(Outcome::Lacking);
    }
    let apply = ctx.applies() && (found.is_none() || !track.applied);
    let decision = match &found {
        Some(found) => compare(ctx, &value(target, found)?, &target.wanted(ctx, bundle)?, bundle, leads),
        None => Decision::Lacking("it does not exist".into()),
    };
    let patch = match decision {
        // Applying the whole object writes the rest too; CRDs had better be written once.
        Decision::Patch { removes: false, .. } if apply => None,
        Decision::Patch { patch, .. } => Some(patch),
        Decision::InSync => None,
        Decision::Left if apply => None,
        Decision::Left => return Ok(Outcome::Left),
        Decision::Lacking(_) if apply => None,
        Decision::Lacking(reason) => {
            if ctx.link.say_now(target.label(), &reason) {
                tracing::warn!(
                    "{object}: {reason}; CRDs come from deploy/crds of this release, and with --webhook-url the operator applies all of it"
                );
            }
            return Ok(Outcome::Lacking);
        }
    };
    if patch.is_none() && !apply {
        return Ok(Outcome::InSync { written: false });
    }
    if !track.pace.take(Instant::now()) {
        if ctx.link.say_now(target.label(), "paced") {
            tracing::warn!(
                "{object}: something else keeps changing it; repairing it every {} s only. `kubectl get {} {name} -o yaml --show-managed-fields` says who",
                INTERVAL.as_secs(),
                resource.plural
            );
        }
        return Ok(Outcome::Paced);
    }
    if let Some(patch) = patch {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        ctx.link.call("patch", &object, api.patch_metadata(&name, &params, &patch)).await?;
        tracing::info!(
            "{object}: {}",
            if target.is_whole(ctx) { "put right" } else { "wrote CA bundle and address" }
        );
    }
    if apply {
        // Beside a cluster nobody else makes it, and the self-test needs it too.
        if !track.applied && target == TARGETS[0] {
            store::create_namespace(ctx).await?;
        }
        apply_whole(ctx, target, &api, bundle, &object).await?;
        track.applied = true;
    }
    Ok(Outcome::InSync { written: true })
}

/// The configurations say whose the cluster is, since whoever installs an operator brings them: a CRD that leads elsewhere
/// is taken over only by the one to whom they lead. Without this, two operators would undo each other's writes for ever.
async fn rival(
    ctx: &Context,
    target: Target,
    bundle: &Bundle,
    found: Option<&Found>,
) -> Result<Option<String>, InjectError> {
    let Some(found) = found.filter(|_| !ctx.applies()) else { return Ok(None) };
    let rival = decide::rival(&value(target, found)?, &target.wanted(ctx, bundle)?);
    if rival.is_none() || !matches!(target, Target::Crd(_)) {
        return Ok(rival);
    }
    let (name, resource) = (CLAIM.name(ctx), CLAIM.resource());
    let object = format!("{} {name}", resource.kind);
    match ctx.link.call("get", object, read::read(&ctx.client, &resource, &name)).await? {
        Some(found) => Ok(decide::rival(&value(CLAIM, &found)?, &CLAIM.wanted(ctx, bundle)?)),
        None => Ok(None),
    }
}

fn compare(ctx: &Context, object: &Value, wanted: &Wanted, bundle: &Bundle, leads: bool) -> Decision {
    if leads {
        return decide::decide(object, wanted);
    }
    decide::decide_for_follower(object, wanted, bundle, ctx.applies(), SystemTime::now())
}

async fn apply_whole(
    ctx: &Context,
    target: Target,
    api: &Api<DynamicObject>,
    bundle: &Bundle,
    object: &str,
) -> Result<(), InjectError> {
    let manifest = target.manifest(ctx, bundle)?;
    let name = target.name(ctx);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    ctx.link.call("apply", object, api.patch_metadata(&name, &params, &Patch::Apply(&manifest))).await?;
    tracing::info!("{object}: applied");
    if let Target::Crd(_) = target {
        established(ctx, &target.resource(), &name).await?;
    }
    Ok(())
}

/// Waits until the API server serves the kind; one that takes longer than usual is not waited for any more.
async fn established(ctx: &Context, resource: &ApiResource, name: &str) -> Result<(), InjectError> {
    let object = format!("{} {name}", resource.kind);
    let deadline = Instant::now() + ESTABLISH;
    loop {
        let found = ctx.link.call("get", &object, read::read(&ctx.client, resource, name)).await?;
        match found.unwrap_or_default().established() {
            Ok(()) => return Ok(()),
            Err(reason) if Instant::now() >= deadline => {
                tracing::warn!("{object}: not established after {} s: {reason}", ESTABLISH.as_secs());
                return Ok(());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn value(target: Target, found: &Found) -> Result<Value, InjectError> {
    serde_json::to_value(found).map_err(|source| InjectError::Manifest { target: target.label(), source })
}
