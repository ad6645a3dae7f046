//! Operators that are told to end while calls go on: behind something that acts like a Service, no call fails.
//!
//! [`Door`] is that Service: one address, connections handed to one of the operators that are ready, and those that are
//! open left alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Site, borrow_one, eventually, shared};
use crate::load::Load;
use crate::operator::Operator;

/// How long an operator goes on answering after it was told to end.
const MINIMUM: &str = "1s";

struct Door {
    address: SocketAddr,
    ready: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Door {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ready = Arc::new(Mutex::new(Vec::<SocketAddr>::new()));
        let (backends, next) = (Arc::clone(&ready), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let backends = backends.lock().unwrap().clone();
                let chosen =
                    backends.get(next.fetch_add(1, Ordering::Relaxed) % backends.len().max(1)).copied();
                // Nobody is ready: the connection is closed, as one to a Service without endpoints is refused.
                let Some(server) = chosen.and_then(|address| TcpStream::connect(address).ok()) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        });
        Self { address, ready }
    }

    /// Connections go to these from now on.
    fn lead_to(&self, operators: &[SocketAddr]) {
        operators.clone_into(&mut self.ready.lock().unwrap());
    }
}

/// An operator behind the door, once it is ready.
fn start(cluster: &Cluster, door: &Door, name: &str) -> (Operator, SocketAddr) {
    let url = format!("https://{}", door.address);
    let flags = [
        "--log-format=json",
        "--webhook-addr=127.0.0.1:0",
        "--metrics-addr=off",
        "--health-addr=127.0.0.1:0",
        "--drain-minimum",
        MINIMUM,
        "--drain-quiet=500ms",
        "--webhook-url",
        &url,
    ];
    let operator = Operator::start(&cluster.folder, name, &flags);
    let address = operator.webhooks();
    let health: SocketAddr = operator.said("listening")["health"].as_str().unwrap().parse().unwrap();
    eventually("it is ready", Duration::from_secs(20), || {
        (probe(health, "/readyz") == Some(200)).then_some(())
    });
    (operator, address)
}

/// The status of a plain HTTP request.
fn probe(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Gives the site's API server to operators behind a door while `work` runs, and back to its own afterwards.
fn behind_a_door(
    work: impl FnOnce(&Site, &Door, Vec<(Operator, SocketAddr)>) -> Vec<(Operator, SocketAddr)>,
) {
    let mut site = borrow_one();
    site.operator.terminate();
    assert_eq!(site.operator.ended().code(), Some(0));
    let door = Door::open();
    let replicas: Vec<_> = ["door-0", "door-1"].iter().map(|name| start(&site, &door, name)).collect();
    door.lead_to(&replicas.iter().map(|(_, address)| *address).collect::<Vec<_>>());
    site.serves();
    let rest = work(&site, &door, replicas);
    drop(rest);
    site.restart_operator();
}

#[test]
fn rolling_restarts_under_load_fail_no_call_and_every_operator_ends_with_0() {
    behind_a_door(|site, door, mut replicas| {
        let load = Load::start(&site.folder.join("kubeconfig"), 3);
        for round in 0..6 {
            // First the new one, then the old one goes, as with maxUnavailable 0.
            replicas.push(start(site, door, &format!("door-{}", round + 2)));
            let addresses: Vec<SocketAddr> = replicas.iter().map(|(_, address)| *address).collect();
            door.lead_to(&addresses);
            load.goes_on();
            let (mut old, _) = replicas.remove(0);
            // The order in which a Service and a pod learn of it is nobody's: here the pod comes first.
            old.terminate();
            door.lead_to(&addresses[1..]);
            let began = Instant::now();
            assert_eq!(old.ended().code(), Some(0), "{}", old.log());
            assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        }
        load.end();
        replicas
    });
}

#[test]
fn a_second_signal_ends_the_operator_at_once_unless_it_is_the_first_one_sent_twice() {
    let site = shared();
    // A user without rights: it serves nobody, and for ten seconds it hopes.
    let flags = [
        "--log-format=json",
        "--webhook-addr=127.0.0.1:0",
        "--metrics-addr=off",
        "--health-addr=127.0.0.1:0",
        "--drain-minimum=40s",
        "--context=viewer",
    ];
    let mut operator = Operator::start(&site.folder, "signals", &flags);
    let health: SocketAddr = operator.said("listening")["health"].as_str().unwrap().parse().unwrap();
    assert_eq!((probe(health, "/healthz"), probe(health, "/readyz")), (Some(200), Some(503)));
    operator.terminate();
    operator.terminate();
    operator.said("shutting down");
    // Half a second is the same signal; here time itself is what is tested.
    std::thread::sleep(Duration::from_secs(1));
    assert!(operator.is_running());
    operator.terminate();
    let began = Instant::now();
    assert_eq!(operator.ended().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(5));
}
