//! The five objects that carry the CA bundle: what they say, how soon a repair is done, and that nobody goes on writing.
//!
//! In: a cluster and its client. Out: bundles as PEM, and [`Repairs`], which keep the promise of two seconds.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::api::Api;
use crate::cluster::{Cluster, eventually};
use crate::figures::figure;
use crate::webhook::SECRET;

/// The objects that carry the bundle, each with the pointer to it.
pub(crate) const TARGETS: [(&str, &str); 5] = [
    ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mcpproviders.mcp-hangar.io", CONVERSION),
    ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mcpprovidergroups.mcp-hangar.io", CONVERSION),
    ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mcpdiscoverysources.mcp-hangar.io", CONVERSION),
    ("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/mcp-hangar-operator", ADMISSION),
    ("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/mcp-hangar-operator", ADMISSION),
];
const CONVERSION: &str = "/spec/conversion/webhook/clientConfig/caBundle";
const ADMISSION: &str = "/webhooks/0/clientConfig/caBundle";

/// A wiped bundle is back after this.
pub(crate) const HEALS: Duration = Duration::from_secs(2);
/// A Secret is back after this.
pub(crate) const RESTORED: Duration = Duration::from_secs(10);
/// So long nothing is written once all is well: more than a resync would need to start a fight.
const QUIET: Duration = Duration::from_secs(4);

/// How long each repair took. This machine may be busy with other things for some seconds, so that one of all
/// repairs may take as long as a Secret's; the others keep the promise.
#[derive(Default)]
pub(crate) struct Repairs(Vec<Duration>);

impl Repairs {
    pub(crate) fn wait(&mut self, what: &str, is_right: impl Fn() -> bool) {
        let began = Instant::now();
        eventually(what, RESTORED, || is_right().then_some(()));
        self.0.push(began.elapsed());
    }

    pub(crate) fn keep_the_promise(mut self) {
        self.0.sort();
        let (median, worst) = (self.0[self.0.len() / 2], self.0[self.0.len() - 1]);
        let late = self.0.iter().filter(|took| **took > HEALS).count();
        figure("statement 4", format_args!("{} repairs: median {median:?}, worst {worst:?}", self.0.len()));
        assert!(median <= HEALS && late <= 1, "median {median:?}, worst {worst:?}, {late} late");
    }
}

/// The bundles of all targets, decoded.
pub(crate) fn bundles(cluster: &Cluster) -> Vec<String> {
    bundles_by(&cluster.api)
}

/// The same by another client.
pub(crate) fn bundles_by(api: &Api) -> Vec<String> {
    let read = |(path, pointer): (&str, &str)| {
        let object = api.get(path).body;
        let encoded = object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    };
    TARGETS.into_iter().map(read).collect()
}

/// Changes with every write of any of them, or of the Secret.
pub(crate) fn versions(cluster: &Cluster) -> Vec<Value> {
    let paths = TARGETS.iter().map(|(path, _)| *path).chain([SECRET]);
    paths.map(|path| cluster.api.get(path).body["metadata"]["resourceVersion"].clone()).collect()
}

/// Nobody writes any of it for a while. Here time itself is what is tested.
pub(crate) fn stays_quiet(cluster: &Cluster) {
    let before = versions(cluster);
    let until = Instant::now() + QUIET;
    while Instant::now() < until {
        assert_eq!(versions(cluster), before, "somebody goes on writing");
        std::thread::sleep(Duration::from_millis(200));
    }
}
