//! `run`: starts the parts in an order in which each can fail clearly, and ends them without dropping a call.
//!
//! First what can be wrong on this machine (kubeconfig, ports, certificate files), then what needs the API server,
//! which may be away for as long as it likes. What only the leader does is started here too, and waits until it leads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use mcp_hangar_webhooks::observer::Observer;
use mcp_hangar_webhooks::service::{self, Limits, Rules, Webhooks};
use mcp_hangar_webhooks::tls::{self, Drain, LeafResolver};
use mcp_hangar_webhooks::validation::schema;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::cli::{RunArgs, TlsMode};
use crate::context::{Context, find_cluster};
use crate::discovery;
use crate::exit::RunError;
use crate::group;
use crate::health::{Health, bind, health_router, metrics_router};
use crate::leader::{self, Election, Leadership};
use crate::manifests::Endpoint;
use crate::metrics::Metrics;
use crate::migrate;
use crate::permissions;
use crate::provider::{self, feed::Feed};
use crate::trust::{self, Bundle, files, inject, lead, selftest, store};
use crate::version::Build;

/// A signal that comes this soon after the first is the same one.
const REPEAT: Duration = Duration::from_millis(500);

/// File descriptors for all connections, with room for the rest.
const DESCRIPTORS: u64 = 4096;

/// Everything that is bound, before anything is answered.
struct Listeners {
    webhooks: TcpListener,
    webhook_addr: SocketAddr,
    metrics: Option<TcpListener>,
    health: Option<TcpListener>,
}

impl Listeners {
    async fn bind(args: &RunArgs) -> Result<Self, RunError> {
        let webhooks = bind(args.webhook_addr, "webhooks (--webhook-addr)").await?;
        let webhook_addr = address(&webhooks, args.webhook_addr);
        let metrics = match args.metrics_addr.0 {
            Some(address) => Some(bind(address, "metrics (--metrics-addr)").await?),
            None => None,
        };
        let health = match args.health_addr.0 {
            Some(address) => Some(bind(address, "health (--health-addr)").await?),
            None => None,
        };
        Ok(Self { webhooks, webhook_addr, metrics, health })
    }

    /// The first line of the log; with port 0 the only place that says where.
    fn announce(&self) {
        let place = |listener: &Option<TcpListener>| {
            listener.as_ref().and_then(|listener| listener.local_addr().ok()).map(tracing::field::display)
        };
        tracing::info!(
            version = Build::current().version,
            webhooks = %self.webhook_addr,
            metrics = place(&self.metrics),
            health = place(&self.health),
            "listening"
        );
    }
}

fn address(listener: &TcpListener, wished: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(wished)
}

/// Runs until a signal, or until something makes going on pointless.
pub async fn run(args: &RunArgs) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    raise_descriptors();
    let config = find_cluster(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
    let metrics = Metrics::new(&Build::current())
        .map(Arc::new)
        .map_err(|error| RunError::Task { task: "metrics", reason: error.to_string() })?;
    let listeners = Listeners::bind(args).await?;
    let endpoint = match args.endpoint() {
        Endpoint::Url(url) if url.port() == 0 => Endpoint::Url(url.with_port(listeners.webhook_addr.port())),
        endpoint => endpoint,
    };
    let resolver = Arc::new(
        LeafResolver::new(endpoint.server_names(), Arc::new(SystemTime::now))
            .with_leaf_lifetime(args.rotation.leaf_lifetime),
    );
    let source = Source::prepare(args, &resolver, &metrics)?;
    let ctx = Arc::new(Context::new(args, config, endpoint, Arc::clone(&metrics))?);
    let health = Arc::new(Health::new(Arc::clone(&resolver)));
    let router = webhook_router(args, metrics.clone());
    let tls = tls::server_config(Arc::<LeafResolver>::clone(&resolver))
        .map_err(|error| RunError::Tls(error.to_string()))?;
    // Who is told that we listen may call at once.
    schema::warm_up();

    listeners.announce();
    let Listeners { webhooks, webhook_addr, metrics: metrics_listener, health: health_listener } = listeners;
    let mut tasks = JoinSet::new();
    if let Some(listener) = health_listener {
        serve_plain(&mut tasks, "health", listener, health_router(Arc::clone(&health)));
    }
    if let Some(listener) = metrics_listener {
        let router = metrics_router(Arc::clone(&metrics), Arc::clone(&resolver));
        serve_plain(&mut tasks, "metrics", listener, router);
    }
    let drain = Drain {
        signal: CancellationToken::new(),
        now: CancellationToken::new(),
        minimum: args.drain_minimum,
        quiet: args.drain_quiet,
        cap: args.drain_maximum,
    };
    let (leadership, parted) = start_election(&mut tasks, &ctx, args, &drain.signal);
    start_trust(&mut tasks, &ctx, source, resolver, webhook_addr, &leadership);
    start_leading(&mut tasks, &ctx, &leadership);
    let webhooks = tokio::spawn(tls::serve(webhooks, tls, router, Limits::default(), metrics, drain.clone()));
    health.listening();
    until_drained(&mut signals, &mut tasks, webhooks, &health, &drain, &parted).await
}

