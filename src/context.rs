//! What every task of `run` shares: the client, where things are, metrics, and a way to publish Events.
//!
//! In: the command line. Out: a [`Context`]. Finding the cluster happens here, and only here: in a pod it is the
//! service account, elsewhere a kubeconfig that somebody named.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Config};
use mcp_hangar_webhooks::policy::Policy;

use crate::cli::RunArgs;
use crate::exit::RunError;
use crate::manifests::{Endpoint, FIELD_MANAGER};
use crate::metrics::Metrics;
use crate::provider::places::Places;
use crate::retry::{Link, Trouble};
use crate::trust::Schedule;
use crate::words;

/// Events may hold 1 kB of text.
const LONGEST_NOTE: usize = 1000;
/// Texts of Events that are remembered, so that the same one again is counted and not made anew.
const MOST_TEXTS: usize = 128;

/// Shared by all tasks.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// How calls to it go.
    pub link: Link,
    /// All series.
    pub metrics: Arc<Metrics>,
    /// How the API server reaches us.
    pub endpoint: Endpoint,
    /// Namespace of the CA Secret and of the self-test.
    pub namespace: String,
    /// Name of the CA Secret.
    pub ca_secret: String,
    /// Name of both webhook configurations.
    pub configuration_name: String,
    /// Name of the Lease, where there is an election.
    pub lease: Option<String>,
    /// Stored objects that are written in the storage version in a second; 0: none.
    pub migrate_rate: u32,
    /// Where providers are looked after.
    pub places: Places,
    /// What the webhooks judge by, and so do controllers that make objects for others.
    pub policy: Policy,
    /// Times of a CA rotation.
    pub schedule: Schedule,
    reporter: Reporter,
    /// The library counts Events of one reason and object as one and keeps the first text; so each text has its own.
    recorders: Mutex<HashMap<String, Recorder>>,
    regarding: ObjectReference,
    settled: AtomicBool,
}

impl Context {
    /// Puts it together; nothing is sent yet.
    pub fn new(
        args: &RunArgs,
        config: Config,
        endpoint: Endpoint,
        metrics: Arc<Metrics>,
    ) -> Result<Self, RunError> {
        if !token_fits(&config) {
            return Err(RunError::Client("the token holds characters that no header may hold".into()));
        }
        let url = &config.cluster_url;
        // Without a user and password, which a URL may hold.
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let (scheme, host) = (url.scheme_str().unwrap_or("https"), url.host().unwrap_or_default());
        let server = format!("{scheme}://{host}{port}{}", url.path());
        let client = Client::try_from(config).map_err(|error| RunError::Client(words::client(&error)))?;
        Ok(Self::with_client(args, client, server, endpoint, metrics))
    }

    /// The same over any client, such as one that answers from memory.
    pub fn with_client(
        args: &RunArgs,
        client: Client,
        server: String,
        endpoint: Endpoint,
        metrics: Arc<Metrics>,
    ) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: args.pod_name.clone() };
        let (kind, name) = match &args.pod_name {
            Some(pod) => ("Pod", pod.clone()),
            None => ("Secret", args.ca_secret.clone()),
        };
        let namespace = match (&args.pod_name, &args.pod_namespace) {
            (Some(_), Some(namespace)) => namespace.clone(),
            _ => args.namespace().to_owned(),
        };
        Self {
            reporter,
            recorders: Mutex::default(),
            regarding: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some(kind.into()),
                name: Some(name),
                namespace: Some(namespace),
                ..ObjectReference::default()
            },
            link: Link::new(server, Arc::clone(&metrics)),
            client,
            metrics,
            endpoint,
            namespace: args.namespace().to_owned(),
            ca_secret: args.ca_secret.clone(),
            configuration_name: args.configuration_name.clone(),
            lease: args.leader_elect.then(|| args.leader_elect_lease_name.clone()),
            migrate_rate: args.migrate_rate,
            places: Places::new(&args.watch_namespaces, &args.secret_namespaces)
                .with_configmaps(&args.configmap_namespaces),
            policy: args.policy(),
            schedule: args.rotation.schedule(),
            settled: AtomicBool::new(false),
        }
    }

    /// Whether the operator itself applies CRDs and configurations.
    pub fn applies(&self) -> bool {
        matches!(self.endpoint, Endpoint::Url(_))
    }

    /// Everything was in place once: a permission that is lost later does not end the process.
    pub fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Whether everything was in place once.
    pub fn settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Publishes an Event; the log has the same text, so that a failure to publish loses nothing.
    pub async fn event(&self, type_: EventType, reason: &str, action: &str, note: &str) {
        self.publish(&self.regarding, None, type_, reason, action, note).await;
    }

    /// The same about another object than the operator itself. False where the API server was not there to take it.
    pub async fn event_about(
        &self,
        regarding: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) -> bool {
        self.publish(regarding, None, type_, reason, action, note).await
    }

    /// The same with an object that it was done to. Events that differ in their notes only are counted as one for some
    /// minutes, and the later notes are lost; those about different objects are not.
    pub async fn event_with(
        &self,
        related: ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        self.publish(&self.regarding, Some(related), type_, reason, action, note).await;
    }

    fn recorder(&self, text: String) -> Recorder {
        let mut recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        if recorders.len() >= MOST_TEXTS {
            recorders.clear();
        }
        let new = || Recorder::new(self.client.clone(), self.reporter.clone());
        recorders.entry(text).or_insert_with(new).clone()
    }

    async fn publish(
        &self,
        regarding: &ObjectReference,
        related: Option<ObjectReference>,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) -> bool {
        let event = Event {
            type_,
            reason: reason.into(),
            action: action.into(),
            note: Some(cut(note, LONGEST_NOTE).to_owned()),
            secondary: related,
        };
        let recorder = self.recorder(format!("{reason} {:?}: {note}", regarding.name));
        let published =
            tokio::time::timeout(Duration::from_secs(5), recorder.publish(&event, regarding)).await;
        let Ok(Err(error)) = published else { return true };
        tracing::debug!("failed to publish event {reason}: {}", words::client(&error));
        Trouble::of(&error) != Trouble::Away
    }
}

