//! Ordinary work for a long time, with a new leaf every three seconds: no call may fail and memory must stay flat.
//!
//! In: the time. Out: a line a minute, figures, `target/soak.json`, and an exit status. The mix is `calls::mixed`.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::calls::{Call, mixed};
use crate::client::Target;
use crate::good::wrong;
use crate::report::target;
use crate::server::Server;

/// How often the leaf changes.
pub(crate) const ROTATION: Duration = Duration::from_secs(3);

const KEPT: usize = 16;
const NEW: usize = 8;
/// Between two calls of a kept connection, and of a new one: a steady load, not the most that is possible.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(80)];
/// How much more the last fifth may need than the second, and how many MiB are no trend.
const FLAT: (f64, f64) = (1.05, 1.0);

#[derive(Default)]
struct Seen {
    calls: usize,
    connections: usize,
    failures: Vec<String>,
    leaves: HashSet<Vec<u8>>,
}

/// The mixed load for so many seconds.
pub(crate) fn run(seconds: u64) -> ExitCode {
    let mut server = Server::start(true);
    let target = Target::new(server.address, &server.authority, &["http/1.1"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut memory = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for index in 0..KEPT + NEW {
            clients.spawn(work(target.clone(), Arc::clone(&seen), index, index < KEPT, end));
        }
        while Instant::now() < end {
            sleep(Duration::from_secs(1)).await;
            if !server.is_alive() {
                return;
            }
            memory.push(server.resident());
            if memory.len() % 60 == 0 {
                let seen = seen.lock().unwrap();
                println!(
                    "{:>4} s: {} calls, {} failed, {} leaves, {:.1} MiB",
                    memory.len(),
                    seen.calls,
                    seen.failures.len(),
                    seen.leaves.len(),
                    memory[memory.len() - 1]
                );
            }
        }
        clients.join_all().await;
    });
    let alive = server.is_alive();
    finish(&seen.lock().unwrap(), &memory, seconds, alive)
}

async fn work(target: Target, seen: Arc<Mutex<Seen>>, index: usize, kept: bool, end: Instant) {
    let calls = mixed();
    let mut open = None;
    // Each begins elsewhere in the mix.
    for call in calls.iter().cycle().skip(index) {
        if Instant::now() >= end {
            return;
        }
        let failure = one(&target, &seen, &mut open, call).await;
        if !kept || failure.is_some() {
            open = None;
        }
        {
            let mut seen = seen.lock().unwrap();
            seen.calls += 1;
            seen.failures.extend(failure);
        }
        sleep(PAUSES[usize::from(!kept)]).await;
    }
}

async fn one(
    target: &Target,
    seen: &Mutex<Seen>,
    open: &mut Option<crate::client::Client>,
    call: &Call,
) -> Option<String> {
    let whole = async {
        let client = match open {
            Some(client) => client,
            None => {
                let client = target.connect().await?;
                let mut seen = seen.lock().unwrap();
                seen.connections += 1;
                seen.leaves.insert(client.certificate());
                open.insert(client)
            }
        };
        client.call(&call.bytes).await
    };
    wrong(call, timeout(Duration::from_secs(10), whole).await.map_err(|_| "late"))
}

fn finish(seen: &Seen, memory: &[f64], seconds: u64, alive: bool) -> ExitCode {
    let fifth = memory.len() / 5;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    let (second, last) = (mean(&memory[fifth..2 * fifth]), mean(&memory[memory.len() - fifth..]));
    let most = memory.iter().copied().fold(0.0, f64::max);
    let flat = last <= second * FLAT.0 + FLAT.1;
    let passed = alive && flat && seen.failures.is_empty() && seen.calls > 0;
    println!(
        "\n{} calls on {} connections, {} failed; {} leaves; memory {second:.1} MiB in the second fifth, {last:.1} in the last, {most:.1} at most: {}",
        seen.calls,
        seen.connections,
        seen.failures.len(),
        seen.leaves.len(),
        if flat { "flat" } else { "GROWING" }
    );
    for text in seen.failures.iter().take(5) {
        println!("    failed: {text}");
    }
    if !alive {
        println!("the server ENDED");
    }
    let json = json!({
        "seconds": seconds, "calls": seen.calls, "connections": seen.connections, "failures": seen.failures.len(),
        "leaves": seen.leaves.len(), "second_fifth_mib": second, "last_fifth_mib": last, "most_mib": most,
        "alive": alive, "passed": passed,
    });
    std::fs::write(target().join("soak.json"), format!("{json:#}\n")).unwrap();
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
