//! Clusters for tests: one that all share, and a small pool for those that disturb.
//!
//! [`shared`] and [`borrow_one`] give a [`Site`]: an API server with its etcd, an operator that it uses, a client and
//! kubectl. Everything lives in `target/tmp` and ends with this process, however that ends. When a test panics, the end
//! of the operator's log is printed.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, LazyLock, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::api::{Api, Reply};
use crate::operator::{LOOPBACK, Operator};
pub(crate) use output::{Output, eventually, run};

#[path = "output.rs"]
mod output;

/// The API server may take this long to use a webhook that has just been registered, on a busy machine.
const SETTLES: Duration = Duration::from_secs(60);
/// A namespace of the shared cluster in which conversion works and no rule is asked: anything the schema takes is stored.
pub(crate) const LAWLESS: &str = "lawless";
/// A namespace whose ConfigMaps discovery sources elsewhere may name.
pub(crate) const CATALOGUE: &str = "catalogue";
/// The name by which the API server knows an operator beside it.
pub(crate) const CERTIFIED: &str = "127.0.0.1";
/// Clusters at the same time, beside the shared one.
const POOL: usize = 2;

/// Runs one of the scripts beside the servers' source; what it prints on stdout.
fn script(name: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name);
    // A first build takes minutes, and says so.
    let stderr = if name == "build.sh" { Stdio::inherit() } else { Stdio::piped() };
    let mut command = Command::new("bash");
    let output = command.arg(path).args(arguments).stdin(Stdio::null()).stderr(stderr).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}:\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// An API server with its etcd. Nothing of ours in it yet.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
    pub(crate) api: Api,
}

impl Cluster {
    /// Starts one; the servers are built first where that has not been done.
    pub(crate) fn start(name: &str) -> Self {
        static BUILT: LazyLock<()> = LazyLock::new(|| drop(script("build.sh", &[])));
        LazyLock::force(&BUILT);
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{}-{name}", std::process::id()));
        let owner = std::process::id().to_string();
        script("up.sh", &[folder.to_str().unwrap(), "--owner", &owner]);
        let api = Api::connect(&folder.join("kubeconfig"), "admin");
        Self { folder, api }
    }

    /// Ends the API server and keeps its data.
    pub(crate) fn stop_api_server(&self) {
        script("down.sh", &[self.folder.to_str().unwrap(), "--apiserver"]);
    }

    /// Ends the API server as a crash does.
    pub(crate) fn crash_api_server(&self) {
        let pid = std::fs::read_to_string(self.folder.join("pids/kube-apiserver")).unwrap();
        let pid = pid.split(' ').next().unwrap();
        assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
        // Until it is gone, it would be taken for one that runs.
        let process = format!("/proc/{pid}");
        eventually("it is gone", SETTLES, || (!Path::new(&process).exists()).then_some(()));
    }

    /// Starts it again, at the same address.
    pub(crate) fn start_api_server(&self) {
        script("up.sh", &[self.folder.to_str().unwrap(), "--owner", &std::process::id().to_string()]);
    }

    /// Makes a namespace and returns its name.
    pub(crate) fn namespace<'a>(&self, name: &'a str) -> &'a str {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.api.post("/api/v1/namespaces", &object).ok();
        name
    }

    /// Runs kubectl as a user would in a checkout of this repository. His editor makes `acme/tools:1` the next release.
    pub(crate) fn kubectl(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(self.folder.join("bin/kubectl"));
        command
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("KUBE_EDITOR", "sed -i s,acme/tools:1,acme/tools:2,")
            .env_remove("KUBECTL_EXTERNAL_DIFF");
        run(&mut command, stdin)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/down.sh");
        let _ = Command::new("bash").arg(path).arg(&self.folder).stdin(Stdio::null()).output();
    }
}

/// A cluster with an operator that it uses.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) operator: Operator,
}

