//! When a group is looked at after a change, so that a burst of changes is one write and a long one a bounded number.
//!
//! In: when changes were heard and when a look began. Out: when the next look is due. A change is looked at when it has
//! been quiet for a moment, however long the burst lasts after some patience, and never sooner than a rest after the
//! look before. Patience and rest grow with the group: what is written in a second stays the same. Time is a parameter.

use std::time::{Duration, Instant};

/// Quiet that ends a burst.
pub const QUIET: Duration = Duration::from_millis(150);
/// Longest wait after the first change, and rest after a look, of a small group.
pub const REST: Duration = Duration::from_secs(1);
/// The same of the largest.
pub const LONGEST_REST: Duration = Duration::from_secs(5);
/// More of both for each member.
const PER_MEMBER: Duration = Duration::from_millis(1);

/// What is remembered of one group.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// The first change that has not been looked at.
    first: Option<Instant>,
    looked: Option<Instant>,
}

impl Pace {
    /// A change was heard now; when to look. Each further change says anew when.
    pub fn changed(&mut self, now: Instant, members: usize) -> Instant {
        let rest = rest(members);
        let first = *self.first.get_or_insert(now);
        let calm = (now + QUIET).min(first + rest);
        self.looked.map_or(calm, |looked| calm.max(looked + rest))
    }

    /// A look begins now, and has heard of all changes so far.
    pub fn looks(&mut self, now: Instant) {
        self.first = None;
        self.looked = Some(now);
    }
}

/// Time between two looks at a group of that size.
pub fn rest(members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    REST.saturating_add(PER_MEMBER.saturating_mul(members)).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Changes at these milliseconds; the looks that follow, in milliseconds.
    fn looks(changes: &[u64], members: usize) -> Vec<u64> {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let (mut pace, mut due, mut found) = (Pace::default(), None::<Instant>, Vec::new());
        let mut look = |pace: &mut Pace, at: Instant| {
            pace.looks(at);
            found.push(u64::try_from(at.duration_since(start).as_millis()).unwrap());
        };
        for change in changes {
            if let Some(time) = due.filter(|due| *due <= at(*change)) {
                look(&mut pace, time);
            }
            due = Some(pace.changed(at(*change), members));
        }
        if let Some(time) = due {
            look(&mut pace, time);
        }
        found
    }

    #[test]
    fn a_burst_is_one_look_and_a_long_one_a_few() {
        let every =
            |step: u64, until: u64| (0..until).step_by(usize::try_from(step).unwrap()).collect::<Vec<_>>();
        for (changes, members, expected) in [
            (vec![0], 1, vec![150]),
            (vec![0, 1, 2, 100], 1, vec![250]),
            // Alone again after a rest: as quick as the first.
            (vec![0, 5000], 1, vec![150, 5150]),
            // Soon after a look: not before the rest is over.
            (vec![0, 300], 0, vec![150, 1150]),
            (every(10, 5000), 0, vec![1000, 2000, 3000, 4000, 5000]),
            (every(200, 5000), 0, vec![150, 1150, 2150, 3150, 4150, 5150]),
            // A larger group rests longer.
            (every(10, 6000), 1000, vec![2000, 4000, 6000]),
            (every(10, 10_000), 100_000, vec![5000, 10_000]),
        ] {
            assert_eq!(looks(&changes, members), expected, "{} changes, {members}", changes.len());
        }
    }

    proptest! {
        #[test]
        fn every_change_is_looked_at_in_time_and_looks_keep_their_distance(
            mut changes in proptest::collection::vec(0u64..20_000, 1..200), members in 0usize..6000,
        ) {
            changes.sort_unstable();
            changes.dedup();
            let found = looks(&changes, members);
            let rest = u64::try_from(rest(members).as_millis()).unwrap();
            prop_assert!(found.windows(2).all(|pair| pair[1] - pair[0] >= rest), "{found:?}");
            for change in &changes {
                let next = found.iter().find(|look| *look >= change);
                prop_assert!(next.is_some_and(|look| look - change <= 2 * rest), "{change}: {found:?}");
            }
        }
    }
}
