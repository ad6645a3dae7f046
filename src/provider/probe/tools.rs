//! Which of a server's tools are offered.
//!
//! In: the names that the server lists, the allow and the deny list. Out: names in order, each once, and how many; and
//! which names of a list the server does not know, since a misspelt one would go unnoticed. Pure.

use std::collections::BTreeSet;

/// Longer names do not fit into a status: they are counted, not named.
const LONGEST: usize = 1024;

/// What a server offers after the lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Names, sorted, so that a server which shuffles them causes no writes.
    pub tools: Vec<String>,
    /// How many, those not named included.
    pub count: usize,
    /// Names of the allow or the deny list that the server does not know.
    pub unknown: Vec<String>,
}

impl Offer {
    /// Applies the lists. An empty allow list allows all; at most `most` tools are named.
    pub fn of(names: Vec<String>, allow: &[String], deny: &[String], most: usize) -> Self {
        let known: BTreeSet<String> = names.into_iter().collect();
        let unknown = allow.iter().chain(deny).filter(|name| !known.contains(*name)).cloned().collect();
        let allow: BTreeSet<&String> = allow.iter().collect();
        let deny: BTreeSet<&String> = deny.iter().collect();
        let is_offered = |name: &String| (allow.is_empty() || allow.contains(name)) && !deny.contains(name);
        let offered: Vec<String> = known.into_iter().filter(is_offered).collect();
        let count = offered.len();
        let fits = |name: &String| !name.is_empty() && name.chars().count() <= LONGEST;
        Self { tools: offered.into_iter().filter(fits).take(most).collect(), count, unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_decide_what_is_offered() {
        let texts = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (names, allow, deny, most, tools, count, unknown) in [
            ("b a c", "", "", 9, "a b c", 3, ""),
            ("b a a", "", "", 9, "a b", 2, ""),
            ("a b c", "c x", "", 9, "c", 1, "x"),
            ("a b c", "", "b y", 9, "a c", 2, "y"),
            ("a b c", "", "", 2, "a b", 3, ""),
            ("", "a", "", 9, "", 0, "a"),
        ] {
            let offer = Offer::of(texts(names), &texts(allow), &texts(deny), most);
            assert_eq!(
                offer,
                Offer { tools: texts(tools), count, unknown: texts(unknown) },
                "{names} +{allow} -{deny}"
            );
        }
    }
}
