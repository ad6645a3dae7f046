//! Reads request bodies: whole, in bounded memory, in bounded time.
//!
//! A body is charged to the [`Budget`] as its bytes arrive, not by what its header announces: announcing costs a slow
//! client nothing. What cannot be read becomes a [`Refusal`], which knows its own answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

/// Bytes of requests and answers that may be in memory at once.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    /// What each may take in any case.
    reserved: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit: usize, reserved: usize) -> Arc<Self> {
        Arc::new(Self { limit, reserved, used: AtomicUsize::new(0) })
    }
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        let within = self.bytes <= self.budget.reserved || before + bytes <= self.budget.limit;
        if within { Ok(()) } else { Err(Refusal::InFlight) }
    }

    /// Charges an answer in place of its request. An answer is never refused; what it takes beyond the limit, later
    /// requests have to wait for.
    pub(super) fn replace(&mut self, bytes: usize) {
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An answer's bytes, charged for until they have been sent.
pub(super) struct Charged {
    pub(super) bytes: Vec<u8>,
    pub(super) charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        debug_assert_eq!(self.charge.bytes, self.bytes.len());
        &self.bytes
    }
}

/// Why a request was turned away before anyone looked at its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Longer than this many bytes.
    TooLarge(usize),
    /// All bodies together would be too large.
    InFlight,
    /// Too many connections.
    Connections,
    /// Not there in time.
    TooSlow(Duration),
    /// The client broke off, or sent something that is no body.
    Broken,
    /// Compressed.
    Encoded,
}

impl Refusal {
    /// The limit as a fixed word, for metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::TooLarge(_) => "body_bytes",
            Self::InFlight => "in_flight_bytes",
            Self::Connections => "connections",
            Self::TooSlow(_) => "body_time",
            Self::Broken => "broken_body",
            Self::Encoded => "content_encoding",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::TooLarge(limit) => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("the request body is longer than {limit} bytes"))
            }
            Self::InFlight => {
                (StatusCode::SERVICE_UNAVAILABLE, "too many large requests at once; try again".to_owned())
            }
            Self::Connections => {
                (StatusCode::SERVICE_UNAVAILABLE, "too many connections at once; try again".to_owned())
            }
            Self::TooSlow(limit) => {
                (StatusCode::REQUEST_TIMEOUT, format!("the request body did not arrive within {limit:?}"))
            }
            Self::Broken => {
                (StatusCode::BAD_REQUEST, "the request body could not be read to its end".to_owned())
            }
            Self::Encoded => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "compressed request bodies are not supported; send it without Content-Encoding".to_owned(),
            ),
        };
        let mut response = (status, text + "\n").into_response();
        // The rest of the body is not wanted, so the connection cannot be used again.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Reads all of `body`: at most `limit` bytes, within `time`, charged to `charge`.
pub(super) async fn read(
    body: Body,
    limit: usize,
    time: Duration,
    charge: &mut Charge,
) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::TooLarge(limit));
    }
    timeout(time, collect(body, limit, charge)).await.unwrap_or(Err(Refusal::TooSlow(time)))
}

async fn collect(mut body: Body, limit: usize, charge: &mut Charge) -> Result<Bytes, Refusal> {
    // Most bodies are one frame: it is used as it is.
    let Some(first) = next(&mut body, 0, limit, charge).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return Ok(first);
    }
    let announced = body.size_hint().exact().and_then(|rest| usize::try_from(rest).ok());
    let total = announced.map_or(limit, |rest| first.len().saturating_add(rest).min(limit));
    let mut whole = Vec::new();
    append(&mut whole, &first, total);
    drop(first);
    while let Some(bytes) = next(&mut body, whole.len(), limit, charge).await? {
        append(&mut whole, &bytes, total);
    }
    Ok(Bytes::from(whole))
}

async fn next(
    body: &mut Body,
    so_far: usize,
    limit: usize,
    charge: &mut Charge,
) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        let Some(frame) = frame else { return Ok(None) };
        // Trailers say nothing to us.
        let Ok(bytes) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
        if so_far + bytes.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        charge.grow(bytes.len())?;
        return Ok(Some(bytes));
    }
}

/// Appends; grows by doubling, but never beyond `total`.
fn append(whole: &mut Vec<u8>, bytes: &[u8], total: usize) {
    let needed = whole.len() + bytes.len();
    if needed > whole.capacity() {
        let capacity = needed.max((whole.capacity() * 2).min(total));
        whole.reserve_exact(capacity - whole.len());
    }
    whole.extend_from_slice(bytes);
}
