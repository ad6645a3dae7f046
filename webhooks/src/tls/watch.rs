//! What one connection is doing, and by when it must be done with it.
//!
//! [`Watch`] holds the phase. Two wrappers feed it: [`Plain`] around the TLS stream sees the first byte of a header
//! and the end of the connection, [`Wire`] under it sees whether the client takes what is sent. hyper's own header
//! timeout is not used: it also counts the idle time between two requests. Acting on a deadline is left to the
//! connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::service::Limits;

/// What the server waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// For the next request to begin.
    Idle,
    /// For the rest of a header.
    Header,
    /// For the rest of a body; the handler keeps that time.
    Body,
    /// For itself.
    Handling,
    /// For the client to close too.
    Closing,
}

/// Shared by the connection, its I/O wrappers and the room that may want its place.
#[derive(Debug)]
pub(super) struct Watch {
    born: Instant,
    state: Mutex<State>,
    cut: CancellationToken,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Since when the client has taken nothing although something waits for it.
    stalled: Option<Instant>,
    /// Since when something has waited for it without a break.
    sending: Option<Instant>,
    /// Whether an answer was ever given on this connection.
    answered: bool,
}

impl Watch {
    pub(super) fn new() -> Arc<Self> {
        let born = Instant::now();
        let state = State { phase: Phase::Idle, since: born, stalled: None, sending: None, answered: false };
        Arc::new(Self { born, state: Mutex::new(state), cut: CancellationToken::new() })
    }

    /// When the connection was accepted.
    pub(super) fn born(&self) -> Instant {
        self.born
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, phase: Phase) {
        let mut state = self.state();
        // Closing is final: a body that is dropped while the connection closes changes nothing.
        if state.phase != phase && state.phase != Phase::Closing {
            state.phase = phase;
            state.since = Instant::now();
        }
    }

    /// An answer was handed over in full; the connection waits for the next request.
    pub(super) fn answered(&self) {
        self.state().answered = true;
        self.enter(Phase::Idle);
    }

    fn received(&self) {
        if self.state().phase == Phase::Idle {
            self.enter(Phase::Header);
        }
    }

    fn sent(&self, stalled: bool) {
        let mut state = self.state();
        if !stalled {
            state.stalled = None;
        } else if state.stalled.is_none() {
            let now = Instant::now();
            state.stalled = Some(now);
            state.sending.get_or_insert(now);
        }
    }

    /// Nothing waits for the client any more.
    fn sent_all(&self) {
        let mut state = self.state();
        state.stalled = None;
        state.sending = None;
    }

    /// By when something must have happened, and the name of the limit. `idle` is given apart, because a server that
    /// is closing waits less long.
    pub(super) fn deadline(&self, limits: &Limits, idle: Duration) -> Option<(Instant, &'static str)> {
        let state = self.state();
        if let (Some(stalled), Some(sending)) = (state.stalled, state.sending) {
            let (stall, answer) = (stalled + limits.write_stall, sending + limits.answer);
            return Some(if stall <= answer { (stall, "write_stall") } else { (answer, "answer_time") });
        }
        match state.phase {
            Phase::Idle => Some((state.since + idle, "idle")),
            Phase::Header => Some((state.since + limits.header, "header_time")),
            Phase::Closing => Some((state.since + limits.linger, "linger")),
            Phase::Body | Phase::Handling => None,
        }
    }

    /// Whether the connection may be cut in favour of another: it has never completed a request and is not being
    /// worked on, or it only waits for the client to close.
    pub(super) fn is_dispensable(&self) -> bool {
        let state = self.state();
        match state.phase {
            Phase::Closing => true,
            Phase::Handling => false,
            Phase::Idle | Phase::Header | Phase::Body => !state.answered,
        }
    }

    /// Since when the next request, or the rest of one, has not come; `None` while the server has work to do.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.phase != Phase::Handling).then_some(state.since)
    }

    /// Tells the connection to end at once.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.cut
    }
}

/// The TCP stream under TLS; notes when the client does not take what is sent.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    watch: Arc<Watch>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, watch: Arc<Watch>) -> Self {
        Self { stream, watch }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.watch.sent(written.is_pending());
        written
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called once TLS and HTTP have nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.sent_all();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The TLS stream as hyper sees it; notes the first byte of a header, and closes without losing the last answer.
#[derive(Debug)]
pub(super) struct Plain {
    stream: TlsStream<Wire>,
    watch: Arc<Watch>,
    shut: bool,
}

impl Plain {
    pub(super) fn new(stream: TlsStream<Wire>, watch: Arc<Watch>) -> Self {
        Self { stream, watch, shut: false }
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.watch.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends the end, then discards what still comes in until the client closes too: closing a socket with unread
    /// bytes resets it, and the reset may overtake the answer (a `413` to a client that is still sending).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.enter(Phase::Closing);
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        let mut bytes = [0; 4096];
        // Yield now and then: a client that sends without end must not keep this thread.
        for _ in 0..64 {
            let mut buf = ReadBuf::new(&mut bytes);
            let wire = self.stream.get_mut().0;
            match ready!(Pin::new(&mut wire.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
