//! Providers of servers as they are out there, through the whole operator on a real API server.
//!
//! In: servers that nobody here wrote, and ones that misbehave (`tests/probe` asks them all, without an operator). Out:
//! who speaks MCP is Ready with its tools; who does not never is, and the condition says what was tried and what to
//! write, in the version that the user wrote. The last test gives the operator a view of names that is its own.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cluster::{Cluster, LAWLESS, beside, borrow_one, eventually, shared};
use crate::fake::{Fake, Reply, Request, but, correct, http};
use crate::operator::Operator;
use crate::provider::{condition, events, state, status};
use crate::strangers::{NEW, OLD, Server, everything, go, plain, python};
use crate::tls::{authority, serve};

const SOON: Duration = Duration::from_secs(60);
const VERSIONS: [&str; 2] = ["v1alpha1", "v1beta1"];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A remote provider, in the words of a version.
fn remote(version: &str, namespace: &str, name: &str, endpoint: &str, startup: &str) -> Value {
    let mut spec = match version {
        "v1alpha1" => json!({"mode": "remote", "endpoint": endpoint, "startupTimeout": startup}),
        _ => {
            json!({"mode": "Remote", "remote": {"endpoint": endpoint}, "lifecycle": {"startupTimeout": startup}})
        }
    };
    spec["healthCheck"] = json!({"interval": "2s", "timeout": "2s"});
    json!({"apiVersion": format!("mcp-hangar.io/{version}"), "kind": "MCPProvider",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// The message of Ready.
fn message(object: &Value) -> String {
    condition(object, "Ready")["message"].as_str().unwrap_or_default().to_owned()
}

fn delete(cluster: &Cluster, object: &Value) {
    cluster.api.delete(&crate::api::path(object)).ok();
}

#[test]
fn servers_that_nobody_here_wrote_become_ready_with_their_tools() {
    type Start = Box<dyn FnOnce(u16) -> Command>;
    let table: [(&str, Start, &[&str]); 7] = [
        ("everything", Box::new(everything), &["echo", "get-sum"]),
        ("python1-stateful", Box::new(python("python1", OLD, "stateful")), &["add", "sub"]),
        ("python1-stateless", Box::new(python("python1", OLD, "stateless")), &["add", "sub"]),
        ("python2-stateful", Box::new(python("python2", NEW, "stateful")), &["add"]),
        ("python2-stateless", Box::new(python("python2", NEW, "stateless")), &["add"]),
        ("go-stateful", Box::new(go("stateful")), &["first", "second"]),
        ("go-stateless", Box::new(go("stateless")), &["first", "second"]),
    ];
    let site = shared();
    let namespace = site.namespace("servers-strangers");
    let mut running = Vec::new();
    for (index, (name, start, tools)) in table.into_iter().enumerate() {
        let server = RUNTIME.block_on(Server::start(start));
        let provider = remote(VERSIONS[index % 2], namespace, name, &server.url(), "60s");
        site.api.create(&provider).ok();
        running.push((server, provider, tools));
    }
    for (server, provider, tools) in &running {
        let ready = state(&site, provider, "Ready");
        let found: Vec<&str> =
            ready["status"]["tools"].as_array().unwrap().iter().map(|tool| tool.as_str().unwrap()).collect();
        assert!(tools.iter().all(|tool| found.contains(tool)), "{ready}");
        assert_eq!(ready["status"]["toolsCount"], found.len());
        let text = message(&ready);
        eprintln!("{}: {text}", provider["metadata"]["name"]);
        assert!(text.contains(&server.url()) && text.contains(&format!("{} tool", found.len())), "{text}");
    }
    for (_, provider, _) in &running {
        delete(&site, provider);
    }
}

/// Answers `tools/list` with 50 MB.
fn much() -> impl Fn(&Request) -> Reply {
    let tool =
        format!(r#"{{"name":"t","description":"{}","inputSchema":{{"type":"object"}}}}"#, "x".repeat(10_000));
    let list = vec![tool; 5000].join(",");
    but("tools/list", move |id| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{list}]}}}}"#);
        http("200 OK", "content-type: application/json\r\n", body)
    })
}

