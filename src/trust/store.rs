//! The CA in its Secret: made once however many replicas start, restored when lost or spoilt, adopted when changed.
//!
//! In: the Secret as it is, and the CA that this replica holds in memory. Out: the current CA, to the leaf resolver and
//! as a bundle. [`decide`] is pure; [`keep`] does what it says. `create` is the bootstrap lock, who loses adopts; every
//! later write carries the resourceVersion it was decided on. Rotation is another writer of the same Secret.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use kube::core::ApiResource;
use kube::runtime::events::EventType;
use mcp_hangar_webhooks::tls::authority::BACKDATE;
use mcp_hangar_webhooks::tls::{Authority, LeafResolver, TlsError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use super::{Bundle, pokes};
use crate::context::Context;
use crate::manifests::{FIELD_MANAGER, labels};
use crate::retry::{Attempts, ClusterError, LONGEST_WAIT, Trouble};

/// Key of the CA certificate.
pub const CERTIFICATE_KEY: &str = "ca.crt";
/// Key of the CA's private key.
pub const PRIVATE_KEY_KEY: &str = "ca.key";
/// For people: until when the CA is valid.
pub const NOT_AFTER_ANNOTATION: &str = "mcp-hangar.io/ca-not-after";
/// For people: when it was made.
pub const CREATED_ANNOTATION: &str = "mcp-hangar.io/ca-created-at";

/// Another replica that holds a good CA gets this long to restore a spoilt Secret.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks when nothing has been heard.
const RESYNC: Duration = Duration::from_secs(60);
const NAME_HINT: &str = "mcp-hangar-operator webhook CA";

/// The Secret as it was found.
#[derive(Debug)]
pub enum Observed {
    /// There is none.
    Absent,
    /// It holds a CA that can be used now.
    Good(Box<Authority>),
    /// It holds none.
    Spoilt(String),
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The Secret and the memory agree.
    Keep,
    /// Take the Secret's CA.
    Adopt,
    /// Write the CA from memory into a new Secret.
    Recreate,
    /// Make a CA and write it into a new Secret.
    Bootstrap,
    /// Write the CA from memory over the spoilt one.
    Restore,
    /// Give the other replicas time to restore it.
    Wait,
    /// Make a CA and write it over the spoilt one: nobody has a good one.
    Emergency,
}

/// Decides from the Secret and from `held`, the CA in memory if it is valid now.
pub fn decide(observed: &Observed, held: Option<&Authority>, waited: Duration) -> Action {
    match (observed, held) {
        (Observed::Good(found), Some(held)) if same(found, held) => Action::Keep,
        (Observed::Good(_), _) => Action::Adopt,
        (Observed::Absent, Some(_)) => Action::Recreate,
        (Observed::Absent, None) => Action::Bootstrap,
        (Observed::Spoilt(_), Some(_)) => Action::Restore,
        (Observed::Spoilt(_), None) if waited < PATIENCE => Action::Wait,
        (Observed::Spoilt(_), None) => Action::Emergency,
    }
}

/// Reads a Secret. Reasons never hold any of its text.
pub fn observe(secret: Option<&Secret>, now: SystemTime) -> Observed {
    let Some(secret) = secret else { return Observed::Absent };
    match (text(secret, CERTIFICATE_KEY), text(secret, PRIVATE_KEY_KEY)) {
        (Ok(certificate), Ok(key)) => match Authority::from_pem(certificate, key, now) {
            Ok(authority) => Observed::Good(Box::new(authority)),
            Err(error) => Observed::Spoilt(error.to_string()),
        },
        (Err(reason), _) | (_, Err(reason)) => Observed::Spoilt(reason),
    }
}

fn text<'a>(secret: &'a Secret, key: &str) -> Result<&'a str, String> {
    let value =
        secret.data.as_ref().and_then(|data| data.get(key)).ok_or_else(|| format!("it has no {key}"))?;
    std::str::from_utf8(&value.0).map_err(|_| format!("its {key} is not text"))
}

fn same(one: &Authority, other: &Authority) -> bool {
    one.certificate_pem() == other.certificate_pem()
}

fn usable(authority: &Authority, now: SystemTime) -> bool {
    authority.not_before() <= now && now <= authority.not_after()
}

fn secret(base: Secret, namespace: &str, name: &str, authority: &Authority) -> Secret {
    let Secret { mut metadata, data, immutable, string_data: _, type_ } = base;
    metadata.name = Some(name.to_owned());
    metadata.namespace = Some(namespace.to_owned());
    metadata.labels.get_or_insert_default().extend(labels());
    // From the certificate, so that a Secret that is restored says what the lost one said.
    let created = authority.not_before() + BACKDATE;
    let notes =
        [(NOT_AFTER_ANNOTATION, rfc3339(authority.not_after())), (CREATED_ANNOTATION, rfc3339(created))];
    metadata.annotations.get_or_insert_default().extend(notes.map(|(key, value)| (key.to_owned(), value)));
    let mut data: BTreeMap<String, ByteString> = data.unwrap_or_default();
    data.insert(CERTIFICATE_KEY.into(), ByteString(authority.certificate_pem().into_bytes()));
    data.insert(PRIVATE_KEY_KEY.into(), ByteString(authority.key_pem().into_bytes()));
    Secret {
        metadata,
        data: Some(data),
        immutable,
        string_data: None,
        type_: Some(type_.unwrap_or_else(|| "Opaque".into())),
    }
}

fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

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
    held: Option<Arc<Authority>>,
    spoilt_since: Option<Instant>,
}

/// Keeps the CA, its Secret and the bundle for as long as the process lives.
pub async fn keep(ctx: &Context, resolver: &LeafResolver, bundle: &watch::Sender<Option<Bundle>>) {
    let api = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let mut store = Store { ctx, api, resolver, bundle, held: None, spoilt_since: None };
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
                // What the connection's state explains has been said there.
                if !matches!(&error, StoreError::Cluster(error) if matches!(error.trouble(), Trouble::Away | Trouble::Forbidden | Trouble::Credentials))
                    && ctx.link.say_now("ca", &error.to_string())
                {
                    tracing::error!(kind = error.kind(), "{error}");
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

impl Store<'_> {
    fn object(&self) -> String {
        format!("secret {}/{}", self.ctx.namespace, self.ctx.ca_secret)
    }

    async fn step(&mut self, now: SystemTime) -> Result<Next, StoreError> {
        let found = self.ctx.link.call("get", self.object(), self.api.get_opt(&self.ctx.ca_secret)).await?;
        let observed = observe(found.as_ref(), now);
        let waited = match &observed {
            Observed::Spoilt(_) => self.spoilt_since.get_or_insert_with(Instant::now).elapsed(),
            _ => {
                self.spoilt_since = None;
                Duration::ZERO
            }
        };
        let held = self.held.clone().filter(|held| usable(held, now));
        let action = decide(&observed, held.as_deref(), waited);
        if let Observed::Spoilt(reason) = &observed
            && self.ctx.link.say_now("ca-spoilt", &format!("{reason}{action:?}"))
        {
            tracing::warn!(secret = self.object(), ?action, "the CA Secret is unusable: {reason}");
        }
        match (action, observed, held) {
            (Action::Adopt, Observed::Good(authority), _) => {
                let changed = self.held.is_some();
                self.publish(
                    Arc::new(*authority),
                    now,
                    if changed { "changed by somebody else, adopted" } else { "adopted" },
                )?;
                Ok(Next::Resync)
            }
            (Action::Wait, ..) => {
                Ok(Next::After(PATIENCE.saturating_sub(waited) + Duration::from_millis(50)))
            }
            (Action::Recreate, _, Some(held)) => self.create(held, "restored from memory", now).await,
            (Action::Bootstrap, ..) => self.create(generate(now)?, "created", now).await,
            (Action::Restore, _, Some(held)) => self.replace(found, held, "restored from memory", now).await,
            (Action::Emergency, ..) => self.replace(found, generate(now)?, "made in an emergency", now).await,
            // Keep; the other pairs cannot be.
            _ => Ok(Next::Resync),
        }
    }

    async fn create(
        &mut self,
        authority: Arc<Authority>,
        how: &'static str,
        now: SystemTime,
    ) -> Result<Next, StoreError> {
        let wanted = secret(Secret::default(), &self.ctx.namespace, &self.ctx.ca_secret, &authority);
        let params = params();
        match self.ctx.link.call("create", self.object(), self.api.create(&params, &wanted)).await {
            Ok(_) => {
                self.publish(authority, now, how)?;
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
        authority: Arc<Authority>,
        how: &'static str,
        now: SystemTime,
    ) -> Result<Next, StoreError> {
        let wanted = secret(found.unwrap_or_default(), &self.ctx.namespace, &self.ctx.ca_secret, &authority);
        let params = params();
        let replaced = self.api.replace(&self.ctx.ca_secret, &params, &wanted);
        match self.ctx.link.call("update", self.object(), replaced).await {
            Ok(_) => {
                let emergency = self.held.as_ref().is_none_or(|held| !same(held, &authority));
                self.publish(authority, now, how)?;
                if emergency {
                    self.alarm().await;
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

    /// From here on the CA is the current one.
    fn publish(
        &mut self,
        authority: Arc<Authority>,
        now: SystemTime,
        how: &'static str,
    ) -> Result<(), StoreError> {
        let bundle = Bundle::build([authority.certificate_pem().as_str()], now)?;
        if self.held.as_ref().is_none_or(|held| !same(held, &authority)) {
            self.resolver.set_authority(Arc::clone(&authority))?;
        }
        self.ctx.link.serves();
        self.ctx.metrics.certificate_expires("ca", authority.not_after());
        tracing::info!(
            secret = self.object(),
            subject = authority.subject(),
            not_after = rfc3339(authority.not_after()),
            "CA {how}"
        );
        self.held = Some(authority);
        self.spoilt_since = None;
        self.bundle.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&bundle);
            *current = Some(bundle);
            changed
        });
        Ok(())
    }
}

fn generate(now: SystemTime) -> Result<Arc<Authority>, TlsError> {
    Authority::generate(NAME_HINT, now).map(Arc::new)
}

fn params() -> PostParams {
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
