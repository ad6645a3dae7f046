//! `/validate` and `/default` against the bare server: CPU of the server for one call, and the slowest of a hundred.
//!
//! Each round asks all of them in turn, for a moment each, over 32 connections without a pause. One core serves, so
//! the times are those of a queue of 32: they follow the cost of a call, and say what a burst meets.

use std::hint::black_box;
use std::time::Duration;

use mcp_hangar_webhooks::admission::{Webhook, review};
use mcp_hangar_webhooks::observer::Silent;
use mcp_hangar_webhooks::policy::Policy;

use crate::client::{Load, Round, post, runtime};
use crate::cost::Cost;
use crate::report::{Report, Row, Spread};
use crate::reviews;
use crate::server::{Server, stay_on_client_core};

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 100;
const WARM_UP: usize = 4;
/// Calls in process that are measured together.
const ALONE: usize = 1000;
const MOMENT: Duration = Duration::from_millis(100);
const CASES: [(&str, &str); 4] =
    [("/validate", "v1beta1"), ("/validate", "v1alpha1"), ("/default", "v1beta1"), ("/default", "v1alpha1")];

pub(crate) fn measure(report: &mut Report) {
    stay_on_client_core(true);
    let size = reviews::update("v1beta1").len() as f64 / 1024.0;
    report.heading(&format!(
        "admission: UPDATE review of {size:.1} KiB, {CONNECTIONS} connections, the server on one core of its own"
    ));
    let (bare, operator) = (Server::bare(), Server::operator());
    std::thread::sleep(Duration::from_secs(1));
    let rounds = runtime().block_on(rounds(&bare, &operator));
    let quiet = quieter_half(&rounds);
    let bare_of = |what: fn(&Round) -> f64| Spread::of(quiet.iter().map(|round| what(&round[0]))).median;
    report.add(Row::new("bare hyper + rustls, CPU a call", bare_of(|round| round.cpu), "µs"));
    for (index, (path, version)) in CASES.iter().enumerate() {
        let (value, ratio) = compared(&quiet, index + 1, |round| round.cpu);
        report.add(
            Row::new(format!("{path} {version}, CPU a call"), value, "µs")
                .against(ratio)
                .ratio_goal("<= 2.5x", 2.5),
        );
    }
    let quiet = |case| Spread::of(quietest(&rounds, case).iter().map(|round| round.p99));
    let bare = quiet(0).median;
    report.add(Row::new("bare hyper + rustls, p99", bare, "µs"));
    for (index, (path, version)) in CASES.iter().enumerate() {
        let Spread { low, median, high } = quiet(index + 1);
        let ratio = Spread { low: low / bare, median: median / bare, high: high / bare };
        report.add(
            Row::new(format!("{path} {version}, p99"), median, "µs")
                .against(ratio)
                .ratio_goal("<= 1.5x", 1.5),
        );
    }
    for (path, version) in CASES {
        let webhook = if path == "/default" { Webhook::Default } else { Webhook::Validate };
        let body = reviews::update(version);
        let times = (0..ROUNDS).map(|_| {
            let before = Cost::of_thread();
            for _ in 0..ALONE {
                drop(black_box(review(webhook, body.as_bytes(), &Policy::default(), &Silent)));
            }
            (Cost::of_thread() - before).cpu as f64 / ALONE as f64 / 1000.0
        });
        let time = Spread::of(times).median;
        report.add(Row::new(format!("of it the review alone, in process: {path} {version}"), time, "µs"));
    }
    stay_on_client_core(false);
}

async fn rounds(bare: &Server, operator: &Server) -> Vec<Vec<Round>> {
    let body = reviews::update("v1beta1");
    let mut loads = vec![Load::open(bare, CONNECTIONS, post("/validate", &body), "\"allowed\":true").await];
    for (path, version) in CASES {
        let call = post(path, &reviews::update(version));
        loads.push(Load::open(operator, CONNECTIONS, call, "\"allowed\":true").await);
    }
    let mut rounds = Vec::new();
    for round in 0..ROUNDS + WARM_UP {
        let mut one = Vec::new();
        for load in &mut loads {
            one.push(load.round(MOMENT).await);
        }
        if round >= WARM_UP {
            rounds.push(one);
        }
    }
    rounds
}

/// The rounds in which nobody else wanted our cores.
fn quieter_half(rounds: &[Vec<Round>]) -> Vec<&Vec<Round>> {
    let noise = |round: &Vec<Round>| round.iter().map(|one| one.noise).sum::<f64>();
    let mut sorted: Vec<_> = rounds.iter().collect();
    sorted.sort_by(|a, b| noise(a).total_cmp(&noise(b)));
    sorted.truncate(rounds.len().div_ceil(2));
    sorted
}

/// The moments of one case in which nobody else wanted our cores: one other process shows in a hundredth at once, so a
/// tenth of them is taken.
fn quietest(rounds: &[Vec<Round>], case: usize) -> Vec<Round> {
    let mut moments: Vec<Round> = rounds.iter().map(|round| round[case]).collect();
    moments.sort_by(|a, b| a.noise.total_cmp(&b.noise));
    moments.truncate(rounds.len().div_ceil(10));
    moments
}

/// The median of a case, and its ratio to the bare server of the same round.
fn compared(quiet: &[&Vec<Round>], case: usize, what: fn(&Round) -> f64) -> (f64, Spread) {
    let value = Spread::of(quiet.iter().map(|round| what(&round[case]))).median;
    (value, Spread::of(quiet.iter().map(|round| what(&round[case]) / what(&round[0]))))
}
