//! What may be deleted, and when: mostly nothing.
//!
//! In: providers of the source that were not found, the scan, what is remembered, the time. Out: those to delete now,
//! those that wait and until when, and what to remember. Nothing after a scan with a fault, and nothing that only one
//! scan has missed. Where a whole place is not there any more (a namespace relabelled or gone, a ConfigMap gone), where
//! Pods went, or nothing at all is found where there was more than one, that second scan has to be at least `refresh` later.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// When each provider was first missed. Lost with the process: then all begins anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(BTreeMap<String, Missed>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Missed {
    since: Moment,
    /// One more scan is not enough; it has to be later.
    is_held: bool,
    /// The name was found elsewhere.
    has_heir: bool,
}

/// A time: as people read it, which may jump, and on a clock that only goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// As people read it.
    pub read: Timestamp,
    /// Since any beginning that is the same for all moments.
    pub passed: Duration,
}

/// A provider that was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its name.
    pub name: String,
    /// How sure that is.
    pub how: How,
    /// Something else was found that will have the name: then nothing is deleted, but handed over.
    pub has_heir: bool,
}

/// How a provider was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The place where it used to be was read to its end, without it.
    Left,
    /// That place is not there any more.
    PlaceAway,
    /// Its Pods went, as Pods do.
    PodsAway,
    /// The operator may not look there any more.
    OutOfSight,
}

/// Why something waits for a later scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Why {
    /// Whole places are away.
    #[default]
    PlaceAway,
    /// Pods are.
    PodsAway,
    /// Nothing was found at all.
    FoundNothing,
}

/// What becomes of the lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// To be deleted now.
    pub delete: Vec<String>,
    /// To be deleted, should the next scan miss them too.
    pub doubted: Vec<String>,
    /// To be deleted, should a scan at that time or later find them missing again.
    pub wait: BTreeMap<String, Timestamp>,
    /// Why.
    pub why: Why,
    /// Never to be deleted while the operator may not look there.
    pub hidden: Vec<String>,
    /// When the next scan may delete something.
    pub again: Option<Duration>,
}

/// The scan, as far as it counts here.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// It had no fault.
    pub is_clean: bool,
    /// It found nothing that the source wants.
    pub is_empty: bool,
    /// How many providers the source has.
    pub managed: usize,
    /// Between two scans.
    pub refresh: Duration,
}

