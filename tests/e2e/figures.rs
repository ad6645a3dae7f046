//! One line for each promise that a test has kept: `T1: 20 objects, ...`.
//!
//! Written past the test harness, which shows the output of a test only when it fails.

use std::fmt::Display;
use std::io::Write;

/// Says what was counted or measured for a T of GitOps, or a statement about trust.
pub(crate) fn figure(promise: &str, counted: impl Display) {
    // One write, so that lines of other threads stay apart.
    let _ = std::io::stderr().write_all(format!("{promise}: {counted}\n").as_bytes());
}
