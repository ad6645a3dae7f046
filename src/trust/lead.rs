//! The leader's part: makes one step of a rotation after the other, each a single write of the CA Secret.
//!
//! In: the Secret, the targets read back, the schedule. Out: the next state in the Secret, an Event and a log line. What
//! follows from a step (leaves, bundles) happens in every replica when it hears of the write; nothing is kept here
//! between two steps, so that a leader may die anywhere. A write carries the resourceVersion it was decided on: of two
//! leaders one loses.

use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::ApiResource;
use kube::runtime::events::EventType;
use tokio::sync::watch;

use super::inject::inspect;
use super::pokes;
use super::record::{Observed, ROTATE_ANNOTATION, is_requested, observe, rfc3339, secret};
use super::rotation::{self, Cause, Facts, Step, Wait};
use super::state::{Reason, Stage, State};
use super::store::{StoreError, params};
use crate::context::Context;
use crate::retry::{Attempts, Trouble};

/// Between two looks when nothing has been heard.
const RESYNC: Duration = Duration::from_secs(60);
/// Between two looks at targets that are waited for.
const LOOK: Duration = Duration::from_secs(10);
/// Targets that lack the new CA for this many times the usual wait are worth an Event.
const LONG: u32 = 3;

/// Tells the injector that this replica leads, until dropped.
struct Leading<'a>(&'a watch::Sender<bool>);

impl<'a> Leading<'a> {
    fn begin(leading: &'a watch::Sender<bool>) -> Self {
        leading.send_replace(true);
        Self(leading)
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// In files mode there is nothing to rotate; the leader only keeps all bundles exactly right.
pub async fn inject_only(leading: &watch::Sender<bool>) {
    let _leading = Leading::begin(leading);
    std::future::pending().await
}

/// Rotates for as long as this replica leads.
pub async fn rotate(ctx: &Context, leading: &watch::Sender<bool>) {
    let _leading = Leading::begin(leading);
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let resource = ApiResource::erase::<Secret>(&());
    let mut pokes = pin!(pokes(ctx, &resource, Some(&ctx.namespace), &ctx.ca_secret));
    let mut attempts = Attempts::default();
    let mut waiting = Waiting::default();
    loop {
        let wait = match step(ctx, &api, &mut waiting, SystemTime::now()).await {
            Ok(Some(wait)) => {
                attempts.succeeded();
                wait
            }
            // Something was written, or somebody else was faster.
            Ok(None) => attempts.failed(),
            Err(error) => {
                error.say(ctx, "rotation");
                attempts.failed()
            }
        };
        tokio::select! {
            _ = pokes.next() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One look, and one step where one is due; how long until the next look.
async fn step(
    ctx: &Context,
    api: &Api<Secret>,
    waiting: &mut Waiting,
    now: SystemTime,
) -> Result<Option<Duration>, StoreError> {
    let name = format!("secret {}/{}", ctx.namespace, ctx.ca_secret);
    let Some(found) = ctx.link.call("get", &name, api.get_opt(&ctx.ca_secret)).await? else {
        return Ok(Some(RESYNC));
    };
    // Anything else is for the store to mend first.
    let Observed::Good(state) = observe(Some(&found), now) else { return Ok(Some(RESYNC)) };
    let facts = Facts { requested: is_requested(&found), lacking: lacking(ctx, &state, now).await? };
    let step = rotation::next(&state, &facts, &ctx.schedule, now);
    if let Step::Wait(wait) = &step {
        waiting.tell(ctx, wait).await;
        return Ok(Some(until(wait, ctx, now)));
    }
    let Some(after) = rotation::take(&state, &step, &ctx.schedule, now)? else { return Ok(Some(RESYNC)) };
    let wanted = written(found, &state, &after, &ctx.namespace, &ctx.ca_secret);
    match ctx.link.call("update", &name, api.replace(&ctx.ca_secret, &params(), &wanted)).await {
        Ok(_) => {
            announce(ctx, &step, &after).await;
            Ok(None)
        }
        Err(error) if matches!(error.trouble(), Trouble::Conflict | Trouble::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The Secret after a step.
pub(super) fn written(found: Secret, before: &State, after: &State, namespace: &str, name: &str) -> Secret {
    let mut wanted = secret(found, namespace, name, after);
    if !matches!(before.stage, Stage::Switched { .. })
        && let Some(annotations) = &mut wanted.metadata.annotations
    {
        // Asked for and begun; while the old CA retires, a wish is for the rotation after this one.
        annotations.remove(ROTATE_ANNOTATION);
    }
    wanted
}

/// What is wrong with the targets; asked only when that decides something.
async fn lacking(ctx: &Context, state: &State, now: SystemTime) -> Result<Vec<String>, StoreError> {
    let waits =
        matches!(state.stage, Stage::Publishing { .. }) && now >= state.since + ctx.schedule.publish_for;
    if !waits {
        return Ok(Vec::new());
    }
    let trusted = state.trusted();
    let views = inspect::inspect(ctx).await?;
    Ok(views.into_iter().filter_map(|view| view.lacks(&trusted)).collect())
}

fn until(wait: &Wait, ctx: &Context, now: SystemTime) -> Duration {
    let longest =
        if matches!(wait.cause, Cause::Targets(_)) { LOOK.min(ctx.schedule.publish_for) } else { RESYNC };
    let left = wait.until.map_or(longest, |until| until.duration_since(now).unwrap_or_default());
    left.clamp(Duration::from_millis(100), longest.max(Duration::from_millis(100)))
}

/// How long targets have been waited for.
#[derive(Default)]
struct Waiting(Option<Instant>);

impl Waiting {
    async fn tell(&mut self, ctx: &Context, wait: &Wait) {
        let Cause::Targets(lacking) = &wait.cause else {
            self.0 = None;
            return;
        };
        let text = format!("{}", wait.cause);
        if ctx.link.say_now("rotation-targets", &text) {
            tracing::warn!("CA rotation: {text}");
        }
        let since = *self.0.get_or_insert_with(Instant::now);
        if since.elapsed() >= ctx.schedule.publish_for * LONG && ctx.link.say_now("rotation-blocked", "") {
            let note = format!(
                "The new CA is not used yet: these targets do not trust it and cannot be mended: {}. Nothing fails meanwhile.",
                lacking.join("; ")
            );
            ctx.event(EventType::Warning, "CARotationBlocked", "RotateCA", &note).await;
        }
    }
}

async fn announce(ctx: &Context, step: &Step, after: &State) {
    let subject = after.active.subject();
    let (reason, note) = match step {
        Step::Begin(why) => {
            let next = after.next().map(|next| next.subject().to_owned()).unwrap_or_default();
            let why = if *why == Reason::Requested { "it was asked for" } else { "the CA is near its end" };
            ("CARotationStarted", format!("Rotation began, since {why}: {next} is being published."))
        }
        Step::Switch => {
            ctx.metrics.ca_rotated(after.reason.word());
            let note = format!(
                "{subject} signs now; the CA before it is trusted until its last certificate is over."
            );
            ("CARotationSwitched", note)
        }
        Step::Retire => ("CARotationFinished", format!("Rotation is over; only {subject} is trusted.")),
        Step::Retime | Step::Wait(_) => return,
    };
    tracing::info!(
        phase = after.stage.phase(),
        revision = after.revision,
        since = rfc3339(after.since),
        "CA rotation: {note}"
    );
    ctx.event(EventType::Normal, reason, "RotateCA", &note).await;
}
