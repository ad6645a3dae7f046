//! Storage migration: every stored object is written once more, so that nothing is left in a version of the past.
//!
//! In: a CRD whose `storedVersions` names more than the storage version. The leader lists its objects in pages and sends
//! each a patch that changes nothing; the API server then stores it anew. When none is left, `storedVersions` shrinks.
//! [`definition`] says what is needed, [`progress`] is what survives a crash, [`rewrite`] the patch; all three are pure.

pub mod definition;
pub mod pass;
pub mod progress;
pub mod rewrite;

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, future};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::runtime::events::EventType;
use serde_json::{Value, json};

use crate::context::Context;
use crate::manifests::{FIELD_MANAGER, RESOURCES, crd_name};
use crate::retry::{Attempts, ClusterError, Trouble};
use crate::trust::pokes;
use definition::{Definition, HUB, Need};
use pass::Pass;
use progress::{ANNOTATION, Progress};

/// Other API servers learn of a new storage version within this time; before, they may still write the old one.
const SETTLE: Duration = Duration::from_secs(5);
/// Between two looks when nothing has been heard.
const RESYNC: Duration = Duration::from_secs(600);
/// A trouble that is over before is no Event.
const LASTS: Duration = Duration::from_secs(60);
/// The reason of an Event about what does not work.
const FAILED: &str = "StorageMigrationFailed";
/// Attempts to shrink `storedVersions` in a row, while others write the CRD.
const ATTEMPTS: usize = 5;

/// Migrates what needs it for as long as this replica leads.
pub async fn keep(ctx: &Context) {
    let pace = Pace::new(ctx.migrate_rate);
    future::join_all(RESOURCES.iter().map(|resource| keep_one(ctx, resource, &pace))).await;
}

