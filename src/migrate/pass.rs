//! One way through all objects of a kind: list, write, note how far; what fails is passed by and tried again at the end.
//!
//! In: the CRD as it was found, with the place where an earlier attempt stopped. Out: every object written once, or gone,
//! or written by somebody else; progress in metrics, in the CRD and in Events. It ends early when the CRD stores another
//! version than ours.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch};
use kube::core::{ApiResource, GroupVersionKind, ObjectList, PartialObjectMeta};
use kube::runtime::events::EventType;

use super::definition::{Definition, HUB};
use super::progress::{Progress, key};
use super::rewrite::rewrite;
use super::{FAILED, Migration, params};
use crate::context::Context;
use crate::manifests::GROUP;
use crate::retry::{Attempts, ClusterError, Trouble};

/// Objects in a page.
const PAGE: u32 = 500;
/// How often the place is written down; so much is done again at most.
const SAVE: Duration = Duration::from_secs(5);
/// How often the log says how far it is.
const REPORT: Duration = Duration::from_secs(60);
/// Waits before objects that failed are tried again: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// Before a list that has expired is gone on with.
const PAUSE: Duration = Duration::from_millis(200);
/// Failures that are said one by one.
const SAID: usize = 20;

type Page = ObjectList<PartialObjectMeta<DynamicObject>>;

/// What became of one write.
enum Written {
    /// It is stored in the version that it should be, or gone.
    Done,
    /// It is not, and this is why.
    Failed(String),
}

/// An object that could not be written.
struct Failure {
    namespace: Option<String>,
    name: String,
    reason: String,
}

/// The pass and what it knows.
pub(super) struct Pass<'a> {
    migration: &'a Migration<'a>,
    ctx: &'a Context,
    progress: Progress,
    served: Vec<String>,
    /// The last object that this process has seen.
    position: String,
    failing: BTreeMap<String, Failure>,
    /// Objects after the one at hand, as far as the API server says.
    remaining: i64,
    saved: Instant,
    reported: Instant,
}

