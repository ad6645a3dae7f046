//! Providers whose pods run: MCP servers that nobody here wrote, in images of their own, on a real node.
//!
//! [`Team`] is a namespace that lets restricted pods in only, and what people do there with kubectl. In: the attended
//! install and the images of `tests/servers/images.sh`. Out: a provider once it is as a test waits for it; where it
//! never is, the namespace is shown. `group` and `discovery` use it, too. What needs no pods is tested in
//! `tests/e2e/provider.rs`.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::charts::{read, root};
use crate::cluster::{SECRETIVE, Site, eventually, run};

#[path = "provider/disasters.rs"]
mod disasters;
#[path = "provider/life.rs"]
mod life;
#[path = "provider/rollouts.rs"]
mod rollouts;
#[path = "provider/scale.rs"]
mod scale;
#[path = "provider/troubles.rs"]
mod troubles;

pub(crate) use disasters::{processes, signal};
pub(crate) use rollouts::{leader, metrics};

/// The example of the official Go SDK. It speaks HTTP on port 8080, as providers do by default.
pub(crate) const GO: &str = "mcp-servers/go-everything:1";
/// `@modelcontextprotocol/server-everything`, on the port that it is told.
pub(crate) const NODE: &str = "mcp-servers/node-everything:1";
/// Pods are there, and the operator has seen them. Two cores may have much else to do.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// A namespace of the attended install, gone at the end.
pub(crate) struct Team<'a> {
    pub(crate) site: &'a Site,
    pub(crate) name: &'static str,
}

impl Drop for Team<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for kinds in ["mcpp,mcppg,mcpds,deploy,rs,pods,svc,hpa,quota", "events"] {
                let all = self.kubectl(&["get", kinds, "-o", "wide", "--ignore-not-found"]);
                eprintln!("{}{}", all.stdout, all.stderr);
            }
        }
        // That one belongs to the install.
        if self.name == SECRETIVE {
            self.kubectl(&["delete", "mcpp,secrets", "--all", "--wait=false"]);
        } else {
            self.site.api.delete(&format!("/api/v1/namespaces/{}", self.name));
        }
    }
}