impl Memory {
    /// It is not missed any more.
    pub fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// Decides.
pub fn decide(lost: &[Lost], look: Look, memory: &mut Memory, now: Moment) -> Verdict {
    let mut verdict = Verdict::default();
    if !look.is_clean {
        // Clean scans in a row are wanted.
        memory.0.clear();
        return verdict;
    }
    let before = std::mem::take(&mut memory.0);
    let found_nothing = look.is_empty && look.managed > 1;
    let mut only_pods = true;
    for Lost { name, how, has_heir } in lost {
        let has_heir = *has_heir;
        if *how == How::OutOfSight {
            verdict.hidden.push(name.clone());
            continue;
        }
        let old = before.get(name);
        let was_held = old.is_some_and(|old| old.is_held);
        let is_held = was_held || found_nothing || *how != How::Left;
        // What was doubted and is held now waits from now on, and so does what was found elsewhere until now.
        let first = old.filter(|old| old.is_held == is_held && old.has_heir == has_heir);
        let missed = first.copied().unwrap_or(Missed { since: now, is_held, has_heir });
        memory.0.insert(name.clone(), missed);
        let rest = if is_held {
            (missed.since.passed + look.refresh).saturating_sub(now.passed)
        } else {
            Duration::ZERO
        };
        if first.is_some() && rest.is_zero() {
            verdict.delete.push(name.clone());
            continue;
        }
        verdict.again = Some(verdict.again.map_or(rest, |again| again.min(rest)));
        if is_held {
            only_pods &= *how == How::PodsAway;
            let due = missed.since.read.checked_add(look.refresh).unwrap_or(Timestamp::MAX);
            verdict.wait.insert(name.clone(), due);
        } else {
            verdict.doubted.push(name.clone());
        }
    }
    verdict.why = match (found_nothing, only_pods) {
        (true, _) => Why::FoundNothing,
        (false, true) => Why::PodsAway,
        (false, false) => Why::PlaceAway,
    };
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(60);

    fn at(second: u64, read: i64) -> Moment {
        Moment {
            read: Timestamp::from_second(1_000_000 + read).unwrap(),
            passed: Duration::from_secs(second),
        }
    }

    fn lost(text: &str) -> Vec<Lost> {
        let one = |name: &str| Lost {
            name: name.trim_end_matches(['?', '=', 'p', '#']).into(),
            has_heir: name.contains('='),
            how: match name.chars().last() {
                Some('?' | '=') => How::PlaceAway,
                Some('p') => How::PodsAway,
                Some('#') => How::OutOfSight,
                _ => How::Left,
            },
        };
        text.split_whitespace().map(one).collect()
    }

    /// `second lost…: deleted / doubted / waiting`, where `!` is a fault, `0` nothing found of two, `1` of one; `?` a place
    /// that is not there, `=` too and its name found elsewhere, `p` Pods, `#` out of sight.
    #[test]
    fn deletes_only_what_two_scans_in_a_row_have_missed_and_what_might_come_back_later() {
        for scans in [
            vec![(0, "", "a", "", "a", ""), (1, "", "a", "a", "", ""), (2, "", "a", "a", "", "")],
            vec![(0, "", "a", "", "a", ""), (1, "", "", "", "", ""), (2, "", "a", "", "a", "")],
            vec![(0, "", "a", "", "a", ""), (1, "!", "a", "", "", ""), (2, "", "a", "", "a", "")],
            vec![(0, "!", "a", "", "", ""), (100, "!", "a", "", "", "")],
            vec![(0, "1", "a", "", "a", ""), (1, "1", "a", "a", "", "")],
            vec![(0, "0", "a", "", "", "a"), (59, "0", "a", "", "", "a"), (60, "0", "a", "a", "", "")],
            vec![
                (0, "0", "a b", "", "", "a b"),
                (30, "!", "a b", "", "", ""),
                (60, "0", "a b", "", "", "a b"),
                (120, "0", "a b", "a b", "", ""),
            ],
            vec![(0, "0", "a b", "", "", "a b"), (30, "", "b", "", "", "b"), (60, "0", "a b", "b", "", "a")],
            vec![
                (0, "", "a?", "", "", "a"),
                (30, "", "", "", "", ""),
                (70, "", "a?", "", "", "a"),
                (130, "", "a?", "a", "", ""),
            ],
            vec![(0, "", "a? b", "", "b", "a"), (1, "", "a? b", "b", "", "a"), (60, "", "a?", "a", "", "")],
            vec![(0, "", "a?", "", "", "a"), (1, "", "a", "", "", "a"), (60, "", "a", "a", "", "")],
            // What was doubted, and then its place went, waits as long as if it had been there.
            vec![
                (0, "", "a", "", "a", ""),
                (5, "", "a?", "", "", "a"),
                (61, "", "a?", "", "", "a"),
                (65, "", "a?", "a", "", ""),
            ],
            vec![
                (0, "", "a=", "", "", "a"),
                (59, "", "a?", "", "", "a"),
                (60, "", "a?", "", "", "a"),
                (119, "", "a?", "a", "", ""),
            ],
            vec![(0, "", "a=", "", "", "a"), (60, "", "a=", "a", "", "")],
            vec![(0, "", "xp", "", "", "x"), (60, "", "xp", "x", "", "")],
            vec![(0, "", "a#", "", "", ""), (60, "", "a#", "", "", ""), (600, "", "a#", "", "", "")],
        ] {
            let mut memory = Memory::default();
            for (second, how, text, delete, doubted, wait) in scans.clone() {
                let managed = if how == "1" { 1 } else { 2 };
                let is_empty = how == "0" || how == "1";
                let look = Look { is_clean: how != "!", is_empty, managed, refresh: REFRESH };
                // The clock that people read jumps a year forth and back.
                let read = if second % 2 == 0 { 31_536_000 } else { -31_536_000 };
                let verdict = decide(&lost(text), look, &mut memory, at(second, read));
                let waiting: Vec<_> = verdict.wait.keys().map(String::as_str).collect();
                assert_eq!(
                    (verdict.delete.join(" "), verdict.doubted.join(" "), waiting.join(" ")),
                    (delete.into(), doubted.into(), wait.into()),
                    "{second} {text} of {scans:?}"
                );
                let waits = !doubted.is_empty() || !wait.is_empty();
                assert_eq!(verdict.again.is_some(), waits, "{second} {text} of {scans:?}");
            }
        }
    }

    #[test]
    fn the_next_scan_comes_at_once_for_a_doubt_and_when_it_is_due_for_what_waits() {
        let look = Look { is_clean: true, is_empty: false, managed: 3, refresh: REFRESH };
        let mut memory = Memory::default();
        let verdict = decide(&lost("a b?"), look, &mut memory, at(0, 0));
        assert_eq!(verdict.again, Some(Duration::ZERO));
        let verdict = decide(&lost("b? cp"), look, &mut memory, at(20, 0));
        assert_eq!((verdict.again, verdict.why), (Some(Duration::from_secs(40)), Why::PlaceAway));
        let verdict = decide(&lost("cp"), look, &mut memory, at(30, 0));
        assert_eq!((verdict.again, verdict.why), (Some(Duration::from_secs(50)), Why::PodsAway));
    }
}
