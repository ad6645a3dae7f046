//! `certs`: what certificates are in use, whom the targets trust, and what happens next, from any machine.
//!
//! In: where the cluster is, and names. Out: a table or JSON, and an exit code that says whether a person is needed.
//! [`fetch`] asks the API server and, where that is possible, the webhooks; [`report`] (pure) judges what was seen;
//! [`table`] writes it for people. Nothing is changed, and no key is ever printed.

pub mod fetch;
pub mod report;
pub mod table;

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use kube::Client;

use crate::cli::{CertsArgs, CertsFormat};
use crate::context::find_cluster;
use crate::exit::{ExitCode, RunError};
use crate::words;

/// Looks, judges and prints.
pub fn certs(args: &CertsArgs, out: &mut dyn Write) -> Result<ExitCode, RunError> {
    let task = |reason: String| RunError::Task { task: "the look at the certificates", reason };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| task(error.to_string()))?;
    let report = runtime.block_on(async {
        let kubeconfig = args.kubeconfig.clone().or_else(|| usual_kubeconfig(args));
        let config = find_cluster(kubeconfig.as_deref(), args.context.as_deref()).await?;
        let client = Client::try_from(config).map_err(|error| RunError::Client(words::client(&error)))?;
        let seen = fetch::fetch(&client, args).await;
        Ok(report::report(&seen, &args.rotation.schedule(), SystemTime::now()))
    });
    runtime.shutdown_background();
    let report = report?;
    let text = match args.output {
        CertsFormat::Table => table::table(&report),
        CertsFormat::Json => {
            format!("{}\n", serde_json::to_string_pretty(&report).map_err(|error| task(error.to_string()))?)
        }
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(task(error.to_string())),
        _ => Ok(report.exit_code()),
    }
}

/// Who only looks may take the file that kubectl takes; `run` does not.
fn usual_kubeconfig(args: &CertsArgs) -> Option<PathBuf> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if args.context.is_some() || is_set("KUBECONFIG") || is_set("KUBERNETES_SERVICE_HOST") {
        return None;
    }
    let path = PathBuf::from(std::env::var_os("HOME")?).join(".kube/config");
    path.exists().then_some(path)
}
