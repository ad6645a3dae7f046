//! Servers that misbehave: each is named for what it is, in time and within bytes.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use mcp_hangar_operator::provider::probe::{Era, Field, Kind, Place, Prober, Resolve};

use crate::fake::{Fake, Reply, Request, but, correct, http, json};
use crate::{ask, probe};

/// A resolver with one name, that counts.
pub(crate) struct Names {
    name: String,
    addresses: Vec<IpAddr>,
    asked: Mutex<usize>,
}

impl Names {
    pub(crate) fn of(name: &str, addresses: &str) -> Self {
        let addresses = addresses.split_whitespace().map(|text| text.parse().unwrap()).collect();
        Self { name: name.to_owned(), addresses, asked: Mutex::new(0) }
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        *self.asked.lock().unwrap() += 1;
        let found = if host == self.name {
            Ok(self.addresses.clone())
        } else {
            Err(io::Error::other("no such name"))
        };
        Box::pin(async { found })
    }
}

type Answer = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

fn sse(portion: &str, pause: Duration) -> Reply {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_vec();
    Reply::Endless(head, portion.as_bytes().to_vec(), pause)
}

fn drip(pause: Duration) -> Reply {
    let head =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n".to_vec();
    Reply::Endless(head, b"{".to_vec(), pause)
}

fn always(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Answer {
    Box::new(move |_| reply())
}

/// Name, server, kind, a part of the text.
fn table() -> Vec<(&'static str, Answer, Kind, &'static str)> {
    let ms = Duration::from_millis;
    let noise = ": keep alive, keep alive, keep alive\n\n".repeat(1000);
    // Large, so that counting ends it and not the time that a debug build needs for many small ones.
    let pad = "x".repeat(20_000);
    let message = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"{pad}"}}}}"#
    );
    let chatter = format!("data: {message}\n\n");
    let huge = format!("HTTP/1.1 200 OK\r\nx-much: {}\r\n", "x".repeat(50_000_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-many: 1\r\n".repeat(5000));
    vec![
        ("hangs", always(|| Reply::Hang), Kind::Timeout, "no answer within 2s"),
        ("closes", always(|| Reply::Close), Kind::Closed, "spec.remote.endpoint"),
        (
            "web page",
            always(|| http("200 OK", "content-type: text/html\r\n", "<html>")),
            Kind::NotMcp,
            "a web page",
        ),
        ("no type", always(|| http("200 OK", "", "{}")), Kind::NotMcp, "without a content type"),
        (
            "garbage",
            always(|| Reply::Whole(b"\x07\x00garbage\r\n\r\n".to_vec())),
            Kind::NotHttp,
            "something else than HTTP",
        ),
        ("ssh", always(|| Reply::Whole(b"SSH-2.0-OpenSSH_9\r\n\r\n".to_vec())), Kind::NotHttp, "speaks SSH"),
        (
            "tls",
            always(|| Reply::Whole(vec![0x15, 3, 1, 0, 2, 2, 22])),
            Kind::Tls,
            "write https:// instead of http://",
        ),
        ("json garbage", always(|| json("{\"a\":")), Kind::NotMcp, "no message of MCP"),
        ("json, not rpc", always(|| json("{}")), Kind::NotMcp, "no message of MCP"),
        ("echo", Box::new(|request| json(&request.body)), Kind::NotMcp, "no message of MCP"),
        ("404", always(|| http("404 Not Found", "", "")), Kind::NotFound, "nothing is at the path /mcp"),
        ("405", always(|| http("405 Method Not Allowed", "", "")), Kind::MethodNotAllowed, "takes no POST"),
        (
            "401",
            always(|| http("401 Unauthorized", "www-authenticate: Bearer\r\n", "")),
            Kind::Unauthorized,
            "spec.remote.headersFrom",
        ),
        ("403", always(|| http("403 Forbidden", "", "")), Kind::Unauthorized, "status 403"),
        ("429", always(|| http("429 Too Many Requests", "", "")), Kind::Throttled, "status 429"),
        ("500", always(|| http("500 Internal Server Error", "", "")), Kind::Status, "status 500"),
        ("503", always(|| http("503 Service Unavailable", "", "")), Kind::Status, "a proxy"),
        (
            "wants tls",
            always(|| http("400 Bad Request", "", "Client sent an HTTP request to an HTTPS server.")),
            Kind::Tls,
            "wants TLS",
        ),
        ("huge header", always(move || Reply::Whole(huge.clone().into_bytes())), Kind::TooLarge, "headers"),
        ("many headers", always(move || Reply::Whole(many.clone().into_bytes())), Kind::TooLarge, "headers"),
        ("endless comments", always(move || sse(&noise, ms(0))), Kind::TooLarge, "2097152 bytes"),
        ("endless events", always(move || sse(&chatter, ms(0))), Kind::TooLarge, "2097152 bytes"),
        ("slow events", always(move || sse(": x\n\n", ms(20))), Kind::Timeout, "not whole within 2s"),
        ("slow drip", always(move || drip(ms(20))), Kind::Timeout, "not whole within 2s"),
        (
            "slow tools",
            Box::new(but("tools/list", move |_| drip(ms(20)))),
            Kind::Timeout,
            "not whole within 2s",
        ),
        ("50 MB of tools", Box::new(but("tools/list", tools())), Kind::TooLarge, "list fewer tools"),
        ("gzip bomb", Box::new(but("tools/list", bomb())), Kind::NotMcp, "compressed (gzip)"),
        (
            "no tools/list",
            Box::new(but("tools/list", error)),
            Kind::Protocol,
            "tools/list was answered with the error -32603",
        ),
        ("endless pages", Box::new(but("tools/list", page)), Kind::Protocol, "more pages"),
        (
            "unknown version",
            Box::new(but("initialize", error)),
            Kind::Protocol,
            "initialize was answered with the error -32603",
        ),
    ]
}

/// 50 MB of tools, made before anybody waits for them.
fn tools() -> impl Fn(i64) -> Reply {
    let tool = format!(
        r#"{{"name":"t","description":"{}","inputSchema":{{"type":"object"}}}},"#,
        "x".repeat(10_000)
    );
    let list = tool.repeat(5000);
    move |id| {
        json(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{}]}}}}"#,
            list.trim_end_matches(',')
        ))
    }
}