#[test]
fn what_does_not_speak_mcp_is_never_ready_and_its_user_reads_what_to_write() {
    let fake = |answer: Box<dyn Fn(&Request) -> Reply + Send + Sync>| RUNTIME.block_on(Fake::new(answer));
    let web = RUNTIME.block_on(plain());
    let hangs = fake(Box::new(|_| Reply::Hang));
    let garbage = fake(Box::new(|_| Reply::Whole(b"\x07\x00garbage\r\n\r\n".to_vec())));
    let other = fake(Box::new(correct));
    let to = format!("location: {}\r\n", other.url());
    let redirects = fake(Box::new(move |_| http("307 Temporary Redirect", &to, "")));
    let large = fake(Box::new(much()));
    let ours = authority();
    let secure = RUNTIME.block_on(serve(&ours, "127.0.0.1", 2100));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = shared();
    let namespace = site.namespace("servers-wrong");
    let endpoint = ["spec.endpoint", "spec.remote.endpoint"];
    let timeout = ["spec.healthCheck.timeout"; 2];
    let bundle = ["spec.remote.caBundle (of v1beta1)", "spec.remote.caBundle"];
    let table: [(&str, String, &str, [&str; 2]); 8] = [
        ("web-server", web.url(), "answered with status 501", endpoint),
        ("hangs", hangs.url(), "no answer within 2s", timeout),
        ("garbage", garbage.url(), "something else than HTTP", endpoint),
        ("redirects", redirects.url(), "a redirect to http://127.0.0.1", endpoint),
        ("large", large.url(), "2097152 bytes", ["make the server list fewer tools"; 2]),
        ("https", format!("https://127.0.0.1:{}/mcp", secure.port), "of an unknown issuer", bundle),
        ("plain-tls", secure.url(), "write https:// instead of http:// in", endpoint),
        ("nobody", format!("http://127.0.0.1:{free}/mcp"), "connection refused", endpoint),
    ];
    let mut all = Vec::new();
    for (name, url, says, fields) in &table {
        for (version, field) in VERSIONS.iter().zip(fields) {
            let provider = remote(version, namespace, &format!("{name}-{version}"), url, "5s");
            site.api.create(&provider).ok();
            all.push((provider, url, says, field));
        }
    }
    for (provider, url, says, field) in &all {
        let name = provider["metadata"]["name"].as_str().unwrap();
        let dead = state(&site, provider, "Dead");
        assert_eq!(condition(&dead, "Ready")["reason"], "StartupFailed", "{name}");
        assert!(dead["status"]["tools"].as_array().is_none_or(Vec::is_empty), "{name}");
        // On a busy machine a single probe may see nothing but its own time limit.
        let told =
            status(&site, provider, says, |status| message(&json!({"status": status})).contains(*says));
        let text = message(&told);
        eprintln!("{name}: {text}");
        assert!(text.contains(&format!("POST {url}")) && text.contains(*field), "{name}: {text}");
        let told = events(&site, namespace, name);
        assert!(!told.iter().any(|event| event.starts_with("ProviderReady")), "{name}: {told:?}");
    }
    for (provider, ..) in &all {
        delete(&site, provider);
    }
    assert!(
        other.methods().is_empty() && secure.methods().is_empty(),
        "something was sent where nothing may go"
    );
    let is_asked_well = |method: &String| method == "POST" || method == "DELETE";
    assert!(hangs.methods().iter().chain(&large.methods()).all(is_asked_well));
}

#[test]
fn the_example_to_try_is_taken() {
    let file = "examples/everything/provider.yaml";
    let said = shared().kubectl(&["apply", "--dry-run=server", "-f", file], "").ok();
    assert_eq!(said, "mcpprovider.mcp-hangar.io/everything created (server dry run)\n");
}

#[test]
fn an_address_of_a_metadata_service_that_slipped_past_the_webhook_is_refused_by_its_field() {
    let site = shared();
    for version in VERSIONS {
        let provider =
            remote(version, LAWLESS, &format!("metadata-{version}"), "http://169.254.169.254/mcp", "4s");
        site.api.create(&provider).ok();
        let dead = state(&site, &provider, "Dead");
        assert_eq!(condition(&dead, "Ready")["reason"], "InvalidSpec");
        let text = message(&dead);
        assert!(text.contains("HGR116") || text.contains("link-local"), "{text}");
        let field = if version == "v1alpha1" { "spec.endpoint: " } else { "spec.remote.endpoint: " };
        assert!(text.starts_with(field), "{text}");
        delete(&site, &provider);
    }
}

#[test]
fn a_certificate_of_ones_own_authority_is_taken_with_its_bundle_and_only_with_it() {
    let (ours, theirs) = (authority(), authority());
    let server = RUNTIME.block_on(serve(&ours, "127.0.0.1", 2100));
    let site = shared();
    let namespace = site.namespace("servers-tls");
    let url = format!("https://127.0.0.1:{}/mcp", server.port);
    let mut provider = remote("v1beta1", namespace, "own", &url, "60s");
    provider["spec"]["remote"]["caBundle"] = json!(STANDARD.encode(theirs.pem()));
    site.api.create(&provider).ok();
    status(&site, &provider, "the wrong bundle is told", |status| {
        status["conditions"].to_string().contains("not signed by the CA in spec.remote.caBundle")
    });
    assert!(server.methods().is_empty());
    let right = json!({"spec": {"remote": {"caBundle": STANDARD.encode(ours.pem())}}});
    site.api.merge_patch(&crate::api::path(&provider), &right).ok();
    assert_eq!(state(&site, &provider, "Ready")["status"]["tools"], json!(["t"]));
    // It answers 405 to GET, as correct servers do; and was never asked so.
    assert!(server.methods().iter().all(|method| method == "POST" || method == "DELETE"));
    delete(&site, &provider);
}

