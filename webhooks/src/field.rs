//! Where in an object something is: [`At`], a path that lives on the stack while rules walk, and [`Path`], the same
//! kept once there is something to report.
//!
//! Walking costs nothing; only an error pays for a path. A list item that has a name remembers it, so that old and new
//! errors can be matched when the list was reordered.

use std::fmt;

/// One step into an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A declared field.
    Key(&'a str),
    /// A key of a map, such as an annotation.
    MapKey(&'a str),
    /// A list item.
    Index(usize),
    /// A list item whose `name` is known.
    Item(usize, &'a str),
}

/// A path on the stack: the last step and the way to it.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

impl<'a> At<'a> {
    /// The path of a top-level field.
    pub const fn root(key: &'a str) -> Self {
        Self { parent: None, step: Step::Key(key) }
    }

    /// One step further.
    pub const fn then(&'a self, step: Step<'a>) -> At<'a> {
        At { parent: Some(self), step }
    }

    /// One field further.
    pub const fn key(&'a self, key: &'a str) -> At<'a> {
        self.then(Step::Key(key))
    }

    /// Whether one of these fields is on the way, or is the place itself.
    pub fn passes_through(&self, fields: &[&str]) -> bool {
        let here = matches!(self.step, Step::Key(key) if fields.contains(&key));
        here || self.parent.is_some_and(|parent| parent.passes_through(fields))
    }

    /// The path, to keep.
    pub fn to_path(&self) -> Path {
        let mut steps = Vec::new();
        let mut at = Some(self);
        while let Some(here) = at {
            steps.push(match here.step {
                Step::Key(key) => Segment::Key(key.to_owned()),
                Step::MapKey(key) => Segment::MapKey(key.to_owned()),
                Step::Index(index) => Segment::Item { index, name: None },
                Step::Item(index, name) => Segment::Item { index, name: Some(name.to_owned()) },
            });
            at = here.parent;
        }
        steps.reverse();
        Path(steps)
    }
}

/// A kept step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A declared field.
    Key(String),
    /// A key of a map.
    MapKey(String),
    /// A list item, with its name where it has one.
    Item {
        /// Its place in the list.
        index: usize,
        /// Its `name`.
        name: Option<String>,
    },
}

/// A kept path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(pub Vec<Segment>);

impl Path {
    /// A path of declared fields from dotted text, such as `spec.mode`.
    pub fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(|key| Segment::Key(key.to_owned())).collect())
    }

    /// The path of one annotation.
    pub fn annotation(name: &str) -> Self {
        let mut path = Self::of("metadata.annotations");
        path.0.push(Segment::MapKey(name.to_owned()));
        path
    }

    /// One field further.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.0.push(Segment::Key(key.to_owned()));
        self
    }

    /// What stays the same when a list is reordered: items by name, where they have one.
    pub fn identity(&self) -> String {
        use fmt::Write;
        let mut out = String::new();
        for segment in &self.0 {
            // Writing to a String cannot fail.
            let _ = match segment {
                Segment::Key(key) | Segment::MapKey(key) => write!(out, "/{key}"),
                Segment::Item { name: Some(name), .. } => write!(out, "/={name}"),
                Segment::Item { index, name: None } => write!(out, "/#{index}"),
            };
        }
        out
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::MapKey(key) => write!(f, "[{}]", crate::field::printable(key))?,
                Segment::Item { index, .. } => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A text from outside, made safe for one line: control characters escaped, cut at 80 characters.
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_as_kubernetes_prints_them() {
        let spec = At::root("spec");
        let env = spec.key("env");
        let item = env.then(Step::Item(2, "POD"));
        assert_eq!(item.key("name").to_path().to_string(), "spec.env[2].name");
        assert_eq!(
            Path::annotation("mcp-hangar.io/weight").to_string(),
            "metadata.annotations[mcp-hangar.io/weight]"
        );
        assert_eq!(item.to_path().identity(), "/spec/env/=POD");
    }

    #[test]
    fn printable_text_has_no_controls_and_an_end() {
        assert_eq!(printable("a\nb\u{202e}"), "a\\nb\\u{202e}");
        assert_eq!(printable(&"x".repeat(100)).chars().count(), 81);
    }
}
