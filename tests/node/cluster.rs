//! The node, for one test at a time or for many that disturb nobody.
//!
//! [`alone`] gives an empty node and leaves it empty; [`shared`] gives one with the operator installed, which stays until
//! somebody wants to be alone. In: CLUSTER_DIR, where `tests/cluster/node/up.sh` started a node; the process runs in that
//! node's network (`scripts/test-node.sh`). Out: a client, kubectl, and what [`crate::release`] needs to run Helm.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{Api, Reply};
use crate::figures::figure;
use crate::release::{HELM, NAMESPACE};
pub(crate) use output::{Output, eventually, run};

#[path = "../e2e/output.rs"]
mod output;

/// A namespace of the shared install in which conversion works and no rule is asked: anything the schema takes is stored.
pub(crate) const LAWLESS: &str = "lawless";
/// The one namespace of the shared install whose Secrets the operator may read.
pub(crate) const SECRETIVE: &str = "secretive";
/// The name by which the API server knows the operator of the usual release.
pub(crate) const CERTIFIED: &str = "mcp-hangar-operator-webhook.mcp-system.svc";
/// The API server uses webhooks that were just registered after this, and a pod is ready.
pub(crate) const SETTLES: Duration = Duration::from_secs(60);
/// Namespaces, pods and definitions are gone after this.
const GONE: Duration = Duration::from_secs(90);
/// Namespaces that every cluster has.
const OWN: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const GROUP: &str = "mcp-hangar.io";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The API server of the node.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
    pub(crate) api: Api,
    programs: PathBuf,
}

impl Cluster {
    fn connect() -> Self {
        let folder = std::env::var_os("CLUSTER_DIR").map_or_else(|| "target/test-node".into(), PathBuf::from);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let kubeconfig = folder.join("node/kubeconfig");
        assert!(
            kubeconfig.exists(),
            "no node is up: run `make test-node` ({} is not there)",
            kubeconfig.display()
        );
        let api = Api::connect(&kubeconfig, "admin");
        let ready = api.get("/readyz");
        assert_eq!(
            ready.code,
            200,
            "run `make test-node`, which enters the node's network: {}",
            ready.message()
        );
        Self { folder: folder.join("node"), api, programs: folder.join("bin") }
    }

    /// Makes a namespace and returns its name.
    pub(crate) fn namespace<'a>(&self, name: &'a str) -> &'a str {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.api.post("/api/v1/namespaces", &object).ok();
        name
    }

    /// One of the programs that came with the node, in a checkout of this repository, ended when it takes too long.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "240"]).arg(self.programs.join(name));
        self.at_home(command)
    }

    /// The same, for as long as the caller wants.
    pub(crate) fn endless(&self, name: &str) -> Command {
        self.at_home(Command::new(self.programs.join(name)))
    }

    fn at_home(&self, mut command: Command) -> Command {
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("KUBE_EDITOR", "sed -i s,acme/tools:1,acme/tools:2,")
            .env_remove("KUBECTL_EXTERNAL_DIFF");
        command
    }

    /// Runs kubectl. The editor of this user makes `acme/tools:1` the next release.
    pub(crate) fn kubectl(&self, arguments: &[&str], stdin: &str) -> Output {
        run(self.program("kubectl").args(arguments), stdin)
    }

    /// Address and port of the Service through which the API server calls.
    pub(crate) fn service(&self) -> SocketAddr {
        let path = "/api/v1/namespaces/mcp-system/services/mcp-hangar-operator-webhook";
        let address = self.api.get(path).ok()["spec"]["clusterIP"].as_str().unwrap().to_owned();
        format!("{address}:443").parse().unwrap()
    }

    /// What users wrote of an object: all but the status and who wrote what when, which change while controllers run.
    pub(crate) fn written(&self, object: &Value) -> Value {
        written(self.api.read_as(object, "v1beta1"))
    }

    /// The names of objects at a path.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let list = self.api.get(path);
        let items = list.body["items"].as_array().into_iter().flatten();
        items.filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }

    /// What the operator's pods have logged; of each the last lines.
    pub(crate) fn logs(&self, namespace: &str, lines: &str) -> String {
        let pods = "app.kubernetes.io/part-of=mcp-hangar";
        let flags =
            ["logs", "-n", namespace, "-l", pods, "--tail", lines, "--prefix", "--max-log-requests=40"];
        let output = self.kubectl(&flags, "");
        output.stdout + &output.stderr
    }
}

