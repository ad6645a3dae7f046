//! Every limit of the HTTPS server, in one place, with the defaults it runs with.
//!
//! The defaults fit the API server: it keeps idle connections for 90 s, calls with a timeout of 5 s, sends objects of
//! at most 3 MiB (as much again for the old object), and repeats a call that was answered with `503` and `Retry-After`
//! up to ten times. Tests set small ones.

use std::time::Duration;

/// What one server takes on, and how long it waits for whom.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time for the TLS handshake. 10 s.
    pub handshake: Duration,
    /// Connections that are still in their handshake. One more, and the one that has taken longest is cut. 512.
    pub half_open: usize,
    /// Established connections. One more, and the one that has waited longest without ever completing a request is
    /// cut; where there is none, the one that has idled longest; where all are being answered, the new one is told
    /// `503`, `Retry-After: 1`. 512.
    pub connections: usize,
    /// Connections beyond that which wait for a place or are being told so. 512.
    pub overflow: usize,
    /// A connection that is younger than this, or was answered more lately, is never cut to make room: it may well be
    /// a good one. Others wait so long for it. 500 ms.
    pub patience: Duration,
    /// Time from the first to the last byte of a request's header. 10 s.
    pub header: Duration,
    /// Bytes of a request's header. 64 KiB.
    pub header_bytes: usize,
    /// Time for a request's body, after the header. 15 s.
    pub body: Duration,
    /// Bytes of an admission review. 8 MiB.
    pub admission_bytes: usize,
    /// Bytes of a conversion review. 32 MiB.
    pub conversion_bytes: usize,
    /// Bytes of all requests and answers that are in memory at once. 256 MiB.
    pub in_flight_bytes: usize,
    /// The first bytes of a body, which are taken although all of those are in use: large bodies do not keep out
    /// ordinary ones, and the connections bound how much that can be. 128 KiB.
    pub reserved_bytes: usize,
    /// Bodies longer than this are judged on the blocking pool, so that other calls stay fast. 256 KiB.
    pub inline_bytes: usize,
    /// Time that a connection may wait for its next request; longer than the API server's 90 s. 120 s.
    pub idle: Duration,
    /// Time that a client may take no byte of an answer that waits for it. 15 s.
    pub write_stall: Duration,
    /// Time that a client may take for all of an answer; longer than the API server ever waits for one. 40 s.
    pub answer: Duration,
    /// Time that a closing connection goes on reading, so that a client that is still sending gets its answer and not
    /// a reset. 1 s.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            half_open: 512,
            connections: 512,
            overflow: 512,
            patience: Duration::from_millis(500),
            header: Duration::from_secs(10),
            header_bytes: 64 << 10,
            body: Duration::from_secs(15),
            admission_bytes: 8 << 20,
            conversion_bytes: 32 << 20,
            in_flight_bytes: 256 << 20,
            reserved_bytes: 128 << 10,
            inline_bytes: 256 << 10,
            idle: Duration::from_secs(120),
            write_stall: Duration::from_secs(15),
            answer: Duration::from_secs(40),
            linger: Duration::from_secs(1),
        }
    }
}
