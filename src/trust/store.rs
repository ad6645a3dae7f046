//! The CA in its Secret: made once however many replicas start, restored when lost or spoilt, adopted when changed.
//!
//! In: the Secret as it is, and the state that this replica holds in memory. Out: the current state, to the leaf
//! resolver and as a bundle. [`decide`] is pure; [`keep`] does what it says. `create` is the bootstrap lock, who loses
//! adopts; every later write carries the resourceVersion it was decided on. Rotation is another writer of the same
//! Secret ([`super::lead`]); of its steps this here only learns from the watch, in every replica.

mod decide;

use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use kube::core::ApiResource;
use kube::runtime::events::EventType;
use mcp_hangar_webhooks::tls::{LeafResolver, TlsError};
use tokio::sync::watch;

pub use decide::{Action, Held, Plan, decide, plan};

use super::pace::{INTERVAL, Pace};
use super::record::{Observed, observe, rfc3339, secret};
use super::rotation::presented;
use super::state::{Reason, State};
use super::{Bundle, pokes};
use crate::context::Context;
use crate::manifests::FIELD_MANAGER;
use crate::retry::{Attempts, ClusterError, LONGEST_WAIT, Trouble};

/// Another replica that holds a good CA gets this long to restore a Secret that is spoilt or gone.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks when nothing has been heard.
const RESYNC: Duration = Duration::from_secs(60);

/// What goes wrong in one step.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The API server.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// In a cluster the namespace is somebody else's to make.
    #[error(
        "failed to create secret {namespace}/{name}: namespace {namespace} does not exist; make it (kubectl create namespace {namespace}) \
         or name another (--namespace); trying again every {} s at the latest", LONGEST_WAIT.as_secs()
    )]
    NoNamespace {
        /// The namespace.
        namespace: String,
        /// The Secret.
        name: String,
    },
    /// A certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] super::bundle::BundleError),
}

impl StoreError {
    /// A fixed word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cluster(error) => error.kind(),
            Self::NoNamespace { .. } => "no_namespace",
            Self::Tls(error) => error.kind(),
            Self::Bundle(error) => error.kind(),
        }
    }

    /// Says it, once a minute; what the connection's state explains has been said there.
    pub(super) fn say(&self, ctx: &Context, topic: &str) {
        let explained = matches!(self, Self::Cluster(error)
            if matches!(error.trouble(), Trouble::Away | Trouble::Forbidden | Trouble::Credentials));
        if !explained && ctx.link.say_now(topic, &self.to_string()) {
            tracing::error!(kind = self.kind(), "{self}");
        }
    }
}

/// When to look again.
enum Next {
    /// All is well.
    Resync,
    /// Something changed while we decided.
    Again,
    /// After this time.
    After(Duration),
}

struct Store<'a> {
    ctx: &'a Context,
    api: Api<Secret>,
    resolver: &'a LeafResolver,
    bundle: &'a watch::Sender<Option<Bundle>>,
    held: Option<Held>,
    wrong_since: Option<Instant>,
    /// Two replicas whose clocks disagree about a CA would restore theirs for ever.
    pace: Pace,
}

