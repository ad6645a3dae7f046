//! The archives and the index of `make chart-package`, fetched by `helm repo add` from a web server on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::LazyLock;

use crate::helm::{CRDS, NAMESPACE, OPERATOR, RELEASE, helms, root};

/// Serves the files of a folder for as long as the process lives; the address.
fn serve(folder: std::path::PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let _ = reader.read_line(&mut request);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
            }
            let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let body = std::fs::read(folder.join(&name)).ok().filter(|_| !name.contains(".."));
            let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

/// The address of a repository with what `make chart-package` has just made.
pub(crate) fn repository() -> String {
    static ADDRESS: LazyLock<String> = LazyLock::new(|| {
        let packed =
            Command::new("bash").arg(root().join("scripts/chart.sh")).arg("package").output().unwrap();
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        serve(root().join("target/charts"))
    });
    ADDRESS.clone()
}

#[test]
fn what_is_fetched_from_a_repository_is_the_chart() {
    let address = repository();
    for helm in helms() {
        // Anew, since an earlier run's address is gone.
        helm.run(&["repo", "add", "mcp-hangar", &address, "--force-update"]).ok();
        helm.run(&["repo", "update"]).ok();
        let found = helm.run(&["search", "repo", "mcp-hangar", "--output", "json"]).ok();
        for name in ["mcp-hangar/mcp-hangar-operator", "mcp-hangar/mcp-hangar-crds"] {
            assert!(found.contains(name), "{}: {found}", helm.name);
        }
        for (name, folder) in
            [("mcp-hangar/mcp-hangar-operator", OPERATOR), ("mcp-hangar/mcp-hangar-crds", CRDS)]
        {
            let fetched = helm.run(&["template", RELEASE, name, "--namespace", NAMESPACE]).ok();
            assert!(fetched == helm.template(folder, &[]).ok(), "{} {name}", helm.name);
        }
    }
}
