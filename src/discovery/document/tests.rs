use serde_json::json;

use super::*;

/// `name: what became of it`, one a line.
fn told(text: &str) -> Vec<String> {
    match read(text) {
        Err(says) => vec![format!("fault: {says}")],
        Ok(entries) => entries
            .into_iter()
            .map(|Entry { name, line: _, body }| {
                let name = name.unwrap_or_else(|| "?".into());
                match body {
                    Body::Specs(specs) => {
                        let specs: Vec<_> =
                            specs.iter().map(|it| Value::Object(it.members.clone())).collect();
                        format!("{name}: {}", specs[0])
                    }
                    Body::Bad(says) | Body::Waiting(says) => format!("{name}: bad: {says}"),
                }
            })
            .collect(),
    }
}

#[test]
fn lists_and_maps_are_read_and_what_is_wrong_is_said_at_its_item() {
    let long = "x".repeat(300);
    for (text, expected) in [
        (
            "providers:\n- name: a\n  image: r.example/a:1\n- name: b\n  endpoint: https://b.example/mcp\n",
            vec![
                r#"a: {"image":"r.example/a:1","mode":"container"}"#,
                r#"b: {"endpoint":"https://b.example/mcp","mode":"remote"}"#,
            ],
        ),
        (
            "providers:\n  a:\n    image: r.example/a:1\n  1: {mode: Remote, endpoint: x}\n",
            vec![
                r#"a: {"image":"r.example/a:1","mode":"container"}"#,
                r#"1: {"endpoint":"x","mode":"remote"}"#,
            ],
        ),
        (
            "providers:\n  a: {container: {image: i}}\n",
            vec![r#"a: {"container":{"image":"i"},"mode":"Container"}"#],
        ),
        ("providers: []\n", vec![]),
        ("providers: {}\n", vec![]),
        (
            "providers:\n- a\n- {image: x}\n- {name: [], image: x}\n- {name: ok, image: x}\n",
            vec![
                "?: bad: line 2: must be a map with a name, such as {name: weather, image: ghcr.io/acme/weather:1.0.0}",
                "?: bad: line 3: name: must be set for each item of a list",
                "?: bad: line 4: name: must be a text that is not empty",
                r#"ok: {"image":"x","mode":"container"}"#,
            ],
        ),
        (
            "providers:\n  a: [1]\n  b:\n  c: {image: x, endpoint: y}\n  d: {imgae: x}\n  e: {image: x, image: y}\n  f: {container: {image: x, env: [{name: A, bogus: 1}]}}\n",
            vec![
                "a: bad: line 2: must be a map, such as {image: ghcr.io/acme/weather:1.0.0}",
                "b: bad: line 3: must be a map, such as {image: ghcr.io/acme/weather:1.0.0}",
                "c: bad: line 4: mode: must be set where there are both image and endpoint",
                r#"d: bad: line 5: "imgae" is no field of a provider; did you mean image?"#,
                "e: bad: line 6: the key image is there twice",
                r#"f: bad: line 7: "container.env.[].bogus" is no field of a provider"#,
            ],
        ),
    ] {
        assert_eq!(told(text), expected, "{text}");
    }
    let cut = told(&format!("providers: {{{long}: {{image: x}}}}"));
    assert!(cut[0].contains("at most 253 characters"), "{cut:?}");
}

#[test]
fn a_text_that_is_not_to_be_read_says_where_and_quotes_nothing() {
    const SECRET: &str = "s3cr3t";
    for (text, says) in [
        (format!("providers:\n- name: a\n  env: [{SECRET}\n"), "line "),
        (format!("providers:\n- name: a\n\t{SECRET}: b\n"), "line "),
        (format!("providers: {SECRET}\n"), "providers, at line 1, must be a list"),
        (format!("- {SECRET}\n"), "no key providers"),
        (format!("{SECRET}: 1\n"), "no key providers"),
        (String::new(), "no key providers"),
        ("providers:\n".to_owned(), "write [] for none"),
        ("providers: 7\n".to_owned(), "must be a list"),
        (format!("providers: {{}}\nproviders: {{{SECRET}: x}}\n"), ""),
        (format!("---\nproviders: {{}}\n---\n{SECRET}: 1\n"), ""),
        ("providers: *nowhere\n".to_owned(), "line 1"),
    ] {
        let fault = read(&text).expect_err(&text);
        assert!(fault.contains(says) && !fault.contains(SECRET), "{text}: {fault}");
    }
}

#[test]
fn what_is_made_to_be_large_is_refused_in_bounded_time() {
    let began = std::time::Instant::now();
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let before = level - 1;
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(","));
    }
    bomb += "providers: *a11\n";
    assert!(read(&bomb).is_err());
    let deep = format!("providers: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(read(&deep).is_err());
    assert!(read(&"{".repeat(1 << 20)).is_err());
    let wide = format!("providers:\n{}", "- {name: a}\n".repeat((1 << 20) / 12));
    let read_wide = read(&wide);
    assert!(read_wide.is_err() || read_wide.is_ok_and(|entries| entries.len() > 80_000));
    // A debug build, and other tests beside it.
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn ten_thousand_entries_are_read() {
    let text: String = std::iter::once("providers:\n".to_owned())
        .chain((0..10_000).map(|n| format!("  p{n}: {{image: \"r.example/p:{n}\"}}\n")))
        .collect();
    let entries = read(&text).unwrap();
    assert_eq!(entries.len(), 10_000);
    assert_eq!((entries[9_999].name.as_deref(), entries[9_999].line), (Some("p9999"), 10_001));
    assert!(
        matches!(&entries[0].body, Body::Specs(specs) if specs[0].members["image"] == json!("r.example/p:0"))
    );
}
