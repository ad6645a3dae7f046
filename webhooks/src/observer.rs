//! What the server reports of its own work. The operator implements [`Observer`] with metrics; tests with counters.
//!
//! Every method is called from the request path: an implementation must not block.

use std::time::Duration;

/// Receives what the webhook server did. Every method does nothing by default.
pub trait Observer: Send + Sync + 'static {
    /// One admission review was answered.
    fn admission(&self, _record: &Admission<'_>) {}

    /// One conversion review was answered.
    fn conversion(&self, _record: &Conversion<'_>) {}

    /// A handler panicked; the caller got a 500, the process goes on.
    fn panicked(&self, _path: &str) {}

    /// A connection or request was turned away by one of the server's limits.
    fn refused(&self, _limit: &'static str) {}

    /// A TLS handshake failed; `reason` is one of a fixed set of words.
    fn handshake_failed(&self, _reason: &'static str) {}
}

/// The observer that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// One answered admission review. Labels are from fixed sets: a text that a client sent never becomes a label.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    /// `default` or `validate`.
    pub webhook: &'static str,
    /// One of our kinds, or `unknown`.
    pub kind: &'static str,
    /// `v1alpha1`, `v1beta1` or `unknown`.
    pub version: &'static str,
    /// `CREATE`, `UPDATE` or `other`.
    pub operation: &'static str,
    /// Whether the object was let in.
    pub allowed: bool,
    /// The codes of all errors, with repetitions, such as `HGR101`.
    pub codes: &'a [&'static str],
    /// Time from the whole body read to the answer ready.
    pub elapsed: Duration,
}

/// One answered conversion review.
#[derive(Debug, Clone, Copy)]
pub struct Conversion<'a> {
    /// One of our kinds, or `unknown`.
    pub kind: &'static str,
    /// Version of the first object, or `unknown`.
    pub from: &'a str,
    /// The desired version, or `unknown`.
    pub to: &'a str,
    /// Number of objects in the review.
    pub objects: usize,
    /// Whether all were converted.
    pub succeeded: bool,
    /// Time from the whole body read to the answer ready.
    pub elapsed: Duration,
}
