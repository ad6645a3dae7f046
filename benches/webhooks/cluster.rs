//! Through a real API server: what the webhooks add to a write, and what a LIST in the other version costs.
//!
//! Writes with and without admission alternate, one by one: both webhook configurations leave one namespace out, which
//! is as if they were not there. Conversion is on for both, since both are of the same CRDs. Providers are looked after
//! in a namespace that is empty: what that costs is in [`crate::providers`].

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use axum::http::{Method, Request};
use futures::stream::{self, StreamExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::cost::{Cost, memory};
use crate::report::{Report, Row, Spread};
use crate::reviews;
use crate::server::all_cores;

/// Pairs of writes, one judged and one not.
const PAIRS: usize = 400;
const MANY: usize = 10_000;
const JUDGED: &str = "judged";
const UNJUDGED: &str = "unjudged";
/// A namespace that is empty.
const NOBODY: &str = "nobody";

pub(crate) fn measure(report: &mut Report) {
    if !is_built() {
        report.heading("through a real API server: left out, since it has not been built");
        report.note("tests/cluster/build.sh builds it, once, in 5 to 9 minutes; then run `make bench` again");
        return;
    }
    report.heading(
        "through a real API server: kube-apiserver and etcd on this machine, nothing bound to a core",
    );
    let cluster = Cluster::start("bench-cluster");
    cluster.operate();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let api = Api::connect(&cluster.folder).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let idle = memory(cluster.pid("operator"), "VmRSS");
        report.add(Row::new("operator that applied the CRDs itself, memory idle (RSS)", idle, "MiB"));
        leave_one_namespace_out(&api).await;
        writes(report, &cluster, &api).await;
        fill(report, &cluster, &api).await;
        lists(report, &cluster, &api).await;
    });
    as_in_a_cluster(report, &cluster);
}

/// A second operator as a Deployment starts it: reached through a Service, and applying nothing. It takes the CRDs and
/// configurations over, so it comes last.
fn as_in_a_cluster(report: &mut Report, cluster: &Cluster) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-hangar-operator"));
    command.args(["run", "--webhook-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"]);
    command.args(["--health-addr", "127.0.0.1:0", "--watch-namespaces", NOBODY, "--kubeconfig"]);
    command.arg(cluster.folder.join("kubeconfig"));
    let mut child = command.env_clear().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(8));
    let idle = memory(child.id(), "VmRSS");
    let _ = child.kill();
    let _ = child.wait();
    report.add(
        Row::new("a new operator as in a cluster, memory idle (RSS)", idle, "MiB").goal("<= 15 MiB", 15.0),
    );
}

/// Whether the programs are there: building them takes longer than everything else here.
pub(crate) fn is_built() -> bool {
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or(format!("{home}/.cache"));
    let folders = std::fs::read_dir(format!("{cache}/mcp-hangar/cluster")).into_iter().flatten().flatten();
    std::env::var_os("KUBEBUILDER_ASSETS").is_some()
        || folders.into_iter().any(|folder| folder.path().join("kube-apiserver").exists())
}

/// etcd and the API server, ended when this is dropped.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
}

