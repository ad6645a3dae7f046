//! Attackers: so many clients that do one thing again and again, at a bounded rate, on a thread of their own.
//!
//! In: an [`Attack`]. Out: how often each outcome came. What is done is the attack's business, and what it does to
//! others is measured elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::client::Target;

/// One attempt; says how it ended.
pub(crate) type Attempt = Arc<dyn Fn(Target) -> BoxFuture<'static, String> + Send + Sync>;

/// An attack on the server.
#[derive(Clone)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// Clients at once.
    pub(crate) clients: usize,
    /// Attempts of all together.
    pub(crate) per_second: u32,
    /// How long a client waits after an attempt.
    pub(crate) pause: Duration,
    /// How long it goes on before anything is measured.
    pub(crate) ramp: Duration,
    /// How attempts may end. Anything else is a mistake of the server.
    pub(crate) expected: &'static [&'static str],
    pub(crate) attempt: Attempt,
}

/// How often what happened.
pub(crate) type Outcomes = BTreeMap<String, usize>;

/// An attack that is going on.
pub(crate) struct Crowd {
    stop: CancellationToken,
    thread: JoinHandle<Outcomes>,
}

impl Crowd {
    pub(crate) fn start(attack: Attack, target: Target) -> Self {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(drive(attack, target, until))
        });
        Self { stop, thread }
    }

    /// Ends it. Attempts that have not ended are `held`.
    pub(crate) fn end(self) -> Outcomes {
        self.stop.cancel();
        self.thread.join().unwrap()
    }
}

async fn drive(attack: Attack, target: Target, stop: CancellationToken) -> Outcomes {
    let pace =
        Arc::new(Pace { next: Mutex::new(Instant::now()), step: Duration::from_secs(1) / attack.per_second });
    let outcomes = Arc::new(Mutex::new(Outcomes::new()));
    let begun = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..attack.clients {
        let (attack, target, pace) = (attack.clone(), target.clone(), Arc::clone(&pace));
        let (outcomes, begun) = (Arc::clone(&outcomes), Arc::clone(&begun));
        clients.spawn(async move {
            loop {
                pace.turn().await;
                begun.fetch_add(1, Ordering::Relaxed);
                let outcome = (attack.attempt)(target.clone()).await;
                *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
                sleep(attack.pause).await;
            }
        });
    }
    stop.cancelled().await;
    clients.shutdown().await;
    let mut outcomes = std::mem::take(&mut *outcomes.lock().unwrap());
    let held = begun.load(Ordering::Relaxed) - outcomes.values().sum::<usize>();
    if held > 0 {
        outcomes.insert("held".to_owned(), held);
    }
    outcomes
}

/// Hands out moments at equal distances.
struct Pace {
    next: Mutex<Instant>,
    step: Duration,
}

impl Pace {
    async fn turn(&self) {
        let mine = {
            let mut next = self.next.lock().unwrap();
            let mine = (*next).max(Instant::now());
            *next = mine + self.step;
            mine
        };
        sleep_until(mine).await;
    }
}