/// 100 MB of zeros in 400 kB, as gzip itself makes it.
fn bomb() -> impl Fn(i64) -> Reply {
    let made = std::process::Command::new("bash")
        .args(["-c", "head -c 100000000 /dev/zero | gzip -1"])
        .output()
        .unwrap()
        .stdout;
    assert!(made.len() > 10_000, "gzip made no bomb");
    move |_| http("200 OK", "content-type: application/json\r\ncontent-encoding: gzip\r\n", &made)
}

fn error(id: i64) -> Reply {
    json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"broken\u001b[31m"}}}}"#))
}

fn page(id: i64) -> Reply {
    json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[],"nextCursor":"again"}}}}"#))
}

#[tokio::test]
async fn misbehaving_servers_are_named_in_time_and_within_bytes() {
    for (name, answer, kind, part) in table() {
        let server = Fake::new(answer).await;
        let mut question = probe(&server.url());
        question.timeout = Duration::from_secs(2);
        let start = Instant::now();
        let failure = ask(name, &question).await.unwrap_err();
        let took = start.elapsed();
        let text = failure.message(Field::hub);
        assert_eq!(failure.kind, kind, "{name}: {text}");
        assert!(text.contains(part), "{name}: {text}");
        assert!(!text.contains('\u{1b}') && text.len() < 900, "{name}: {text}");
        // 2 s, the farewell, and a busy machine.
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
        // What the probe reads, and what the buffers of two sockets hold.
        let sent = server.sent.load(Ordering::Relaxed);
        assert!(sent < 16 * 1024 * 1024, "{name}: {sent} bytes were taken");
        assert!(server.methods().iter().all(|method| method == "POST" || method == "DELETE"), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_answers_405_to_get_is_healthy_and_is_left_without_a_session() {
    let server = Fake::new(correct).await;
    let healthy = ask("405 to GET", &probe(&server.url())).await.unwrap();
    assert_eq!((healthy.era, healthy.offer.tools), (Era::Initialize, vec!["t".to_owned()]));
    assert_eq!(server.methods(), ["POST", "POST", "POST", "POST", "DELETE"]);
}

#[tokio::test]
async fn a_server_that_leaves_unknown_methods_unanswered_is_healthy_in_time() {
    let server =
        Fake::new(|request| if request.asks("server/discover") { Reply::Hang } else { correct(request) })
            .await;
    let mut question = probe(&server.url());
    question.timeout = Duration::from_secs(3);
    assert_eq!(ask("silent to server/discover", &question).await.unwrap().era, Era::Initialize);
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_origin_and_nowhere_else() {
    let other = Fake::new(correct).await;
    let elsewhere = other.url();
    for (name, location, is_followed) in [
        ("same host, other path", "/mcp/".to_owned(), true),
        ("other port", elsewhere.clone(), false),
        ("other host", elsewhere.replace("127.0.0.1", "localhost"), false),
        ("link-local", "http://169.254.169.254/latest/meta-data?token=secret".to_owned(), false),
        ("https", "https://127.0.0.1/mcp".to_owned(), false),
    ] {
        let to = location.clone();
        let server = Fake::new(move |request: &Request| {
            if request.path == "/mcp/" {
                return correct(request);
            }
            http("307 Temporary Redirect", &format!("location: {to}\r\n"), "")
        })
        .await;
        let mut question = probe(&server.url());
        question.headers = vec![("Authorization".to_owned(), b"Bearer hunter2hunter2".to_vec())];
        match ask(&format!("redirect, {name}"), &question).await {
            Ok(healthy) => assert!(is_followed && healthy.moved.unwrap().ends_with("/mcp/"), "{name}"),
            Err(failure) => {
                assert!(!is_followed, "{name}: {failure:?}");
                assert_eq!(failure.kind, Kind::Redirect, "{name}");
                assert!(!failure.message(Field::hub).contains("secret"), "{name}");
            }
        }
    }
    assert!(other.methods().is_empty(), "a request went to where a redirect pointed");
}

#[tokio::test]
async fn a_redirect_that_makes_a_get_of_a_post_is_not_followed() {
    for status in ["301 Moved Permanently", "302 Found", "303 See Other"] {
        let server = Fake::new(move |_: &Request| http(status, "location: /mcp/\r\n", "")).await;
        assert_eq!(ask(status, &probe(&server.url())).await.unwrap_err().kind, Kind::Redirect);
        assert_eq!(server.methods(), ["POST"]);
    }
}

#[tokio::test]
async fn a_name_with_a_forbidden_address_is_never_dialled() {
    let server = Fake::new(correct).await;
    for addresses in [
        "169.254.169.254",
        "127.0.0.1 169.254.169.254",
        "127.0.0.1 fe80::1",
        "::ffff:169.254.169.254",
        "0.0.0.0",
    ] {
        let prober = Prober::new(Arc::new(Names::of("evil.example", addresses)));
        let failure =
            prober.ask(&probe(&format!("http://evil.example:{}/mcp", server.port))).await.unwrap_err();
        println!("evil.example = {addresses}: {}", failure.message(Field::hub));
        assert_eq!(failure.kind, Kind::ForbiddenAddress, "{addresses}");
    }
    assert!(server.methods().is_empty());
    for url in [
        "http://169.254.169.254/mcp",
        "http://[fe80::1]/mcp",
        "http://[::ffff:a9fe:a9fe]/mcp",
        "http://2852039166/mcp",
    ] {
        assert_eq!(ask(url, &probe(url)).await.unwrap_err().kind, Kind::ForbiddenAddress, "{url}");
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_a_probe_and_later_addresses_are_tried() {
    let server = Fake::new(correct).await;
    // Nothing listens on the first.
    let names = Arc::new(Names::of("tools.example", "127.0.0.9 127.0.0.1"));
    let prober = Prober::new(Arc::clone(&names) as Arc<dyn Resolve>);
    let url = format!("http://tools.example:{}/mcp", server.port);
    prober.ask(&probe(&url)).await.unwrap();
    assert_eq!(*names.asked.lock().unwrap(), 1);
    let requests = server.requests.lock().unwrap().clone();
    assert!(
        requests.iter().all(|request| request.head.contains(&format!("host: tools.example:{}", server.port)))
    );
}

#[tokio::test]
async fn a_name_that_is_never_resolved_ends_in_time() {
    struct Silent;
    impl Resolve for Silent {
        fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(futures::future::pending())
        }
    }
    let mut question = probe("http://tools.example/mcp");
    question.timeout = Duration::from_millis(300);
    let failure = Prober::new(Arc::new(Silent)).ask(&question).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Timeout);
    assert!(failure.message(Field::hub).contains("tools.example was not resolved within 300ms"));
}

#[tokio::test]
async fn secrets_are_sent_and_never_told() {
    // Tells the credentials in every place of an answer.
    let server = Fake::new(|request: &Request| {
        let given = request.head.lines().find(|line| line.starts_with("authorization")).unwrap_or("nothing");
        let id = serde_json::from_str::<serde_json::Value>(&request.body).unwrap()["id"].clone();
        json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"bad {given}"}}}}"#))
    })
    .await;
    let mut question = probe(&server.url());
    question.headers = vec![("Authorization".to_owned(), b"Bearer hunter2hunter2\n".to_vec())];
    let failure = ask("tells secrets", &question).await.unwrap_err();
    assert!(
        server
            .requests
            .lock()
            .unwrap()
            .iter()
            .all(|request| request.head.contains("Bearer hunter2hunter2\r\n"))
    );
    assert!(!format!("{failure:?}").contains("hunter2"));
    assert_eq!(failure.kind, Kind::Protocol);
}