/// The node with whatever runs on it.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
}

impl Deref for Site {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Site {
    /// Waits until a bad object is refused by our words and a good one of either version is taken.
    #[track_caller]
    pub(crate) fn serves(&self) {
        eventually("the API server uses the webhooks", SETTLES, || self.answers().then_some(()));
        eventually("kubectl learns of the kinds", SETTLES, || {
            let index = self.api.get("/openapi/v3").body["paths"].clone();
            ["v1alpha1", "v1beta1"]
                .iter()
                .all(|version| !index[format!("apis/{GROUP}/{version}")].is_null())
                .then_some(())
        });
        // What it learnt of the node as it was before is forgotten.
        self.kubectl(&["api-resources", "--api-group", GROUP], "").works();
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

    fn probe(&self, version: &str, spec: &Value) -> Reply {
        let object = json!({"apiVersion": format!("{GROUP}/{version}"), "kind": "MCPProvider",
            "metadata": {"generateName": "probe-", "namespace": "default"}, "spec": spec});
        self.api.create_dry(&object)
    }

    /// Prints what the cluster says about a test that failed.
    fn explain(&self) {
        if std::thread::panicking() {
            let pods = self.kubectl(&["get", "pods", "--all-namespaces", "-o", "wide"], "").stdout;
            for namespace in self.names("/api/v1/namespaces") {
                if !self.names(&format!("/api/v1/namespaces/{namespace}/pods")).is_empty() {
                    eprintln!("{}", self.logs(&namespace, "25"));
                }
            }
            eprintln!("{pods}");
        }
    }

    /// Removes all that tests may have left.
    fn clear(&self) -> Result<(), String> {
        const CONFIGURATIONS: [&str; 2] =
            ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
        for kind in CONFIGURATIONS {
            self.api.delete(&format!("/apis/admissionregistration.k8s.io/v1/{kind}"));
        }
        // An operator that still runs may write nothing from here on, least of all a finalizer.
        for kind in ["clusterroles", "clusterrolebindings"] {
            let ours = "labelSelector=app.kubernetes.io/part-of%3Dmcp-hangar";
            self.api.delete(&format!("/apis/rbac.authorization.k8s.io/v1/{kind}?{ours}"));
        }
        self.remove_finalizers();
        // With the CRD gone, the garbage collector may not know any more whose they were.
        for resource in ["apis/apps/v1/namespaces/default/deployments", "api/v1/namespaces/default/services"]
        {
            self.api.delete(&format!("/{resource}?labelSelector=mcp-hangar.io%2Fprovider"));
        }
        let left = || {
            let ours = |names: Vec<String>| {
                names.into_iter().filter(|name| name.ends_with(GROUP)).collect::<Vec<_>>()
            };
            let mut left = ours(self.names(CRDS));
            left.extend(self.names("/api/v1/namespaces"));
            left.retain(|name| !OWN.contains(&name.as_str()));
            left
        };
        for name in left() {
            if name.ends_with(GROUP) {
                self.api.delete(&format!("{CRDS}/{name}"));
            } else {
                self.api.delete(&format!("/api/v1/namespaces/{name}/pods?gracePeriodSeconds=0"));
                self.api.delete(&format!("/api/v1/namespaces/{name}"));
            }
        }
        let deadline = Instant::now() + GONE;
        let mut touched = Instant::now();
        while !left().is_empty() {
            if Instant::now() > deadline {
                return Err(format!("not gone within {GONE:?}: {}", left().join(", ")));
            }
            // The API server's finalizer gives up on a CRD that was written a moment before, until the next write.
            if touched.elapsed() > Duration::from_secs(5) {
                let touch = json!({"metadata": {"annotations": {"touched": format!("{touched:?}")}}});
                for name in left().into_iter().filter(|name| name.ends_with(GROUP)) {
                    self.api.merge_patch(&format!("{CRDS}/{name}"), &touch);
                }
                touched = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn remove_finalizers(&self) {
        for version in ["v1beta1", "v1alpha1"] {
            for plural in ["mcpproviders", "mcpprovidergroups", "mcpdiscoverysources"] {
                let list = self.api.get(&format!("/apis/{GROUP}/{version}/{plural}")).body;
                for item in list["items"].as_array().into_iter().flatten() {
                    if !item["metadata"]["finalizers"].is_null() {
                        let [name, namespace] =
                            ["name", "namespace"].map(|key| item["metadata"][key].as_str().unwrap());
                        let path = format!("/apis/{GROUP}/{version}/namespaces/{namespace}/{plural}/{name}");
                        self.api.merge_patch(&path, &json!({"metadata": {"finalizers": null}}));
                    }
                }
            }
        }
    }
}

/// What is on the node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Empty,
    /// With the operator, which looks after no provider.
    Installed,
    /// With the operator, which looks after all of them.
    Attended,
}

static SITE: LazyLock<Site> = LazyLock::new(|| Site { cluster: Cluster::connect() });
static STATE: Mutex<State> = Mutex::new(State::Unknown);
/// Readers share the install, a writer is alone.
static USE: RwLock<()> = RwLock::new(());

fn state() -> State {
    *STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set(state: State) {
    *STATE.lock().unwrap_or_else(PoisonError::into_inner) = state;
}

/// The node with the operator, for one test of many.
pub(crate) struct Shared(&'static Site, RwLockReadGuard<'static, ()>);

impl Deref for Shared {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.explain();
    }
}

/// The operator as the chart installs it, for every test that disturbs nobody. It looks after no provider: no pod is
/// started for what is only written and read, and no status changes between two looks of kubectl.
pub(crate) fn shared() -> Shared {
    installed(State::Installed, r#"["nowhere"]"#)
}

/// The same; for tests that `e2e` runs beside one that looks after providers.
pub(crate) fn unattended() -> Shared {
    shared()
}

/// The operator with all that it does, for tests of providers.
pub(crate) fn attended() -> Shared {
    installed(State::Attended, "[]")
}

fn installed(wanted: State, watched: &str) -> Shared {
    loop {
        let guard = USE.read().unwrap_or_else(PoisonError::into_inner);
        if state() == wanted {
            return Shared(&SITE, guard);
        }
        drop(guard);
        let _alone = USE.write().unwrap_or_else(PoisonError::into_inner);
        let found = state();
        if found == wanted {
            continue;
        }
        set(State::Unknown);
        if found != State::Empty {
            SITE.clear().unwrap();
        }
        crate::charts::load_image(&SITE);
        for namespace in [SECRETIVE, "nowhere", LAWLESS] {
            SITE.namespace(namespace);
        }
        let elsewhere = json!({"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [LAWLESS]}]});
        let values = [
            format!("webhook.namespaceSelector={elsewhere}"),
            format!("secretNamespaces=[\"{SECRETIVE}\"]"),
            format!("watchNamespaces={watched}"),
        ];
        HELM.install(&SITE, NAMESPACE, &[], &values.each_ref().map(String::as_str)).works();
        SITE.serves();
        set(wanted);
    }
}

/// An empty node, for one test; it is emptied again.
pub(crate) struct Alone(&'static Site, Instant, RwLockWriteGuard<'static, ()>);

impl Deref for Alone {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.0
    }
}

/// Waits for all others, and empties the node.
pub(crate) fn alone() -> Alone {
    let guard = USE.write().unwrap_or_else(PoisonError::into_inner);
    if state() != State::Empty {
        SITE.clear().unwrap();
    }
    set(State::Unknown);
    crate::charts::load_image(&SITE);
    Alone(&SITE, Instant::now(), guard)
}

impl Alone {
    /// The node, for threads of this test.
    pub(crate) fn node(&self) -> &'static Site {
        self.0
    }

    /// Empties the node once more.
    pub(crate) fn again(&self) {
        self.clear().unwrap();
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.explain();
        let thread = std::thread::current();
        let name = thread.name().and_then(|name| name.split("::").last()).unwrap_or_default().to_owned();
        figure("node", format_args!("{:.0} s for {name}", self.1.elapsed().as_secs_f64()));
        match self.0.clear() {
            Ok(()) => set(State::Empty),
            Err(left) if std::thread::panicking() => eprintln!("{left}"),
            Err(left) => panic!("{left}"),
        }
    }
}

/// What users wrote of a live object.
pub(crate) fn written(mut live: Value) -> Value {
    live.as_object_mut().unwrap().remove("status");
    let metadata = live["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| !["resourceVersion", "managedFields"].contains(&key.as_str()));
    live
}
