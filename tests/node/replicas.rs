//! Many replicas behind the Service: one CA, rolling restarts, a rotation. No call may fail.
//!
//! Three kinds of callers go on throughout: connections that stay open, a hundred new ones a second, and writes through
//! the API server by a client and by kubectl. All of them go through the Service and kube-proxy.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bundles::{TARGETS, bundles, stays_quiet};
use crate::cluster::{Output, Site, alone, eventually, run};
use crate::figures::figure;
use crate::handshakes::{Handshakes, connect};
use crate::kept::Kept;
use crate::load::Load;
use crate::release::{HELM, NAMESPACE, PODS, QUICK, RELEASE};
use crate::webhook::authority;

const ROLLS: usize = 20;

/// All callers at once.
struct Callers {
    kept: Kept,
    new: Handshakes,
    api: Load,
    stop: Arc<AtomicBool>,
    kubectl: JoinHandle<Vec<Output>>,
}

impl Callers {
    fn start(site: &'static Site) -> Self {
        let bundle = authority(&site.api);
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let kubectl = std::thread::spawn(move || {
            let mut said = Vec::new();
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // A change every time, in one version and in the other.
                let object = match number % 2 {
                    0 => {
                        json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider", "metadata": {"name": "rolled", "namespace": "default"},
                        "spec": {"mode": "container", "image": format!("acme/tools:{number}")}})
                    }
                    _ => {
                        json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "metadata": {"name": "rolled", "namespace": "default"},
                        "spec": {"mode": "Container", "container": {"image": format!("acme/tools:{number}")}}})
                    }
                };
                said.push(run(
                    site.program("kubectl").args(["apply", "--server-side", "--force-conflicts", "-f", "-"]),
                    &object.to_string(),
                ));
                std::thread::sleep(Duration::from_millis(200));
            }
            said
        });
        Self {
            kept: Kept::start(site.service(), &bundle, 8),
            new: Handshakes::start(site, vec![site.service()]),
            api: Load::start(&site.folder.join("kubeconfig"), 1),
            stop,
            kubectl,
        }
    }

    fn go_on(&self) {
        self.kept.goes_on();
        self.new.goes_on();
        self.api.goes_on();
    }

    /// None may have failed; what was called.
    #[track_caller]
    fn end(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let said = self.kubectl.join().unwrap();
        let refused: Vec<&Output> = said.iter().filter(|output| output.code != 0).collect();
        let (kept, opened, failed) = self.kept.end();
        let new = self.new.end();
        let api = self.api.end();
        assert!(
            refused.is_empty(),
            "kubectl: {} of {} failed: {:#?}",
            refused.len(),
            said.len(),
            refused.first()
        );
        assert!(
            failed.is_empty(),
            "kept: {} of {kept} failed: {:#?}",
            failed.len(),
            &failed[..failed.len().min(5)]
        );
        new.none_failed();
        let all = kept + new.admission + new.conversion + api + said.len();
        format!(
            "calls {all} ({kept} on {opened} kept connections; {new}; {api} through the API server; {} by kubectl), failed 0",
            said.len()
        )
    }
}

#[test]
fn twenty_replicas_that_start_at_once_make_one_ca_and_every_certificate_verifies_against_every_target() {
    let site = alone();
    let began = Instant::now();
    HELM.install(&site, NAMESPACE, &[QUICK.as_slice(), &["replicaCount=20"]].concat(), &[]).works();
    site.serves();
    let took = began.elapsed();
    let logs = site.logs(NAMESPACE, "-1");
    let made = logs.lines().filter(|line| line.contains("\"CA created\"")).count();
    let pods = site.api.get(PODS).ok()["items"].as_array().unwrap().clone();
    assert_eq!((pods.len(), made), (20, 1), "{logs}");
    let ca = authority(&site.api);
    assert_eq!(bundles(&site), vec![ca; TARGETS.len()]);
    let mut verified = 0;
    for pod in &pods {
        let address = format!("{}:9443", pod["status"]["podIP"].as_str().unwrap()).parse().unwrap();
        for bundle in bundles(&site) {
            connect(address, &bundle).unwrap();
            verified += 1;
        }
    }
    stays_quiet(&site);
    figure(
        "statement 1",
        format_args!(
            "20 pods at once: CAs made {made}, {verified} of 100 pairs of leaf and target verified, ready after {took:.1?}"
        ),
    );
}

/// What happened to every pod, by a watch in another process.
struct Pods(Child, PathBuf);

