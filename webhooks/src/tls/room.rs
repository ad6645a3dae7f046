//! A bounded number of places for connections; the slowest gives way.
//!
//! A newcomer to a full room takes the place of the connection that came first and has not done anything useful yet,
//! or else of the one that has idled longest since its last answer, so that slow, half-open or sleeping clients, however
//! many, cannot keep good ones out. A wait that is shorter than the limit's patience is never cut, because a request
//! may be on its way: the newcomer can wait until it is longer. A call that is being answered is never cut.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::watch::Watch;

#[derive(Debug)]
pub(super) struct Room {
    places: usize,
    patience: Duration,
    guests: Mutex<Guests>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    /// In order of arrival.
    present: BTreeMap<u64, Arc<Watch>>,
}

/// A place in a room, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.room.guests().present.remove(&self.id).is_some() {
            self.room.left.notify_one();
        }
    }
}

impl Room {
    pub(super) fn new(places: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self { places, patience, guests: Mutex::default(), left: Notify::new() })
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, cutting another connection if need be; `None` if none of the others can be cut yet.
    pub(super) fn enter(self: &Arc<Self>, watch: &Arc<Watch>) -> Option<Place> {
        let mut guests = self.guests();
        if guests.present.len() >= self.places {
            let (id, since) = guests.slowest()?;
            if since + self.patience > Instant::now() {
                return None;
            }
            if let Some(slowest) = guests.present.remove(&id) {
                slowest.cut();
            }
        }
        let id = guests.next;
        guests.next += 1;
        guests.present.insert(id, Arc::clone(watch));
        drop(guests);
        Some(Place { room: Arc::clone(self), id })
    }

    /// Waits until [`Self::enter`] may succeed; `false` as soon as all others are worth keeping.
    pub(super) async fn vacancy(&self) -> bool {
        loop {
            let left = self.left.notified();
            let patience_ends = {
                let guests = self.guests();
                if guests.present.len() < self.places {
                    return true;
                }
                let Some((_, since)) = guests.slowest() else { return false };
                since + self.patience
            };
            if patience_ends <= Instant::now() {
                return true;
            }
            drop(timeout_at(patience_ends, left).await);
        }
    }
}

impl Guests {
    /// The one that can best be spared, and since when it has been waited for.
    fn slowest(&self) -> Option<(u64, Instant)> {
        let useless = self.present.iter().find(|(_, watch)| watch.is_dispensable());
        if let Some((id, watch)) = useless {
            return Some((*id, watch.born()));
        }
        self.present
            .iter()
            .filter_map(|(id, watch)| Some((*id, watch.waiting_since()?)))
            .min_by_key(|(_, since)| *since)
    }
}
