//! Servers as child processes on a core of their own: the operator itself, and the bare one.
//!
//! The operator is the real binary, with certificates from files and a kubeconfig that leads nowhere: the webhooks
//! need no API server to answer. Children end with this process.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::bare;

/// The cores this program may use, as it was started.
static CORES: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let ends = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    };
    list.split(',').flat_map(ends).collect()
});

/// The core of the server.
fn server_core() -> usize {
    CORES[0]
}

/// The core of the client: another one, where there is another.
fn client_core() -> usize {
    *CORES.get(1).unwrap_or(&CORES[0])
}

/// Every core, for what is not to be kept on one.
pub(crate) fn all_cores() -> String {
    CORES.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Keeps this process, and what it starts from now on, on the client's core; or lets it go again.
pub(crate) fn stay_on_client_core(stay: bool) {
    LazyLock::force(&CORES);
    let cores = if stay { client_core().to_string() } else { all_cores() };
    let pid = std::process::id().to_string();
    let done = Command::new("taskset").args(["-apc", &cores, &pid]).stdout(Stdio::null()).status();
    assert!(done.expect("taskset of util-linux").success());
}

/// What the machine is, and how busy, for the head of the table: with a load the times are not worth much.
pub(crate) fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{}, {} cores, load {load}", model.unwrap_or("unknown CPU"), CORES.len())
}

/// The folder `target`, wherever cargo has it.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// A folder with `tls.crt`, `tls.key`, `ca.crt` for 127.0.0.1, and a kubeconfig of a cluster that is not there.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
        fs::create_dir_all(&folder).unwrap();
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let ca = params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::from_params(&params, &ca_key);
        let mut leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        leaf.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
            clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\n\
            contexts: [{name: x, context: {cluster: x, user: x}}]\nusers: [{name: x, user: {token: x}}]\n";
        for (name, text) in [
            ("tls.crt", leaf.pem()),
            ("tls.key", key.serialize_pem()),
            ("ca.crt", ca.pem()),
            ("kubeconfig", kubeconfig.to_owned()),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        folder
    });
    &FOLDER
}

/// A server, ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The operator on the server's core.
    pub(crate) fn operator() -> Self {
        Self::start(Some(server_core()), env!("CARGO_BIN_EXE_mcp-hangar-operator"), operator_arguments)
    }

    /// The operator wherever the kernel puts it, for its start.
    pub(crate) fn operator_anywhere() -> Self {
        Self::start(None, env!("CARGO_BIN_EXE_mcp-hangar-operator"), operator_arguments)
    }

    /// The bare server on the server's core.
    pub(crate) fn bare() -> Self {
        Self::start(Some(server_core()), &own_path(), bare_arguments)
    }

    /// The bare server wherever the kernel puts it.
    pub(crate) fn bare_anywhere() -> Self {
        Self::start(None, &own_path(), bare_arguments)
    }

    fn start(core: Option<usize>, program: &str, arguments: fn(SocketAddr) -> Vec<String>) -> Self {
        // Free a moment ago, and loopback: nobody else takes it so soon.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string(), program]);
                command
            }
            None => Command::new(program),
        };
        command.args(arguments(address)).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().expect(program), address }
    }
}

fn own_path() -> String {
    std::env::current_exe().unwrap().display().to_string()
}

fn operator_arguments(address: SocketAddr) -> Vec<String> {
    let folder = folder().display();
    let text = format!(
        "run --kubeconfig {folder}/kubeconfig --tls-mode files --tls-cert-dir {folder} --webhook-addr {address} \
         --metrics-addr 127.0.0.1:0 --health-addr 127.0.0.1:0 --log-format json"
    );
    text.split_whitespace().map(str::to_owned).collect()
}

fn bare_arguments(address: SocketAddr) -> Vec<String> {
    vec![bare::ROLE.to_owned(), folder().display().to_string(), address.port().to_string()]
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
