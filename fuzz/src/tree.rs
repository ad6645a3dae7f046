//! The borrowing JSON tree against serde_json's own: the same texts are read, and to the same values.

use mcp_hangar_webhooks::json::Json;
use serde_json::Value;

use crate::same::{Numbers, canonical};

/// Read whole, read level by level, read by serde_json.
pub fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(lazy) = Json::lazy(text) else {
        assert!(Json::parse(text).is_err(), "not JSON, yet a tree");
        return;
    };
    let mut unopened = String::new();
    lazy.write(&mut unopened);
    assert_eq!(unopened, text.trim_matches([' ', '\t', '\r', '\n']));
    let by_levels = lazy.canonical();
    let whole = Json::parse(text);
    let known = serde_json::from_str::<Value>(text);
    assert_eq!(whole.is_ok(), known.is_ok(), "{:?} {:?}", whole.err(), known.err());
    if let (Ok(whole), Ok(known)) = (whole, known) {
        // serde_json's maps are sorted, and the last of two members of a name wins there too.
        let known = known.to_string();
        assert_eq!(whole.canonical(), known);
        assert_eq!(by_levels, known);
        let mut written = String::new();
        whole.write(&mut written);
        assert_eq!(Json::parse(&written).expect("what is written is JSON").canonical(), known);
        let mut opened = lazy.clone();
        opened.expand_all();
        written.clear();
        opened.write(&mut written);
        assert_eq!(Json::parse(&written).expect("what is written is JSON").canonical(), known);
    }
    if let Some(wanted) = canonical(text, Numbers::ByValue) {
        let depth = text.bytes().filter(|c| b"[{".contains(c)).count();
        if depth < 100 {
            assert_eq!(canonical(&by_levels, Numbers::ByValue), Some(wanted));
        }
    }
}
