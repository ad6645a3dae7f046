//! What nobody may see: private keys and tokens, in the log of the real binary at its highest level, while it makes, adopts,
//! restores, begins to rotate and serves certificates. And that it keeps none of it in a file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::{Cluster, beside, borrow_one, eventually};
use crate::operator::Operator;
use crate::webhook::SECRET;

/// A step of the operator, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// Stands in a Secret where a key should be.
const MARKER: &str = "not-a-key-but-nobodys-business-either";

/// The entries of the CA Secret, decoded.
fn data(cluster: &Cluster) -> Vec<(String, String)> {
    let secret = cluster.api.get(SECRET).body;
    let entries = secret["data"].as_object().into_iter().flatten();
    let text = |value: &Value| {
        String::from_utf8_lossy(&STANDARD.decode(value.as_str().unwrap()).unwrap()).into_owned()
    };
    entries.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// The private keys in the Secret right now, as PEM.
fn keys(cluster: &Cluster) -> Vec<String> {
    let entries = data(cluster).into_iter();
    entries.filter(|(_, text)| text.contains("PRIVATE KEY")).map(|(_, text)| text).collect()
}

/// Every form in which somebody may print a key: PEM, the Secret's own base64, hex, and a list of numbers.
fn forms(pem: &str) -> Vec<String> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(&body).unwrap();
    // ECPrivateKey: version 1, then the 32 bytes that are the secret.
    let start = der.windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).unwrap() + 5;
    let secret = &der[start..start + 32];
    let hex = |join: &str, upper: bool| {
        let byte = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        secret[..12].iter().map(byte).collect::<Vec<_>>().join(join)
    };
    let numbers = |join: &str| secret[..8].iter().map(u8::to_string).collect::<Vec<_>>().join(join);
    // Past the part that all keys share, and what follows in the next groups of three bytes.
    let encoded = STANDARD.encode(pem);
    let middle: String = encoded.chars().skip(encoded.len() / 2).take(32).collect();
    let mut forms: Vec<String> = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(|line| line.chars().skip(line.len() / 2).collect())
        .collect();
    forms.extend([hex("", false), hex("", true), hex(" ", false), hex(":", true)]);
    forms.extend([numbers(", "), numbers(","), middle]);
    forms.push(STANDARD.encode(secret).chars().take(40).collect());
    forms
}

/// Does a text give the key away?
fn shows(text: &str, pem: &str) -> Option<String> {
    forms(pem).into_iter().find(|form| text.contains(form.as_str()))
}

#[test]
fn a_key_is_found_in_whatever_form_it_is_printed() {
    let site = borrow_one();
    let pem = keys(&site).pop().unwrap();
    assert!(shows(&pem, &pem).is_some());
    assert!(shows(&site.api.get(SECRET).body.to_string(), &pem).is_some());
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    assert!(shows(&format!("{:?}", STANDARD.decode(&body).unwrap()), &pem).is_some());
    assert_eq!(shows("nothing of it", &pem), None);
}

#[test]
fn no_key_and_no_token_is_in_the_log_even_at_its_highest_level() {
    let mut site = borrow_one();
    // Not killed: the next one would have to wait until its Lease is over.
    site.operator.terminate();
    site.operator.ended();
    site.api.delete(SECRET).ok();
    let mut flags: Vec<&str> = beside().into_iter().filter(|flag| !flag.starts_with("--log-level")).collect();
    flags.push("--log-level=trace");
    site.operator = Operator::start(&site.cluster.folder, "trace", &flags);
    // Made, and served with.
    site.serves();
    let mut seen = keys(&site);
    assert!(!seen.is_empty());
    // Lost and restored, spoilt and restored.
    site.api.delete(SECRET).ok();
    eventually("the Secret is restored", SOON, || (!keys(&site).is_empty()).then_some(()));
    let rubbish = format!("-----BEGIN PRIVATE KEY-----\n{MARKER}\n-----END PRIVATE KEY-----\n");
    site.api.merge_patch(SECRET, &json!({"data": {"ca.key": STANDARD.encode(rubbish)}})).ok();
    eventually("the key is restored", SOON, || (keys(&site) == seen).then_some(()));
    // Another one comes to be.
    site.api.merge_patch(SECRET, &json!({"metadata": {"annotations": {"mcp-hangar.io/rotate": "now"}}})).ok();
    eventually("a next CA", SOON, || (keys(&site).len() > seen.len()).then_some(()));
    seen.extend(keys(&site));
    site.serves();

    let log = site.operator.log();
    assert!(log.contains(r#""level":"TRACE""#), "the level is not what it should be");
    let kubeconfig = fs::read_to_string(site.folder.join("kubeconfig")).unwrap();
    let tokens = kubeconfig.split("token:").skip(1).filter_map(|rest| rest.split(['\n', '}']).next());
    let tokens: Vec<&str> = tokens.map(|token| token.trim().trim_matches('"')).collect();
    assert!(!tokens.is_empty() && tokens.iter().all(|token| token.len() > 16), "the tokens are not found");
    for word in tokens.into_iter().chain([MARKER, "PRIVATE KEY"]) {
        let line = log.lines().find(|line| line.contains(word));
        assert!(line.is_none(), "{word} in: {}", line.unwrap());
    }
    for pem in &seen {
        assert_eq!(shows(&log, pem), None);
    }
    writes_no_file_but_its_log(&site.operator);
    // The next test gets an operator that talks less, and one CA.
    site.operator.terminate();
    site.operator.ended();
    site.api.delete(SECRET).ok();
    site.restart_operator();
}

/// Of all that the process has open for writing, only the log is a file.
fn writes_no_file_but_its_log(operator: &Operator) {
    let process = Path::new("/proc").join(operator.id().to_string());
    let mut open = Vec::new();
    for entry in fs::read_dir(process.join("fd")).unwrap() {
        let number = entry.unwrap().file_name();
        let (Ok(target), Ok(info)) = (
            fs::read_link(process.join("fd").join(&number)),
            fs::read_to_string(process.join("fdinfo").join(&number)),
        ) else {
            continue; // closed meanwhile
        };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let writes = u32::from_str_radix(flags, 8).unwrap() & 0b11 != 0;
        if writes && target.is_absolute() && !target.starts_with("/dev") {
            open.push(target);
        }
    }
    open.sort();
    open.dedup();
    assert!(open.len() == 1 && open[0].ends_with("logs/trace.log"), "{open:?}");
}