/// Keeps the CA, its Secret and the bundle for as long as the process lives.
pub async fn keep(ctx: &Context, resolver: &LeafResolver, bundle: &watch::Sender<Option<Bundle>>) {
    let api = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let mut store =
        Store { ctx, api, resolver, bundle, held: None, wrong_since: None, pace: Pace::default() };
    let mut attempts = Attempts::default();
    let resource = ApiResource::erase::<Secret>(&());
    let mut pokes = pin!(pokes(ctx, &resource, Some(&ctx.namespace), &ctx.ca_secret));
    loop {
        let wait = match store.step(SystemTime::now()).await {
            Ok(Next::Resync) => {
                attempts.succeeded();
                RESYNC
            }
            Ok(Next::Again) => attempts.failed(),
            Ok(Next::After(wait)) => wait,
            Err(error) => {
                error.say(ctx, "ca");
                attempts.failed()
            }
        };
        tokio::select! {
            _ = pokes.next() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Store<'_> {
    fn object(&self) -> String {
        format!("secret {}/{}", self.ctx.namespace, self.ctx.ca_secret)
    }

    async fn step(&mut self, now: SystemTime) -> Result<Next, StoreError> {
        let found = self.ctx.link.call("get", self.object(), self.api.get_opt(&self.ctx.ca_secret)).await?;
        let observed = observe(found.as_ref(), now);
        let waited = match &observed {
            Observed::Good(_) => {
                self.wrong_since = None;
                Duration::ZERO
            }
            _ => self.wrong_since.get_or_insert_with(Instant::now).elapsed(),
        };
        let held = self.held.clone().filter(|held| held.state.is_usable_at(now));
        let trusted_before =
            matches!((&observed, &held), (Observed::Absent, None)) && self.is_trusted().await;
        let action = decide(&observed, held.as_ref(), waited, trusted_before);
        self.tell(&observed, action);
        let plan = plan(action, observed, held.map(|held| held.state), &self.ctx.schedule, now)?;
        match plan {
            Plan::Keep => Ok(Next::Resync),
            Plan::Wait if waited > PATIENCE => Ok(Next::After(PATIENCE)),
            Plan::Wait => Ok(Next::After(PATIENCE.saturating_sub(waited) + Duration::from_millis(50))),
            Plan::Adopt(held) => self.adopt(held, now),
            Plan::Create(..) | Plan::Replace(..) if !self.pace.take(Instant::now()) => {
                let reason = "it was written too often: somebody else keeps changing it, or the clocks of two replicas disagree";
                if self.ctx.link.say_now("ca-pace", reason) {
                    tracing::error!(
                        secret = self.object(),
                        "{reason}; one write in {} s from here on",
                        INTERVAL.as_secs()
                    );
                }
                Ok(Next::After(INTERVAL))
            }
            Plan::Create(state, how) => self.create(state, how, now).await,
            Plan::Replace(state, how) => self.replace(found, state, how, now).await,
        }
    }

    /// Whether somebody's CA is trusted already: then replicas that hold it may be near.
    async fn is_trusted(&self) -> bool {
        let name = &self.ctx.configuration_name;
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.ctx.client.clone());
        let object = format!("mutatingwebhookconfiguration {name}");
        let found = self.ctx.link.call("get", object, api.get_opt(name)).await;
        let webhooks = found.ok().flatten().and_then(|found| found.webhooks).unwrap_or_default();
        webhooks
            .iter()
            .any(|webhook| webhook.client_config.ca_bundle.as_ref().is_some_and(|ca| !ca.0.is_empty()))
    }

    fn tell(&self, observed: &Observed, action: Action) {
        let (Observed::Spoilt { reason, .. } | Observed::Damaged { reason, .. }) = observed else { return };
        if self.ctx.link.say_now("ca-spoilt", &format!("{reason}{action:?}")) {
            let what = match observed {
                Observed::Spoilt { early: true, .. } => "not valid yet; is the clock of this machine right?",
                Observed::Spoilt { .. } => "unusable",
                _ => "damaged",
            };
            tracing::warn!(secret = self.object(), ?action, "the CA Secret is {what}: {reason}");
        }
    }

    fn adopt(&mut self, found: Held, now: SystemTime) -> Result<Next, StoreError> {
        let Held { state, certain } = found;
        if self.held.as_ref().is_none_or(|held| !held.state.is_same(&state)) {
            let phase = state.stage.phase().to_owned();
            self.publish(state, &format!("adopted, {phase}"), now)?;
        }
        if let Some(held) = &mut self.held {
            held.certain = certain;
        }
        Ok(if certain { Next::Resync } else { Next::After(PATIENCE) })
    }

    async fn create(&mut self, state: State, how: &str, now: SystemTime) -> Result<Next, StoreError> {
        let wanted = secret(Secret::default(), &self.ctx.namespace, &self.ctx.ca_secret, &state);
        let params = params();
        match self.ctx.link.call("create", self.object(), self.api.create(&params, &wanted)).await {
            Ok(_) => {
                let (reason, is_new) = (state.reason, self.held.is_none());
                self.publish(state, how, now)?;
                if is_new {
                    self.ctx.metrics.ca_rotated(reason.word());
                } else {
                    self.restored("deleted").await;
                }
                Ok(Next::Resync)
            }
            // Another replica was faster: the next look adopts what it made.
            Err(error) if error.trouble() == Trouble::Conflict => Ok(Next::Again),
            Err(error) if error.trouble() == Trouble::NotFound && self.ctx.applies() => {
                create_namespace(self.ctx).await?;
                Ok(Next::Again)
            }
            Err(error) if error.trouble() == Trouble::NotFound => Err(StoreError::NoNamespace {
                namespace: self.ctx.namespace.clone(),
                name: self.ctx.ca_secret.clone(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    async fn replace(
        &mut self,
        found: Option<Secret>,
        state: State,
        how: &str,
        now: SystemTime,
    ) -> Result<Next, StoreError> {
        let wanted = secret(found.unwrap_or_default(), &self.ctx.namespace, &self.ctx.ca_secret, &state);
        let params = params();
        let replaced = self.api.replace(&self.ctx.ca_secret, &params, &wanted);
        match self.ctx.link.call("update", self.object(), replaced).await {
            Ok(_) => {
                let reason = state.reason;
                let is_new = self.held.as_ref().is_none_or(|held| !held.state.signs_like(&state));
                self.publish(state, how, now)?;
                if is_new {
                    self.ctx.metrics.ca_rotated(reason.word());
                }
                match reason {
                    Reason::Emergency if is_new => self.alarm().await,
                    Reason::Replaced if is_new => self.announce_replacement().await,
                    _ => self.restored("spoilt").await,
                }
                Ok(Next::Resync)
            }
            Err(error) if matches!(error.trouble(), Trouble::Conflict | Trouble::NotFound) => Ok(Next::Again),
            Err(error) => Err(error.into()),
        }
    }

    async fn alarm(&self) {
        let note = "The CA Secret was unusable and no replica held a good CA: a new one was made. Until all bundles carry it, \
             calls to the webhooks fail; that takes seconds.";
        tracing::warn!(secret = self.object(), "EMERGENCY: {note}");
        self.ctx.event(EventType::Warning, "EmergencyCA", "ReplaceCA", note).await;
    }

    async fn announce_replacement(&self) {
        let note = "Somebody put another CA into the Secret. It signs now; the one before stays trusted until none of \
             its certificates can be in use.";
        tracing::warn!(secret = self.object(), "{note}");
        self.ctx.event(EventType::Warning, "CAReplaced", "ReplaceCA", note).await;
    }

    async fn restored(&self, was: &str) {
        let note = format!("The CA Secret was {was}; it was restored from the memory of a replica.");
        self.ctx.event(EventType::Warning, "CASecretRestored", "RestoreCA", &note).await;
    }

    /// From here on this is the current state.
    fn publish(&mut self, state: State, how: &str, now: SystemTime) -> Result<(), StoreError> {
        let bundle = state.bundle(now)?;
        let before = self.held.as_ref().map(|held| &held.state);
        if before.is_none_or(|before| !before.signs_like(&state)) {
            self.resolver.set_authority(presented(before, &state, now))?;
        }
        self.ctx.link.serves();
        self.measure(&state);
        tracing::info!(
            secret = self.object(),
            subject = state.active.subject(),
            not_after = rfc3339(state.active.not_after()),
            phase = state.stage.phase(),
            revision = state.revision,
            "CA {how}"
        );
        self.held = Some(Held { state, certain: true });
        self.wrong_since = None;
        self.bundle.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&bundle);
            *current = Some(bundle);
            changed
        });
        Ok(())
    }

    fn measure(&self, state: &State) {
        let metrics = &self.ctx.metrics;
        metrics.certificate_expires("ca", state.active.not_after());
        match state.next() {
            Some(next) => metrics.certificate_expires("next_ca", next.not_after()),
            None => metrics.certificate_is_gone("next_ca"),
        }
        metrics.ca_phase(state.stage.phase());
    }
}

/// Writes are ours.
pub(super) fn params() -> PostParams {
    PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.into()) }
}

/// Beside a cluster nobody else makes the namespace.
pub(super) async fn create_namespace(ctx: &Context) -> Result<(), ClusterError> {
    let api: Api<Namespace> = Api::all(ctx.client.clone());
    let name = &ctx.namespace;
    if ctx.link.call("get", format!("namespace {name}"), api.get_opt(name)).await?.is_some() {
        return Ok(());
    }
    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    match ctx.link.call("create", format!("namespace {name}"), api.create(&params(), &namespace)).await {
        Ok(_) => {
            tracing::info!("created namespace {name} for the CA Secret and the self-test");
            Ok(())
        }
        Err(error) if error.trouble() == Trouble::Conflict => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
