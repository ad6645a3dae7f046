//! `--tls-mode=files`: the webhooks work with certificates made elsewhere, a new set is taken while calls go on, a bad one
//! changes nothing.
//!
//! Each set is the serving certificate of a test API server, which makes one for 127.0.0.1 and its own authority; a key
//! that fits neither comes from [`Authority`].

use std::path::Path;
use std::time::{Duration, SystemTime};

use mcp_hangar_webhooks::tls::Authority;

use crate::cluster::{Cluster, Site, beside, shared};
use crate::operator::Operator;
use crate::trust::{TARGETS, bundles};
use crate::webhook::connect;

const TAKEN: Duration = Duration::from_secs(10);

/// The three files of a set.
struct Set {
    certificate: String,
    key: String,
    ca: String,
}

impl Set {
    fn of(cluster: &Cluster) -> Self {
        let read = |name: &str| std::fs::read_to_string(cluster.folder.join("certs").join(name)).unwrap();
        let certificate = read("apiserver.crt");
        // The issuer is the last of the chain.
        let ca = certificate.rsplit_once("-----BEGIN").map(|(_, rest)| format!("-----BEGIN{rest}")).unwrap();
        Self { certificate, key: read("apiserver.key"), ca }
    }

    fn write(&self, dir: &Path) {
        for (name, text) in [("tls.crt", &self.certificate), ("tls.key", &self.key), ("ca.crt", &self.ca)] {
            std::fs::write(dir.join(name), text).unwrap();
        }
    }
}

/// Whether the webhooks present a certificate of that CA, and every object carries it.
fn uses(site: &Site, set: &Set) -> bool {
    connect(site.operator.webhooks(), "127.0.0.1", &set.ca).is_ok()
        && bundles(site) == vec![set.ca.clone(); TARGETS.len()]
}

#[test]
fn certificates_from_files_work_and_a_new_set_is_taken_and_a_bad_one_is_not() {
    let other = Set::of(&shared());
    let cluster = Cluster::start("files");
    let first = Set::of(&cluster);
    let dir = cluster.folder.join("data/tls");
    std::fs::create_dir(&dir).unwrap();
    first.write(&dir);
    let flags = [beside(), vec!["--tls-mode=files", "--tls-cert-dir", dir.to_str().unwrap()]].concat();
    let operator = Operator::start(&cluster.folder, "operator", &flags);
    let site = Site { cluster, operator };
    site.serves();
    assert!(uses(&site, &first));
    // Nobody needed a CA of ours.
    assert_eq!(site.api.get(crate::webhook::SECRET).code, 404);

    let foreign = Authority::generate("foreign", SystemTime::now()).unwrap();
    for (name, text) in
        [("tls.key", foreign.key_pem()), ("tls.crt", "no certificate".into()), ("ca.crt", String::new())]
    {
        let before = site.operator.lines().len();
        std::fs::write(dir.join(name), text).unwrap();
        crate::cluster::eventually("the bad set is said", TAKEN, || {
            let lines = site.operator.lines();
            lines[before..]
                .iter()
                .any(|line| {
                    line["level"] == "ERROR" && line["message"].as_str().unwrap().contains("stay in use")
                })
                .then_some(())
        });
        assert!(uses(&site, &first) && site.answers(), "{name}");
        first.write(&dir);
    }

    other.write(&dir);
    crate::cluster::eventually("the new set is taken", TAKEN, || uses(&site, &other).then_some(()));
    site.serves();
    assert!(connect(site.operator.webhooks(), "127.0.0.1", &first.ca).is_err());
}
