//! Asks for everything that `certs` shows: the CA Secret, the Lease, the targets, and the certificates that are served.
//!
//! In: a client and names. Out: [`Seen`], where each part is either there or says why it is not. One part that cannot be
//! read keeps no other from being shown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cli::CertsArgs;
use crate::retry::Trouble;
use crate::trust::bundle;
use crate::trust::inject::TARGETS;
use crate::trust::inject::inspect::{self, Trust, View};
use crate::trust::record::{Observed, observe};
use crate::words;

/// One answer of the API server must not take longer.
const PATIENCE: Duration = Duration::from_secs(15);
/// A webhook that does not answer within this is not reached from here.
const REACH: Duration = Duration::from_secs(2);
/// Webhooks that are called at most.
const MOST: usize = 20;

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// In words.
    pub reason: String,
    /// Whether a permission is missing, or credentials.
    pub forbidden: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Seen {
    /// Namespace and name of the CA Secret.
    pub secret_name: String,
    /// The Secret.
    pub secret: Result<Option<Secret>, Unread>,
    /// Who leads, where that can be read.
    pub leader: Option<String>,
    /// Each target.
    pub targets: Vec<(String, Result<View, Unread>)>,
    /// Each webhook that is called, with the certificate that it presents as PEM.
    pub served: Vec<Served>,
}

/// One webhook.
#[derive(Debug)]
pub struct Served {
    /// Pod or host.
    pub by: String,
    /// Its certificate, once it was verified; or what went wrong.
    pub certificate: Result<String, Refused>,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It cannot be reached from here, which says nothing about it.
    Unreached(String),
    /// Somebody answered whom the targets would not trust.
    Untrusted(String),
}

/// Asks for all of it.
pub async fn fetch(client: &Client, args: &CertsArgs) -> Seen {
    let (namespace, name) = (args.namespace(), args.ca_secret.as_str());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret_name = format!("{namespace}/{name}");
    let secret = limited(&format!("secret {secret_name}"), secrets.get_opt(name)).await;
    let mut targets = Vec::new();
    for target in TARGETS {
        let object = inspect::object(target, &args.configuration_name);
        let view = limited(&object, inspect::look(client, target, &args.configuration_name)).await;
        targets.push((object, view));
    }
    let trusted = trusted(&secret, &targets);
    let served = match address(&targets) {
        Some(address) => served(client, &address, &trusted).await,
        None => Vec::new(),
    };
    Seen { secret_name, secret, leader: leader(client, args).await, targets, served }
}

async fn limited<T>(object: &str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Unread> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let forbidden = matches!(Trouble::of(&error), Trouble::Forbidden | Trouble::Credentials);
            Err(Unread { reason: format!("failed to get {object}: {}", words::client(&error)), forbidden })
        }
        Err(_) => {
            let reason = format!("failed to get {object}: no answer within {} s", PATIENCE.as_secs());
            Err(Unread { reason, forbidden: false })
        }
    }
}

async fn leader(client: &Client, args: &CertsArgs) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), args.namespace());
    let lease = limited("lease", leases.get_opt(&args.leader_elect_lease_name)).await.ok()??;
    lease.spec?.holder_identity.filter(|holder| !holder.is_empty())
}

/// By what a served certificate is judged: the Secret, else the first target that can be read.
fn trusted(
    secret: &Result<Option<Secret>, Unread>,
    targets: &[(String, Result<View, Unread>)],
) -> Vec<String> {
    let now = std::time::SystemTime::now();
    if let Ok(Some(secret)) = secret
        && let Observed::Good(state) | Observed::Damaged { state, .. } = observe(Some(secret), now)
    {
        return state.trusted();
    }
    let views = targets.iter().filter_map(|(_, view)| view.as_ref().ok());
    let mut found = views.filter_map(|view| match &view.trust {
        Trust::Certificates(found) => Some(found.clone()),
        _ => None,
    });
    found.next().unwrap_or_default()
}

/// Where the API server calls the webhooks.
enum Address {
    Url { host: String, port: u16 },
    Service { name: String, namespace: String },
}

fn address(targets: &[(String, Result<View, Unread>)]) -> Option<Address> {
    let mut clients = targets.iter().filter_map(|(_, view)| view.as_ref().ok()).map(|view| &view.client);
    clients.find_map(|client| {
        if let Some(url) = client.get("url").and_then(Value::as_str) {
            let uri: axum::http::Uri = url.parse().ok()?;
            return Some(Address::Url { host: uri.host()?.to_owned(), port: uri.port_u16().unwrap_or(443) });
        }
        let text =
            |key: &str| client.pointer(&format!("/service/{key}")).and_then(Value::as_str).map(str::to_owned);
        Some(Address::Service { name: text("name")?, namespace: text("namespace")? })
    })
}

async fn served(client: &Client, address: &Address, trusted: &[String]) -> Vec<Served> {
    let (name, places) = match address {
        Address::Url { host, port } => {
            (host.clone(), vec![(format!("{host}:{port}"), format!("{host}:{port}"))])
        }
        Address::Service { name, namespace } => {
            (format!("{name}.{namespace}.svc"), endpoints(client, name, namespace).await)
        }
    };
    let name = name.trim_matches(['[', ']']).to_owned();
    let ask = |(by, place): (String, String)| {
        let name = name.clone();
        async move { Served { certificate: handshake(&place, &name, trusted).await, by } }
    };
    stream::iter(places.into_iter().take(MOST)).map(ask).buffered(MOST).collect().await
}

/// The pods behind a Service, each with its address.
async fn endpoints(client: &Client, service: &str, namespace: &str) -> Vec<(String, String)> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let Ok(found) = limited("endpointslices", slices.list(&params)).await else { return Vec::new() };
    let mut places = Vec::new();
    for slice in found {
        let port =
            slice.ports.iter().flatten().find_map(|port| port.port).and_then(|port| u16::try_from(port).ok());
        for endpoint in slice.endpoints.into_iter().flatten() {
            let pod = endpoint.target_ref.and_then(|target| target.name);
            for address in endpoint.addresses {
                let Some(place) = address.parse().ok().zip(port).map(|(ip, port)| SocketAddr::new(ip, port))
                else {
                    continue;
                };
                places.push((
                    pod.clone().map_or_else(|| place.to_string(), |pod| format!("pod {pod}")),
                    place.to_string(),
                ));
            }
        }
    }
    places
}

/// A TLS handshake, verified as the API server does it; the certificate that was presented.
async fn handshake(place: &str, name: &str, trusted: &[String]) -> Result<String, Refused> {
    let unreached = |reason: String| Refused::Unreached(reason);
    let untrusted = |reason: String| Refused::Untrusted(reason);
    let tcp = match tokio::time::timeout(REACH, TcpStream::connect(place)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(unreached(error.to_string())),
        Err(_) => return Err(unreached(format!("no answer within {} s", REACH.as_secs()))),
    };
    let mut roots = RootCertStore::empty();
    for certificate in trusted.iter().filter_map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok()) {
        roots.add(certificate).map_err(|error| untrusted(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| untrusted(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(|error| untrusted(error.to_string()))?;
    let connect = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    match tokio::time::timeout(REACH, connect).await {
        Ok(Ok(stream)) => {
            let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            presented
                .map(|leaf| bundle::encode(leaf))
                .ok_or_else(|| untrusted("it presents no certificate".into()))
        }
        Ok(Err(error)) => Err(untrusted(error.to_string())),
        Err(_) => Err(unreached(format!("no handshake within {} s", REACH.as_secs()))),
    }
}
