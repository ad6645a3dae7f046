//! Several replicas beside one cluster, behind one address as behind a Service; and who of them leads.
//!
//! [`Fleet`] starts, kills and replaces replicas. [`Proxy`] is the address: it passes connections on to replicas that
//! take one, in turn. The API server calls the proxy; tests may call a replica itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};
use crate::operator::{LOOPBACK, Operator};
use crate::webhook::SECRET;

/// Long enough for anything here on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// An election that is over quickly.
const ELECTION: [&str; 6] = [
    "--leader-elect-lease-duration",
    "3s",
    "--leader-elect-renew-deadline",
    "2s",
    "--leader-elect-retry-period",
    "500ms",
];

/// Replicas of one cluster.
pub(crate) struct Fleet {
    pub(crate) cluster: Cluster,
    pub(crate) replicas: Vec<Replica>,
    proxy: Proxy,
    started: usize,
}

/// One of them.
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) operator: Operator,
    pub(crate) address: SocketAddr,
}

impl Fleet {
    /// Starts a cluster and that many replicas with these flags, and waits until one leads and the API server uses them.
    pub(crate) fn start(name: &str, size: usize, flags: &[&str]) -> Self {
        let cluster = Cluster::start(name);
        let mut fleet = Self { cluster, replicas: Vec::new(), proxy: Proxy::start(), started: 0 };
        for _ in 0..size {
            fleet.add(flags);
        }
        fleet.leader();
        eventually("the API server uses the webhooks", LONG, || {
            let object = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider",
                "metadata": {"generateName": "probe-", "namespace": "default"}, "spec": {"mode": "contaner"}});
            fleet.cluster.api.create_dry(&object).message().contains("HGR102").then_some(())
        });
        fleet
    }

    /// Starts one more replica, and waits until it has a certificate.
    pub(crate) fn add(&mut self, flags: &[&str]) {
        self.started += 1;
        let name = format!("replica-{}", self.started);
        let url = format!("https://{}", self.proxy.address);
        let all = [LOOPBACK.as_slice(), &ELECTION, &["--webhook-url", &url], flags].concat();
        let operator = Operator::start(&self.cluster.folder, &name, &all);
        let listening = operator.said("listening");
        let of = |what: &str| listening[what].as_str().unwrap().parse::<SocketAddr>().unwrap();
        let address = of("webhooks");
        operator.said("CA ");
        self.proxy.backends.lock().unwrap().push(address);
        self.replicas.push(Replica { name, operator, address });
    }

    /// SIGKILL to one of them; where it was in the list.
    pub(crate) fn kill(&mut self, index: usize) {
        let mut replica = self.replicas.remove(index);
        self.proxy.backends.lock().unwrap().retain(|address| *address != replica.address);
        replica.operator.kill();
    }

    /// No new connections are passed on to this replica.
    pub(crate) fn detach(&self, index: usize) {
        let address = self.replicas[index].address;
        self.proxy.backends.lock().unwrap().retain(|backend| *backend != address);
    }

    /// Whether one of these says that it leads.
    pub(crate) fn leads_among(&self, addresses: &[SocketAddr]) -> bool {
        let mut all = self.replicas.iter().filter(|replica| addresses.contains(&replica.address));
        all.any(|replica| replica.leads())
    }

    /// Waits until a replica says that it leads, and returns its place.
    pub(crate) fn leader(&self) -> usize {
        eventually("one replica leads", LONG, || {
            let mut leaders = self.replicas.iter().enumerate().filter(|(_, replica)| replica.leads());
            leaders.next().map(|(index, _)| index)
        })
    }

    /// The CA Secret's data, decoded; empty where there is none.
    pub(crate) fn secret(&self) -> Value {
        let data = self.cluster.api.get(SECRET).body["data"].clone();
        let decode = |text: &Value| {
            let bytes = STANDARD.decode(text.as_str().unwrap_or_default()).unwrap_or_default();
            Value::String(String::from_utf8_lossy(&bytes).into_owned())
        };
        let all = data.as_object().into_iter().flatten();
        Value::Object(all.map(|(key, text)| (key.clone(), decode(text))).collect())
    }

    /// The phase that the Secret names.
    pub(crate) fn phase(&self) -> String {
        let head: Value = serde_json::from_str(self.secret()["rotation.json"].as_str().unwrap_or_default())
            .unwrap_or_default();
        head["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for a phase; looks often, since what is done next is to disturb what follows from it.
    pub(crate) fn reaches(&self, phase: &str) {
        let deadline = std::time::Instant::now() + LONG;
        while self.phase() != phase {
            assert!(
                std::time::Instant::now() < deadline,
                "not within {LONG:?}: {phase}; it is {}",
                self.phase()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks for a rotation, as a person does.
    pub(crate) fn ask(&self) {
        let patch = json!({"metadata": {"annotations": {"mcp-hangar.io/rotate": "now"}}});
        self.cluster.api.merge_patch(SECRET, &patch).ok();
    }

    /// The end of every log, for a test that fails.
    pub(crate) fn explain(&self) {
        for replica in &self.replicas {
            let log = replica.operator.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("{}:\n{}", replica.name, lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}

impl Replica {
    /// Whether it says that it leads.
    pub(crate) fn leads(&self) -> bool {
        self.metric("mcp_operator_leader") == Some(1.0)
    }

    /// What the kubelet would be told.
    pub(crate) fn is_ready(&self) -> bool {
        Metrics::of(&self.operator).is_ready()
    }

    /// The value of a series, with its labels as they are written.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        Metrics::of(&self.operator).value(series)
    }
}

/// What an operator says of itself over plain HTTP.
pub(crate) struct Metrics {
    metrics: SocketAddr,
    health: SocketAddr,
}

impl Metrics {
    /// Asks it where.
    pub(crate) fn of(operator: &Operator) -> Self {
        let listening = operator.said("listening");
        let of = |what: &str| listening[what].as_str().unwrap().parse().unwrap();
        Self { metrics: of("metrics"), health: of("health") }
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        get(self.metrics, "/metrics")
    }

    /// The value of a series, with its labels as they are written.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        let text = self.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// What the kubelet would be told.
    pub(crate) fn is_ready(&self) -> bool {
        get(self.health, "/readyz").starts_with("HTTP/1.1 200")
    }
}

/// A plain HTTP GET; what was answered, or nothing.
fn get(address: SocketAddr, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().unwrap_or_default()
}

/// An address that stays while replicas come and go.
struct Proxy {
    address: SocketAddr,
    backends: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let backends: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let shared = Arc::clone(&backends);
        std::thread::spawn(move || {
            for (turn, client) in listener.incoming().flatten().enumerate() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || pass(client, &shared, turn));
            }
        });
        Self { address, backends }
    }
}

fn pass(client: TcpStream, backends: &Mutex<Vec<SocketAddr>>, turn: usize) {
    let all = backends.lock().unwrap().clone();
    let mut in_turn = all.iter().cycle().skip(turn % all.len().max(1)).take(all.len());
    let Some(server) = in_turn.find_map(|address| TcpStream::connect(address).ok()) else { return };
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (mut from_server, mut to_client) = (server, client);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(std::net::Shutdown::Both);
}
