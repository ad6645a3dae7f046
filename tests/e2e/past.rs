//! A cluster as a first release left it: its CRDs, and objects that were stored before there were rules.
//!
//! In: how many. Out: the cluster, and what its objects say, through the API server and in etcd, to be compared with what
//! they say later.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::path;
use crate::cluster::{Cluster, eventually};
use crate::examples::leaves;
use crate::fleet::LONG;
use crate::store::{Stored, stored};

/// Our three kinds.
pub(crate) const RESOURCES: [&str; 3] = ["mcpproviders", "mcpprovidergroups", "mcpdiscoverysources"];

/// Object number `n` of a time in which there were no rules: half of the providers would be refused today.
pub(crate) fn object(n: usize) -> Value {
    let (kind, spec) = match n % 12 {
        10 => (
            "MCPProviderGroup",
            json!({"selector": {}, "strategy": "RoundRobbin", "sessionAffinity": {"enabled": true}}),
        ),
        11 => (
            "MCPDiscoverySource",
            json!({"type": "Namespace", "refreshInterval": "5", "namespaceSelector": {}}),
        ),
        _ => ("MCPProvider", provider(n / 12 % 10)),
    };
    json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": kind, "spec": spec, "metadata": {
        "name": format!("object-{n:04}"), "namespace": format!("past-{}", n % 3),
        "labels": {"team": "search", "number": n.to_string()},
        "annotations": {"example.com/note": "kept", "mcp-hangar.io/weight": "20"}}})
}

fn provider(n: usize) -> Value {
    match n {
        0 => json!({"mode": "container"}),
        1 => json!({"mode": "contaner", "image": ":", "replicas": 99}),
        2 => json!({"mode": "container", "image": "acme/tools:1", "idleTTL": "30", "startupTimeout": ""}),
        3 => {
            json!({"mode": "container", "image": "acme/tools:1", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]})
        }
        4 => json!({"mode": "remote", "endpoint": "ftp://nowhere", "image": "both/set:1"}),
        _ => json!({"mode": "container", "image": "acme/tools:1", "replicas": n % 3, "idleTTL": "1.5h",
            "resources": {"requests": {"cpu": "0.5", "memory": "128Mi"}, "limits": {"cpu": 2}},
            "healthCheck": {"enabled": true, "interval": "30s"}, "env": [{"name": "EMPTY", "value": ""}], "args": ["--verbose", ""]}),
    }
}

/// All objects as v1alpha1, by kind, namespace and name.
pub(crate) fn all(cluster: &Cluster) -> BTreeMap<String, Value> {
    let lists = RESOURCES.map(|resource| {
        cluster.api.get(&format!("/apis/mcp-hangar.io/v1alpha1/{resource}")).ok()["items"].clone()
    });
    let objects = lists.iter().flat_map(|list| list.as_array().unwrap().clone());
    objects.map(|object| (path(&object), object)).collect()
}

/// What an object says, leaf by leaf, without what every write changes.
pub(crate) fn said(object: &Value) -> Vec<(String, Value)> {
    let mut object = object.clone();
    for key in ["resourceVersion", "managedFields"] {
        object["metadata"].as_object_mut().unwrap().remove(key);
    }
    leaves(&object)
}

/// Every object as it is stored, by kind, namespace and name.
pub(crate) fn in_store(cluster: &Cluster) -> BTreeMap<String, Stored> {
    let all = RESOURCES.map(|resource| {
        stored(cluster, resource).into_iter().map(move |(key, stored)| (format!("{resource}/{key}"), stored))
    });
    all.into_iter().flatten().collect()
}

/// A cluster of the first release with this many objects, some of them applied, some with a status.
pub(crate) fn past(name: &str, objects: usize) -> Cluster {
    let cluster = Cluster::start(name);
    for number in 0..3 {
        cluster.namespace(&format!("past-{number}"));
    }
    cluster.kubectl(&["apply", "-f", "tests/data/first-release-crds.yaml"], "").ok();
    for number in 0..objects {
        let object = object(number);
        let created = || {
            let reply = if number % 30 == 5 {
                cluster.api.apply(&object, "ci", "")
            } else {
                cluster.api.create(&object)
            };
            (reply.code == 201).then_some(())
        };
        eventually("the kind is served", LONG, created);
        if number % 25 == 0 {
            let status = json!({"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True",
                "reason": "Fine", "message": "all well", "lastTransitionTime": "2020-01-01T00:00:00Z"}]}});
            cluster.api.merge_patch(&format!("{}/status", path(&object)), &status).ok();
        }
    }
    cluster
}