/// The headers of the requests, each with this beginning.
fn sent(fake: &Fake, name: &str) -> Vec<String> {
    let requests = fake.requests.lock().unwrap();
    let lines =
        requests.iter().flat_map(|request| request.head.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.to_lowercase().starts_with(name)).collect()
}

/// Answers who knows one of the words, and others with 401.
fn guarded(request: &Request) -> Reply {
    let knows = |word: &str| request.head.contains(&format!("authorization: Bearer {word}\r\n"));
    if knows("hunter2hunter2") || knows("correct-horse") {
        return correct(request);
    }
    http("401 Unauthorized", "www-authenticate: Bearer\r\n", "")
}

#[test]
fn headers_come_from_secrets_and_go_to_no_other_host_and_no_forbidden_address() {
    let mut site = borrow_one();
    let namespace = "servers-headers";
    site.namespace(namespace);
    let other = RUNTIME.block_on(Fake::new(correct));
    let (port, guard) = (other.port, RUNTIME.block_on(Fake::new(guarded)));
    let elsewhere = format!("location: http://other.example:{port}/mcp\r\n");
    let redirects = RUNTIME.block_on(Fake::new(move |_| http("308 Permanent Redirect", &elsewhere, "")));

    // An operator that reads Secrets here, and for which some names mean something: a mount that only it sees.
    site.operator.kill();
    let hosts = site.folder.join("hosts");
    fs::write(
        &hosts,
        "127.0.0.1 localhost other.example mixed.example\n169.254.169.254 metadata.example mixed.example\n",
    )
    .unwrap();
    let view = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let before = ["unshare", "--map-root-user", "--mount", "sh", "-c", view, hosts.to_str().unwrap()];
    let flags = [beside().as_slice(), &["--secret-namespaces", namespace]].concat();
    site.operator = Operator::start_by(&before, &site.cluster.folder, "operator", &flags);
    site.serves();

    let with_header = |name: &str, url: &str| {
        let mut provider = remote("v1beta1", namespace, name, url, "60s");
        provider["spec"]["remote"]["headersFrom"] =
            json!([{"name": "Authorization", "secretKeyRef": {"name": "token", "key": "value"}}]);
        site.api.create(&provider).ok();
        provider
    };
    let tells = |provider: &Value, part: &str| {
        status(&site, provider, part, |status| status["conditions"].to_string().contains(part))
    };
    let search = with_header("search", &guard.url());
    tells(&search, "Secret token");
    assert!(guard.methods().is_empty(), "it was asked without its header");
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    let secret =
        json!({"metadata": {"name": "token"}, "data": {"value": STANDARD.encode("Bearer hunter2hunter2\n")}});
    site.api.post(&secrets, &secret).ok();
    state(&site, &search, "Ready");
    let requests = guard.methods().len();
    assert_eq!(sent(&guard, "authorization: bearer hunter2hunter2").len(), requests, "on every request");
    let next = json!({"data": {"value": STANDARD.encode("Bearer correct-horse")}});
    site.api.merge_patch(&format!("{secrets}/token"), &next).ok();
    eventually("the new value is sent", SOON, || {
        (!sent(&guard, "authorization: bearer correct-horse").is_empty()).then_some(())
    });

    let moved = with_header("moved", &redirects.url());
    tells(&moved, &format!("if you trust it, write http://other.example:{port}/mcp in spec.remote.endpoint"));
    for (host, version) in
        [("metadata.example", "v1alpha1"), ("metadata.example", "v1beta1"), ("mixed.example", "v1beta1")]
    {
        let name = format!("{}-{version}", host.replace('.', "-"));
        let provider = remote(version, namespace, &name, &format!("http://{host}:{port}/mcp"), "60s");
        site.api.create(&provider).ok();
        let told = tells(&provider, &format!("{host} means 169.254.169.254, which is never dialled"));
        let field = if version == "v1alpha1" { "in spec.endpoint" } else { "in spec.remote.endpoint" };
        assert!(message(&told).ends_with(field), "{}", message(&told));
    }
    assert!(other.methods().is_empty(), "a request went to where a redirect or a name pointed");
    // The name itself is good.
    let named = remote("v1beta1", namespace, "named", &format!("http://other.example:{port}/mcp"), "60s");
    site.api.create(&named).ok();
    state(&site, &named, "Ready");
    let log = site.operator.log();
    assert!(!log.contains("hunter2") && !log.contains("correct-horse"));
    site.operator.kill();
    site.restart_operator();
}
