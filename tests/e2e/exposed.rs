//! What documents, alerts and the dashboard name is there to be seen: each series, with the labels of the README's table, in
//! the `/metrics` of a running operator with living providers.
//!
//! What only trouble shows is made to happen: a refused object, a broken handshake, a compressed body, a failing server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::cluster::{CERTIFIED, Site, eventually, shared};
use crate::figures::figure;
use crate::fleet::Metrics;
use crate::provider::{Server, container, deployment, object, provider, remote, run_pods, state};

const SOON: Duration = Duration::from_secs(60);
/// Only a bug or a new CA shows these; that they are registered is held by `tests/operations.rs`.
const NEVER: [&str; 1] = ["mcp_operator_ca_rotations_total"];

/// Every file that may name a series.
fn documents(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|it| it == "md" || it == "yaml" || it == "json") {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The series that are named somewhere, without the parts of a histogram.
fn named() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![std::fs::read_to_string(root.join("README.md")).unwrap()];
    for folder in ["docs", "charts/mcp-hangar-operator", "examples"] {
        documents(&root.join(folder), &mut texts);
    }
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = texts.iter().flat_map(|text| text.split(move |c: char| !is_name(c)));
    let names = words.filter(|word| word.starts_with("mcp_operator_") && !word.ends_with('_'));
    names.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

/// The README's table: name, and labels in any order.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `mcp_operator_"));
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (quoted(cells[1]).pop_first().unwrap(), quoted(cells[2]))
    })
    .collect()
}

/// The labels of each series that has a value, without those of buckets.
fn shown(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("mcp_operator_")) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let is_part = |base: &&str| text.contains(&format!("# TYPE {base} histogram"));
        let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(labels, _)| labels);
        let labels = labels.into_iter().flat_map(|labels| labels.split("\",")).filter(|it| !it.is_empty());
        let labels = labels.map(|label| label.split('=').next().unwrap().to_owned()).filter(|it| it != "le");
        all.entry(base.filter(is_part).unwrap_or(name).to_owned()).or_default().extend(labels);
    }
    all
}

/// What an attacker or an accident does at the door.
fn disturb(site: &Site) {
    let address = site.operator.webhooks();
    let mut stream = TcpStream::connect(address).unwrap();
    let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
    let _ = stream.read(&mut [0; 64]);
    let mut stream =
        crate::webhook::connect(address, CERTIFIED, &crate::webhook::authority(&site.api)).unwrap();
    let head = "POST /validate HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx";
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.read(&mut [0; 64]);
    let bad = provider("default", "bad", &json!({"mode": "Contaner"}));
    assert_eq!(site.api.create_dry(&bad).code, 422);
    let old = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider",
        "metadata": {"name": "old", "namespace": "default"}, "spec": {"mode": "container", "image": "r.example/a:1"}});
    site.api.create_dry(&old).ok();
}

/// A container provider whose only container has been started again.
fn restart(site: &Site, namespace: &str) {
    let tools = provider(namespace, "tools", &container());
    site.api.create(&tools).ok();
    let path = deployment(namespace, "tools");
    eventually("a Deployment", SOON, || (!object(site, &path).is_null()).then_some(()));
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let pod = json!({"metadata": {"name": "tools-1", "labels": {"mcp-hangar.io/provider": "tools"}},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "mcp", "image": "r.example/tools:1"}]}});
    let account = json!({"metadata": {"name": "default"}});
    let _ = site.api.post(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account);
    site.api.post(&pods, &pod).ok();
    for count in [0, 1] {
        let container = json!({"name": "mcp", "image": "r.example/tools:1", "imageID": "", "ready": true,
            "restartCount": count, "state": {"running": {}}});
        let status = json!({"status": {"phase": "Running", "containerStatuses": [container]}});
        site.api.merge_patch(&format!("{pods}/tools-1/status"), &status).ok();
        run_pods(site, &path, 1 + count);
        crate::provider::status(site, &tools, "the pods are seen", |status| {
            status["readyReplicas"] == 1 + count
        });
    }
}

#[test]
fn every_series_that_is_named_somewhere_is_shown_by_an_operator_with_living_providers() {
    let site = shared();
    let namespace = site.namespace("exposed");
    let server = Server::start();
    let weather = provider(namespace, "weather", &remote(&server.fake.url()));
    site.api.create(&weather).ok();
    state(&site, &weather, "Ready");
    server.fails(true);
    state(&site, &weather, "Degraded");
    restart(&site, namespace);
    disturb(&site);
    let metrics = Metrics::of(&site.operator);
    let (named, documented) = (named(), documented());
    assert!(named.len() > 25 && documented.len() > 25, "{} {}", named.len(), documented.len());
    let undocumented: Vec<_> = named
        .iter()
        .filter(|name| {
            let base = ["_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            !documented.contains_key(*name) && !base.is_some_and(|base| documented.contains_key(base))
        })
        .collect();
    assert!(undocumented.is_empty(), "not in the README's table: {undocumented:?}");
    let missing = || {
        let shown = shown(&metrics.text());
        documented
            .iter()
            .filter(|(name, _)| !NEVER.contains(&name.as_str()))
            .filter_map(|(name, labels)| match shown.get(name) {
                None => Some(format!("{name} is not there")),
                Some(found) if found != labels => Some(format!("{name} has {found:?}, not {labels:?}")),
                Some(_) => None,
            })
            .collect::<Vec<_>>()
    };
    let mut last = Vec::new();
    let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("every series is shown", SOON, || {
            last = missing();
            last.is_empty().then_some(())
        });
    }));
    assert!(all.is_ok(), "{last:#?}");
    // And nothing is shown that nobody explains.
    let unknown: Vec<_> =
        shown(&metrics.text()).into_keys().filter(|name| !documented.contains_key(name)).collect();
    assert!(unknown.is_empty(), "not in the README's table: {unknown:?}");
    figure("metrics", format_args!("{} series documented, each shown with its labels", documented.len()));
    for name in ["weather", "tools"] {
        site.api.delete(&crate::api::path(&provider(namespace, name, &json!({})))).ok();
    }
}