impl Pods {
    fn watch(site: &Site) -> Self {
        let flags = ["get", "pods", "-n", NAMESPACE, "--watch", "--output-watch-events", "-o", "json"];
        let file = crate::charts::scratch("pods").join("events.json");
        let out = std::fs::File::create(&file).unwrap();
        // The limit of other programs is too short for this one.
        let mut command = site.endless("kubectl");
        Self(command.args(flags).stdout(out).stderr(Stdio::null()).spawn().unwrap(), file)
    }

    /// Each pod that has ended: its exit code, and how long after it was told to.
    fn ended(mut self) -> BTreeMap<String, (i64, f64)> {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        let text = std::fs::read_to_string(&self.1).unwrap();
        let (mut told, mut ended) = (BTreeMap::new(), BTreeMap::new());
        let time = |value: &Value| OffsetDateTime::parse(value.as_str().unwrap(), &Rfc3339).unwrap();
        let events = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok);
        for pod in events.map(|event| event["object"].clone()) {
            let metadata = &pod["metadata"];
            let name = metadata["name"].as_str().unwrap().to_owned();
            // The first time that it is mentioned: in the end the kubelet says that no grace is left.
            if let Some(grace) = metadata["deletionGracePeriodSeconds"].as_f64() {
                let at = time(&metadata["deletionTimestamp"]) - time::Duration::seconds_f64(grace);
                told.entry(name.clone()).or_insert(at);
            }
            let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
            if let (Some(code), Some(told)) = (terminated["exitCode"].as_i64(), told.get(&name)) {
                ended.insert(name, (code, (time(&terminated["finishedAt"]) - *told).as_seconds_f64()));
            }
        }
        ended
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn twenty_rolling_restarts_under_load_fail_no_call_and_every_pod_ends_in_time() {
    let site = alone();
    HELM.install(&site, NAMESPACE, &[], &[]).works();
    site.serves();
    let pods = Pods::watch(&site);
    let callers = Callers::start(site.node());
    let began = Instant::now();
    for _ in 0..ROLLS {
        site.kubectl(&["rollout", "restart", "deployment", RELEASE, "-n", NAMESPACE], "").ok();
        site.kubectl(&["rollout", "status", "deployment", RELEASE, "-n", NAMESPACE, "--timeout=120s"], "")
            .works();
        callers.go_on();
    }
    let took = began.elapsed();
    // The last ones end while calls go on, too.
    eventually("only two pods are left", Duration::from_secs(90), || {
        (site.names(PODS).len() == 2).then_some(())
    });
    let called = callers.end();
    let ended = pods.ended();
    assert_eq!(ended.len(), ROLLS * 2, "{ended:?}");
    let slowest = ended.values().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
    // Longer than the time in which everybody learns that the pod is gone, and never so long that it is killed.
    assert!(ended.values().all(|(code, seconds)| *code == 0 && (15.0..60.0).contains(seconds)), "{ended:?}");
    figure(
        "statement 6",
        format_args!(
            "{ROLLS} rolling restarts of 2 replicas in {took:.0?}: {called}; {} pods ended with 0, slowest after {slowest} s of 60",
            ended.len()
        ),
    );
}

#[test]
fn a_rotation_that_is_asked_for_under_load_fails_no_call() {
    let site = alone();
    // A rotation of half a minute instead of eight days.
    let times = json!([{"name": "MCP_HANGAR_CA_ROTATION_PUBLISH_FOR", "value": "5s"},
        {"name": "MCP_HANGAR_CA_ROTATION_RETIRE_GRACE", "value": "5s"}, {"name": "MCP_HANGAR_LEAF_LIFETIME", "value": "10s"}]);
    HELM.install(&site, NAMESPACE, &QUICK, &[&format!("extraEnv={times}")]).works();
    site.serves();
    let before = authority(&site.api);
    let callers = Callers::start(site.node());
    let began = Instant::now();
    let secret = "mcp-hangar-operator-webhook-ca";
    site.kubectl(&["annotate", "secret", secret, "-n", NAMESPACE, "mcp-hangar.io/rotate=now"], "").ok();
    let limit = Duration::from_secs(120);
    eventually("both CAs are trusted by all", limit, || {
        bundles(&site).iter().all(|bundle| bundle.matches("BEGIN CERTIFICATE").count() == 2).then_some(())
    });
    let published = began.elapsed();
    let after =
        eventually("the new CA signs", limit, || Some(authority(&site.api)).filter(|ca| *ca != before));
    let switched = began.elapsed();
    eventually("the old CA is trusted no longer", limit, || {
        (bundles(&site) == vec![after.clone(); TARGETS.len()]).then_some(())
    });
    let retired = began.elapsed();
    callers.go_on();
    let called = callers.end();
    figure(
        "statement 2",
        format_args!(
            "rotation on the node, published after {published:.1?}, switched {switched:.1?}, retired {retired:.1?}: {called}"
        ),
    );
}
