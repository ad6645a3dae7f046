//! One attack after another, each between quiet times, and what good calls and the server's memory make of it.
//!
//! Quiet and abused windows alternate in one run, and each figure is the median of its windows: the machine's noise
//! meets both alike. The exit status says whether calls failed, memory went over its bound, or the server ended.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use crate::attacks;
use crate::calls::validate;
use crate::client::Target;
use crate::cost::Cost;
use crate::crowd::{Attack, Crowd, Outcomes};
use crate::good::{Good, Window, wrong};
use crate::report::{Report, Row};
use crate::server::Server;

const ROUNDS: usize = 3;
const QUIET: Duration = Duration::from_millis(800);
const ABUSED: Duration = Duration::from_millis(1500);

/// All attacks whose names have one of `words`, or all.
pub(crate) fn run(words: &[&str]) -> ExitCode {
    let began = Instant::now();
    let mut server = Server::start(false);
    let target = Target::new(server.address, &server.authority, &["http/1.1"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut good = Good::new(target.clone());
    // Warm: code, allocator, connections.
    runtime.block_on(good.window(QUIET));
    let mut report = Report::new();
    for attack in attacks::all(&target) {
        if words.is_empty() || words.iter().any(|word| attack.name.contains(word)) {
            report.add(trial(&runtime, &mut server, &target, &mut good, &attack));
        }
        if !server.is_alive() {
            break;
        }
    }
    report.finish(server.is_alive(), began.elapsed())
}

fn trial(runtime: &Runtime, server: &mut Server, target: &Target, good: &mut Good, attack: &Attack) -> Row {
    server.forget_peak();
    let (mut quiet, mut abused) = (Vec::new(), Vec::new());
    let (mut outcomes, mut cpu, mut time) = (Outcomes::new(), 0, Duration::ZERO);
    for _ in 0..ROUNDS {
        quiet.push(runtime.block_on(good.window(QUIET)));
        let crowd = Crowd::start(attack.clone(), target.clone());
        // Calls go on and may not fail, but their times are not yet counted.
        let ramp = runtime.block_on(good.window(attack.ramp));
        let (before, began) = (Cost::of_process(server.pid()), Instant::now());
        let mut window = runtime.block_on(good.window(ABUSED));
        (cpu, time) = (cpu + (Cost::of_process(server.pid()) - before).cpu, time + began.elapsed());
        window.calls += ramp.calls;
        window.failures.extend(ramp.failures);
        abused.push(window);
        for (outcome, count) in crowd.end() {
            *outcomes.entry(outcome).or_default() += count;
        }
        runtime.block_on(async { sleep(Duration::from_millis(200)).await });
    }
    let fresh = runtime.block_on(fresh_call(target));
    let mut failures: Vec<String> =
        abused.iter().chain(&quiet).flat_map(|window| window.failures.clone()).collect();
    failures.extend(fresh.map(|text| format!("afterwards: {text}")));
    let alive = server.is_alive();
    let kept = median(&abused, |window| window.kept);
    let new = median(&abused, |window| window.new);
    Row {
        name: attack.name,
        kept,
        kept_ratio: kept / median(&quiet, |window| window.kept),
        new,
        new_ratio: new / median(&quiet, |window| window.new),
        calls: abused.iter().chain(&quiet).map(|window| window.calls).sum(),
        failures,
        unexpected: outcomes.keys().filter(|outcome| !is_expected(attack, outcome)).cloned().collect(),
        outcomes,
        peak: if alive { server.peak() } else { f64::NAN },
        after: if alive { server.resident() } else { f64::NAN },
        cores: cpu as f64 / time.as_nanos() as f64,
    }
}

fn is_expected(attack: &Attack, outcome: &str) -> bool {
    outcome == "held" || attack.expected.contains(&outcome)
}

/// A new client is answered once the attack is over.
async fn fresh_call(target: &Target) -> Option<String> {
    let call = validate();
    let whole = async { target.connect().await?.call(&call.bytes).await };
    wrong(&call, timeout(Duration::from_secs(5), whole).await.map_err(|_| "late"))
}

fn median(windows: &[Window], figure: fn(&Window) -> f64) -> f64 {
    let mut figures: Vec<f64> = windows.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