impl<'a> Pass<'a> {
    pub(super) fn new(migration: &'a Migration<'a>, found: &Definition) -> Self {
        let progress = found.progress().unwrap_or_else(|| Progress::new(HUB, found.metadata.generation));
        let failing = progress.failed.iter().map(|key| {
            let (namespace, name) = key.split_once('/').unwrap_or(("", key));
            let namespace = Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty());
            let reason = "it failed before".to_owned();
            (key.clone(), Failure { namespace, name: name.to_owned(), reason })
        });
        Self {
            ctx: migration.ctx,
            failing: failing.collect(),
            served: found.served(),
            position: progress.after.clone(),
            remaining: 0,
            saved: Instant::now(),
            reported: Instant::now(),
            progress,
            migration,
        }
    }

    /// Objects that are done, those of earlier attempts among them.
    pub(super) fn done(&self) -> u64 {
        self.progress.done
    }

    /// Goes through all objects; false when the CRD stores another version now.
    pub(super) async fn finish(&mut self) -> Result<bool, ClusterError> {
        let mut token = None;
        let mut first = true;
        loop {
            let Page { metadata, items, .. } = match self.list(token.as_deref()).await {
                Ok(page) => page,
                Err(error) if is_expired(&error) => {
                    // The server offers to go on behind the same object in its newest state; else from the start,
                    // where what is done is skipped.
                    token = continuation(&error);
                    let from = if token.is_some() { "the same object" } else { "the start" };
                    tracing::info!(
                        "storage migration of {}: the list has expired; goes on from {from}",
                        self.migration.resource
                    );
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let rest = metadata.remaining_item_count.unwrap_or_default();
            let items: Vec<ObjectMeta> = items.into_iter().map(|item| item.metadata).collect();
            if first {
                first = false;
                self.start(i64::try_from(items.len()).unwrap_or_default() + rest).await;
            }
            if !self.page(items, rest).await? {
                return Ok(false);
            }
            token = metadata.continue_.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        self.retry().await
    }

    async fn start(&self, count: i64) {
        let Progress { done, after, .. } = &self.progress;
        let note = if after.is_empty() {
            format!("{}: {count} stored objects are written in {HUB}", self.migration.resource)
        } else {
            format!("{}: goes on after {after}; {done} of {count} objects are done", self.migration.resource)
        };
        let note = format!("{note}, at most {} in a second", self.ctx.migrate_rate);
        // A run that fails and begins again is said once a minute.
        if self.ctx.link.say_now(&format!("migration of {}", self.migration.resource), &note) {
            self.migration.tell(EventType::Normal, "StorageMigrationStarted", &note).await;
        }
    }

    async fn list(&self, token: Option<&str>) -> Result<Page, ClusterError> {
        let params = ListParams {
            limit: Some(PAGE),
            continue_token: token.map(str::to_owned),
            ..ListParams::default()
        };
        let api = self.api(None);
        self.ctx.link.probe("list", self.migration.resource, api.list_metadata(&params)).await
    }

    /// Writes the objects of a page; `rest` are behind it. False when the CRD stores another version now.
    async fn page(&mut self, items: Vec<ObjectMeta>, rest: i64) -> Result<bool, ClusterError> {
        let count = i64::try_from(items.len()).unwrap_or_default();
        for (metadata, behind) in items.into_iter().zip((0..count).rev()) {
            self.remaining = behind + rest;
            let name = metadata.name.clone().unwrap_or_default();
            let key = key(metadata.namespace.as_deref(), &name);
            if key <= self.position {
                continue;
            }
            match self.write(&metadata).await? {
                Written::Done => {
                    self.progress.did(&key);
                    self.ctx.metrics.migrated(self.migration.resource);
                }
                Written::Failed(reason) => {
                    self.progress.failed(&key);
                    self.fails(&key, Failure { namespace: metadata.namespace.clone(), name, reason });
                }
            }
            self.position = key;
            self.show();
            if self.saved.elapsed() >= SAVE && !self.save().await? {
                return Ok(false);
            }
        }
        self.show();
        self.save().await
    }

    /// Tries again what failed until nothing is left; false when the CRD stores another version now.
    async fn retry(&mut self) -> Result<bool, ClusterError> {
        let (mut wait, longest) = RETRY;
        let mut told = String::new();
        // Those that an earlier leader noted may be well by now.
        let mut at_once = self.failing.values().all(|failure| failure.reason == "it failed before");
        while let Some((key, failure)) = self.failing.first_key_value() {
            let first = format!("{key}: {}", failure.reason);
            if !at_once && told != first {
                let (resource, count) = (self.migration.resource, self.failing.len());
                let note = format!(
                    "{resource}: {count} objects cannot be written in {HUB} and are tried again; all others are done; the first is {first}"
                );
                self.migration.tell(EventType::Warning, FAILED, &note).await;
                told = first;
            }
            if !at_once {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(longest);
            }
            at_once = false;
            for (key, failure) in std::mem::take(&mut self.failing) {
                match self.write_again(&failure).await? {
                    Written::Done => {
                        self.progress.mended(&key);
                        self.ctx.metrics.migrated(self.migration.resource);
                    }
                    Written::Failed(reason) => self.fails(&key, Failure { reason, ..failure }),
                }
            }
            self.show();
            if !self.save().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fails(&mut self, key: &str, failure: Failure) {
        if self.failing.len() < SAID {
            let topic = format!("migrate {} {key}", self.migration.resource);
            if self.ctx.link.say_now(&topic, &failure.reason) {
                tracing::warn!(
                    "storage migration of {}: {key} cannot be written in {HUB}: {}",
                    self.migration.resource,
                    failure.reason
                );
            }
        }
        self.failing.insert(key.to_owned(), failure);
    }

    async fn write_again(&self, failure: &Failure) -> Result<Written, ClusterError> {
        let api = self.api(failure.namespace.as_deref());
        let object = self.object(failure.namespace.as_deref(), &failure.name);
        match self.ctx.link.probe("get", object, api.get_metadata(&failure.name)).await {
            Ok(found) => self.write(&found.metadata).await,
            Err(error) if error.trouble() == Trouble::NotFound => Ok(Written::Done),
            Err(error) if pauses(&error) => Err(error),
            Err(error) => Ok(Written::Failed(error.to_string())),
        }
    }

    /// Has one object stored anew. Waits for its turn, and for as long as the API server is away.
    async fn write(&self, metadata: &ObjectMeta) -> Result<Written, ClusterError> {
        let name = metadata.name.as_deref().unwrap_or_default();
        let api = self.api(metadata.namespace.as_deref());
        let (params, patch) = (params(), Patch::Merge(rewrite(metadata, &self.served)));
        let mut attempts = Attempts::default();
        loop {
            self.migration.pace.turn().await;
            let object = self.object(metadata.namespace.as_deref(), name);
            match self.ctx.link.probe("patch", object, api.patch_metadata(name, &params, &patch)).await {
                Ok(_) => return Ok(Written::Done),
                // Gone, or written by somebody else and so in the storage version.
                Err(error) if matches!(error.trouble(), Trouble::NotFound | Trouble::Conflict) => {
                    return Ok(Written::Done);
                }
                Err(error) if pauses(&error) => tokio::time::sleep(attempts.failed()).await,
                Err(error) => return Ok(Written::Failed(error.to_string())),
            }
        }
    }

    /// Writes down how far it is; false when the CRD stores another version now.
    async fn save(&mut self) -> Result<bool, ClusterError> {
        self.saved = Instant::now();
        let generation = self.migration.save(&self.progress).await?;
        if generation == Some(self.progress.generation) {
            return Ok(true);
        }
        // The spec has changed under our eyes, most likely a CA bundle. What we have done stays done as long as the
        // storage version is the same.
        let Some(found) = self.migration.definition().await? else { return Ok(false) };
        if !found.stores_hub() {
            return Ok(false);
        }
        self.served = found.served();
        self.progress.generation = found.metadata.generation;
        self.migration.save(&self.progress).await?;
        Ok(true)
    }

    fn show(&mut self) {
        let resource = self.migration.resource;
        self.ctx.metrics.migration(resource, self.remaining, self.failing.len());
        if self.reported.elapsed() >= REPORT {
            self.reported = Instant::now();
            let (done, failed) = (self.progress.done, self.failing.len());
            tracing::info!(
                done,
                remaining = self.remaining,
                failed,
                "storage migration of {resource} goes on"
            );
        }
    }

    fn api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        // The kind is not asked for by any call here.
        let kind = GroupVersionKind::gvk(GROUP, HUB, "");
        let resource = ApiResource::from_gvk_with_plural(&kind, self.migration.resource);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.ctx.client.clone(), namespace, &resource),
            None => Api::all_with(self.ctx.client.clone(), &resource),
        }
    }

    fn object(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{} {}", self.migration.resource, key(namespace, name))
    }
}

/// Only the leader has something to show.
impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.ctx.metrics.migration(self.migration.resource, 0, 0);
    }
}

/// Nothing is wrong with the object; later it may go.
fn pauses(error: &ClusterError) -> bool {
    match error.trouble() {
        Trouble::Away | Trouble::Credentials => true,
        Trouble::Forbidden => !error.by_admission(),
        Trouble::Terminating | Trouble::NotFound | Trouble::Conflict | Trouble::Rejected => false,
    }
}

fn is_expired(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Call { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 410))
}

fn continuation(error: &ClusterError) -> Option<String> {
    let ClusterError::Call { source, .. } = error else { return None };
    let kube::Error::Api(status) = &**source else { return None };
    status.metadata.as_ref()?.continue_.clone().filter(|token| !token.is_empty())
}
