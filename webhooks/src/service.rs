//! The HTTP side of the webhooks: three paths, each reading a whole body and handing it to a pure function.
//!
//! Requests come from any server that can drive an axum [`Router`] ([`crate::tls::serve`] in the operator); answers
//! are what a [`Reviewer`] says, or a refusal in plain text where the request never got that far. Limits on
//! connections and headers are the listener's.

mod body;
mod limits;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::available_parallelism;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::admission::{self, Webhook};
use crate::conversion;
use crate::observer::Observer;
use crate::policy::Policy;
use crate::reply::Reply;
use body::{Budget, Charge, Charged};

pub(crate) use body::Refusal;
pub use limits::Limits;

/// Answers reviews. [`Rules`] is the real one; tests put others in its place.
pub trait Reviewer: Send + Sync + 'static {
    /// Answers one admission review.
    fn admission(&self, webhook: Webhook, body: &[u8]) -> Reply;

    /// Answers one conversion review.
    fn conversion(&self, body: &[u8]) -> Reply;
}

/// The rules of this crate under one policy.
pub struct Rules {
    /// What the operator's flags say about judging.
    pub policy: Policy,
    /// Who is told of every answered review.
    pub observer: Arc<dyn Observer>,
}

impl Reviewer for Rules {
    fn admission(&self, webhook: Webhook, body: &[u8]) -> Reply {
        admission::review(webhook, body, &self.policy, &*self.observer)
    }

    fn conversion(&self, body: &[u8]) -> Reply {
        conversion::review(body, &*self.observer)
    }
}

/// What the three paths share. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    shared: Arc<Shared>,
}

struct Shared {
    reviewer: Arc<dyn Reviewer>,
    observer: Arc<dyn Observer>,
    limits: Limits,
    budget: Arc<Budget>,
    /// Large bodies that are judged at once: as many as leave a core to the others.
    heavy: Arc<Semaphore>,
}

impl Webhooks {
    /// Of `limits`, those on bodies apply here.
    pub fn new(reviewer: Arc<dyn Reviewer>, observer: Arc<dyn Observer>, limits: &Limits) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            shared: Arc::new(Shared {
                reviewer,
                observer,
                limits: limits.clone(),
                budget: Budget::new(limits.in_flight_bytes, limits.reserved_bytes),
                heavy: Arc::new(Semaphore::new(cores.saturating_sub(1).max(1))),
            }),
        }
    }
}

/// The paths of the server. The query (the API server appends `?timeout=5s`) and the content type (it always sends
/// JSON, and what a body is shows when it is parsed) are not looked at.
pub fn router(webhooks: Webhooks) -> Router {
    Router::new()
        .route("/default", post(default))
        .route("/validate", post(validate))
        .route("/convert", post(convert))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(webhooks)
}

async fn default(State(webhooks): State<Webhooks>, request: Request) -> Response {
    webhooks.answer(Path::Admission(Webhook::Default), request).await
}

async fn validate(State(webhooks): State<Webhooks>, request: Request) -> Response {
    webhooks.answer(Path::Admission(Webhook::Validate), request).await
}

async fn convert(State(webhooks): State<Webhooks>, request: Request) -> Response {
    webhooks.answer(Path::Conversion, request).await
}

async fn method_not_allowed() -> Response {
    let text = "only POST is answered here\n";
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")], text).into_response()
}

async fn not_found() -> Response {
    let text = "no such path; there are POST /default, POST /validate and POST /convert\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

#[derive(Debug, Clone, Copy)]
enum Path {
    Admission(Webhook),
    Conversion,
}

impl Path {
    fn name(self) -> &'static str {
        match self {
            Self::Admission(Webhook::Default) => "/default",
            Self::Admission(Webhook::Validate) => "/validate",
            Self::Conversion => "/convert",
        }
    }

    fn body_limit(self, limits: &Limits) -> usize {
        match self {
            Self::Admission(_) => limits.admission_bytes,
            Self::Conversion => limits.conversion_bytes,
        }
    }
}

/// The reviewer panicked; everything worth saying has been said.
struct Panicked;

impl Webhooks {
    async fn answer(&self, path: Path, request: Request) -> Response {
        match self.try_answer(path, request).await {
            Ok(response) => response,
            Err(refusal) => {
                self.shared.observer.refused(refusal.label());
                tracing::debug!(path = path.name(), limit = refusal.label(), "request refused");
                refusal.into_response()
            }
        }
    }

    async fn try_answer(&self, path: Path, request: Request) -> Result<Response, Refusal> {
        let shared = &self.shared;
        if is_encoded(request.headers()) {
            return Err(Refusal::Encoded);
        }
        let mut charge = Charge::new(&shared.budget);
        let limit = path.body_limit(&shared.limits);
        let body = body::read(request.into_body(), limit, shared.limits.body, &mut charge).await?;
        let (reply, charge) = if body.len() <= shared.limits.inline_bytes {
            (shared.review(path, &body), charge)
        } else {
            self.review_apart(path, body, charge).await
        };
        Ok(match reply {
            Ok(reply) => respond(reply, charge),
            Err(Panicked) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal error in the webhook; see its log\n")
                    .into_response()
            }
        })
    }

    /// On the blocking pool, so that the threads that answer small requests stay free. The charge goes along: when the
    /// client leaves, the work goes on for a while, and so does the memory.
    async fn review_apart(
        &self,
        path: Path,
        body: Bytes,
        charge: Charge,
    ) -> (Result<Reply, Panicked>, Charge) {
        let turn = Arc::clone(&self.shared.heavy).acquire_owned().await;
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let reply = shared.review(path, &body);
            drop((body, turn));
            (reply, charge)
        };
        match spawn_blocking(work).await {
            Ok(done) => done,
            // Only when the runtime ends before the work began.
            Err(_) => (Err(Panicked), Charge::new(&self.shared.budget)),
        }
    }
}

impl Shared {
    fn review(&self, path: Path, body: &[u8]) -> Result<Reply, Panicked> {
        // Nothing that a panic could leave half-done outlives the call: reviewers are functions of their input.
        let review = AssertUnwindSafe(|| match path {
            Path::Admission(webhook) => self.reviewer.admission(webhook, body),
            Path::Conversion => self.reviewer.conversion(body),
        });
        catch_unwind(review).map_err(|_| {
            tracing::error!(path = path.name(), bytes = body.len(), "a review panicked; this is a bug");
            self.observer.panicked(path.name());
            Panicked
        })
    }
}

fn respond(reply: Reply, mut charge: Charge) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type =
        if status == StatusCode::OK { "application/json" } else { "text/plain; charset=utf-8" };
    charge.replace(reply.body.len());
    let body = Bytes::from_owner(Charged { bytes: reply.body, charge });
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}
