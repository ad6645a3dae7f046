//! Did you mean?
//!
//! One suggestion, and only when it is close: within two edits and a third of the length, case aside. A wrong guess is
//! worse than none.

/// The allowed value that the text most likely meant.
pub fn closest<'a>(text: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    const FURTHEST: usize = 2;
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let text = text.to_lowercase();
    allowed
        .into_iter()
        .map(|candidate| (distance(&text, &candidate.to_lowercase()), candidate))
        .filter(|(edits, candidate)| *edits <= FURTHEST && edits * 3 <= candidate.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits between two short texts, where swapping two neighbours is one edit.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX - 1);
            let mut best =
                (at(&row, j) + usize::from(x != *y)).min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = last == Some(*y) && j > 0 && b.get(j - 1) == Some(&x);
            if swapped && i > 0 {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(x);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_close() {
        let strategies = ["RoundRobin", "LeastConnections", "Random", "Weighted", "Failover"];
        for (text, meant) in [
            ("roundrobin", Some("RoundRobin")),
            ("RoudnRobin", Some("RoundRobin")),
            ("Randmo", Some("Random")),
            ("Fail", None),
            ("", None),
            ("xyz", None),
        ] {
            assert_eq!(closest(text, strategies), meant, "{text}");
        }
        assert_eq!(closest("contaner", ["container", "remote"]), Some("container"));
        assert_eq!(closest("CONTAINER", ["container", "remote"]), Some("container"));
    }
}
