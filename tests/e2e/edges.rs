//! Values at the edges of what they may be: text in odd scripts, longest names, durations, quantities, patterns.

use axum::http::Method;
use serde_json::{Value, json};

use crate::cluster::shared;
use crate::hostile::{accepted, answered, object, provider, refused};

#[test]
fn text_in_any_script_and_with_any_control_character_is_kept_or_refused_without_breaking_the_answer() {
    let site = shared();
    let namespace = site.namespace("hostile-text");
    for (number, text) in [
        "日本語 🚀 é e\u{301}",
        "a\u{0}b",
        "\u{1b}[31mred\u{7}",
        "line\nline\r\n\u{2028}",
        "\u{202e}desrever",
        "\u{feff}bom",
        "\"\\/<&>'",
    ]
    .iter()
    .enumerate()
    {
        let written = provider(
            namespace,
            &format!("kept-{number}"),
            json!({"mode": "container", "image": "acme/tools:1",
            "args": [text], "env": [{"name": "E", "value": text}]}),
        );
        site.api.create(&written).ok();
        let live = site.api.read_as(&written, "v1beta1");
        assert_eq!(live["spec"]["container"]["args"], written["spec"]["args"]);
        for spec in [
            json!({"mode": text, "image": "a"}),
            json!({"mode": "container", "image": text}),
            json!({"mode": "remote", "endpoint": text}),
            json!({"mode": "container", "image": "a", "idleTTL": text}),
            json!({"mode": "container", "image": "a", "env": [{"name": text}]}),
            json!({"mode": "container", "image": "a", "resources": {"limits": {"cpu": text}}}),
            json!({"mode": "container", "image": "a", "nodeSelector": {*text: "x"}}),
        ] {
            let reply = site.api.create_dry(&provider("default", "text", spec));
            refused(&reply, "[HGR");
            let raw = reply.message().chars().filter(|c| c.is_control() || *c == '\u{202e}');
            assert_eq!(raw.count(), 0, "a control character stands as it is in: {:?}", reply.message());
        }
    }
    for bytes in [
        b"\xff\xfe".as_slice(),
        b"",
        b"{",
        b"[]",
        b"null",
        b"\"text\"",
        b"{\"apiVersion\":\"mcp-hangar.io/v1alpha1\",\"kind\":\"MCPProvider\",\"spec\":\"\xed\xa0\x80\"}",
    ] {
        let path = "/apis/mcp-hangar.io/v1alpha1/namespaces/default/mcpproviders?dryRun=All";
        refused(&site.api.send(Method::POST, path, "application/json", bytes.to_vec()), "");
    }
}

#[test]
fn names_are_taken_up_to_their_limit_and_refused_above_it() {
    let site = shared();
    let specs = [
        ("MCPProvider", 58, json!({"mode": "remote", "endpoint": "https://x.example.com"})),
        ("MCPProviderGroup", 57, json!({"selector": {}})),
        ("MCPDiscoverySource", 253, json!({"type": "Namespace", "namespaceSelector": {}})),
    ];
    for (kind, limit, spec) in specs {
        for version in ["v1alpha1", "v1beta1"] {
            let spec = match version {
                "v1beta1" if kind == "MCPProvider" => {
                    json!({"mode": "Remote", "remote": {"endpoint": "https://x.example.com"}})
                }
                _ => spec.clone(),
            };
            accepted(&site.api.create_dry(&object(
                kind,
                version,
                "default",
                &"a".repeat(limit),
                spec.clone(),
            )));
            refused(
                &site.api.create_dry(&object(kind, version, "default", &"a".repeat(limit + 1), spec)),
                "metadata.name",
            );
        }
    }
    for name in ["", "-a", "A", "a_b", "ü", "a..b", "../etc", "a/b", "a b"] {
        refused(
            &site.api.create_dry(&provider("default", name, json!({"mode": "container", "image": "a"}))),
            "name",
        );
    }
}