#[tokio::test]
async fn nothing_is_sent_for_what_cannot_be_used() {
    let server = Fake::new(correct).await;
    let good = server.url();
    for (endpoint, header, ca, field) in [
        ("tools.example/mcp", None, None, Field::Endpoint),
        ("ftp://tools.example/mcp", None, None, Field::Endpoint),
        ("http://a:b@tools.example/mcp", None, None, Field::Headers),
        (good.as_str(), Some(("Host", "x")), None, Field::Headers),
        (good.as_str(), Some(("mcp-session-id", "x")), None, Field::Headers),
        (good.as_str(), Some(("a b", "x")), None, Field::Headers),
        (good.as_str(), Some(("x", "a\nb: c")), None, Field::Headers),
        ("https://127.0.0.1:1/mcp", None, Some("no certificate"), Field::CaBundle),
    ] {
        let mut question = probe(endpoint);
        question.headers =
            header.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        question.ca_bundle = ca.map(|text: &str| text.as_bytes().to_vec());
        let failure = ask(&format!("{endpoint} {header:?}"), &question).await.unwrap_err();
        assert_eq!(failure.kind, Kind::InvalidSpec);
        assert_eq!(failure.fields().collect::<Vec<_>>(), [field]);
    }
    assert!(server.methods().is_empty());
}

#[tokio::test]
async fn a_container_that_listens_elsewhere_or_not_at_all_reads_what_to_write() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut question = probe(&format!("http://127.0.0.1:{free}/mcp"));
    question.place = Place::Container;
    let failure = ask("nothing listens", &question).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Refused);
    let text = failure.message(Field::v1alpha1);
    for part in [
        format!("port {free}").as_str(),
        "stdio",
        "0.0.0.0",
        "metadata.annotations[mcp-hangar.io/port]",
        "spec.args",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let server = Fake::new(|_: &Request| http("404 Not Found", "", "")).await;
    question.endpoint = server.url();
    let text = ask("another path", &question).await.unwrap_err().message(Field::v1alpha1);
    assert!(text.contains("metadata.annotations[mcp-hangar.io/path]") && text.contains("/sse"), "{text}");
}
