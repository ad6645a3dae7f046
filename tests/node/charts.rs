//! Charts and images as files: the packaged charts behind a web server, an older chart, one of the first release's time.
//!
//! Everything is made below `target/tmp` from what the repository holds. The image goes into the node under the name that
//! the chart asks for by default, so that nobody has to name it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use serde_json::{Value, json};

use crate::cluster::{Cluster, run};

/// Our chart.
pub(crate) const OPERATOR: &str = "charts/mcp-hangar-operator";

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A new, empty folder.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

/// What the chart runs when nobody says anything.
pub(crate) fn default_image() -> String {
    let (chart, values) = (yaml(&format!("{OPERATOR}/Chart.yaml")), yaml(&format!("{OPERATOR}/values.yaml")));
    let tag = chart["appVersion"].as_str().unwrap();
    format!("{}:{tag}", values["image"]["repository"].as_str().unwrap())
}

/// Packs the binary of `scripts/image.sh` under that name and puts it into the node, once.
pub(crate) fn load_image(cluster: &Cluster) {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        let archive = scratch("image").join("image.tar");
        let archive = archive.to_str().unwrap();
        let ports = r#"{"9443/tcp":{},"8080/tcp":{},"8081/tcp":{}}"#;
        let pack = [
            "scripts/pack.sh",
            &default_image(),
            archive,
            "target/image/mcp-hangar-operator",
            r#"["run"]"#,
            ports,
        ];
        run(Command::new("bash").args(pack).current_dir(root()), "").works();
        let load = ["tests/cluster/node/load.sh", archive];
        let folder = cluster.folder.parent().unwrap();
        run(Command::new("bash").args(load).current_dir(root()).env("CLUSTER_DIR", folder), "").works();
        std::fs::remove_file(archive).unwrap();
    });
}

/// The packaged charts behind a web server that lives as long as this process; its address.
pub(crate) fn repository() -> String {
    run(Command::new("bash").args(["scripts/chart.sh", "package"]).current_dir(root()), "").works();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let body = std::fs::read(root().join("target/charts").join(&name)).ok();
            let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The webhook that only the older chart has, in front of ours.
pub(crate) const DROPPED: &str = "before.mcp-hangar.io";

/// Our chart as an older release may have been: one webhook more in each configuration, in front of ours.
pub(crate) fn older() -> String {
    let folder = scratch("older-chart");
    copy(&root().join(OPERATOR), &folder);
    edit(&folder.join("Chart.yaml"), "\nversion: ", "\nversion: 0.0.1-before.");
    let client = r#"{service: {name: '{{ include "mcp-hangar-operator.webhookService" . }}', namespace: '{{ .Release.Namespace }}', path: /validate, port: 443}}"#;
    let rules =
        "[{apiGroups: [mcp-hangar.io], apiVersions: [v1], operations: [DELETE], resources: [nothings]}]";
    let entry = format!(
        "webhooks:\n- {{name: {DROPPED}, admissionReviewVersions: [v1], sideEffects: None, clientConfig: {client}, rules: {rules}}}\n"
    );
    edit(&folder.join("templates/_webhooks.tpl"), "webhooks:\n", &entry);
    folder.to_str().unwrap().to_owned()
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}: {from}", path.display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// A chart of the first release's time: the CRDs in `crds/`, which Helm installs once and never touches again, and a
/// Deployment with the labels that the original had. No webhooks.
pub(crate) fn first() -> String {
    let folder = scratch("first-chart");
    std::fs::create_dir_all(folder.join("crds")).unwrap();
    std::fs::create_dir_all(folder.join("templates")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("Chart.yaml", "{apiVersion: v2, name: mcp-hangar-operator, version: 0.0.1, appVersion: 0.0.1}\n");
    write("crds/all.yaml", &std::fs::read_to_string("tests/data/first-release-crds.yaml").unwrap());
    let labels = json!({"app.kubernetes.io/name": "mcp-hangar-operator", "app.kubernetes.io/instance": "{{ .Release.Name }}",
        "app.kubernetes.io/component": "operator"});
    let pod = json!({"serviceAccountName": "{{ .Release.Name }}", "containers": [{"name": "operator", "image": "first.example.com/none:1",
        "imagePullPolicy": "Never", "args": ["--leader-elect=true"]}]});
    let objects = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "{{ .Release.Name }}", "labels": labels}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "{{ .Release.Name }}", "labels": labels},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}}),
    ];
    write("templates/all.yaml", &objects.map(|object| object.to_string()).join("\n---\n"));
    folder.to_str().unwrap().to_owned()
}
