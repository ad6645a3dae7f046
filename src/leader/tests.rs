//! Work under a leadership: it runs while this replica leads, and is gone when it does not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

/// Counts how often it was started, and how many of it exist.
#[derive(Default)]
struct Work {
    started: AtomicUsize,
    alive: AtomicUsize,
}

struct Alive<'a>(&'a Work);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Work {
    async fn run(&self, ends: bool) {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.alive.fetch_add(1, Ordering::Relaxed);
        let _alive = Alive(self);
        if !ends {
            std::future::pending::<()>().await;
        }
    }

    fn seen(&self) -> (usize, usize) {
        (self.started.load(Ordering::Relaxed), self.alive.load(Ordering::Relaxed))
    }
}

async fn settle() {
    // Paused time: this lets every other task run until it waits.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn work_runs_while_the_replica_leads_and_is_dropped_when_it_does_not() {
    let (switch, leadership) = Leadership::by_hand(false);
    let work = Arc::new(Work::default());
    let shared = Arc::clone(&work);
    let other = leadership.clone();
    tokio::spawn(async move { other.while_leading(|| shared.run(false)).await });
    settle().await;
    assert_eq!((leadership.leads(), work.seen()), (false, (0, 0)));
    for round in 1..=3 {
        switch.give();
        settle().await;
        assert_eq!((leadership.leads(), work.seen()), (true, (round, 1)));
        switch.take();
        switch.idle().await;
        assert_eq!((leadership.leads(), work.seen()), (false, (round, 0)));
    }
}

#[tokio::test(start_paused = true)]
async fn work_is_dropped_at_the_end_of_a_term_that_nobody_renews() {
    let (switch, leadership) = Leadership::by_hand(false);
    let work = Arc::new(Work::default());
    let shared = Arc::clone(&work);
    let other = leadership.clone();
    tokio::spawn(async move { other.while_leading(|| shared.run(false)).await });
    let start = Instant::now();
    switch.until(start + Duration::from_secs(10));
    tokio::time::sleep_until(start + Duration::from_secs(9)).await;
    switch.until(start + Duration::from_secs(12));
    tokio::time::sleep_until(start + Duration::from_millis(11_900)).await;
    assert_eq!(work.seen(), (1, 1));
    tokio::time::sleep_until(start + Duration::from_millis(12_010)).await;
    assert_eq!((leadership.leads(), work.seen()), (false, (1, 0)));
    switch.until(start + Duration::from_secs(20));
    settle().await;
    assert_eq!((leadership.leads(), work.seen()), (true, (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_is_started_again_only_with_the_next_term() {
    let (switch, leadership) = Leadership::by_hand(true);
    let work = Arc::new(Work::default());
    let shared = Arc::clone(&work);
    tokio::spawn(async move { leadership.while_leading(|| shared.run(true)).await });
    settle().await;
    assert_eq!(work.seen(), (1, 0));
    switch.take();
    settle().await;
    switch.give();
    settle().await;
    assert_eq!(work.seen(), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn work_of_a_process_that_was_stopped_past_its_term_is_never_polled_again() {
    let (switch, leadership) = Leadership::by_hand(false);
    let polls = Arc::new(AtomicUsize::new(0));
    let (shared, other) = (Arc::clone(&polls), leadership.clone());
    let wake = Arc::new(tokio::sync::Notify::new());
    let woken = Arc::clone(&wake);
    tokio::spawn(async move {
        other
            .while_leading(|| async {
                loop {
                    shared.fetch_add(1, Ordering::Relaxed);
                    woken.notified().await;
                }
            })
            .await;
    });
    switch.until(Instant::now() + Duration::from_secs(10));
    settle().await;
    wake.notify_one();
    settle().await;
    assert_eq!(polls.load(Ordering::Relaxed), 2);
    // As after SIGCONT: whatever the work waited for has come, and its time is over.
    wake.notify_one();
    tokio::time::advance(Duration::from_secs(30)).await;
    settle().await;
    assert_eq!((leadership.leads(), polls.load(Ordering::Relaxed)), (false, 2));
}

#[tokio::test(start_paused = true)]
async fn without_an_election_the_replica_leads_for_ever() {
    let leadership = Leadership::always();
    let work = Arc::new(Work::default());
    let (shared, other) = (Arc::clone(&work), leadership.clone());
    tokio::spawn(async move { other.while_leading(|| shared.run(false)).await });
    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
    assert_eq!((leadership.leads(), work.seen()), (true, (1, 1)));
}
