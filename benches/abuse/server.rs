//! The real server in a process of its own, so that its memory is its own and its end would be noticed.
//!
//! The child is this program again: the rules behind `tls::serve` with the default limits and a leaf minted from a new
//! CA. It writes its port and the CA to its standard output, and ends when its standard input does. What it is asked is
//! not decided here.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcp_hangar_webhooks::observer::{Observer, Silent};
use mcp_hangar_webhooks::policy::Policy;
use mcp_hangar_webhooks::service::{Limits, Rules, Webhooks, router};
use mcp_hangar_webhooks::tls::{Authority, Drain, LeafResolver, serve as serve_tls, server_config};
use mcp_hangar_webhooks::validation::schema;
use tokio::net::TcpListener;

use crate::cost::memory;

/// The first word of the child's command line.
pub(crate) const ROLE: &str = "serve-abused";

/// Serves until standard input ends; with `rotation`, a new leaf is minted that often.
pub(crate) fn serve(rotation: Option<Duration>) -> ExitCode {
    let authority = Arc::new(Authority::generate("abuse", SystemTime::now()).unwrap());
    let names = vec!["webhook.hangar.svc".to_owned(), "127.0.0.1".to_owned()];
    let resolver = Arc::new(LeafResolver::new(names, Arc::new(SystemTime::now)));
    resolver.set_authority(Arc::clone(&authority)).unwrap();
    schema::warm_up();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut out = std::io::stdout();
        // In one piece: the parent stops reading after the last line of the certificate.
        let hello = format!("{}\n{}", listener.local_addr().unwrap(), authority.certificate_pem());
        out.write_all(hello.as_bytes()).unwrap();
        out.flush().unwrap();
        if let Some(every) = rotation {
            let resolver = Arc::clone(&resolver);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(every).await;
                    resolver.set_authority(Arc::clone(&authority)).unwrap();
                }
            });
        }
        let (limits, observer) = (Limits::default(), Arc::new(Silent) as Arc<dyn Observer>);
        let rules = Rules { policy: Policy::default(), observer: Arc::clone(&observer) };
        let router = router(Webhooks::new(Arc::new(rules), Arc::clone(&observer), &limits));
        serve_tls(listener, server_config(resolver).unwrap(), router, limits, observer, Drain::default())
            .await;
    });
    ExitCode::SUCCESS
}

/// The child, ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// PEM.
    pub(crate) authority: String,
}

impl Server {
    pub(crate) fn start(rotate: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(ROLE).args(rotate.then_some("rotate"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.next().expect("the server's address").parse().unwrap();
        let mut authority = String::new();
        for line in lines {
            authority += &format!("{line}\n");
            if line.starts_with("-----END") {
                break;
            }
        }
        Self { child, address, authority }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Resident memory in MiB.
    pub(crate) fn resident(&self) -> f64 {
        memory(self.pid(), "VmRSS")
    }

    /// The most that was resident since [`Self::forget_peak`], in MiB.
    pub(crate) fn peak(&self) -> f64 {
        memory(self.pid(), "VmHWM")
    }

    /// Where the kernel does not allow it, peaks are those since the start.
    pub(crate) fn forget_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid()), "5");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
