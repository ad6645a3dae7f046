//! The good client: 32 connections that are kept and two that are always new, all calling `/validate` without pause.
//!
//! It runs on a thread of its own. Out: for each window of time, the 99th percentile of both kinds of call and the
//! calls that failed. What else happens to the server meanwhile it does not know.

use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use tokio::time::{sleep, timeout};

use crate::calls::{Call, validate};
use crate::client::{Client, Target};

const KEPT: usize = 32;
const NEW: usize = 2;
/// What the API server waits by default at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one window of time showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    /// 99th percentile in ms on kept connections.
    pub(crate) kept: f64,
    /// The same for connect, handshake and call.
    pub(crate) new: f64,
    pub(crate) calls: usize,
    /// Why calls failed.
    pub(crate) failures: Vec<String>,
}

/// The good client.
pub(crate) struct Good {
    target: Target,
    call: Call,
    kept: Vec<Option<Client>>,
}

#[derive(Default)]
struct Times {
    milliseconds: Vec<f64>,
    failures: Vec<String>,
}

impl Times {
    fn note(&mut self, began: Instant, failure: Option<String>) {
        self.milliseconds.push(began.elapsed().as_secs_f64() * 1000.0);
        self.failures.extend(failure);
    }

    fn merge(all: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for one in all {
            sum.milliseconds.extend(one.milliseconds);
            sum.failures.extend(one.failures);
        }
        sum.milliseconds.sort_by(f64::total_cmp);
        sum
    }

    fn p99(&self) -> f64 {
        self.milliseconds.get(self.milliseconds.len() * 99 / 100).copied().unwrap_or_default()
    }
}

impl Good {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, call: validate(), kept: (0..KEPT).map(|_| None).collect() }
    }

    /// Calls for so long. A connection that failed is opened again in the next window.
    pub(crate) async fn window(&mut self, time: Duration) -> Window {
        let (target, call) = (&self.target, &self.call);
        for kept in &mut self.kept {
            if kept.is_none() {
                *kept = target.connect().await.ok();
            }
        }
        let end = Instant::now() + time;
        let kept = join_all(self.kept.iter_mut().map(|client| keep_calling(client, call, end)));
        let new = join_all((0..NEW).map(|_| call_anew(target, call, end)));
        let (kept, new) = join(kept, new).await;
        let (kept, mut new) = (Times::merge(kept), Times::merge(new));
        let calls = kept.milliseconds.len() + new.milliseconds.len();
        let (kept_p99, new_p99) = (kept.p99(), new.p99());
        new.failures.extend(kept.failures);
        Window { kept: kept_p99, new: new_p99, calls, failures: new.failures }
    }
}

async fn keep_calling(kept: &mut Option<Client>, call: &Call, end: Instant) -> Times {
    let mut times = Times::default();
    while Instant::now() < end {
        let began = Instant::now();
        let failure = match kept.as_mut() {
            Some(client) => {
                wrong(call, timeout(PATIENCE, client.call(&call.bytes)).await.map_err(|_| "late"))
            }
            None => Some("kept: no connection".to_owned()),
        };
        let failed = failure.is_some();
        times.note(began, failure.map(|text| format!("kept: {text}")));
        if failed {
            *kept = None;
            break;
        }
    }
    times
}

async fn call_anew(target: &Target, call: &Call, end: Instant) -> Times {
    let mut times = Times::default();
    while Instant::now() < end {
        let began = Instant::now();
        let whole = async { target.connect().await?.call(&call.bytes).await };
        let failure = wrong(call, timeout(PATIENCE, whole).await.map_err(|_| "late"));
        times.note(began, failure.map(|text| format!("new: {text}")));
        sleep(Duration::from_millis(5)).await;
    }
    times
}

/// What is wrong with an answer, if something is.
pub(crate) fn wrong(call: &Call, answer: Result<std::io::Result<String>, &str>) -> Option<String> {
    match answer {
        Ok(Ok(answer)) if call.fits(&answer) => None,
        Ok(Ok(answer)) => Some(answer.chars().take(300).collect()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(text) => Some(text.to_owned()),
    }
}