async fn keep_one(ctx: &Context, resource: &'static str, pace: &Pace) {
    let migration = Migration { ctx, resource, pace };
    let name = crd_name(resource);
    let mut pokes = pin!(pokes(ctx, &ApiResource::erase::<CustomResourceDefinition>(&()), None, &name));
    let mut attempts = Attempts::default();
    let mut trouble = Spell::default();
    loop {
        let wait = match migration.run().await {
            Ok(()) => {
                attempts.succeeded();
                trouble = Spell::default();
                RESYNC
            }
            Err(error) => {
                say(ctx, resource, &error);
                if trouble.lasts(Instant::now()) {
                    let note = format!("{resource}: {error}; it is tried again");
                    migration.tell(EventType::Warning, FAILED, &note).await;
                }
                attempts.failed()
            }
        };
        tokio::select! {
            _ = pokes.next() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Errors that follow each other; an Event is worth those that last.
#[derive(Debug, Default)]
struct Spell {
    since: Option<Instant>,
    told: bool,
}

impl Spell {
    /// One more; true when that is to be told, once.
    fn lasts(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let tells = !self.told && now.duration_since(since) >= LASTS;
        self.told |= tells;
        tells
    }
}

fn say(ctx: &Context, resource: &str, error: &ClusterError) {
    // What the connection's state explains has been said there.
    let said = matches!(error.trouble(), Trouble::Away | Trouble::Forbidden | Trouble::Credentials);
    if !said && ctx.link.say_now(&format!("migrate {resource}"), &error.to_string()) {
        tracing::warn!(kind = error.kind(), "{error}; the storage migration tries again");
    }
}

/// The migration of one kind.
struct Migration<'a> {
    ctx: &'a Context,
    resource: &'static str,
    pace: &'a Pace,
}

impl Migration<'_> {
    /// Looks whether it is needed and, if so, sees it through.
    async fn run(&self) -> Result<(), ClusterError> {
        let Some(found) = self.definition().await? else { return Ok(()) };
        match found.need() {
            Need::Nothing => return Ok(()),
            Need::Tidy => return self.forget().await,
            Need::Migrate => {}
        }
        tokio::time::sleep(SETTLE).await;
        let Some(found) = self.definition().await? else { return Ok(()) };
        if found.need() != Need::Migrate {
            return Ok(());
        }
        let began = Instant::now();
        let mut pass = Pass::new(self, &found);
        if !pass.finish().await? {
            // The storage version is another one now: whatever was done was done for nothing.
            return self.forget().await;
        }
        let done = pass.done();
        if self.shrink().await? {
            let seconds = began.elapsed().as_secs();
            self.tell(
                EventType::Normal,
                "StorageMigrationFinished",
                &format!("{}: {done} objects were written in {HUB}; storedVersions is [{HUB}] now; the last part took {seconds} s", self.resource),
            )
            .await;
        }
        self.forget().await
    }

    async fn definition(&self) -> Result<Option<Definition>, ClusterError> {
        let name = crd_name(self.resource);
        self.ctx.link.call("get", self.object(), definition::read(&self.ctx.client, &name)).await
    }

    /// Takes the other versions out of `storedVersions`; false when somebody else has, or when it would be wrong now.
    async fn shrink(&self) -> Result<bool, ClusterError> {
        for attempt in 1.. {
            let Some(found) = self.definition().await? else { return Ok(false) };
            if found.need() != Need::Migrate {
                return Ok(false);
            }
            let patch = json!({
                "metadata": {"resourceVersion": found.metadata.resource_version},
                "status": {"storedVersions": [HUB]},
            });
            let (name, params) = (crd_name(self.resource), params());
            let (api, patch) = (self.crds(), Patch::Merge(&patch));
            let written = api.patch_status(&name, &params, &patch);
            match self.ctx.link.call("patch", format!("status of {}", self.object()), written).await {
                Ok(_) => return Ok(true),
                Err(error) if error.trouble() == Trouble::Conflict && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Writes how far it is into the CRD; returns the generation that the CRD has now.
    async fn save(&self, progress: &Progress) -> Result<Option<i64>, ClusterError> {
        self.annotate(json!(progress.text())).await
    }

    async fn forget(&self) -> Result<(), ClusterError> {
        match self.annotate(Value::Null).await {
            Err(error) if error.trouble() == Trouble::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    async fn annotate(&self, value: Value) -> Result<Option<i64>, ClusterError> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION: value}}}));
        let (name, params, api) = (crd_name(self.resource), params(), self.crds());
        let written = api.patch_metadata(&name, &params, &patch);
        let written = self.ctx.link.call("patch", self.object(), written).await?;
        Ok(written.metadata.generation)
    }

    fn crds(&self) -> Api<DynamicObject> {
        Api::all_with(self.ctx.client.clone(), &ApiResource::erase::<CustomResourceDefinition>(&()))
    }

    fn object(&self) -> String {
        format!("CustomResourceDefinition {}", crd_name(self.resource))
    }

    async fn tell(&self, type_: EventType, reason: &str, note: &str) {
        match type_ {
            EventType::Normal => tracing::info!("storage migration of {note}"),
            EventType::Warning => tracing::warn!("storage migration of {note}"),
        }
        let crd = ObjectReference {
            api_version: Some("apiextensions.k8s.io/v1".into()),
            kind: Some("CustomResourceDefinition".into()),
            name: Some(crd_name(self.resource)),
            ..ObjectReference::default()
        };
        let note = format!("Storage migration of {note}");
        self.ctx.event_with(crd, type_, reason, "MigrateStorage", &note).await;
    }
}

/// The parameters of every write here.
fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// Holds writes back so that there are no more of them in a second than somebody wishes, all kinds together.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    fn new(rate: u32) -> Self {
        Self { interval: Duration::from_secs(1) / rate.max(1), next: Mutex::new(None) }
    }

    /// Waits for a turn.
    async fn turn(&self) {
        tokio::time::sleep(self.take(Instant::now())).await;
    }

    /// How long to wait from `now`; the turn is taken.
    fn take(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.unwrap_or(now).max(now);
        *next = Some(turn + self.interval);
        turn - now
    }
}

#[cfg(test)]
#[path = "migrate/tests.rs"]
mod tests;