/// The server's limits count connections: three rooms of 512, more than many systems let a process open by default.
fn raise_descriptors() {
    match rlimit::increase_nofile_limit(DESCRIPTORS) {
        Ok(limit) if limit >= DESCRIPTORS => {}
        Ok(limit) => tracing::warn!(
            limit,
            wanted = DESCRIPTORS,
            "few file descriptors: many connections at once will wait"
        ),
        Err(error) => tracing::warn!(%error, "failed to raise limit of file descriptors"),
    }
}

/// Waits for a signal and lets the webhooks end; whatever else ends before is an error.
async fn until_drained(
    signals: &mut Signals,
    tasks: &mut JoinSet<RunError>,
    mut webhooks: JoinHandle<()>,
    health: &Health,
    drain: &Drain,
    parted: &CancellationToken,
) -> Result<(), RunError> {
    tokio::select! {
        name = signals.next() => tracing::info!(signal = name, "shutting down"),
        Some(ended) = tasks.join_next() => {
            return Err(ended.unwrap_or_else(|error| RunError::Task { task: "a part of the operator", reason: error.to_string() }));
        }
        ended = &mut webhooks => {
            let reason = ended.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
            return Err(RunError::Task { task: "the webhook server", reason });
        }
    }
    health.drain();
    // The leader's work ends and its Lease is given up now, while the webhooks go on.
    drain.signal.cancel();
    let drained = async {
        let _ = (&mut webhooks).await;
        parted.cancelled().await;
    };
    // Metrics and health answer to the end, and so does whatever keeps the bundles right.
    tokio::select! {
        () = drained => {
            tracing::info!("drained");
            Ok(())
        }
        () = signals.again(Instant::now()) => {
            drain.now.cancel();
            Err(RunError::Interrupted)
        }
    }
}

fn webhook_router(args: &RunArgs, observer: Arc<dyn Observer>) -> Router {
    let rules = Arc::new(Rules { policy: args.policy(), observer: Arc::clone(&observer) });
    service::router(Webhooks::new(rules, observer, &Limits::default()))
}

/// Where the certificates come from, ready to be watched.
enum Source {
    Store,
    Files { dir: std::path::PathBuf, set: files::Set, bundle: Bundle },
}

impl Source {
    fn prepare(args: &RunArgs, resolver: &LeafResolver, metrics: &Metrics) -> Result<Self, RunError> {
        let dir = match (args.tls_mode, &args.tls_cert_dir) {
            (TlsMode::Files, Some(dir)) => dir.clone(),
            _ => return Ok(Self::Store),
        };
        let loaded = files::read(&dir)
            .and_then(|set| files::install(&set, resolver, SystemTime::now()).map(|bundle| (set, bundle)));
        match loaded {
            Ok((set, bundle)) => {
                metrics.certificate_expires("ca", bundle.expires());
                Ok(Self::Files { dir, set, bundle })
            }
            Err(error) => Err(RunError::CertificateFiles { dir, reason: error.to_string() }),
        }
    }
}

