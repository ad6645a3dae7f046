//! Accepts connections, and stops without dropping a call.
//!
//! [`serve`] takes a bound listener, a TLS configuration and a router; it returns when it has drained. From the first
//! signal on, every answer says `Connection: close`, and clients come back on new connections, which go to other
//! replicas as soon as the cluster has noticed. Only when nobody has come for a while does the listener close.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connection::{self, Activity, Server};
use super::room::Room;
use super::watch::Watch;
use crate::observer::Observer;
use crate::service::Limits;

/// When and how the server ends.
#[derive(Debug, Clone)]
pub struct Drain {
    /// The first signal: drain.
    pub signal: CancellationToken,
    /// The second signal: end at once.
    pub now: CancellationToken,
    /// Go on answering for at least so long, until the cluster has noticed. 15 s.
    pub minimum: Duration,
    /// After that, close as soon as nobody has called for so long. 5 s.
    pub quiet: Duration,
    /// Close after so long whatever happens; must fit into the pod's grace period. 45 s.
    pub cap: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            signal: CancellationToken::new(),
            now: CancellationToken::new(),
            minimum: Duration::from_secs(15),
            quiet: Duration::from_secs(5),
            cap: Duration::from_secs(45),
        }
    }
}

/// Serves `router` over TLS on `listener` until `drain` has run its course.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
    observer: Arc<dyn Observer>,
    drain: Drain,
) {
    let server = Arc::new(Server {
        tls: TlsAcceptor::from(tls),
        router,
        observer,
        half_open: Room::new(limits.half_open, limits.patience),
        connections: Room::new(limits.connections, limits.patience),
        overflow: Room::new(limits.overflow, limits.patience),
        activity: Activity::new(),
        quiet: drain.quiet,
        draining: drain.signal.clone(),
        closing: CancellationToken::new(),
        end: CancellationToken::new(),
        limits,
    });
    // Whatever ends this future, even being dropped, ends the connections.
    let _end = server.end.clone().drop_guard();
    // Each connection holds a sender: the channel closes when the last one is gone.
    let (alive, mut all_gone) = mpsc::channel(1);
    let began = tokio::select! {
        biased;
        () = drain.now.cancelled() => return,
        began = drained(&server, &drain) => began,
        () = accept_forever(&listener, &server, &alive) => return,
    };
    tracing::info!("draining: nobody calls any more, closing");
    sweep(&listener, &server, &alive).await;
    drop((listener, alive));
    server.closing.cancel();
    tokio::select! {
        _ = all_gone.recv() => {}
        () = drain.now.cancelled() => {}
        () = sleep_until(began + drain.cap) => tracing::warn!("draining: cutting the last connections"),
    }
}

/// Waits for the signal, then until the server may close; says when the signal came.
async fn drained(server: &Server, drain: &Drain) -> Instant {
    drain.signal.cancelled().await;
    let began = Instant::now();
    tracing::info!(minimum = ?drain.minimum, quiet = ?drain.quiet, "draining: every answer closes its connection");
    let cap = began + drain.cap;
    loop {
        let ready = (began + drain.minimum).max(server.activity.quiet_since() + drain.quiet);
        let now = Instant::now();
        if now >= ready || now >= cap {
            return began;
        }
        sleep_until(ready.min(cap)).await;
    }
}

async fn accept_forever(listener: &TcpListener, server: &Arc<Server>, alive: &mpsc::Sender<()>) {
    let mut pause = Duration::ZERO;
    loop {
        // While all places are taken by connections that may be good, the others wait in the kernel's queue.
        server.half_open.vacancy().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                pause = Duration::ZERO;
                start(stream, server, alive);
            }
            Err(error) if is_of_one_connection(error.kind()) => {}
            Err(error) => {
                // Out of file descriptors or memory, most likely: others will end, so waiting helps.
                pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    ?pause,
                    "failed to accept connection"
                );
                server.observer.refused("accept");
                sleep(pause).await;
            }
        }
    }
}

/// Takes what the kernel has accepted in the meantime: closing the listener would reset it.
async fn sweep(listener: &TcpListener, server: &Arc<Server>, alive: &mpsc::Sender<()>) {
    for _ in 0..server.limits.half_open {
        match timeout(Duration::ZERO, listener.accept()).await {
            Ok(Ok((stream, _))) => start(stream, server, alive),
            _ => return,
        }
    }
}

fn start(stream: TcpStream, server: &Arc<Server>, alive: &mpsc::Sender<()>) {
    // Answers are one write each: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let watch = Watch::new();
    let Some(place) = server.half_open.enter(&watch) else {
        server.observer.refused("half_open");
        return;
    };
    let (server, alive) = (Arc::clone(server), alive.clone());
    tokio::spawn(async move {
        connection::run(server, stream, watch, place).await;
        drop(alive);
    });
}

fn is_of_one_connection(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
}
