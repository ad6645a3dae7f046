//! What may be deleted, and when: mostly nothing.
//!
//! In: providers of the source that were not found, the scan, what is remembered, the time. Out: those to delete now,
//! those that wait and until when, and what to remember. Nothing after a scan with a fault. Where a whole place is not
//! there any more (a namespace relabelled or gone, a ConfigMap gone), or nothing at all is found where there was more
//! than one, a second clean scan at least `refresh` later has to say the same.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use std::time::Duration;

/// When each provider was first missed, of those for which one scan is not enough. Lost with the process: then the time
/// begins anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(BTreeMap<String, Timestamp>);

/// A provider that was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its name.
    pub name: String,
    /// The place where it used to be was read to its end in this scan.
    pub place_is_there: bool,
}

/// What becomes of the lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// To be deleted now.
    pub delete: Vec<String>,
    /// To be deleted, should a scan at that time or later find them missing again.
    pub wait: BTreeMap<String, Timestamp>,
    /// Nothing was found at all.
    pub found_nothing: bool,
}

/// The scan, as far as it counts here.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// It had no fault.
    pub is_clean: bool,
    /// It found nothing that the source wants.
    pub is_empty: bool,
    /// Between two scans.
    pub refresh: Duration,
}

/// Decides.
pub fn decide(lost: &[Lost], look: Look, memory: &mut Memory, now: Timestamp) -> Verdict {
    if !look.is_clean {
        // Two clean scans in a row are wanted.
        memory.0.clear();
        return Verdict::default();
    }
    memory.0.retain(|name, _| lost.iter().any(|lost| lost.name == *name));
    let mut verdict = Verdict { found_nothing: look.is_empty && lost.len() > 1, ..Verdict::default() };
    for Lost { name, place_is_there } in lost {
        if *place_is_there && !verdict.found_nothing && !memory.0.contains_key(name) {
            verdict.delete.push(name.clone());
            continue;
        }
        let first = *memory.0.entry(name.clone()).or_insert(now);
        let due = first.checked_add(look.refresh).unwrap_or(Timestamp::MAX);
        if due <= now {
            verdict.delete.push(name.clone());
        } else {
            verdict.wait.insert(name.clone(), due);
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn lost(text: &str) -> Vec<Lost> {
        let one = |name: &str| Lost {
            name: name.trim_end_matches('?').into(),
            place_is_there: !name.ends_with('?'),
        };
        text.split_whitespace().map(one).collect()
    }

    /// `second lost…: deleted / waiting`, where `!` is a fault, `0` nothing found, `?` a place that is not there.
    #[test]
    fn deletes_at_once_only_what_left_a_place_that_is_there() {
        for scans in [
            vec![(0, "", "a", "a", "")],
            vec![(0, "!", "a", "", ""), (100, "!", "a", "", "")],
            vec![(0, "0", "a", "a", "")],
            vec![(0, "0", "a b", "", "a b"), (59, "0", "a b", "", "a b"), (60, "0", "a b", "a b", "")],
            vec![
                (0, "0", "a b", "", "a b"),
                (30, "!", "a b", "", ""),
                (60, "0", "a b", "", "a b"),
                (120, "0", "a b", "a b", ""),
            ],
            vec![(0, "0", "a b", "", "a b"), (30, "", "b", "", "b"), (60, "0", "a b", "b", "a")],
            vec![
                (0, "", "a?", "", "a"),
                (30, "", "", "", ""),
                (70, "", "a?", "", "a"),
                (130, "", "a?", "a", ""),
            ],
            vec![(0, "", "a? b", "b", "a"), (60, "", "a?", "a", "")],
            vec![(0, "", "a?", "", "a"), (60, "", "a", "a", "")],
        ] {
            let mut memory = Memory::default();
            for (second, how, text, delete, wait) in scans {
                let look = Look { is_clean: how != "!", is_empty: how == "0", refresh: REFRESH };
                let verdict = decide(&lost(text), look, &mut memory, at(second));
                let waiting: Vec<_> = verdict.wait.keys().map(String::as_str).collect();
                assert_eq!(
                    (verdict.delete.join(" "), waiting.join(" ")),
                    (delete.into(), wait.into()),
                    "{second} {text}"
                );
            }
        }
    }
}
