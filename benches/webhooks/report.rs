//! The rows: what was measured, against what, and whether it is good enough. A table for people, JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

/// All rows so far.
pub(crate) struct Report {
    rows: Vec<Row>,
}

/// One figure.
pub(crate) struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    ratio: Option<Spread>,
    goal: Option<(&'static str, bool)>,
}

/// A median with its quartiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of at least one number.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

impl Row {
    /// A figure that is only told.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, ratio: None, goal: None }
    }

    /// With its ratio to what it is held against.
    pub(crate) fn against(mut self, ratio: Spread) -> Self {
        self.ratio = Some(ratio);
        self
    }

    /// The ratio may be at most `most`; `text` says so.
    pub(crate) fn ratio_goal(mut self, text: &'static str, most: f64) -> Self {
        let met = self.ratio.is_some_and(|ratio| ratio.median <= most);
        self.goal = Some((text, met));
        self
    }

    /// The value may be at most `most`; `text` says so.
    pub(crate) fn goal(mut self, text: &'static str, most: f64) -> Self {
        self.goal = Some((text, self.value <= most));
        self
    }

    fn line(&self) -> String {
        let ratio = self.ratio.map_or(String::new(), |ratio| format!("{:.2}x", ratio.median));
        let spread =
            self.ratio.map_or(String::new(), |ratio| format!("{:.2} to {:.2}", ratio.low, ratio.high));
        let (goal, met) = self.goal.map_or(("", ""), |(goal, met)| (goal, if met { "yes" } else { "NO" }));
        let value = match self.value {
            value if value.abs() >= 100.0 => format!("{value:.0}"),
            value if value.abs() >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        let Self { name, unit, .. } = self;
        format!("{name:<58} {value:>8} {unit:<6} {ratio:>7} {spread:>13}  {goal:<9} {met}")
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value, "unit": self.unit,
            "ratio": self.ratio.map(|ratio| ratio.median),
            "spread": self.ratio.map(|ratio| [ratio.low, ratio.high]),
            "goal": self.goal.map(|(goal, _)| goal), "met": self.goal.map(|(_, met)| met),
        })
    }
}

impl Report {
    pub(crate) fn new() -> Self {
        println!(
            "{:<58} {:>8} {:<6} {:>7} {:>13}  {:<9} met",
            "", "value", "unit", "ratio", "quartiles", "goal"
        );
        Self { rows: Vec::new() }
    }

    /// Says what the rows that follow are about.
    pub(crate) fn heading(&mut self, text: &str) {
        println!("\n{text}");
    }

    /// A line of its own, for what is no figure.
    pub(crate) fn note(&mut self, text: &str) {
        println!("  {text}");
    }

    pub(crate) fn add(&mut self, row: Row) {
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Writes `target/bench.json` and says how it went.
    pub(crate) fn finish(self, took: Duration) {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let path = crate::server::target().join("bench.json");
        std::fs::write(&path, format!("{:#}\n", json!({ "rows": rows }))).unwrap();
        let goals = self.rows.iter().filter_map(|row| Some((row, row.goal?)));
        let (met, missed): (Vec<_>, Vec<_>) = goals.partition(|(_, (_, met))| *met);
        let mut end = format!("\n{} goals met", met.len());
        for (index, (row, (goal, _))) in missed.iter().enumerate() {
            let _ = write!(end, "{} {} ({goal})", if index == 0 { "; missed:" } else { "," }, row.name);
        }
        println!("{end}\n{} s; the rows are in {}", took.as_secs(), path.display());
    }
}
