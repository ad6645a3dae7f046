//! Codes.

/// One documented reason to refuse or to warn.
#[derive(Debug)]
pub struct Code {
    /// `HGR101`
    pub id: &'static str,
    /// A short name for it.
    pub title: &'static str,
}

/// All codes, in order.
pub static CODES: &[Code] = &[];

/// Finds a code by its id, whatever the case.
pub fn find(id: &str) -> Option<&'static Code> {
    CODES.iter().find(|code| code.id.eq_ignore_ascii_case(id))
}

impl Code {
    /// The text that `explain` prints.
    pub fn explain(&self) -> String {
        String::new()
    }
}

/// The whole of docs/rules.md.
pub fn rules_markdown() -> String {
    String::new()
}
