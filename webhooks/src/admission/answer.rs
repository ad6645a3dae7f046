//! How an answer is written: an AdmissionReview with a patch and warnings, or with the whole `Status` of a denial.
//!
//! kubectl prints the causes for one object and the message for several; pipelines print the message. Both hold
//! everything. The text is assembled by hand: one pass, no tree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcp_hangar_api::GROUP;

use crate::field::printable;
use crate::json::write_string;
use crate::kind::Kind;
use crate::reply::{Reply, uid_of};
use crate::validation::code::{self, Reason};
use crate::validation::report::Violation;

/// How many errors one answer lists.
const LISTED: usize = 20;

/// What is said of one object.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Patch operations, each a JSON object.
    pub(super) patch: Vec<String>,
    /// Lines for the person who waits.
    pub(super) warnings: Vec<String>,
    /// Why not.
    pub(super) denial: Option<Denial>,
}

/// Why an object is refused.
#[derive(Debug)]
pub(super) enum Denial {
    /// It broke rules.
    Invalid {
        /// Its kind.
        kind: Kind,
        /// The name in the answer.
        name: String,
        /// The message about all of it.
        message: String,
        /// The broken rules that are listed.
        violations: Vec<Violation>,
        /// How many more there are.
        more: usize,
    },
    /// The review could not be read.
    Unreadable(String),
}

impl Denial {
    /// A denial by rules.
    pub(super) fn new(
        kind: Kind,
        namespace: &str,
        name: &str,
        mut violations: Vec<Violation>,
        mut more: usize,
    ) -> Self {
        more += violations.len().saturating_sub(LISTED);
        violations.truncate(LISTED);
        let mut errors: Vec<String> =
            violations.iter().map(|violation| format!("{}: {}", violation.path, violation.message)).collect();
        if more > 0 {
            errors.push(and_more(more));
        }
        let errors = match errors.as_slice() {
            [only] => only.clone(),
            _ => format!("[{}]", errors.join(", ")),
        };
        let object = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        let message = format!("{kind}.{GROUP} \"{}\" is invalid: {errors}", printable(&object));
        Self::Invalid { kind, name: name.to_owned(), message, violations, more }
    }
}

fn and_more(count: usize) -> String {
    format!("and {count} more")
}

impl Verdict {
    /// Let in as it is.
    pub(super) fn allowed() -> Self {
        Self::default()
    }

    /// Refused because nobody can say what it is.
    pub(super) fn unreadable(message: String) -> Self {
        Self { denial: Some(Denial::Unreadable(message)), ..Self::default() }
    }

    /// The codes of all listed errors.
    pub(super) fn codes(&self) -> Vec<&'static str> {
        match &self.denial {
            Some(Denial::Invalid { violations, .. }) => {
                violations.iter().map(|violation| violation.code.id).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The review.
    pub(super) fn write(&self, uid: &str) -> String {
        let mut out = String::with_capacity(512);
        out.push_str(r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"#);
        write_string(uid, &mut out);
        match &self.denial {
            None => {
                out.push_str(r#","allowed":true"#);
                if !self.patch.is_empty() {
                    out.push_str(r#","patchType":"JSONPatch","patch":""#);
                    STANDARD.encode_string(format!("[{}]", self.patch.join(",")), &mut out);
                    out.push('"');
                }
            }
            Some(denial) => {
                out.push_str(r#","allowed":false,"status":"#);
                denial.write(&mut out);
            }
        }
        if !self.warnings.is_empty() {
            out.push_str(r#","warnings":["#);
            separated(&self.warnings, &mut out, |warning, out| write_string(warning, out));
            out.push(']');
        }
        out.push_str("}}");
        out
    }
}

impl Denial {
    fn write(&self, out: &mut String) {
        match self {
            Self::Unreadable(message) => {
                status(out, message, "BadRequest", 400);
            }
            Self::Invalid { kind, name, message, violations, more } => {
                let policy_only = violations.iter().all(|violation| is_policy(violation.code)) && *more == 0;
                let (reason, code) = if policy_only { ("Forbidden", 403) } else { ("Invalid", 422) };
                status(out, message, reason, code);
                out.pop();
                out.push_str(r#","details":{"group":"#);
                write_string(GROUP, out);
                out.push_str(r#","kind":"#);
                write_string(kind.name(), out);
                out.push_str(r#","name":"#);
                write_string(name, out);
                out.push_str(r#","causes":["#);
                separated(violations, out, |violation, out| {
                    cause(out, violation.code.reason, &violation.path.to_string(), &violation.message);
                });
                if *more > 0 {
                    out.push(',');
                    cause(out, Reason::Invalid, "…", &and_more(*more));
                }
                out.push_str("]}}");
            }
        }
    }
}

/// Rules that a person with other rights, or another flag, would not have broken.
fn is_policy(broken: &code::Code) -> bool {
    *broken == code::FOREIGN_CONFIGMAP || *broken == code::MUTABLE_IMAGE
}

fn status(out: &mut String, message: &str, reason: &str, code: u16) {
    out.push_str(r#"{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Failure","message":"#);
    write_string(message, out);
    out.push_str(r#","reason":"#);
    write_string(reason, out);
    out.push_str(r#","code":"#);
    out.push_str(&code.to_string());
    out.push('}');
}

fn cause(out: &mut String, reason: Reason, field: &str, message: &str) {
    out.push_str(r#"{"reason":"#);
    write_string(reason.cause(), out);
    out.push_str(r#","message":"#);
    write_string(message, out);
    out.push_str(r#","field":"#);
    write_string(field, out);
    out.push('}');
}

fn separated<T>(items: &[T], out: &mut String, mut write: impl FnMut(&T, &mut String)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
}

/// The answer to a body that is no review: a denial under its uid where one can be found, else 400.
pub(super) fn undecodable(body: &[u8], error: &serde_json::Error) -> Reply {
    let message = format!("the body is not an AdmissionReview that can be read: {error}");
    match uid_of(body) {
        Some(uid) => Reply { status: 200, body: Verdict::unreadable(message).write(&uid).into_bytes() },
        None => Reply { status: 400, body: message.into_bytes() },
    }
}
