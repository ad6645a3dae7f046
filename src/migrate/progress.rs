//! How far a migration is, in a form that survives the process: an annotation of the CRD.
//!
//! In: one object after the other in the order of the list, done or failed. Out: the key up to which nothing is left to
//! do, but for objects that are named. Who goes on lists from the start and skips what is done; no token of the API
//! server is kept, because those expire within minutes. Pure.

use serde::{Deserialize, Serialize};

/// Where it stands.
pub const ANNOTATION: &str = "mcp-hangar.io/storage-migration";
/// Objects that can be named; with more, the place stays where it is.
const NAMED: usize = 100;

/// What is written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The version that objects are written in.
    pub to: String,
    /// Of the CRD: with another spec, everything starts again.
    pub generation: i64,
    /// Objects that are done.
    pub done: u64,
    /// The last one, as `namespace/name`. Everything up to it is done, or named below.
    pub after: String,
    /// Those that could not be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    #[serde(skip)]
    stuck: bool,
}

impl Progress {
    /// Nothing is done yet.
    pub fn new(to: &str, generation: i64) -> Self {
        Self { to: to.into(), generation, ..Self::default() }
    }

    /// Reads what was written down; rubbish is as good as nothing.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What is written down.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The next object of the list is done.
    pub fn did(&mut self, key: &str) {
        self.done = self.done.saturating_add(1);
        if !self.stuck {
            key.clone_into(&mut self.after);
        }
    }

    /// The next object of the list could not be written.
    pub fn failed(&mut self, key: &str) {
        if self.failed.iter().any(|known| known == key) {
            return;
        }
        if self.failed.len() >= NAMED {
            self.stuck = true;
        } else if !self.stuck {
            self.failed.push(key.to_owned());
            key.clone_into(&mut self.after);
        }
    }

    /// One that had failed is done after all.
    pub fn mended(&mut self, key: &str) {
        self.done = self.done.saturating_add(1);
        self.failed.retain(|known| known != key);
    }
}

/// By which lists are ordered.
pub fn key(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_again() {
        let mut progress = Progress::new("v1beta1", 4);
        progress.did("a/a");
        progress.failed("a/b");
        progress.failed("a/b");
        progress.did("a/c");
        assert_eq!((progress.done, progress.after.as_str(), progress.failed.len()), (2, "a/c", 1));
        assert_eq!(Progress::read(&progress.text()), Some(progress.clone()));
        progress.mended("a/b");
        assert_eq!((progress.done, progress.failed.len()), (3, 0));
    }

    #[test]
    fn the_place_stays_before_the_first_failure_that_cannot_be_named() {
        let mut progress = Progress::new("v1beta1", 1);
        for number in 0..=NAMED {
            progress.failed(&format!("a/{number:04}"));
        }
        progress.did("b/b");
        progress.failed("b/c");
        assert_eq!(progress.after, format!("a/{:04}", NAMED - 1));
        assert_eq!(progress.failed.len(), NAMED);
        // Names of the greatest length, and still an annotation.
        let mut progress = Progress::new("v1beta1", i64::MAX);
        for number in 0..NAMED {
            progress.failed(&format!("{}/{number:0253}", "n".repeat(63)));
        }
        assert!(progress.text().len() < 64 * 1024, "{}", progress.text().len());
    }

    #[test]
    fn keys_are_ordered_as_the_store_orders_them() {
        assert!(key(Some("a-b"), "x") < key(Some("a"), "x"));
        assert!(key(Some("a"), "x") < key(Some("b"), "a"));
    }
}
