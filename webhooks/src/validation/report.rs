//! What rules say, and how: one place for the grammar of every message.
//!
//! `<kind of error>: <bad value>: <what is allowed>; <fix> [HGRnnn]`. Rules name hub fields; [`Report`] turns each
//! path, and each name inside a message, into the version that was sent. Values are quoted, cut and, where they may
//! be secret, hidden here. It keeps what is said in order and bounded, and leaves the answer to `admission`.

use super::code::{Code, Reason};
use super::quote::{listed, quoted};
use super::suggest;
use crate::conversion::table::{self, Place};
use crate::field::{At, Path, printable};
use crate::json::Json;
use crate::kind::{Kind, Version};
use mcp_hangar_api::annotation::CONVERSION_DATA;

/// How many violations are kept; the rest is counted.
const KEPT: usize = 1000;

/// One broken rule.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Where, in the version that was sent.
    pub path: Path,
    /// Which rule.
    pub code: &'static Code,
    /// The message with its code.
    pub message: String,
    /// The values that broke it: an update that leaves them alone is not blamed again.
    pub values: String,
    /// The other field of a clash, and what to say there: used where only that one was changed.
    pub other: Option<Box<(Path, String)>>,
}

/// What rules found in one object.
#[derive(Debug)]
pub struct Report {
    kind: Kind,
    version: Version,
    violations: Vec<Violation>,
    uncounted: usize,
    warnings: Vec<String>,
    of_stash: bool,
}

/// How a bad value is shown.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// Quoted.
    Text(&'a str),
    /// As JSON; lists and objects only by their brackets.
    Value(&'a Json<'a>),
    /// Not at all, because it may be a secret.
    Hidden,
    /// The message speaks of no value.
    Nothing,
}

impl Report {
    /// An empty report about an object of that kind in that version.
    pub fn new(kind: Kind, version: Version) -> Self {
        Self { kind, version, violations: Vec::new(), uncounted: 0, warnings: Vec::new(), of_stash: false }
    }

    /// The version that was sent.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A field's name as the user writes it, from its place in the hub.
    pub fn name(&self, hub: &At<'_>) -> String {
        match table::place(self.kind, self.version, hub.to_path()) {
            Place::Field(path) | Place::Stashed(path) => path.to_string(),
        }
    }

    /// `mode` as the user spells it, from the hub's spelling.
    pub fn mode<'a>(&self, hub: &'a str) -> &'a str {
        match self.version {
            Version::V1Alpha1 => table::swap_mode(hub).unwrap_or(hub),
            Version::V1Beta1 => hub,
        }
    }

    /// A broken rule at a place of the hub. `values` is what has to change for the rule to be judged anew.
    pub fn hub(&mut self, at: &At<'_>, code: &'static Code, shown: Shown<'_>, values: &str, says: &str) {
        match table::place(self.kind, self.version, at.to_path()) {
            Place::Field(path) => self.push(path, code, shown, values, says),
            Place::Stashed(path) => {
                let says = format!("{path} (a {} field): {says}", Version::HUB);
                let values = format!("{path}\0{values}");
                self.push_always(Path::annotation(CONVERSION_DATA), code, shown, &values, &says);
            }
        }
    }

    /// A broken rule at a place of the version that was sent; within [`Report::of_stash`], at a place of the hub.
    pub fn sent(&mut self, at: &At<'_>, code: &'static Code, shown: Shown<'_>, values: &str, says: &str) {
        if !self.of_stash {
            self.push(at.to_path(), code, shown, values, says);
        } else if let Place::Stashed(_) = table::place(self.kind, self.version, at.to_path()) {
            self.hub(at, code, shown, values, says);
        }
    }

    /// Judges the hub object by what only its stash can have said: the rest has been judged as it was sent.
    pub fn of_stash(&mut self, judge: impl FnOnce(&mut Self)) {
        self.of_stash = true;
        judge(self);
        self.of_stash = false;
    }

    /// The same by a kept path.
    pub fn push(&mut self, path: Path, code: &'static Code, shown: Shown<'_>, values: &str, says: &str) {
        // The first word about a field is the most basic one: what the schema says comes before what a rule says.
        if self.violations.len() < KEPT
            && self.violations.iter().any(|said| said.path == path && said.code.reason != Reason::Duplicate)
        {
            return;
        }
        self.push_always(path, code, shown, values, says);
    }

    fn push_always(&mut self, path: Path, code: &'static Code, shown: Shown<'_>, values: &str, says: &str) {
        if self.violations.len() == KEPT {
            self.uncounted += 1;
            return;
        }
        let message = message(code, shown, says);
        self.violations.push(Violation { path, code, message, values: values.to_owned(), other: None });
    }

    /// For a clash of two fields, what to say at the other one should only that one have changed. Belongs to the
    /// violation pushed last.
    pub fn or_at(&mut self, hub: &At<'_>, code: &'static Code, shown: Shown<'_>, says: &str) {
        if let Place::Field(path) = table::place(self.kind, self.version, hub.to_path())
            && let Some(last) = self.violations.last_mut().filter(|last| last.code.id == code.id)
        {
            last.other = Some(Box::new((path, message(code, shown, says))));
        }
    }

    /// A warning at a place of the hub: one line, at most 120 characters. Nothing is said of a field that the sent
    /// version does not have.
    pub fn warn(&mut self, hub: &At<'_>, what: &str, fix: &str) {
        const LONGEST: usize = 120;
        const MOST: usize = 20;
        let Place::Field(path) = table::place(self.kind, self.version, hub.to_path()) else { return };
        let line = printable_line(&format!("{path}: {what}; {fix}"));
        let line = if line.chars().count() > LONGEST {
            line.chars().take(LONGEST - 1).chain(['…']).collect()
        } else {
            line
        };
        if self.warnings.len() < MOST && !self.warnings.contains(&line) {
            self.warnings.push(line);
        }
    }

    /// Whether nothing is refused.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Everything found: violations in field order, how many more there were, and the warnings.
    pub fn finish(mut self) -> (Vec<Violation>, usize, Vec<String>) {
        self.violations.sort_by(|a, b| a.path.cmp(&b.path).then(a.code.id.cmp(b.code.id)));
        (self.violations, self.uncounted, self.warnings)
    }
}

fn message(code: &Code, shown: Shown<'_>, says: &str) -> String {
    let head = code.reason.text();
    match show(shown) {
        Some(value) => format!("{head}: {value}: {says} [{}]", code.id),
        None => format!("{head}: {says} [{}]", code.id),
    }
}

fn show(shown: Shown<'_>) -> Option<String> {
    Some(match shown {
        Shown::Text(text) => quoted(text),
        Shown::Value(Json::String(text)) => quoted(text),
        Shown::Value(Json::Array(_)) => "[…]".to_owned(),
        Shown::Value(Json::Object(_)) => "{…}".to_owned(),
        Shown::Value(value) => printable(&value.canonical()),
        Shown::Hidden => "(hidden)".to_owned(),
        Shown::Nothing => return None,
    })
}

fn printable_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What to say of a value that is none of the supported ones.
pub fn supported<'a>(value: &str, allowed: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let mut says = format!("supported values: {}", listed(allowed.clone()));
    if let Some(best) = suggest::closest(value, allowed) {
        says.push_str(&format!("; did you mean {}?", quoted(best)));
    }
    says
}
