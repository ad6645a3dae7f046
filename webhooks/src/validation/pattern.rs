//! Regular expressions in the syntax that Rust and Go share, with bounded memory and time.
//!
//! In: the text. Out: nothing, or what to say. It is parsed, held against what Go reads too, and compiled as discovery
//! will compile it, so that no accepted pattern fails later.

use regex_syntax::ast::{self, Ast};

use super::text::LONGEST_PARSED;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern(regex::bytes::Regex);

impl Pattern {
    /// Judges and compiles it.
    pub fn compile(text: &str) -> Result<Self, String> {
        compiled(text).map(Self)
    }

    /// Whether it matches somewhere in the text; in time proportional to it.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A pattern in the syntax that Rust and Go share, with bounded memory.
pub fn judge(text: &str) -> Result<(), String> {
    compiled(text).map(drop)
}

fn compiled(text: &str) -> Result<regex::bytes::Regex, String> {
    const LARGEST: usize = 256 * 1024;
    if text.len() > LONGEST_PARSED {
        return Err("must be a shorter regular expression".to_owned());
    }
    let mut parser = ast::parse::ParserBuilder::new().nest_limit(100).build();
    let parsed = parser.parse(text).map_err(|error| {
        format!("must be a regular expression: {}; write for example \"^tools-.*$\"", error.kind())
    })?;
    ast::visit(&parsed, Shared)?;
    // ASCII classes, as Go has them: names of objects are ASCII, and compiled patterns stay small.
    regex::bytes::RegexBuilder::new(text).unicode(false).size_limit(LARGEST).build().map_err(|error| {
        match error {
            regex::Error::CompiledTooBig(_) => "is too large when compiled; repeat less".to_owned(),
            _ => {
                "must be a regular expression over ASCII, without \\p; write for example \"[a-z]\"".to_owned()
            }
        }
    })
}

/// Refuses what Rust's regular expressions have and Go's do not.
struct Shared;

impl ast::Visitor for Shared {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, node: &Ast) -> Result<(), String> {
        const MOST: u32 = 1000;
        match node {
            Ast::Repetition(repetition) => match &repetition.op.kind {
                ast::RepetitionKind::Range(range) => {
                    let most = match range {
                        ast::RepetitionRange::Exactly(n) | ast::RepetitionRange::AtLeast(n) => *n,
                        ast::RepetitionRange::Bounded(_, n) => *n,
                    };
                    if most > MOST { Err(format!("must not repeat more than {MOST} times")) } else { Ok(()) }
                }
                _ => Ok(()),
            },
            Ast::Flags(set) => flags(&set.flags),
            Ast::Group(group) => group.flags().map_or(Ok(()), flags),
            Ast::Assertion(assertion) if is_special_boundary(&assertion.kind) => {
                Err("must not use \\b{…}, \\< or \\>; write \\b".to_owned())
            }
            Ast::ClassBracketed(class) => match &class.kind {
                ast::ClassSet::BinaryOp(_) => Err("must not combine classes with &&, -- or ~~".to_owned()),
                ast::ClassSet::Item(_) => Ok(()),
            },
            Ast::Literal(literal) => hexadecimal(literal),
            _ => Ok(()),
        }
    }
}

fn flags(flags: &ast::Flags) -> Result<(), String> {
    use ast::Flag;
    let foreign = [Flag::IgnoreWhitespace, Flag::CRLF, Flag::Unicode];
    if foreign.iter().any(|flag| flags.flag_state(*flag).is_some()) {
        return Err("may use the flags i, m, s and U only".to_owned());
    }
    Ok(())
}

fn is_special_boundary(kind: &ast::AssertionKind) -> bool {
    use ast::AssertionKind as A;
    !matches!(
        kind,
        A::StartLine | A::EndLine | A::StartText | A::EndText | A::WordBoundary | A::NotWordBoundary
    )
}

fn hexadecimal(literal: &ast::Literal) -> Result<(), String> {
    use ast::{HexLiteralKind, LiteralKind};
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("must write \\x{…}, not \\u or \\U".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_that_go_and_rust_share() {
        for good in ["", "^tools-.*$", "(?i)a|b", "[[:alpha:]]+", r"\d{1,1000}", r"\bword\b", "(?P<x>a)"] {
            assert_eq!(judge(good), Ok(()), "{good}");
        }
        for bad in [
            "(",
            "a{1001}",
            "(?=a)",
            r"(a)\1",
            "(?x)a b",
            "[a&&b]",
            r"\b{start}a",
            r"\u0041",
            r"\pL",
            "((a{900}){900}){900}",
        ] {
            assert!(judge(bad).is_err(), "{bad}");
        }
        let deep = "(".repeat(50_000) + &")".repeat(50_000);
        assert!(judge(&deep).is_err());
    }
}
