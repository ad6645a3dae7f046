//! New TLS connections at a steady rate, each with one admission or conversion call, verified as the API server does it:
//! against the bundle that the called target carries at that moment, or one that it carried before.
//!
//! In: the addresses to call and the cluster to read bundles from. Out: how many calls there were and which failed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::api::Api;
use crate::bundles::bundles_by;
use crate::cluster::{CERTIFIED, Cluster, eventually};

/// New connections a second.
const RATE: usize = 100;
const THREADS: usize = 10;
/// Between two looks at the targets: less than an API server's cache lags behind.
const LOOK: Duration = Duration::from_millis(100);
/// Paths in the order of the targets.
const PATHS: [&str; 5] = ["/convert", "/convert", "/convert", "/default", "/validate"];

/// Calls until [`Handshakes::end`].
pub(crate) struct Handshakes {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Vec<String>>>,
    watch: JoinHandle<()>,
    began: Instant,
}

struct Shared {
    stop: AtomicBool,
    calls: [AtomicUsize; 3],
    addresses: Mutex<Vec<SocketAddr>>,
    bundles: Mutex<Vec<String>>,
    /// A bundle of another time; every third call trusts it.
    stale: Mutex<Option<String>>,
}

/// What was done.
pub(crate) struct Count {
    pub(crate) admission: usize,
    pub(crate) conversion: usize,
    pub(crate) stale: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) took: Duration,
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { admission, conversion, stale, failed, took } = self;
        write!(
            f,
            "{} calls on new connections, {:.0} a second ({admission} admission, {conversion} conversion; {stale} of them with \
             an old bundle), {} failed, {:.1} s",
            admission + conversion,
            (admission + conversion) as f64 / took.as_secs_f64(),
            failed.len(),
            took.as_secs_f64()
        )
    }
}

impl Count {
    /// None may have failed, and there was a load; a busy machine may not manage all of it.
    #[track_caller]
    pub(crate) fn none_failed(&self) {
        assert!(self.admission > 0 && self.conversion > 0, "{self}");
        let calls = (self.admission + self.conversion) as f64;
        assert!(calls >= self.took.as_secs_f64() * RATE as f64 / 4.0, "{self}");
        assert!(self.failed.is_empty(), "{self}, first: {:#?}", &self.failed[..self.failed.len().min(5)]);
    }
}

impl Handshakes {
    /// Starts calling these addresses in turn, and waits for the first answers.
    pub(crate) fn start(cluster: &Cluster, addresses: Vec<SocketAddr>) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            calls: Default::default(),
            addresses: Mutex::new(addresses),
            bundles: Mutex::new(bundles_by(&cluster.api)),
            stale: Mutex::new(None),
        });
        let (watched, api) = (Arc::clone(&shared), Api::connect(&cluster.folder.join("kubeconfig"), "admin"));
        let watch = std::thread::spawn(move || {
            while !watched.stop.load(Ordering::Relaxed) {
                let found = bundles_by(&api);
                *watched.bundles.lock().unwrap() = found;
                std::thread::sleep(LOOK);
            }
        });
        let workers = (0..THREADS)
            .map(|number| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || work(&shared, number))
            })
            .collect();
        let load = Self { shared, workers, watch, began: Instant::now() };
        load.goes_on();
        load
    }

    /// Calls these from now on; calls to others are over when this returns.
    pub(crate) fn call(&self, addresses: Vec<SocketAddr>) {
        *self.shared.addresses.lock().unwrap() = addresses;
        // Every thread has begun another call when there were this many more.
        self.goes_on();
    }

    /// Every third call trusts this bundle and no other; or none does.
    pub(crate) fn also_trust(&self, bundle: Option<String>) {
        *self.shared.stale.lock().unwrap() = bundle;
        self.goes_on();
    }

    fn done(&self) -> usize {
        self.shared.calls[..2].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Waits for calls of every thread.
    pub(crate) fn goes_on(&self) {
        let before = self.done();
        eventually("calls are made", Duration::from_secs(60), || {
            (self.done() >= before + 4 * THREADS * PATHS.len()).then_some(())
        });
    }

    /// Ends the calls.
    pub(crate) fn end(self) -> Count {
        let took = self.began.elapsed();
        self.shared.stop.store(true, Ordering::Relaxed);
        let failed = self.workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        self.watch.join().unwrap();
        let [admission, conversion, stale] =
            [0, 1, 2].map(|index| self.shared.calls[index].load(Ordering::Relaxed));
        Count { admission, conversion, stale, failed, took }
    }
}

fn work(shared: &Shared, number: usize) -> Vec<String> {
    let pause = Duration::from_secs(1) * u32::try_from(THREADS).unwrap() / u32::try_from(RATE).unwrap();
    let mut failed = Vec::new();
    let mut next = Instant::now();
    for turn in number.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let target = turn % PATHS.len();
        let addresses = shared.addresses.lock().unwrap().clone();
        let address = addresses[turn % addresses.len()];
        let stale = shared.stale.lock().unwrap().clone().filter(|_| turn % 3 == 0);
        let is_stale = stale.is_some();
        let bundle = stale.unwrap_or_else(|| shared.bundles.lock().unwrap()[target].clone());
        if let Err(error) = call(address, &bundle, PATHS[target]) {
            failed.push(format!(
                "{} of {address} with {} CAs: {error}",
                PATHS[target],
                bundle.matches("BEGIN").count()
            ));
        }
        shared.calls[usize::from(target < 3)].fetch_add(1, Ordering::Relaxed);
        shared.calls[2].fetch_add(usize::from(is_stale), Ordering::Relaxed);
        // A second of delay is caught up with, so that a slow moment does not lower the rate.
        next = (next + pause).max(Instant::now().checked_sub(Duration::from_secs(1)).unwrap());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    failed
}

/// One call on a connection of its own; whoever answers must have a certificate that the bundle trusts.
fn call(address: SocketAddr, bundle: &str, path: &str) -> Result<(), String> {
    let mut stream = connect(address, bundle)?;
    let object = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider", "metadata": {"name": "x", "namespace": "default"},
        "spec": {"mode": "container", "image": "acme/tools:1"}});
    let (review, right) = match path {
        "/convert" => (
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
                "request": {"uid": "u", "desiredAPIVersion": "mcp-hangar.io/v1beta1", "objects": [object]}}),
            "/response/result/status",
        ),
        _ => (
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u",
                "kind": {"group": "mcp-hangar.io", "version": "v1alpha1", "kind": "MCPProvider"},
                "resource": {"group": "mcp-hangar.io", "version": "v1alpha1", "resource": "mcpproviders"},
                "operation": "CREATE", "userInfo": {}, "name": "x", "namespace": "default", "object": object}}),
            "/response/allowed",
        ),
    };
    let body = review.to_string();
    let words = |error: std::io::Error| error.to_string();
    write!(
        stream,
        "POST {path}?timeout=5s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .map_err(words)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(words)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let body: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {answer}"))?;
    match body.pointer(right) {
        Some(Value::Bool(true)) => Ok(()),
        Some(Value::String(status)) if status == "Success" => Ok(()),
        _ => Err(answer),
    }
}

/// A TLS connection to who has a certificate for our name that the bundle trusts.
pub(crate) fn connect(
    address: SocketAddr,
    bundle: &str,
) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(CERTIFIED).map_err(|error| error.to_string())?;
    let client = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let tcp = TcpStream::connect_timeout(&address, Duration::from_secs(10)).map_err(words)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20))).map_err(words)?;
    let mut stream = StreamOwned::new(client, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(words)?;
    }
    Ok(stream)
}
