//! MCP servers that nobody here wrote, and Python's own web server, as processes on loopback.
//!
//! In: what `tests/servers/install.sh` installed; it runs once a test program. Out: a [`Server`] that takes connections and
//! ends with the value. What it answers is left to others.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub(crate) const OLD: &str = "import sys\nfrom mcp.server.fastmcp import FastMCP\n\
    m = FastMCP('python-old', host='127.0.0.1', port=int(sys.argv[1]), stateless_http=sys.argv[2] == 'stateless')\n\
    @m.tool()\ndef add(a: int, b: int) -> int:\n    return a + b\n\
    @m.tool()\ndef sub(a: int, b: int) -> int:\n    return a - b\n\
    m.run(transport='streamable-http')\n";
pub(crate) const NEW: &str = "import sys\nfrom mcp.server import MCPServer\n\
    m = MCPServer('python-new', version='9')\n\
    @m.tool()\ndef add(a: int, b: int) -> int:\n    return a + b\n\
    m.run('streamable-http', host='127.0.0.1', port=int(sys.argv[1]), stateless_http=sys.argv[2] == 'stateless')\n";

/// Where the servers are, installed if need be.
fn installed() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/install.sh");
        let done = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        assert!(done.status.success(), "{script} failed: the servers of others could not be installed");
        PathBuf::from(String::from_utf8(done.stdout).unwrap().lines().last().unwrap())
    })
}

/// A running server; ends with the value.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one and waits until it takes connections.
    pub(crate) async fn start(command: impl FnOnce(u16) -> Command) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = command(port);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, port };
        let patience = Instant::now() + Duration::from_secs(90);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "{command:?} ended");
            assert!(Instant::now() < patience, "{command:?} does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }
}

pub(crate) fn python(which: &str, code: &'static str, mode: &'static str) -> impl FnOnce(u16) -> Command {
    let program = installed().join(which).join("bin/python");
    move |port| {
        let mut command = Command::new(program);
        command.args(["-c", code, &port.to_string(), mode]);
        command
    }
}

/// Python's own web server.
pub(crate) async fn plain() -> Server {
    Server::start(|port| {
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1"]);
        command
    })
    .await
}

pub(crate) fn everything(port: u16) -> Command {
    let script = "node/node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    let mut command = Command::new("node");
    command.arg(installed().join(script)).arg("streamableHttp").env("PORT", port.to_string());
    command
}

pub(crate) fn go(mode: &'static str) -> impl FnOnce(u16) -> Command {
    move |port| {
        let mut command = Command::new(installed().join("go-server"));
        command
            .arg("-listen")
            .arg(format!("127.0.0.1:{port}"))
            .arg(format!("-stateless={}", mode == "stateless"));
        command
    }
}
