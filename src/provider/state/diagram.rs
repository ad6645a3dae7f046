//! The table of transitions as text for the docs.
//!
//! In: [`super::table::TABLE`]. Out: a mermaid diagram of the five states that users see, and a table of every
//! transition. A test holds docs/provider.md against both.

use std::fmt::Write;

use super::table::{Node, TABLE};

/// Diagram and table, as Markdown.
pub fn markdown() -> String {
    format!("```mermaid\n{}```\n\n{}", mermaid(), table())
}

fn mermaid() -> String {
    let mut out = String::from("stateDiagram-v2\n");
    let mut lines = vec!["    [*] --> Cold\n".to_owned()];
    for row in &TABLE {
        // A line from each state would hide the others: what leaves everything has one line.
        if row.from.len() > 3 {
            lines.push(format!("    any --> {}: {}\n", place(row.to), row.when));
        } else {
            lines.extend(
                row.from
                    .iter()
                    .map(|from| format!("    {} --> {}: {}\n", place(*from), place(row.to), row.when)),
            );
        }
    }
    out.push_str("    state Dead {\n");
    for node in [Node::CircuitOpen, Node::HalfOpen, Node::StartupFailed, Node::InvalidSpec] {
        let _ = writeln!(out, "        {}", place(node));
    }
    out.push_str("    }\n");
    lines.iter().for_each(|line| out.push_str(line));
    out
}

fn table() -> String {
    let mut out = String::from("| from | when | to | event |\n|---|---|---|---|\n");
    for row in &TABLE {
        let from: Vec<_> = row.from.iter().map(|node| name(*node)).collect();
        let from = if row.from.len() > 3 { "any".to_owned() } else { from.join(", ") };
        let event = if row.is_silent { "none" } else { row.reason };
        let _ = writeln!(out, "| {from} | {} | {} | {event} |", row.when, name(row.to));
    }
    out
}

const fn place(node: Node) -> &'static str {
    match node {
        Node::Cold => "Cold",
        Node::Initializing => "Initializing",
        Node::Ready => "Ready",
        Node::Degraded => "Degraded",
        Node::CircuitOpen => "CircuitOpen",
        Node::HalfOpen => "HalfOpen",
        Node::StartupFailed => "StartupFailed",
        Node::InvalidSpec => "InvalidSpec",
    }
}

const fn name(node: Node) -> &'static str {
    match node {
        Node::CircuitOpen => "Dead (circuit open)",
        Node::HalfOpen => "Dead (circuit half-open)",
        Node::StartupFailed => "Dead (startup failed)",
        Node::InvalidSpec => "Dead (invalid spec)",
        other => place(other),
    }
}

#[cfg(test)]
mod tests {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/provider.md");
    const START: &str = "<!-- states: written by `UPDATE=1 cargo test --lib the_documented_states` -->\n";
    const END: &str = "<!-- end of states -->\n";

    #[test]
    fn the_documented_states_are_those_of_the_table() {
        let document = std::fs::read_to_string(PATH).unwrap();
        let (before, rest) = document.split_once(START).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        let expected = format!("{before}{START}\n{}\n{END}{after}", super::markdown());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(PATH, expected).unwrap();
        } else {
            assert!(document == expected, "write it anew: UPDATE=1 cargo test --lib the_documented_states");
        }
    }
}
