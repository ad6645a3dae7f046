//! Servers that nobody here wrote: each is asked in both eras, and at a wrong path.

use std::sync::Arc;
use std::time::Duration;

use mcp_hangar_operator::provider::probe::{Era, Kind};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};

use tokio::task::JoinHandle;

use crate::strangers::{NEW, OLD, Server, everything, go, plain, python};
use crate::{ask, probe};

/// Asks twice: with no era remembered, then with the one that worked; both give the same. Then at a wrong path.
async fn check(name: &str, url: &str, tools: Option<&[&str]>) -> Era {
    let mut question = probe(url);
    question.timeout = Duration::from_secs(20);
    let first = ask(name, &question).await.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
    question.era = Some(first.era);
    let again = ask(&format!("{name}, again"), &question).await.unwrap();
    assert_eq!((again.era, &again.name, &again.offer), (first.era, &first.name, &first.offer), "{name}");
    question.era = Some(if first.era == Era::Discover { Era::Initialize } else { Era::Discover });
    let other = ask(&format!("{name}, the other era remembered"), &question).await.unwrap();
    assert_eq!(other.offer, first.offer, "{name}");
    assert!(first.offer.count > 0, "{name}");
    if let Some(tools) = tools {
        assert_eq!(first.offer.tools, tools, "{name}");
    }
    question.endpoint = url.replace("/mcp", "/elsewhere");
    let failure = ask(&format!("{name}, wrong path"), &question).await.unwrap_err();
    assert_eq!(failure.kind, Kind::NotFound, "{name}");
    first.era
}

#[tokio::test]
async fn server_everything_is_healthy() {
    let server = Server::start(everything).await;
    check("server-everything 2026.8.31 (node)", &server.url(), None).await;
}

/// Passes each connection on to the next of two servers in turn, as a Service does with two pods; its address.
async fn service(pods: [u16; 2]) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for pod in pods.into_iter().cycle() {
            let Ok((mut client, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", pod)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_server_with_sessions_is_healthy_behind_a_service_with_two_pods() {
    let pods = [Server::start(everything).await, Server::start(everything).await];
    let port = service([pods[0].port, pods[1].port]).await;
    let mut question = probe(&format!("http://127.0.0.1:{port}/mcp"));
    question.timeout = Duration::from_secs(20);
    for _ in 0..6 {
        let healthy = ask("server-everything, two pods", &question).await.unwrap();
        question.era = Some(healthy.era);
    }
}

#[tokio::test]
async fn python_servers_of_the_first_era_are_healthy() {
    for mode in ["stateful", "stateless"] {
        let server = Server::start(python("python1", OLD, mode)).await;
        let era = check(&format!("python mcp 1.30.0, {mode}"), &server.url(), Some(&["add", "sub"])).await;
        assert_eq!(era, Era::Initialize);
    }
}

#[tokio::test]
async fn python_servers_of_both_eras_are_healthy() {
    for mode in ["stateful", "stateless"] {
        let server = Server::start(python("python2", NEW, mode)).await;
        check(&format!("python mcp 2.3.0, {mode}"), &server.url(), Some(&["add"])).await;
    }
}

#[tokio::test]
async fn servers_of_the_go_sdk_are_healthy() {
    for mode in ["stateful", "stateless"] {
        let server = Server::start(go(mode)).await;
        check(&format!("go-sdk 1.8.0, {mode}"), &server.url(), Some(&["first", "second"])).await;
    }
}

#[tokio::test]
async fn a_server_that_refuses_our_name_for_it_says_which_to_allow() {
    let server = Server::start(python("python1", OLD, "stateless")).await;
    // Not a name that its protection against DNS rebinding knows.
    let failure =
        ask("python mcp 1.30.0, by 127.0.0.2", &probe(&format!("http://127.0.0.2:{}/mcp", server.port)))
            .await;
    // It listens on 127.0.0.1 alone.
    assert_eq!(failure.unwrap_err().kind, Kind::Refused);
    let named = crate::misbehaving::Names::of("tools.example", "127.0.0.1");
    let prober = mcp_hangar_operator::provider::probe::Prober::new(Arc::new(named));
    let failure = prober.ask(&probe(&format!("http://tools.example:{}/mcp", server.port))).await.unwrap_err();
    println!("python mcp 1.30.0, by another name: {:?}", failure);
    assert_eq!(failure.kind, Kind::HostRefused);
}

/// A server by `rmcp`, of the protocol versions named.
#[derive(Clone)]
struct Rusty(&'static [rmcp::model::ProtocolVersion]);

impl rmcp::ServerHandler for Rusty {
    fn get_info(&self) -> rmcp::model::ServerConfig {
        let capabilities = rmcp::model::ServerCapabilities::builder().enable_tools().build();
        rmcp::model::ServerConfig::new(capabilities)
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [rmcp::model::ProtocolVersion]> {
        self.0.into()
    }

    async fn list_tools(
        &self,
        _: Option<rmcp::model::PaginatedRequestParams>,
        _: rmcp::service::RequestContext<rmcp::RoleServer>,
    ) -> Result<rmcp::model::ListToolsResult, rmcp::ErrorData> {
        let schema = Arc::new(serde_json::from_str("{\"type\":\"object\"}").unwrap());
        Ok(rmcp::model::ListToolsResult::with_all_items(vec![rmcp::model::Tool::new(
            "rusty",
            "does nothing",
            schema,
        )]))
    }
}

async fn rusty(
    versions: &'static [rmcp::model::ProtocolVersion],
    sessions: bool,
) -> (String, JoinHandle<()>) {
    let mut config = StreamableHttpServerConfig::default();
    config.legacy_session_mode = sessions;
    let manager = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(Rusty(versions)), manager, config);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let app = axum::Router::new().nest_service("/mcp", service);
    (url, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

#[tokio::test]
async fn the_rust_server_is_healthy() {
    for sessions in [true, false] {
        let (url, serving) = rusty(rmcp::model::ProtocolVersion::KNOWN_VERSIONS, sessions).await;
        check(&format!("rmcp 3.9 server, sessions {sessions}"), &url, Some(&["rusty"])).await;
        serving.abort();
    }
}

#[tokio::test]
async fn a_server_of_one_era_only_is_healthy_whatever_is_remembered() {
    for (name, versions, era) in [
        ("rmcp 3.9 server, 2026-07-28 only", &[rmcp::model::ProtocolVersion::V_2026_07_28], Era::Discover),
        ("rmcp 3.9 server, 2025-06-18 only", &[rmcp::model::ProtocolVersion::V_2025_06_18], Era::Initialize),
    ] {
        let (url, serving) = rusty(versions, true).await;
        assert_eq!(check(name, &url, Some(&["rusty"])).await, era, "{name}");
        serving.abort();
    }
}

#[tokio::test]
async fn a_plain_web_server_is_never_healthy() {
    let server = plain().await;
    for path in ["/", "/mcp"] {
        let url = format!("http://127.0.0.1:{}{path}", server.port);
        let failure = ask(&format!("python3 -m http.server, {path}"), &probe(&url)).await.unwrap_err();
        assert_eq!(failure.kind, Kind::NotMcp);
    }
}