/// Whether the token can be sent; the library panics on one that cannot.
fn token_fits(config: &Config) -> bool {
    let user = serde_json::to_value(&config.auth_info).unwrap_or_default();
    user.get("token")
        .and_then(|token| token.as_str())
        .is_none_or(|token| HeaderValue::from_str(token).is_ok())
}

/// At most `length` bytes, whole characters.
fn cut(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Finds the cluster: the file or context that was named, `KUBECONFIG`, or the pod's service account.
pub async fn find_cluster(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, RunError> {
    let (path, kubeconfig) = match (kubeconfig, env("KUBECONFIG")) {
        (Some(path), _) => (path.display().to_string(), read(path)?),
        (None, Some(value)) => (value.to_string_lossy().into_owned(), read_all(&value)?),
        (None, None) if context.is_some() => {
            let path = "~/.kube/config".to_owned();
            (path.clone(), Kubeconfig::read().map_err(|error| unusable(path, &error))?)
        }
        (None, None) if env("KUBERNETES_SERVICE_HOST").is_some() => {
            let config =
                Config::incluster().map_err(|error| RunError::InCluster(words::in_cluster(&error)))?;
            return Ok(tuned(config));
        }
        (None, None) => return Err(RunError::NoCluster),
    };
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map(tuned).map_err(|error| unusable(path, &error))
}

/// A variable that says something.
fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn tuned(mut config: Config) -> Config {
    config.connect_timeout = Some(Duration::from_secs(5));
    // We retry ourselves, and want to know of every failure.
    config.default_retry = false;
    config
}

fn read(path: &Path) -> Result<Kubeconfig, RunError> {
    Kubeconfig::read_from(path).map_err(|error| unusable(path.display().to_string(), &error))
}

/// The files of `KUBECONFIG`, merged; the one that is wrong is named.
fn read_all(value: &OsStr) -> Result<Kubeconfig, RunError> {
    std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).try_fold(
        Kubeconfig::default(),
        |merged, path| {
            let next = read(&path)?;
            merged.merge(next).map_err(|error| unusable(path.display().to_string(), &error))
        },
    )
}

fn unusable(path: String, error: &KubeconfigError) -> RunError {
    RunError::Kubeconfig { path, reason: words::kubeconfig(error) }
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, Response};
    use clap::Parser;
    use kube::client::Body;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::version::Build;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        assert_eq!(cut("abc", 10), "abc");
        assert_eq!(cut("aéé", 4), "aé");
    }

    /// What each published Event came to at the API server.
    async fn published(notes: &[&str]) -> Vec<String> {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::clone(&sent);
        let service = tower::service_fn(move |request: Request<Body>| {
            calls.lock().unwrap().push(request.method().to_string());
            async move {
                let event = br#"{"metadata": {"name": "one", "namespace": "mcp-system"}, "eventTime": null}"#;
                Ok::<_, kube::Error>(Response::new(Body::from(event.to_vec())))
            }
        });
        let Command::Run(args) = Cli::parse_from(["mcp-hangar-operator", "run"]).command else {
            unreachable!()
        };
        let metrics = Arc::new(Metrics::new(&Build::current()).unwrap());
        let endpoint = Endpoint::default_service("mcp-system");
        let client = Client::new(service, "default");
        let ctx = Context::with_client(&args, client, "memory".into(), endpoint, metrics);
        for note in notes {
            ctx.event(EventType::Warning, "SelfTestFailed", "SelfTest", note).await;
        }
        sent.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn an_event_with_another_text_is_another_event_and_the_same_again_is_counted() {
        assert_eq!(
            published(&["refused", "refused", "timeout", "refused"]).await,
            ["POST", "PATCH", "POST", "PATCH"]
        );
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_a_configuration_error() {
        let error = find_cluster(Some(Path::new("/nowhere/kubeconfig")), None).await.unwrap_err();
        assert_eq!(error.exit_code(), crate::exit::ExitCode::Configuration);
        assert!(error.to_string().contains("/nowhere/kubeconfig"), "{error}");
    }
}
