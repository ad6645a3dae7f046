//! Keeps repairs from becoming a fight: a writer that disagrees with us would otherwise be answered for ever.
//!
//! In: the time of a repair that is wanted. Out: whether it may be made: twenty at once, then one every five seconds.
//! Pure; what is repaired, and that somebody else keeps changing it, is said by [`super::inject`].

use std::time::{Duration, Instant};

/// Repairs that may follow each other without a pause.
const BURST: u32 = 20;
/// After that, one in this time.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// The repairs of one object.
#[derive(Debug, Default)]
pub struct Pace {
    used: u32,
    since: Option<Instant>,
}

impl Pace {
    /// Whether one more repair may be made now.
    pub fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let back =
            u32::try_from(now.duration_since(since).as_millis() / INTERVAL.as_millis()).unwrap_or(u32::MAX);
        if back >= self.used {
            (self.used, self.since) = (0, Some(now));
        } else {
            self.used -= back;
            self.since = Some(since + INTERVAL * back);
        }
        if self.used >= BURST {
            return false;
        }
        self.used += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_repairs_are_never_held_back() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert!((0..1000).all(|n| pace.take(start + INTERVAL * n)));
    }

    #[test]
    fn a_fight_is_slowed_down_to_one_repair_an_interval() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let made = (0..60_000).filter(|&n| pace.take(start + Duration::from_millis(n * 10))).count();
        let slow = 600 / usize::try_from(INTERVAL.as_secs()).unwrap();
        assert!((slow..=slow + 21).contains(&made), "{made}");
    }
}