impl Deref for Site {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Site {
    fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// With a namespace where no webhook is asked about an object.
    fn with_lawless(self) -> Self {
        self.namespace(LAWLESS);
        // The operator keeps `clientConfig` right and leaves the rest to whoever installed it.
        let elsewhere = json!([{"op": "add", "path": "/webhooks/0/namespaceSelector", "value": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [LAWLESS]}]}}]);
        for configurations in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{configurations}/mcp-hangar-operator");
            self.api.json_patch(&path, &elsewhere).ok();
        }
        let lawless = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
            "metadata": {"name": "probe", "namespace": LAWLESS}, "spec": {"mode": "Container", "container": {"image": ":"}}});
        eventually("no rule is asked there", SETTLES, || {
            (self.api.create_dry(&lawless).code == 201).then_some(())
        });
        self
    }

    fn start_with(name: &str, flags: &[&str]) -> Self {
        let cluster = Cluster::start(name);
        let operator = Operator::start(&cluster.folder, "operator", &[beside().as_slice(), flags].concat());
        let site = Self { cluster, operator };
        site.serves();
        site
    }

    /// Starts the operator again, which must have ended, and waits until it is used.
    pub(crate) fn restart_operator(&mut self) {
        assert!(!self.operator.is_running());
        self.operator = Operator::start(&self.cluster.folder, "operator", &beside());
        self.serves();
    }

    /// Waits until a bad object is refused by our words and a good one of either version is taken.
    pub(crate) fn serves(&self) {
        eventually("the API server uses the webhooks", SETTLES, || self.answers().then_some(()));
        eventually("kubectl learns of the kinds", SETTLES, || {
            let index = self.api.get("/openapi/v3").body["paths"].clone();
            ["v1alpha1", "v1beta1"]
                .iter()
                .all(|version| !index[format!("apis/mcp-hangar.io/{version}")].is_null())
                .then_some(())
        });
    }

    /// Whether admission and conversion work right now.
    pub(crate) fn answers(&self) -> bool {
        let spoilt = self.probe("v1alpha1", &json!({"mode": "contaner", "image": "example.com/none:1"}));
        let good = [
            ("v1alpha1", json!({"mode": "container", "image": "example.com/none:1"})),
            ("v1beta1", json!({"mode": "Container", "container": {"image": "example.com/none:1"}})),
        ];
        spoilt.message().contains("HGR102")
            && good.iter().all(|(version, spec)| self.probe(version, spec).code == 201)
    }

    fn probe(&self, version: &str, spec: &serde_json::Value) -> Reply {
        let object = json!({"apiVersion": format!("mcp-hangar.io/{version}"), "kind": "MCPProvider",
            "metadata": {"generateName": "probe-", "namespace": "default"}, "spec": spec});
        self.api.create_dry(&object)
    }
}

/// Flags for an operator beside the cluster, which then installs everything itself.
pub(crate) fn beside() -> Vec<&'static str> {
    let flags = ["--webhook-url", "https://127.0.0.1:0", "--configmap-namespaces", CATALOGUE];
    [LOOPBACK.as_slice(), &flags].concat()
}

/// The shared cluster, for one test.
pub(crate) struct Shared(&'static Site);

impl Deref for Shared {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        explain(&self.0.operator);
    }
}

/// The cluster for every test that disturbs nobody.
pub(crate) fn shared() -> Shared {
    static SHARED: LazyLock<Site> = LazyLock::new(|| Site::start("shared").with_lawless());
    Shared(&SHARED)
}

/// A cluster whose operator answers webhooks and looks after no provider: nobody but the test writes.
pub(crate) fn unattended() -> Shared {
    static UNATTENDED: LazyLock<Site> =
        LazyLock::new(|| Site::start_with("unattended", &["--watch-namespaces", "nowhere"]).with_lawless());
    Shared(&UNATTENDED)
}

/// A cluster of the pool, for one test that leaves it as it found it.
pub(crate) struct Borrowed(Option<Site>);

impl Deref for Borrowed {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.0.as_ref().unwrap()
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut Site {
        self.0.as_mut().unwrap()
    }
}

struct Pool {
    idle: Vec<Site>,
    started: usize,
    out: usize,
}

static POOLED: Mutex<Pool> = Mutex::new(Pool { idle: Vec::new(), started: 0, out: 0 });
static RETURNED: Condvar = Condvar::new();

/// Waits for a cluster of the pool, or starts one.
pub(crate) fn borrow_one() -> Borrowed {
    let mut pool = RETURNED.wait_while(POOLED.lock().unwrap(), |pool| pool.out == POOL).unwrap();
    pool.out += 1;
    if let Some(site) = pool.idle.pop() {
        return Borrowed(Some(site));
    }
    pool.started += 1;
    let name = format!("pool-{}", pool.started);
    drop(pool);
    Borrowed(Some(Site::start(&name)))
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(mut site) = self.0.take() else { return };
        explain(&site.operator);
        let well = !std::thread::panicking() && site.operator.is_running();
        let mut pool = POOLED.lock().unwrap();
        pool.out -= 1;
        if well {
            pool.idle.push(site);
        }
        RETURNED.notify_one();
    }
}

/// Prints the end of the operator's log when the test has failed.
pub(crate) fn explain(operator: &Operator) {
    if std::thread::panicking() {
        let log = operator.log();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("the end of the operator's log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
    }
}
