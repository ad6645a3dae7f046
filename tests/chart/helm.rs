//! Helm 4 and Helm 3 as programs: run with nothing of the user's own configuration.
//!
//! In: arguments, and values as `--set-json`. Out: what they print, or the objects of a rendered chart.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// The release and the namespace of the README.
pub(crate) const RELEASE: &str = "mcp-hangar-operator";
pub(crate) const NAMESPACE: &str = "mcp-system";
/// The chart's folder.
pub(crate) const OPERATOR: &str = "charts/mcp-hangar-operator";
pub(crate) const CRDS: &str = "charts/mcp-hangar-crds";

/// One of the two programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Helm {
    pub(crate) name: &'static str,
    program: PathBuf,
    kubeconfig: PathBuf,
}

/// Helm 4 and Helm 3.
pub(crate) fn helms() -> [Helm; 2] {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let script = root().join("tests/cluster/node/build.sh");
        let mut command = Command::new("bash");
        let output = command.arg(script).arg("--helm").stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "build.sh --helm");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    });
    ["helm", "helm3"].map(|name| Helm { name, program: FOLDER.join(name), kubeconfig: "/dev/null".into() })
}

/// Helm 4, where one is enough.
pub(crate) fn helm4() -> Helm {
    let [helm, _] = helms();
    helm
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    command: String,
    worked: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Its stdout; it must have worked.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.worked, "{}\n{}", self.command, self.stderr);
        self.stdout
    }

    /// Its stderr; it must have failed.
    #[track_caller]
    pub(crate) fn fails(self) -> String {
        assert!(!self.worked, "{}\n{}", self.command, self.stdout);
        self.stderr
    }
}

impl Helm {
    /// The same, talking to a cluster.
    pub(crate) fn on(&self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), ..self.clone() }
    }

    /// Runs it in the repository.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chart").join(self.name);
        let output = Command::new(&self.program)
            .args(arguments)
            .current_dir(root())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Said {
            command: format!("{} {}", self.name, arguments.join(" ")),
            worked: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Renders a chart as the release of the README, with values in the form `path=JSON`.
    pub(crate) fn template(&self, chart: &str, values: &[&str]) -> Said {
        self.template_as(RELEASE, NAMESPACE, chart, values)
    }

    /// Renders it as another release.
    pub(crate) fn template_as(&self, release: &str, namespace: &str, chart: &str, values: &[&str]) -> Said {
        let mut arguments = vec!["template", release, chart, "--namespace", namespace];
        for value in values {
            arguments.extend(["--set-json", value]);
        }
        self.run(&arguments)
    }
}

/// Every object of a rendered text.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(|text| {
        let text = text.strip_prefix("---\n").unwrap_or(text);
        serde_saphyr::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    });
    documents.filter(|document| !document.is_null()).collect()
}

/// The one object of that kind and name.
#[track_caller]
pub(crate) fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found =
        objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let first = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "two {kind} {name}");
    first
}