impl Cluster {
    pub(crate) fn start(name: &str) -> Self {
        let cluster = Self { folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name) };
        script("up.sh", &[cluster.path(), "--owner", &std::process::id().to_string()]);
        cluster
    }

    fn path(&self) -> &str {
        self.folder.to_str().unwrap()
    }

    /// The operator too.
    fn operate(&self) {
        let flags = [self.path(), env!("CARGO_BIN_EXE_mcp-hangar-operator"), "--watch-namespaces", NOBODY];
        script("operator.sh", &flags);
    }

    fn pid(&self, name: &str) -> u32 {
        let text = std::fs::read_to_string(self.folder.join("pids").join(name)).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// CPU of the operator, and of all three together.
    fn costs(&self) -> (u64, u64) {
        let cpu = |name| Cost::of_process(self.pid(name)).cpu;
        let own = cpu("operator");
        (own, own + cpu("kube-apiserver") + cpu("etcd"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script("down.sh", &[self.path()]);
    }
}

fn script(name: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name);
    let mut command = Command::new("taskset");
    command.args(["-c", &all_cores(), "bash"]).arg(&path).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A client of the API server.
pub(crate) struct Api(Client);

impl Api {
    pub(crate) async fn connect(folder: &Path) -> Self {
        let kubeconfig = Kubeconfig::read_from(folder.join("kubeconfig")).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Self(Client::try_from(config).unwrap())
    }

    /// One call; the text of the answer, and how long it took in microseconds.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> kube::Result<(String, f64)> {
        let request = Request::builder().method(method).uri(path).header("Content-Type", kind).body(body);
        let began = Instant::now();
        let text = self.0.request_text(request.unwrap()).await?;
        Ok((text, began.elapsed().as_secs_f64() * 1e6))
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> kube::Result<f64> {
        let body = object.to_string().into_bytes();
        Ok(self.call(Method::POST, path, "application/json", body).await?.1)
    }

    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> kube::Result<f64> {
        let body = patch.to_string().into_bytes();
        Ok(self.call(Method::PATCH, path, "application/merge-patch+json", body).await?.1)
    }

    pub(crate) async fn get(&self, path: &str) -> kube::Result<(String, f64)> {
        self.call(Method::GET, path, "application/json", Vec::new()).await
    }
}

pub(crate) fn providers(version: &str, namespace: &str) -> String {
    format!("/apis/mcp-hangar.io/{version}/namespaces/{namespace}/mcpproviders")
}

/// A provider as a user writes it.
pub(crate) fn object(name: &str) -> Value {
    let mut object: Value = serde_json::from_str(&reviews::provider("v1beta1")).unwrap();
    let labels = object["metadata"]["labels"].take();
    let annotations = object["metadata"]["annotations"].take();
    object["metadata"] = json!({"name": name, "labels": labels, "annotations": annotations});
    object.as_object_mut().unwrap().remove("status");
    object
}

async fn leave_one_namespace_out(api: &Api) {
    for name in [JUDGED, UNJUDGED] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        api.create("/api/v1/namespaces", &namespace).await.unwrap();
    }
    let selector = json!({"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [UNJUDGED]}]});
    let patch = json!([{"op": "add", "path": "/webhooks/0/namespaceSelector", "value": selector}]);
    for configurations in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{configurations}/mcp-hangar-operator");
        let body = patch.to_string().into_bytes();
        api.call(Method::PATCH, &path, "application/json-patch+json", body).await.unwrap();
    }
    // A duration that the schema lets pass and a rule does not.
    let mut bad = object("probe");
    bad["spec"]["healthCheck"]["timeout"] = json!("90s");
    let began = Instant::now();
    loop {
        let dry = |namespace| format!("{}?dryRun=All", providers("v1beta1", namespace));
        let (judged, unjudged) =
            (api.create(&dry(JUDGED), &bad).await.is_err(), api.create(&dry(UNJUDGED), &bad).await.is_ok());
        if judged && unjudged {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "judged {judged}, unjudged {unjudged}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Creates and updates, one after the other, with and without in turn.
async fn writes(report: &mut Report, cluster: &Cluster, api: &Api) {
    let (own_before, _) = cluster.costs();
    let (mut creates, mut updates) = (Vec::new(), Vec::new());
    for index in 0..PAIRS {
        let object = object(&format!("write-{index}"));
        let without = api.create(&providers("v1beta1", UNJUDGED), &object).await.unwrap();
        let with = api.create(&providers("v1beta1", JUDGED), &object).await.unwrap();
        creates.push((with, without));
        let patch = json!({"spec": {"container": {"image": "ghcr.io/acme/mcp-tickets:2.4.0"}}});
        let path = |namespace| format!("{}/write-{index}", providers("v1beta1", namespace));
        let without = api.merge(&path(UNJUDGED), &patch).await.unwrap();
        let with = api.merge(&path(JUDGED), &patch).await.unwrap();
        updates.push((with, without));
    }
    let own = (cluster.costs().0 - own_before) as f64 / 1000.0;
    for (name, pairs) in [("create", creates), ("update", updates)] {
        let with = Spread::of(pairs.iter().map(|(with, _)| *with)).median;
        let without = Spread::of(pairs.iter().map(|(_, without)| *without)).median;
        report.add(Row::new(format!("a {name} without admission webhooks, median"), without, "µs"));
        let ratio = Spread::of(pairs.iter().map(|(with, without)| with / without));
        report.add(Row::new(format!("a {name} with both, median"), with, "µs").against(ratio));
        report.add(Row::new(format!("added to a {name}"), with - without, "µs"));
    }
    let row = Row::new(
        "operator's CPU for one judged write (4 calls, one at a time)",
        own / (2 * PAIRS) as f64,
        "µs",
    );
    report.add(row);
}

/// Creates many objects, several at once, as a user who migrates would.
async fn fill(report: &mut Report, cluster: &Cluster, api: &Api) {
    let (began, before) = (Instant::now(), cluster.costs());
    let path = providers("v1beta1", JUDGED);
    let path = path.as_str();
    stream::iter(0..MANY - PAIRS * 2)
        .map(async |index| api.create(path, &object(&format!("many-{index}"))).await.unwrap())
        .buffer_unordered(16)
        .count()
        .await;
    let (time, after) = (began.elapsed().as_secs_f64(), cluster.costs());
    let share = (after.0 - before.0) as f64 / (after.1 - before.1) as f64 * 100.0;
    report.add(Row::new(format!("{} creates, 16 at once", MANY - PAIRS * 2), time, "s"));
    report.add(Row::new("of the CPU of API server, etcd and operator, the operator", share, "%"));
    report.add(Row::new(
        "operator's memory afterwards (RSS)",
        memory(cluster.pid("operator"), "VmRSS"),
        "MiB",
    ));
}

/// A LIST of everything as v1alpha1: from the API server's cache, and once after each object had to be converted anew.
async fn lists(report: &mut Report, cluster: &Cluster, api: &Api) {
    const ALL: &str = "/apis/mcp-hangar.io/v1alpha1/mcpproviders";
    let count =
        |text: &str| text.matches(r#""apiVersion":"mcp-hangar.io/v1alpha1","kind":"MCPProvider""#).count();
    let (text, time) = api.get(ALL).await.unwrap();
    assert_eq!(count(&text), MANY, "objects in the list");
    report.add(Row::new("LIST of 10,000 as v1alpha1, from the API server's cache", time / 1e6, "s"));
    // Any write to the spec of the CRD has the API server read and convert everything again.
    let before = (cluster.costs(), converted(cluster));
    let column = json!({"name": "Bench", "type": "string", "jsonPath": ".metadata.name", "priority": 1});
    let patch =
        json!([{"op": "add", "path": "/spec/versions/0/additionalPrinterColumns/-", "value": column}]);
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mcpproviders.mcp-hangar.io";
    let body = patch.to_string().into_bytes();
    api.call(Method::PATCH, crd, "application/json-patch+json", body).await.unwrap();
    let began = Instant::now();
    loop {
        let listed = api.get(ALL).await.is_ok_and(|(text, _)| count(&text) == MANY);
        let done = converted(cluster) - before.1;
        if listed && done >= MANY as u64 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "converted {done}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (time, after) = (began.elapsed().as_secs_f64(), cluster.costs());
    let own = (after.0 - before.0.0) as f64;
    let share = own / (after.1 - before.0.1) as f64 * 100.0;
    report.add(Row::new("LIST of 10,000 as v1alpha1, each converted anew", time, "s"));
    report.add(Row::new("of the CPU of API server, etcd and operator, the operator", share, "%"));
    let calls = (converted(cluster) - before.1) as f64;
    report.add(Row::new("operator's CPU for one conversion call", own / calls / 1000.0, "µs"));
    report.add(Row::new(
        "operator's memory at its highest (VmHWM)",
        memory(cluster.pid("operator"), "VmHWM"),
        "MiB",
    ));
}

/// How many objects the operator has converted, by its own metrics.
fn converted(cluster: &Cluster) -> u64 {
    let log = std::fs::read_to_string(cluster.folder.join("logs/operator.log")).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let address =
        lines.filter_map(|line| Some(line.get("metrics")?.as_str()?.to_owned())).next_back().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let objects = text.lines().filter(|line| line.starts_with("mcp_operator_conversion_objects_total"));
    objects.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