fn start_trust(
    tasks: &mut JoinSet<RunError>,
    ctx: &Arc<Context>,
    source: Source,
    resolver: Arc<LeafResolver>,
    listening: SocketAddr,
    leadership: &Leadership,
) {
    let (leading, leads) = watch::channel(false);
    let (bundle, bundles) = watch::channel(None);
    let (injected, injections) = watch::channel(0);
    let own_ca = matches!(source, Source::Store);
    tasks.spawn(stops("the leaf", trust::keep_leaf_fresh(Arc::clone(&resolver), ctx.schedule.leaf_life)));
    let shared = Arc::clone(ctx);
    match source {
        Source::Store => {
            tasks.spawn(async move { stops("the CA", store::keep(&shared, &resolver, &bundle)).await })
        }
        Source::Files { dir, set, bundle: first } => tasks.spawn(async move {
            shared.link.serves();
            bundle.send_replace(Some(first));
            stops("the certificate files", files::keep(&shared, &dir, set, &resolver, &bundle)).await
        }),
    };
    let (shared, lead) = (Arc::clone(ctx), leadership.clone());
    tasks.spawn(async move {
        stops("the bundles", inject::keep(&shared, bundles, &lead, leads, &injected)).await
    });
    let (shared, leadership) = (Arc::clone(ctx), leadership.clone());
    tasks.spawn(async move {
        let work = || async {
            if own_ca { lead::rotate(&shared, &leading).await } else { lead::inject_only(&leading).await }
        };
        stops("the CA rotation", leadership.while_leading(work)).await
    });
    let shared = Arc::clone(ctx);
    tasks.spawn(async move {
        stops("the self-test", selftest::keep(&shared, injections, &listening.to_string())).await
    });
    let shared = Arc::clone(ctx);
    tasks.spawn(async move { permissions::guard(&shared, own_ca).await });
}

/// Takes part in the election until `signal`; the token says when the Lease has been given up.
fn start_election(
    tasks: &mut JoinSet<RunError>,
    ctx: &Arc<Context>,
    args: &RunArgs,
    signal: &CancellationToken,
) -> (Leadership, CancellationToken) {
    let Some(candidate) = args.candidate() else {
        ctx.metrics.leads(true);
        let parted = CancellationToken::new();
        parted.cancel();
        return (Leadership::always(), parted);
    };
    let (election, leadership) = Election::enter(candidate, signal.clone());
    let parted = election.ended();
    tasks.spawn(stops("the election", leader::keep(Arc::clone(ctx), election)));
    (leadership, parted)
}

/// What only the leader does.
fn start_leading(tasks: &mut JoinSet<RunError>, ctx: &Arc<Context>, leadership: &Leadership) {
    let (shared, lead) = (Arc::clone(ctx), leadership.clone());
    tasks.spawn(async move { stops("the controllers", lead.while_leading(|| control(&shared))).await });
    if ctx.migrate_rate > 0 {
        let (shared, leadership) = (Arc::clone(ctx), leadership.clone());
        tasks.spawn(async move {
            stops("the storage migration", leadership.while_leading(|| migrate::keep(&shared))).await
        });
    }
}

/// The controllers: one watch of providers serves them all.
async fn control(ctx: &Arc<Context>) {
    let mut feed = Feed::default();
    let (groups, sources) = (feed.listener(), feed.listener());
    tokio::join!(provider::keep(ctx, &feed), group::keep(ctx, groups), discovery::keep(ctx, sources));
}

/// A task that never ends; should it, that is why the process does.
async fn stops(task: &'static str, work: impl Future<Output = ()>) -> RunError {
    work.await;
    RunError::Task { task, reason: "it ended".into() }
}

fn serve_plain(tasks: &mut JoinSet<RunError>, task: &'static str, listener: TcpListener, router: Router) {
    tasks.spawn(async move {
        let reason = axum::serve(listener, router)
            .await
            .err()
            .map_or_else(|| "it ended".to_owned(), |error| error.to_string());
        RunError::Task { task, reason }
    });
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, RunError> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| RunError::Task { task: "the signal handlers", reason: error.to_string() })
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// A signal that is a decision of its own. Some tools send the first one twice, to the process and to its group.
    async fn again(&mut self, first: Instant) {
        loop {
            self.next().await;
            if first.elapsed() >= REPEAT {
                return;
            }
        }
    }
}
