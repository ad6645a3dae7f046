//! The documents name what is there: paths in ARCHITECTURE.md, docs/adding.md and the decisions, make targets and links in README.md and CONTRIBUTING.md,
//! codes in docs/compat.md, in README.md every metric, in docs/provider.md what a probe says and where it ends.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(clippy::panic)]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// Texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn paths_in_the_documents_exist() {
    let roots = ["api/", "webhooks/", "src/", "tests/", "deploy/", "docs/", "examples/", "scripts/"];
    let mut documents =
        vec!["ARCHITECTURE.md".to_owned(), "docs/adding.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    let decisions = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decisions")).unwrap();
    documents.extend(decisions.map(|file| format!("docs/decisions/{}", file.unwrap().file_name().display())));
    let mut count = 0;
    for document in documents {
        let text = read(&document);
        let is_path =
            |word: &&str| roots.iter().any(|root| word.starts_with(root)) && !word.contains(['{', '*', ' ']);
        for path in quoted(&text).filter(is_path) {
            assert!(exists(path), "{document}: {path}");
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

#[test]
fn make_targets_in_the_documents_exist() {
    let makefile = read("Makefile");
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "docs/adding.md"] {
        let text = read(document);
        let named = text.match_indices("make ").filter(|(at, _)| {
            let before = text.get(..*at).and_then(|before| before.chars().last());
            matches!(before, Some('`' | '\n' | '$' | ' ') | None)
        });
        for (at, _) in named {
            let rest = text.get(at + 5..).unwrap_or_default();
            let target: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let in_code =
                text.get(..at).is_some_and(|before| before.ends_with('`') || before.ends_with('\n'));
            if in_code && !target.is_empty() {
                assert!(makefile.contains(&format!("\n{target}: ")), "{document}: make {target}");
            }
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/adding.md",
        "docs/compat.md",
        "docs/chart.md",
        "docs/gitops.md",
        "docs/provider.md",
        "docs/security.md",
        "docs/operations.md",
        "examples/argocd/README.md",
        "examples/everything/README.md",
        "examples/flux/README.md",
    ] {
        let folder = Path::new(document).parent().unwrap().to_str().unwrap().to_owned();
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let path = if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
            assert!(exists(&path), "{document}: {link}");
        }
    }
}

#[test]
fn codes_in_the_documents_are_explained() {
    let rules = read("docs/rules.md");
    for document in ["docs/compat.md", "README.md"] {
        let text = read(document);
        for (at, _) in text.match_indices("HGR") {
            let code = text.get(at..at + 6).unwrap_or_default();
            if code.len() == 6 && code.ends_with(|c: char| c.is_ascii_digit()) {
                assert!(rules.contains(&format!("## {code}")), "{document}: {code}");
            }
        }
    }
}

#[test]
fn the_table_of_metrics_is_what_is_registered() {
    let metrics = mcp_hangar_operator::metrics::Metrics::new(&mcp_hangar_operator::version::Build::current());
    let mut registered: Vec<(String, Vec<String>)> =
        metrics.unwrap().series().iter().map(|series| (series.name.clone(), series.labels.clone())).collect();
    let readme = read("README.md");
    let section = readme.split("\n## Metrics\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `mcp_operator_"));
    let mut documented = Vec::new();
    for row in rows {
        let mut cells = row.split('|').skip(1);
        let name = quoted(cells.next().unwrap()).next().unwrap().to_owned();
        let labels = quoted(cells.next().unwrap()).map(str::to_owned).collect();
        let meaning = cells.next().unwrap().trim();
        assert!(!meaning.is_empty(), "{name}");
        if meaning.starts_with("next") {
            assert!(registered.iter().all(|(known, _)| *known != name), "{name} is there already");
        } else {
            documented.push((name, labels));
        }
    }
    registered.sort();
    documented.sort();
    assert_eq!(documented, registered);
    // Nor is any other name in the text.
    for name in quoted(section).filter_map(|text| text.split(' ').next()) {
        assert!(!name.starts_with("mcp_operator_") || section.contains(&format!("| `{name}` |")), "{name}");
    }
}

/// The other way round, that what a probe says is in the table, is held by tests/probe.rs.
#[test]
fn what_a_probe_is_documented_to_say_it_can_say() {
    let page = read("docs/provider.md");
    let table = page.split("\n## What a probe says\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let names = ["probe", "probe/verdict", "probe/material", "probe/asking"];
    let sources = names.map(|name| read(&format!("src/provider/{name}.rs")));
    let mut count = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        for part in quoted(row.split(" | ").next().unwrap()) {
            assert!(sources.iter().any(|source| source.contains(part)), "nobody says: {part}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn the_limits_of_a_probe_are_the_documented_ones() {
    let page = read("docs/provider.md");
    let limits = mcp_hangar_operator::provider::probe::Limits::default();
    assert_eq!((limits.pages, limits.tools), (64, 1024));
    for text in [&format!("{} MiB", limits.bytes >> 20), "| 64; 1,024 (more are counted) |"] {
        assert!(page.contains(text), "{text}");
    }
}
