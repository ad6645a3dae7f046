//! Helm 4 and Helm 3 on the node: installs, upgrades and what else is done to a release.
//!
//! In: a chart and values. Out: what Helm said; `--wait` is given, so that what works is ready. Each test may give Helm
//! a home of its own, as a user has one.

use crate::charts::OPERATOR;
use crate::cluster::{Cluster, Output, run};

/// Release and namespace of the README.
pub(crate) const RELEASE: &str = "mcp-hangar-operator";
pub(crate) const NAMESPACE: &str = "mcp-system";
/// The webhook configurations of each release, and the prefix of its other objects in that namespace.
pub(crate) const PODS: &str = "/api/v1/namespaces/mcp-system/pods";

/// Nobody calls while a test's pods end.
pub(crate) const QUICK: [&str; 2] = ["operator.drain.minimum=0s", "operator.drain.quiet=200ms"];

/// Which Helm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Helm(pub(crate) &'static str);

/// Helm 4, where one is enough.
pub(crate) const HELM: Helm = Helm("helm");
/// Helm 3.
pub(crate) const HELM3: Helm = Helm("helm3");
pub(crate) const HELMS: [Helm; 2] = [HELM, HELM3];

impl Helm {
    pub(crate) fn run(self, cluster: &Cluster, arguments: &[&str]) -> Output {
        run(cluster.program(self.0).args(arguments), "")
    }

    /// Installs our chart as the release of the README and waits until it is ready. `values` as `key=value`, `json` as
    /// `key=JSON`.
    pub(crate) fn install(
        self,
        cluster: &Cluster,
        namespace: &str,
        values: &[&str],
        json: &[&str],
    ) -> Output {
        let sets = sets(values, json);
        let command =
            ["install", RELEASE, OPERATOR, "-n", namespace, "--create-namespace", "--wait", "--timeout=120s"];
        self.run(cluster, &[command.as_slice(), &sets].concat())
    }

    /// Upgrades that release to a chart.
    pub(crate) fn upgrade(self, cluster: &Cluster, chart: &str, flags: &[&str], values: &[&str]) -> Output {
        let command = ["upgrade", RELEASE, chart, "-n", NAMESPACE, "--wait", "--timeout=120s"];
        self.run(cluster, &[command.as_slice(), flags, &sets(values, &[])].concat())
    }

    pub(crate) fn uninstall(self, cluster: &Cluster, namespace: &str) -> Output {
        self.run(cluster, &["uninstall", RELEASE, "-n", namespace, "--timeout=60s"])
    }
}

/// Flags for values.
pub(crate) fn sets<'a>(values: &[&'a str], json: &[&'a str]) -> Vec<&'a str> {
    let plain = values.iter().flat_map(|value| ["--set", *value]);
    plain.chain(json.iter().flat_map(|value| ["--set-json", *value])).collect()
}
