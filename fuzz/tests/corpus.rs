//! Every kept input, through its target: a regression test that needs neither a fuzzer nor a nightly toolchain.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mcp_hangar_fuzz::TARGETS;

fn names(folder: &str, suffix: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(suffix).map(str::to_owned))
        .collect()
}

#[test]
fn kept_inputs_break_no_promise() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let inputs = names(&format!("corpus/{name}"), "");
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            // Names the input should it panic.
            println!("{name}/{input}");
            target(&fs::read(folder.join(input)).unwrap());
        }
    }
}

#[test]
fn inputs_that_are_nothing_break_no_promise() {
    for (_, target) in TARGETS {
        for input in [&b""[..], b"0", b"\0", b"\xff\xfe", b"0\n\n", b"5{}", b"0[]\n{}\nnull"] {
            target(input);
        }
    }
}

#[test]
fn every_target_has_its_binary_and_its_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets, names("fuzz_targets", ".rs"));
    assert_eq!(targets, names("corpus", ""));
}
