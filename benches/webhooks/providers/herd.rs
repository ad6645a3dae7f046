//! Many container providers that sleep, as storage holds them.
//!
//! In: one provider that the operator itself has started and put to sleep, with its Deployment and Services. Out: as many
//! copies as are wanted, with names, uids and config hashes of their own, written straight to etcd: managedFields, status
//! and all.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::v1beta1::provider::MCPProviderSpec;
use mcp_hangar_operator::provider::build::{Contents, Provider, Reference, build};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::etcd::Etcd;
use super::groups::GROUPS;
use super::within;
use crate::cluster::{Api, Cluster, object, providers};

/// Where they are.
pub(crate) const NAMESPACE: &str = "herd";
const NAME: &str = "sleeper";
/// A label by which groups share them out.
pub(crate) const SHARD: &str = "shard";
const REGION: &str = "eu-central-1";
const WRITERS: usize = 16;

/// The one that is copied: where its objects are stored, and what they are.
pub(crate) struct Sleeper {
    objects: Vec<(&'static str, String, String)>,
    uid: String,
    spec: MCPProviderSpec,
    hash: String,
}

impl Sleeper {
    /// Has the operator bring one up and put it to sleep.
    pub(crate) async fn bring_up(api: &Api) -> Self {
        let mut wish = object(NAME);
        wish["metadata"]["namespace"] = json!(NAMESPACE);
        wish["spec"]["healthCheck"] = json!({"enabled": false});
        wish["spec"]["lifecycle"]["idleTTL"] = json!("1s");
        wish["metadata"]["labels"][SHARD] = json!(shard(0));
        let last = wish.to_string();
        wish["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!(last);
        let settings = json!({"metadata": {"name": "tickets-settings"}, "data": {"region": REGION}});
        api.create(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps"), &settings).await.unwrap();
        let own = providers("v1beta1", NAMESPACE);
        // As `kubectl apply --server-side`, whose managedFields name every field.
        let apply = format!("{own}/{NAME}?fieldManager=kubectl");
        let body = wish.to_string().into_bytes();
        api.call(axum::http::Method::PATCH, &apply, "application/apply-patch+yaml", body).await.unwrap();
        let deployment = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}");
        let pods = json!({"status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": 2,
            "observedGeneration": 1, "conditions": [
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
                    "message": "Deployment has minimum availability.", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                    "message": "ReplicaSet \"sleeper-5d9c7b8f6\" has successfully progressed.",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let path = format!("{deployment}/status");
        within("its Deployment", async || api.merge(&path, &pods).await.ok()).await;
        wait(api, "Ready").await;
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap().to_string();
        let active = json!({"metadata": {"annotations": {"mcp-hangar.io/last-activity": now}}});
        api.merge(&format!("{own}/{NAME}"), &active).await.unwrap();
        wait(api, "Cold").await;
        let none = json!({"status": {"replicas": 0, "readyReplicas": 0, "availableReplicas": 0, "updatedReplicas": 0,
            "observedGeneration": 2}});
        api.merge(&path, &none).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        Self::read(api).await
    }

    async fn read(api: &Api) -> Self {
        let services = format!("/api/v1/namespaces/{NAMESPACE}/services/{NAME}");
        let mut objects = Vec::new();
        let mut uid = String::new();
        for (key, name, path) in [
            (
                "mcp-hangar.io/mcpproviders",
                NAME.to_owned(),
                format!("{}/{NAME}", providers("v1beta1", NAMESPACE)),
            ),
            ("services/specs", NAME.to_owned(), services.clone()),
            ("services/specs", format!("{NAME}-pods"), format!("{services}-pods")),
            (
                "deployments",
                NAME.to_owned(),
                format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"),
            ),
        ] {
            let mut found: Value = serde_json::from_str(&api.get(&path).await.unwrap().0).unwrap();
            // Of the object as it is stored, etcd itself says the version.
            found["metadata"].as_object_mut().unwrap().remove("resourceVersion");
            // There are not so many addresses, and the API server would tell of each that is used twice.
            if key == "services/specs" {
                found["spec"]["clusterIP"] = json!("None");
                found["spec"]["clusterIPs"] = json!(["None"]);
            }
            let own = found["metadata"]["uid"].take();
            found["metadata"]["uid"] = json!("UID");
            if uid.is_empty() {
                uid = own.as_str().unwrap().to_owned();
            }
            objects.push((key, name, found.to_string()));
        }
        let provider: Value = serde_json::from_str(&objects[0].2).unwrap();
        let spec: MCPProviderSpec = serde_json::from_value(provider["spec"].clone()).unwrap();
        let hash = hash(NAME, &spec);
        assert!(objects[3].2.contains(&hash), "the operator has hashed what is hashed here");
        Self { objects, uid, spec, hash }
    }

    /// Bytes of all that belongs to one.
    pub(crate) fn size(&self) -> usize {
        self.objects.iter().map(|(_, _, text)| text.len()).sum()
    }

    /// Writes the copies, and waits until the API server shows them.
    pub(crate) async fn multiply(&self, cluster: &Cluster, api: &Api, count: usize) {
        let log = std::fs::read_to_string(cluster.folder.join("logs/etcd.log")).unwrap();
        let says = log.lines().rfind(|line| line.contains("serving client traffic insecurely")).unwrap();
        let address = serde_json::from_str::<Value>(says).unwrap()["address"].as_str().unwrap().to_owned();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let address = &address;
                scope.spawn(move || {
                    let mut etcd = Etcd::connect(address);
                    for number in (writer..count).step_by(WRITERS) {
                        self.copy(&mut etcd, number);
                    }
                });
            }
        });
        let last = format!("{NAME}-{:05}", count - 1);
        let all =
            [providers("v1beta1", NAMESPACE), format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments")];
        for path in all {
            let path = format!("{path}/{last}?resourceVersion=0");
            within("the API server shows them", async || api.get(&path).await.ok()).await;
        }
    }

    fn copy(&self, etcd: &mut Etcd, number: usize) {
        let of = |text: &str| text.replace(NAME, &format!("{NAME}-{number:05}"));
        let hash = hash(&of(NAME), &self.spec);
        let uid = |kind: usize| format!("{kind:08x}-0000-4000-8000-{number:012x}");
        for (kind, (key, name, text)) in self.objects.iter().enumerate() {
            let text = of(text)
                .replace(&self.uid, &uid(0))
                .replace(r#""uid":"UID""#, &format!(r#""uid":"{}""#, uid(kind)));
            let text = text.replace(&self.hash, &hash).replace(&labelled(0), &labelled(number));
            etcd.put(&format!("/registry/{key}/{NAMESPACE}/{}", of(name)), &text);
        }
    }
}

/// What the label says of the one with that number.
pub(crate) fn shard(number: usize) -> String {
    format!("s{}", number % GROUPS)
}

fn labelled(number: usize) -> String {
    format!(r#""{SHARD}":"{}""#, shard(number))
}

/// What the operator writes on the pods of a provider of that name.
fn hash(name: &str, spec: &MCPProviderSpec) -> String {
    let map = BTreeMap::from([("region".to_owned(), Sha256::digest(REGION).to_vec())]);
    let contents = Contents::from([(Reference::ConfigMap("tickets-settings".into()), map)]);
    let annotations = BTreeMap::new();
    let provider = Provider { name, namespace: NAMESPACE, uid: "", annotations: &annotations, spec };
    build(&provider, 0, &contents).unwrap().config_hash
}

async fn wait(api: &Api, state: &str) {
    let path = format!("{}/{NAME}", providers("v1beta1", NAMESPACE));
    within(&format!("{NAME} is {state}"), async || {
        let (text, _) = api.get(&path).await.ok()?;
        let found: Value = serde_json::from_str(&text).ok()?;
        (found["status"]["state"] == state).then_some(())
    })
    .await;
}
