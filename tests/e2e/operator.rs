//! The operator's binary as a child process: started with flags for loopback, logged to a file, ended with the test.
//!
//! In: a cluster's folder. Out: [`Operator`], which knows where the webhooks listen from its own log. Whether the API
//! server uses them already is [`crate::cluster`]'s matter.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::eventually;

/// How long a process may take to end by itself.
const ENDS: Duration = Duration::from_secs(20);

/// Flags of every operator here: everything on loopback, on free ports, and no waiting where nobody calls.
pub(crate) const LOOPBACK: [&str; 12] = [
    "--log-format=json",
    "--webhook-addr",
    "127.0.0.1:0",
    "--metrics-addr",
    "127.0.0.1:0",
    "--health-addr",
    "127.0.0.1:0",
    "--drain-minimum",
    "0s",
    "--drain-quiet",
    "200ms",
    "--log-level=info",
];

/// A running operator.
pub(crate) struct Operator {
    child: Child,
    log: PathBuf,
    /// Lines that the log had before.
    old: usize,
}

impl Operator {
    /// Starts `run` with the flags; its log is `logs/NAME.log` of the cluster's folder.
    pub(crate) fn start(folder: &Path, name: &str, flags: &[&str]) -> Self {
        Self::start_by(&[], folder, name, flags)
    }

    /// As `start`, by a program that becomes the operator, such as one that changes what it sees of the machine.
    pub(crate) fn start_by(before: &[&str], folder: &Path, name: &str, flags: &[&str]) -> Self {
        let log = folder.join(format!("logs/{name}.log"));
        let kubeconfig = folder.join("kubeconfig");
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let old = lines_of(&log).len();
        // The process ends with this one, even if that is killed. See `spawn`.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(before)
            .args([env!("CARGO_BIN_EXE_mcp-hangar-operator"), "run", "--kubeconfig"])
            .arg(kubeconfig)
            .args(flags)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        Self { child: spawn(command), log, old }
    }

    /// Where the webhooks listen.
    pub(crate) fn webhooks(&self) -> SocketAddr {
        self.said("listening")["webhooks"].as_str().unwrap().parse().unwrap()
    }

    /// Waits until this process has logged a line with that message, and returns it.
    pub(crate) fn said(&self, message: &str) -> Value {
        let says = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains(message));
        let what = format!("the operator says {message:?}");
        eventually(&what, Duration::from_secs(30), || self.lines().into_iter().skip(self.old).find(says))
    }

    /// Every line of the log that is JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        lines_of(&self.log)
    }

    /// The log as it is.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let done =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the operator ends", ENDS, || self.child.try_wait().unwrap())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lines_of(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Starts a child on a thread that lives as long as this process: the death signal follows the thread, not the process.
fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (orders, incoming) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in incoming {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, child) = mpsc::channel();
    SPAWNER.lock().unwrap().send((command, reply)).unwrap();
    child.recv().unwrap().expect("setpriv (util-linux) starts the operator")
}
