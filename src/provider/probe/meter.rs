//! A stream that counts what is read from it and remembers how it began.
//!
//! In: a stream and a number of bytes that several streams share. Out: the same bytes, then an error once the number is
//! used up; at most one buffer of the reader goes over it. Writing is passed on.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first bytes of an answer: enough to tell what else a server speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct First {
    bytes: [u8; 8],
    length: usize,
}

impl First {
    /// What came.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    fn add(&mut self, more: &[u8]) {
        let room = self.bytes.iter_mut().skip(self.length);
        self.length += room.zip(more).map(|(place, byte)| *place = *byte).count();
    }
}

/// A counted stream.
pub(super) struct Metered<S> {
    inner: S,
    left: Arc<AtomicI64>,
    first: Arc<Mutex<First>>,
}

impl<S> Metered<S> {
    pub(super) fn new(inner: S, left: Arc<AtomicI64>, first: Arc<Mutex<First>>) -> Self {
        Self { inner, left, first }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.load(Ordering::Relaxed) <= 0 {
            return Poll::Ready(Err(io::Error::other("more bytes than a probe reads")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let new = buf.filled().get(before..).unwrap_or(&[]);
        self.left.fetch_sub(i64::try_from(new.len()).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.first.lock().unwrap_or_else(PoisonError::into_inner).add(new);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