#[test]
fn durations_and_quantities_are_judged_exactly_at_their_edges() {
    let site = shared();
    let try_spec = |change: Value| {
        let mut spec = json!({"mode": "container", "image": "acme/tools:1"});
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        site.api.create_dry(&provider("default", "edges", spec))
    };
    for text in
        ["0s", "0", "1ns", "2562047h47m16.854775807s", "1h1h1h", ".5s", "1.s", "+5m", "1us", "1µs", "1μs"]
    {
        accepted(&try_spec(json!({"idleTTL": text})));
    }
    for text in [
        "",
        "-1s",
        "2562047h47m16.854775808s",
        "99999999999999999999h",
        "1",
        "1d",
        "1 s",
        "s",
        "1e3s",
        "١s",
        "1s ",
        "--1s",
        ".s",
        "5M",
        &"1h".repeat(40),
    ] {
        refused(&try_spec(json!({"idleTTL": text})), "spec.idleTTL");
    }
    refused(&try_spec(json!({"startupTimeout": "0s"})), "spec.startupTimeout");
    accepted(&try_spec(json!({"startupTimeout": "1ns"})));
    for value in [
        json!("0"),
        json!(0),
        json!("1e3"),
        json!("1E"),
        json!("9223372036854775807"),
        json!("0.000000001"),
        json!("1n"),
        json!("+1"),
        json!(".5"),
        json!(2),
    ] {
        accepted(&try_spec(json!({"resources": {"limits": {"memory": value}}})));
    }
    for value in [
        json!(""),
        json!("-1"),
        json!("1KB"),
        json!("1 Gi"),
        json!("1gi"),
        json!("0x1"),
        json!("1e"),
        json!("NaN"),
        json!("1,5"),
        json!(0.5),
        json!(true),
        json!("9".repeat(65)),
    ] {
        refused(
            &try_spec(json!({"resources": {"limits": {"memory": value}}})),
            "spec.resources.limits.memory",
        );
    }
    accepted(&try_spec(json!({"resources": {"requests": {"cpu": "1000m"}, "limits": {"cpu": 1}}})));
    refused(
        &try_spec(json!({"resources": {"requests": {"cpu": "1000.000001m"}, "limits": {"cpu": 1}}})),
        "spec.resources.requests.cpu",
    );
    for number in [
        json!(1e300),
        json!(-1),
        json!(2_147_483_648_i64),
        json!(9_223_372_036_854_775_807_i64),
        json!(18_446_744_073_709_551_615_u64),
        json!(0.5),
    ] {
        refused(&try_spec(json!({"replicas": number})), "spec.replicas");
    }
}

#[test]
fn a_pattern_that_would_ruin_a_backtracking_engine_is_harmless_or_refused() {
    let site = shared();
    let try_patterns = |patterns: &[String]| {
        let spec =
            json!({"type": "Namespace", "namespaceSelector": {}, "filters": {"includePatterns": patterns}});
        site.api.create_dry(&object("MCPDiscoverySource", "v1beta1", "default", "patterns", spec))
    };
    let dotted = ".*".repeat(500);
    for pattern in ["(a+)+$", "(a|a)*b", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y", &dotted] {
        accepted(&try_patterns(&[pattern.to_owned()]));
    }
    let (nested, many) = ("(".repeat(400) + &")".repeat(400), "(?:a?){30}".repeat(80));
    for pattern in [
        "(?:a{1000}){1000}",
        "((a{100}){100}){100}",
        "a{1001}",
        "(?=a)b",
        r"(a)\1",
        "(?P<n>",
        "[z-a]",
        "*",
        r"\p{Greek}{1000}",
        &nested,
        &"a".repeat(1025),
    ] {
        refused(&try_patterns(&[pattern.to_owned()]), "spec.filters.includePatterns[0]");
    }
    answered(&try_patterns(&vec![many; 64]));
    answered(&try_patterns(&vec!["[a-z0-9]{1000}".to_owned(); 64]));
}
