//! Large objects, larger ones, and clients that never come to the point.
//!
//! Statement 10, through the Service. What a pod uses is read from its own metrics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Site, alone};
use crate::figures::figure;
use crate::handshakes::connect;
use crate::kept::Kept;
use crate::load::Load;
use crate::release::{HELM, NAMESPACE, PODS, QUICK};
use crate::webhook::authority;

/// As many as the statement has.
const SLOW: usize = 1000;
/// Well below what pods may use by the chart.
const LIMIT: f64 = 768.0;

/// The series of a pod's metrics that begin with this, added up.
fn metric(address: &str, name: &str) -> f64 {
    let mut stream = TcpStream::connect((address, 8080)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let values = text.lines().filter(|line| line.starts_with(name));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// The most that a pod uses now, in MiB.
fn memory(site: &Site) -> f64 {
    let pods = site.api.get(PODS).ok()["items"].as_array().unwrap().clone();
    let addresses = pods.iter().map(|pod| pod["status"]["podIP"].as_str().unwrap().to_owned());
    addresses
        .map(|address| metric(&address, "process_resident_memory_bytes") / 1_048_576.0)
        .fold(0.0, f64::max)
}

fn large(name: &str, megabytes: f64) -> Value {
    let value = "x".repeat(100_000);
    let count = (megabytes * 10.0) as usize;
    let env: Vec<Value> = (0..count).map(|n| json!({"name": format!("E{n}"), "value": value})).collect();
    json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider", "metadata": {"name": name, "namespace": "default"},
        "spec": {"mode": "container", "image": "acme/tools:1", "env": env}})
}

/// A body to the webhook itself; the status of the answer.
fn post(address: SocketAddr, bundle: &str, body: &[u8]) -> u16 {
    let mut stream = connect(address, bundle).unwrap();
    let head = format!(
        "POST /validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Refused by its head, it may not be read to its end.
    let _ = stream.write_all(body).and_then(|()| stream.flush());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[9..]).parse().unwrap()
}

#[test]
fn a_large_object_is_stored_a_larger_one_is_refused_and_memory_stays_bounded() {
    let site = alone();
    HELM.install(&site, NAMESPACE, &QUICK, &[]).works();
    site.serves();
    let before = memory(&site);
    let object = large("large", 1.4);
    let began = Instant::now();
    // Client-side apply would put it into an annotation, which is too small for it.
    let said = site.kubectl(&["apply", "--server-side", "-f", "-"], &object.to_string()).ok();
    let took = began.elapsed();
    assert!(said.contains("serverside-applied"), "{said}");
    assert_eq!(site.api.read_as(&object, "v1beta1")["spec"]["container"]["env"], object["spec"]["env"]);
    // By the API server itself.
    let refused = site.api.create(&large("larger", 9.0));
    assert_eq!(refused.code, 413, "{}", refused.message());
    let (service, bundle) = (site.service(), authority(&site.api));
    let body = large("larger", 9.0).to_string();
    let codes: Vec<u16> = (0..40).map(|_| post(service, &bundle, body.as_bytes())).collect();
    assert_eq!(codes, [413; 40]);
    let after = memory(&site);
    assert!(after < LIMIT, "{after} MiB");
    assert!(site.answers());
    figure(
        "statement 10",
        format_args!(
            "1.4 MiB stored in {took:.1?}; 9 MiB refused 40 times with 413; a pod uses {before:.0} MiB before, {after:.0} after"
        ),
    );
}

/// How long good calls take: the median and the 99th percentile.
fn good_calls(address: SocketAddr, bundle: &str) -> (Duration, Duration) {
    let mut took: Vec<Duration> = (0..200)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(post(address, bundle, b"{}"), 400);
            began.elapsed()
        })
        .collect();
    took.sort();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

#[test]
fn a_thousand_slow_and_half_open_clients_leave_good_calls_fast() {
    let site = alone();
    HELM.install(&site, NAMESPACE, &QUICK, &[]).works();
    site.serves();
    let (service, bundle) = (site.service(), authority(&site.api));
    let quiet = good_calls(service, &bundle);
    let load = Load::start(&site.folder.join("kubeconfig"), 1);
    let kept = Kept::start(service, &bundle, 2);
    // Half of them never begin a handshake, half never end their headers.
    let half_open: Vec<_> = (0..SLOW / 2)
        .filter_map(|_| TcpStream::connect_timeout(&service, Duration::from_secs(5)).ok())
        .collect();
    let slow: Vec<_> = (0..SLOW / 2)
        .filter_map(|_| {
            let mut stream = connect(service, &bundle).ok()?;
            stream.write_all(b"POST /validate HTTP/1.1\r\nhost: x\r\n").ok()?;
            Some(stream)
        })
        .collect();
    let held = half_open.len() + slow.len();
    let crowded = good_calls(service, &bundle);
    load.goes_on();
    kept.goes_on();
    let calls = load.end();
    let (reviews, _, failed) = kept.end();
    assert!(failed.is_empty(), "{} of {reviews} failed: {:#?}", failed.len(), failed.first());
    assert!(held * 10 >= SLOW * 9, "{held}");
    let used = memory(&site);
    assert!(used < LIMIT, "{used} MiB");
    // On two cores that the cluster shares; what is promised is that nobody waits for a slow one.
    assert!(crowded.1 < Duration::from_secs(1), "{crowded:?}");
    figure(
        "statement 10",
        format_args!(
            "{held} slow or half-open clients: good calls on new connections median {:.1?} p99 {:.1?} (quiet {:.1?} and {:.1?}); {} other calls, failed 0; a pod uses {used:.0} MiB",
            crowded.0,
            crowded.1,
            quiet.0,
            quiet.1,
            calls + reviews
        ),
    );
}
