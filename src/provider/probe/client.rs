//! The HTTP client that `rmcp` speaks through.
//!
//! In: messages of MCP. Out: the answers, over [`Wire`]; the first trouble of an attempt is kept, since `rmcp` wraps it
//! beyond use. Only POST is sent, and DELETE of the session at the end, so that a probe leaves none behind. Never GET:
//! correct servers answer 405 to it, and a probe wants no stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, Response, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};
use tokio::time::{Instant, timeout_at};

use super::wire::{Ask, Connection, Stage, Trouble, Wire, now_at, set};

/// Bytes of an error's body that are looked at.
const PEEK: usize = 4 * 1024;
/// Time in which a session is deleted.
pub(super) const FAREWELL: Duration = Duration::from_millis(500);
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

type Failed = StreamableHttpError<Trouble>;

/// One attempt's client.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) wire: Arc<Wire>,
    pub(super) seen: Arc<Seen>,
}

/// What an attempt came across.
pub(super) struct Seen {
    pub(super) stage: Mutex<Stage>,
    trouble: Mutex<Option<Trouble>>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { stage: Mutex::new(Stage::Resolve), trouble: Mutex::new(None) }
    }

    /// The first trouble: what follows comes from it.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: Trouble) -> Trouble {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| trouble.clone());
        trouble
    }
}

impl Client {
    async fn post(
        &self,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        more: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Trouble> {
        let mut headers: HeaderMap = more.into_iter().collect();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(session) = session.and_then(|id| HeaderValue::from_str(&id).ok()) {
            headers.insert(SESSION, session);
        }
        let body = serde_json::to_vec(&message).map_err(|_| Trouble::Garbage)?;
        let deadline = self.wire.deadline;
        let ask = Ask { method: Method::POST, headers, body: body.into(), deadline };
        let (response, connection) = self.wire.ask(&ask, &self.seen.stage).await?;
        set(&self.seen.stage, Stage::Body);
        let is_request = matches!(message, ClientJsonRpcMessage::Request(_));
        self.read(response, connection, is_request).await
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        connection: Connection,
        is_request: bool,
    ) -> Result<StreamableHttpPostResponse, Trouble> {
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        if let Some(coding) = text(&response, CONTENT_ENCODING).filter(|coding| coding != "identity") {
            return Err(Trouble::Compressed { coding });
        }
        let session = text(&response, SESSION);
        let found = text(&response, CONTENT_TYPE);
        let kind = found.as_deref().and_then(|found| found.split(';').next()).unwrap_or("").trim();
        let status = response.status();
        if !is_request || matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            // Nothing is wanted but the status.
            self.wire.finish(response.into_body(), connection);
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if kind.eq_ignore_ascii_case("text/event-stream") {
            return Ok(StreamableHttpPostResponse::Sse(
                self.events(response.into_body(), connection),
                session,
            ));
        }
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Trouble::ContentType { found });
        }
        let whole = self.whole(response.into_body()).await?;
        self.wire.keep(connection);
        match serde_json::from_slice(&whole) {
            Ok(message @ (ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))) => {
                Ok(StreamableHttpPostResponse::Json(message, session))
            }
            _ => Err(Trouble::Garbage),
        }
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, Trouble> {
        match timeout_at(self.wire.deadline, body.collect()).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(_)) => Err(self.wire.or_too_large(Trouble::Closed)),
            Err(_) => Err(Trouble::Timeout(Stage::Body)),
        }
    }

    /// What a status that is no success says.
    async fn refusal(&self, response: Response<Incoming>) -> Trouble {
        let status = response.status().as_u16();
        let challenge = response.headers().contains_key(WWW_AUTHENTICATE);
        let mut body = response.into_body();
        let mut peeked = BytesMut::new();
        while peeked.len() < PEEK {
            match timeout_at(self.wire.deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    peeked.extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()))
                }
                _ => break,
            }
        }
        let rpc = match serde_json::from_slice(&peeked) {
            Ok(ServerJsonRpcMessage::Error(error)) => {
                Some((error.error.code.0, error.error.message.into_owned()))
            }
            _ => None,
        };
        peeked.truncate(PEEK);
        let text = String::from_utf8_lossy(&peeked).to_lowercase();
        Trouble::Status { status, rpc, text, challenge }
    }

    /// The events of an answer, to its end, to the deadline or to the last byte that is read.
    fn events(
        &self,
        body: Incoming,
        connection: Connection,
    ) -> BoxStream<'static, Result<Sse, sse_stream::Error>> {
        let answer = Answer { wire: Arc::clone(&self.wire), rest: Some((body, connection)) };
        let client = self.clone();
        let chunks = stream::unfold(answer, move |mut answer| {
            let client = client.clone();
            async move {
                let (body, _) = answer.rest.as_mut()?;
                let trouble = match timeout_at(client.wire.deadline, body.frame()).await {
                    Ok(None) => return None,
                    Ok(Some(Ok(frame))) => {
                        let data = frame.into_data().unwrap_or_default();
                        return Some((Ok::<_, Trouble>(data), answer));
                    }
                    Ok(Some(Err(_))) => client.wire.or_too_large(Trouble::Closed),
                    Err(_) => Trouble::Timeout(now_at(&client.seen.stage)),
                };
                answer.rest = None;
                Some((Err(client.seen.note(trouble)), answer))
            }
        });
        SseStream::from_bytes_stream(Box::pin(chunks)).boxed()
    }
}

/// An answer that is being read. Who has the message that he waited for drops it before its end.
struct Answer {
    wire: Arc<Wire>,
    rest: Option<(Incoming, Connection)>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some((body, connection)) = self.rest.take() {
            self.wire.finish(body, connection);
        }
    }
}

impl StreamableHttpClient for Client {
    type Error = Trouble;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let posted = self.post(message, session_id, custom_headers).await;
        posted.map_err(|trouble| StreamableHttpError::Client(self.seen.note(trouble)))
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        let mut headers: HeaderMap = custom_headers.into_iter().collect();
        if let Ok(session) = HeaderValue::from_str(&session_id) {
            headers.insert(SESSION, session);
        }
        let deadline = Instant::now() + FAREWELL;
        let ask = Ask { method: Method::DELETE, headers, body: Bytes::new(), deadline };
        // Servers may refuse it, and a probe has nothing to say about that.
        let _ = self.wire.ask(&ask, &Mutex::new(Stage::Connect)).await;
        Ok(())
    }

    async fn get_stream(
        &self,
        _uri: Arc<str>,
        _session_id: Option<Arc<str>>,
        _last_event_id: Option<String>,
        _auth_header: Option<String>,
        _custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, sse_stream::Error>>, Failed> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

fn text(response: &Response<Incoming>, name: HeaderName) -> Option<String> {
    response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}
