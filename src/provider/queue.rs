//! One queue of times for all providers: who sleeps costs nothing but an entry, and mostly not even that.
//!
//! In: a thing and when it is due; a second time for the same thing counts where it is earlier. Out: what is due. The
//! time is a parameter.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Things by the time at which they are due.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    order: BTreeSet<(Instant, T)>,
    times: HashMap<T, Instant>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), times: HashMap::new() }
    }
}

impl<T: Ord + Hash + Clone> Queue<T> {
    /// Due at that time, or earlier where that was said before.
    pub(crate) fn add(&mut self, thing: T, at: Instant) {
        if self.times.get(&thing).is_some_and(|known| *known <= at) {
            return;
        }
        self.remove(&thing);
        self.times.insert(thing.clone(), at);
        self.order.insert((at, thing));
    }

    /// Due at that time, whatever was said before.
    pub(crate) fn set(&mut self, thing: T, at: Instant) {
        self.remove(&thing);
        self.add(thing, at);
    }

    /// Never due.
    pub(crate) fn remove(&mut self, thing: &T) {
        if let Some(at) = self.times.remove(thing) {
            self.order.remove(&(at, thing.clone()));
        }
    }

    /// When something is due next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The first that is due, taken out.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        self.next().filter(|at| *at <= now)?;
        let (_, thing) = self.order.pop_first()?;
        self.times.remove(&thing);
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn gives_things_in_the_order_of_their_times_each_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut queue = Queue::default();
        queue.add("late", at(9));
        queue.add("early", at(3));
        queue.add("early", at(5));
        queue.add("late", at(7));
        queue.add("never", at(1));
        queue.remove(&"never");
        queue.add("put off", at(1));
        queue.set("put off", at(8));
        assert_eq!(queue.next(), Some(at(3)));
        assert_eq!(queue.pop(at(2)), None);
        assert_eq!(queue.pop(at(3)), Some("early"));
        assert_eq!(queue.pop(at(20)), Some("late"));
        assert_eq!(queue.pop(at(20)), Some("put off"));
        assert_eq!((queue.pop(at(20)), queue.next()), (None, None));
    }
}
