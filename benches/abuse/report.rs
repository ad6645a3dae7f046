//! What the attacks did, as a table for people and `target/abuse.json` for programs; and the bound on memory.
//!
//! In: a row an attack. Out: text, a file, and the exit status: failure when a call failed, an attack ended as it must
//! not, memory went over the bound, or the server ended. A latency over its goal is only told.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use mcp_hangar_webhooks::service::Limits;
use serde_json::{Value, json};

use crate::crowd::Outcomes;

/// The most that good calls may slow down.
const GOAL: f64 = 2.0;

const MIB: usize = 1 << 20;
/// Code, policy, schemas, threads, and what the allocator keeps.
const BASE: usize = 32 * MIB;
/// A header (64 KiB), what waits to be encrypted and sent (64 KiB), a record each way (36 KiB), the task and its state.
const CONNECTION: usize = 192 << 10;
/// Memory for each byte of a review while it is judged. The worst are objects of one member: 7 bytes of text, and a
/// list with room for four members and their names.
const JUDGED: usize = 40;

/// The most memory that the limits allow, in MiB.
pub(crate) fn bound() -> f64 {
    let limits = Limits::default();
    let connections = limits.connections + limits.overflow + limits.half_open;
    // A body's buffer grows by doubling: up to twice what was charged for.
    let bodies = 2 * (limits.in_flight_bytes + limits.connections * limits.reserved_bytes);
    // One core is left to small reviews.
    let at_once = available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
    let judged = at_once * JUDGED * limits.admission_bytes;
    (BASE + connections * CONNECTION + bodies + judged) as f64 / MIB as f64
}

/// The folder `target`, wherever cargo has it.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// What one attack did.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// 99th percentile during the attack, in ms, on kept connections.
    pub(crate) kept: f64,
    /// Against the same without.
    pub(crate) kept_ratio: f64,
    /// The same on new connections.
    pub(crate) new: f64,
    pub(crate) new_ratio: f64,
    pub(crate) calls: usize,
    pub(crate) failures: Vec<String>,
    pub(crate) outcomes: Outcomes,
    pub(crate) unexpected: Vec<String>,
    /// Resident memory at its most, and afterwards, in MiB.
    pub(crate) peak: f64,
    pub(crate) after: f64,
    /// How many cores the server kept busy during the attack, good calls included.
    pub(crate) cores: f64,
}

impl Row {
    fn is_fast(&self) -> bool {
        self.kept_ratio <= GOAL && self.new_ratio <= GOAL
    }

    fn outcomes(&self) -> String {
        let each: Vec<String> =
            self.outcomes.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        each.join(", ")
    }

    fn line(&self) -> String {
        let Self { name, kept, kept_ratio, new, new_ratio, peak, after, cores, .. } = self;
        let met = if self.is_fast() { "yes" } else { "NO" };
        format!(
            "{name:<31} {kept:>7.2} {kept_ratio:>6.2}x {new:>7.2} {new_ratio:>6.2}x {met:>4} {:>7} {:>6} {peak:>6.0} {after:>6.0} {cores:>6.2}  {}",
            self.calls,
            self.failures.len(),
            self.outcomes()
        )
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "value": self.kept, "unit": "ms", "ratio": self.kept_ratio, "goal": format!("<= {GOAL}x"),
            "met": self.is_fast(), "new": {"value": self.new, "ratio": self.new_ratio}, "calls": self.calls,
            "failures": self.failures.len(), "outcomes": self.outcomes, "unexpected": self.unexpected,
            "peak_mib": self.peak, "after_mib": self.after, "server_cores": self.cores,
        })
    }
}

/// All rows so far.
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new() -> Self {
        println!(
            "99th percentile of good calls in ms and against quiet; failed calls; memory in MiB; busy cores\n"
        );
        println!(
            "{:<31} {:>7} {:>7} {:>7} {:>7} {:>4} {:>7} {:>6} {:>6} {:>6} {:>6}  attempts",
            "", "kept", "ratio", "new", "ratio", "met", "calls", "failed", "peak", "after", "cores"
        );
        Self { rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: Row) {
        println!("{}", row.line());
        for text in row.failures.iter().take(3) {
            println!("    failed: {text}");
        }
        for outcome in &row.unexpected {
            println!("    an attempt may not end so: {outcome}");
        }
        self.rows.push(row);
    }

    /// Writes the file and judges.
    pub(crate) fn finish(self, alive: bool, took: Duration) -> ExitCode {
        let bound = bound();
        let peak = self.rows.iter().map(|row| row.peak).fold(0.0, f64::max);
        let failed: usize = self.rows.iter().map(|row| row.failures.len()).sum();
        let calls: usize = self.rows.iter().map(|row| row.calls).sum();
        let held = self.rows.iter().all(|row| row.unexpected.is_empty());
        let slow: Vec<&str> = self.rows.iter().filter(|row| !row.is_fast()).map(|row| row.name).collect();
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let passed = alive && held && failed == 0 && peak <= bound;
        let json = json!({ "rows": rows, "bound_mib": bound, "peak_mib": peak, "calls": calls, "failures": failed, "alive": alive, "passed": passed });
        let path = target().join("abuse.json");
        std::fs::write(&path, format!("{json:#}\n")).unwrap();
        println!("\n{calls} good calls, {failed} failed; memory at most {peak:.0} MiB of {bound:.0} MiB");
        println!("the server {}", if alive { "is alive" } else { "ENDED" });
        if !slow.is_empty() {
            println!("over {GOAL}x: {}", slow.join(", "));
        }
        println!("{} s; the rows are in {}", took.as_secs(), path.display());
        if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