impl<'a> Team<'a> {
    /// Only pods that pass the `restricted` standard are let in.
    pub(crate) fn new(site: &'a Site, name: &'static str) -> Self {
        load_servers(site);
        // One of the install itself may be there already.
        site.api.post("/api/v1/namespaces", &json!({"metadata": {"name": name}}));
        let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        site.api.merge_patch(&format!("/api/v1/namespaces/{name}"), &labels).ok();
        let team = Self { site, name };
        eventually("pods may be created", SOON, || {
            (team.code("serviceaccounts/default") == 200).then_some(())
        });
        team
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> crate::cluster::Output {
        self.site.kubectl(&[&["-n", self.name], arguments].concat(), "")
    }

    /// Applies a provider as people do, in the version of the first release or in the present one.
    pub(crate) fn apply(&self, name: &str, version: &str, spec: &Value) {
        let object = self.provider(name, version, spec);
        self.site.kubectl(&["apply", "-f", "-"], &object.to_string()).works();
    }

    /// Applies one that is nothing but an image and arguments, and a wish for quick answers.
    pub(crate) fn run(&self, name: &str, image: &str, args: &[&str], more: &Value) {
        let mut spec = json!({"mode": "Container", "container": {"image": image, "args": args},
            "healthCheck": {"interval": "2s", "timeout": "2s", "failureThreshold": 5},
            "lifecycle": {"shutdownGracePeriod": "1s"}});
        if args.is_empty() {
            spec["container"].as_object_mut().unwrap().remove("args");
        }
        merge(&mut spec, more);
        self.apply(name, "v1beta1", &spec);
    }

    /// A file of the repository for this namespace, with other words where the cluster has not what it names.
    pub(crate) fn staged(&self, file: &str, instead: &[(&str, &str)]) -> String {
        let text = read(file).replace("namespace: default\n", &format!("namespace: {}\n", self.name));
        instead.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{file} does not say {from}");
            text.replace(from, to)
        })
    }

    /// An MCP server that is no provider: a Deployment, whose pods have these annotations.
    pub(crate) fn server(&self, name: &str, port: u16, annotations: &Value) {
        let labels = json!({"app.kubernetes.io/name": name});
        let container = json!({"name": "mcp", "image": GO, "args": ["-http", format!(":{port}")],
            "ports": [{"name": "mcp", "containerPort": port}],
            "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
        let pod = json!({"containers": [container], "terminationGracePeriodSeconds": 1, "securityContext":
            {"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}}});
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": self.name},
            "spec": {"selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}}});
        self.site.kubectl(&["apply", "-f", "-"], &object.to_string()).works();
    }

    pub(crate) fn provider(&self, name: &str, version: &str, spec: &Value) -> Value {
        json!({"apiVersion": format!("mcp-hangar.io/{version}"), "kind": "MCPProvider",
            "metadata": {"name": name, "namespace": self.name}, "spec": spec})
    }

    /// A merge patch of the provider, as by `kubectl patch`.
    pub(crate) fn patch(&self, name: &str, patch: &Value) {
        self.kubectl(&["patch", "mcpp", name, "--type=merge", "-p", &patch.to_string()]).works();
    }

    pub(crate) fn read(&self, name: &str) -> Value {
        self.site.api.read(&self.provider(name, "v1beta1", &Value::Null))
    }

    /// Waits until the provider is as `is` says.
    #[track_caller]
    fn until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.waits(&self.provider(name, "v1beta1", &Value::Null), what, is)
    }

    /// Waits until an object of ours is as `is` says.
    #[track_caller]
    pub(crate) fn waits(&self, object: &Value, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, SOON, || {
                last = self.site.api.read(object);
                is(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("{}: not {what}: {:#}", object["metadata"]["name"], last["status"]))
    }

    #[track_caller]
    pub(crate) fn state(&self, name: &str, state: &str) -> Value {
        self.until(name, state, |object| object["status"]["state"] == state)
    }

    /// Waits until the Ready condition says all of it, and that it is not Ready.
    #[track_caller]
    fn says(&self, name: &str, words: &[&str]) -> String {
        let said = self.until(name, &words.join(" and "), |object| {
            let ready = condition(object, "Ready");
            let message = ready["message"].as_str().unwrap_or_default();
            ready["status"] == "False" && words.iter().all(|word| message.contains(word))
        });
        condition(&said, "Ready")["message"].as_str().unwrap().to_owned()
    }

    /// Pods of a provider that are not ending.
    pub(crate) fn pods(&self, name: &str) -> Vec<Value> {
        let label = format!("labelSelector=mcp-hangar.io%2Fprovider%3D{name}");
        let list = self.site.api.get(&format!("/api/v1/namespaces/{}/pods?{label}", self.name)).body;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
    }

    /// Waits until so many pods are there, all ready and no other.
    #[track_caller]
    pub(crate) fn has_pods(&self, name: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} ready pods of {name}"), SOON, || {
            let pods = self.pods(name);
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            (pods.len() == count && ready == count).then_some(pods)
        })
    }

    /// What was made for a provider and is there, as kind and name.
    pub(crate) fn made(&self, name: &str) -> Vec<String> {
        let label = format!("mcp-hangar.io/provider={name}");
        let kinds = "deployments,replicasets,pods,services,endpointslices";
        let all = self.kubectl(&["get", kinds, "-l", &label, "-o", "name"]).works();
        all.lines().map(str::to_owned).collect()
    }

    pub(crate) fn deployment(&self, name: &str) -> Value {
        self.site.api.get(&format!("/apis/apps/v1/namespaces/{}/deployments/{name}", self.name)).body
    }

    /// The answer to a look at something in the core group.
    pub(crate) fn code(&self, path: &str) -> u16 {
        self.site.api.get(&format!("/api/v1/namespaces/{}/{path}", self.name)).code
    }

    /// Waits until these and no others are the reasons of the Events about a provider.
    #[track_caller]
    fn has_events(&self, name: &str, expected: &[&str]) {
        let mut last = Vec::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("its events", SOON, || {
                last = self.events(name);
                (last.len() >= expected.len()).then_some(())
            });
        }));
        assert!(found.is_ok() && last == expected, "{name}: {last:?} instead of {expected:?}");
    }

    /// Reasons of the Events about a provider, in the order of their first time, without those that it starts.
    fn events(&self, name: &str) -> Vec<String> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.name);
        let all = self.site.api.get(&path).ok();
        let about = all["items"].as_array().unwrap().iter();
        let about =
            about.filter(|it| it["regarding"]["name"] == name && it["regarding"]["kind"] == "MCPProvider");
        let about = about.filter(|it| it["reason"] != "Starting");
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let mut about: Vec<_> = about.map(|it| (text(it, "eventTime"), text(it, "reason"))).collect();
        about.sort();
        about.into_iter().map(|(_, reason)| reason).collect()
    }
}

/// The one condition of a type; null where there is none.
pub(crate) fn condition(object: &Value, type_: &str) -> Value {
    let all = object["status"]["conditions"].as_array().into_iter().flatten();
    let mut found = all.filter(|it| it["type"] == type_).cloned();
    let first = found.next().unwrap_or_default();
    assert!(found.next().is_none(), "{type_} twice: {object:#}");
    first
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready")["status"] == "True"
}

/// What tells pods apart, sorted.
pub(crate) fn uids(pods: &[Value]) -> Vec<String> {
    let mut uids: Vec<_> =
        pods.iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect();
    uids.sort();
    uids
}

/// As a merge patch does it.
fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(patch) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (key, value) in patch {
                merge(&mut into[key], value);
            }
        }
        other => *into = other.clone(),
    }
}

/// Puts the servers' images into the node, once.
fn load_servers(site: &Site) {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        let bash = |words: &[&str]| {
            let folder = site.folder.parent().unwrap();
            run(Command::new("bash").args(words).current_dir(root()).env("CLUSTER_DIR", folder), "").works()
        };
        let archives = bash(&["tests/servers/images.sh"]);
        let archives: Vec<_> = archives.lines().collect();
        let loaded = bash(&[&["tests/cluster/node/load.sh"], archives.as_slice()].concat());
        for image in [GO, NODE] {
            assert!(loaded.contains(image), "{image} is not among {loaded}");
        }
    });
}
