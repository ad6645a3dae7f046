//! Runbooks, operations and security: each alert has a runbook and each runbook an alert, and what they tell people to type
//! or to look at exists: metrics, flags, commands, values of the chart, Events, words of the log, files and headings.
//!
//! In: the documents, the chart, the sources and the command line as it is compiled. Whether a command helps is for people.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use mcp_hangar_operator::cli::Cli;
use mcp_hangar_operator::metrics::Metrics;
use mcp_hangar_operator::version::Build;
use serde_json::Value;

const RULES: &str = "charts/mcp-hangar-operator/templates/prometheusrule.yaml";
const SECTIONS: [&str; 4] = ["What it means for users right now", "See it", "Causes", "Escalate"];
/// Flags of other programs that stand alone in a text.
const FOREIGN: [&str; 2] = ["--force", "--show-managed-fields"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files of a folder and below with one of the extensions.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        if path(&name).is_dir() {
            found.extend(files(&name, extension));
        } else if name.ends_with(extension) {
            found.push(name);
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<String> {
    let mut all = files("docs/runbooks", ".md");
    let others = ["docs/operations.md", "docs/security.md", "SECURITY.md"];
    all.extend(
        others.into_iter().chain(["examples/argocd/README.md", "examples/flux/README.md"]).map(str::to_owned),
    );
    all
}

/// Texts between backticks, outside blocks.
fn inline(text: &str) -> Vec<String> {
    let outside: String = text.split("\n```").step_by(2).collect();
    outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Lines of code blocks and texts between backticks.
fn code(text: &str) -> Vec<String> {
    let blocks = text.split("\n```").skip(1).step_by(2).flat_map(str::lines);
    blocks.map(str::to_owned).chain(inline(text)).collect()
}

/// The words that begin with `start` and go on with letters of a name.
fn names<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(move |c: char| !is_name(c)).filter(move |word| word.starts_with(start))
}

fn alerts() -> BTreeSet<String> {
    let rules = read(RULES);
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    alerts.map(str::to_owned).collect()
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let runbooks: BTreeSet<String> = files("docs/runbooks", ".md")
        .iter()
        .map(|name| name.trim_start_matches("docs/runbooks/").trim_end_matches(".md").to_owned())
        .filter(|name| name != "README")
        .collect();
    assert_eq!(alerts(), runbooks);
    let (rules, index) = (read(RULES), read("docs/runbooks/README.md"));
    for name in &runbooks {
        assert!(rules.contains(&format!("/{name}.md\n")), "{name}: no runbook_url");
        assert!(index.contains(&format!("| [{name}]({name}.md) |")), "{name}: not in the index");
        let text = read(&format!("docs/runbooks/{name}.md"));
        assert!(text.starts_with(&format!("# {name}\n")), "{name}");
        for section in SECTIONS {
            assert!(text.contains(&format!("\n## {section}")), "{name}: {section}");
        }
    }
}

#[test]
fn metrics_in_documents_and_in_the_chart_are_registered() {
    let metrics = Metrics::new(&Build::current()).unwrap();
    let known: BTreeSet<&str> = metrics.series().iter().map(|series| series.name.as_str()).collect();
    let mut named = 0;
    for document in documents().into_iter().chain([RULES.to_owned()]).chain(files("charts", ".json")) {
        let text = read(&document);
        for name in names(&text, "mcp_operator_") {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            // `mcp_operator_` alone is a prefix to search for.
            let is_known = known.contains(name) || base.is_some_and(|base| known.contains(base));
            assert!(is_known || name == "mcp_operator_", "{document}: {name}");
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn an_alert_and_its_runbook_speak_of_the_same_metric() {
    for alert in read(RULES).split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        let expression = alert.split(" for: ").next().unwrap();
        let runbook = read(&format!("docs/runbooks/{name}.md"));
        let metrics: Vec<&str> = names(expression, "mcp_operator_").collect();
        assert!(!metrics.is_empty(), "{name}");
        for metric in metrics {
            assert!(runbook.contains(metric.trim_end_matches("_bucket")), "{name}: {metric}");
        }
    }
}

#[test]
fn flags_and_commands_in_the_documents_exist() {
    let cli = Cli::command();
    let commands: BTreeSet<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let flags: BTreeSet<String> = cli
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    for document in documents() {
        let text = read(&document);
        for words in inline(&text).iter().filter(|words| words.starts_with("--")) {
            let flag = words.split([' ', '=']).next().unwrap();
            assert!(flags.contains(flag) || FOREIGN.contains(&flag), "{document}: {flag}");
        }
        for line in code(&text) {
            let Some((_, rest)) = line.split_once("mcp-hangar-operator ") else { continue };
            let program = line.trim_start_matches("$ ").starts_with("mcp-hangar-operator ")
                || line.contains("-- /mcp-hangar-operator ");
            if program {
                let command = rest.rsplit("/mcp-hangar-operator ").next().unwrap();
                let command = command.split(' ').next().unwrap();
                assert!(commands.contains(command), "{document}: {line}");
            }
        }
    }
}

#[test]
fn values_of_the_chart_in_the_documents_exist() {
    let values: Value = serde_saphyr::from_str(&read("charts/mcp-hangar-operator/values.yaml")).unwrap();
    let mut named = 0;
    let mut check = |document: &str, name: &str| {
        let name = name.split('=').next().unwrap();
        assert!(values.pointer(&format!("/{}", name.replace('.', "/"))).is_some(), "{document}: {name}");
        named += 1;
    };
    for document in documents() {
        let text = read(&document);
        for line in code(&text) {
            let set = line.split("--set ").skip(1).filter_map(|rest| rest.split(' ').next());
            set.for_each(|name| check(&document, name));
        }
        let is_value = |word: &&String| {
            let first = word.split('.').next().unwrap();
            word.contains('.') && !word.contains([' ', '/', '(']) && values.get(first).is_some()
        };
        inline(&text).iter().filter(is_value).for_each(|name| check(&document, name));
    }
    assert!(named > 15, "{named}");
}

#[test]
fn events_and_words_of_the_log_in_the_documents_are_in_the_sources() {
    let sources: String = files("src", ".rs").iter().map(|name| read(name)).collect();
    let mut named = 0;
    for document in documents() {
        let text = read(&document);
        let reasons = text.split("reason=").skip(1).chain(text.split("Event `").skip(1));
        for reason in reasons {
            let reason = reason.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
            if reason.starts_with(|c: char| c.is_ascii_uppercase()) {
                assert!(sources.contains(&format!("\"{reason}\"")), "{document}: {reason}");
                named += 1;
            }
        }
        for words in text.split("log says `").skip(1) {
            // Up to what is put in: a number, a name.
            let words = words.split(['`', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).next().unwrap();
            let (verb, object) =
                words.strip_prefix("failed to ").and_then(|rest| rest.split_once(' ')).unzip();
            let is_call = verb.is_some_and(|verb| sources.contains(&format!("call(\"{verb}\"")))
                && object.is_some_and(|object| sources.contains(&format!("{object} ")));
            assert!(sources.contains(words.trim_end()) || is_call, "{document}: {words}");
            named += 1;
        }
    }
    assert!(named > 8, "{named}");
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_to_files_and_headings() {
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { document.clone() } else { folder.join(file).display().to_string() };
            assert!(path(&target).exists(), "{document}: {link}");
            if !heading.is_empty() {
                let headings = read(&target);
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line.trim_start_matches('#').trim()) == heading),
                    "{document}: {link}"
                );
            }
        }
        for name in inline(&text).iter().filter(|name| {
            ["tests/", "docs/", "webhooks/", "examples/"].iter().any(|root| name.starts_with(root))
        }) {
            assert!(path(name).exists(), "{document}: {name}");
        }
    }
}

#[test]
fn make_targets_in_the_documents_exist() {
    let makefile = read("Makefile");
    for document in documents() {
        for line in code(&read(&document)) {
            if let Some(target) = line.strip_prefix("make ").and_then(|rest| rest.split(' ').next()) {
                assert!(makefile.contains(&format!("\n{target}: ")), "{document}: {line}");
            }
        }
    }
}
