//! How the process ends: the exit codes, and the errors of `run` that lead to them.
//!
//! Every way out of the program goes through [`ExitCode`]; scripts may rely on the numbers. What a number means is
//! printed by `--help` from the same table.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the process ended. The numbers are a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All done, or drained after a signal.
    Ok = 0,
    /// Something failed while running.
    Failure = 1,
    /// Wrong flag, value or code.
    Usage = 2,
    /// Kubeconfig, credentials or certificate files are missing or invalid.
    Configuration = 3,
    /// A port is taken, or an address cannot be bound.
    Bind = 4,
    /// A permission is missing.
    Permission = 5,
    /// `certs` found something that needs a person.
    Attention = 6,
}

/// The table that `--help` prints.
pub const EXIT_CODES: &str = "Exit codes:
  0  done, or drained after SIGTERM
  1  failed while running
  2  wrong flag, value or code
  3  kubeconfig, credentials or certificate files missing or invalid
  4  a port is taken or an address cannot be bound
  5  a permission is missing (the message names all of them)
  6  certs found something that needs a look";

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Why `run` ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster was named.
    #[error(
        "no cluster is named: give --kubeconfig FILE, --context NAME or KUBECONFIG (~/.kube/config is never used by accident)"
    )]
    NoCluster,
    /// The kubeconfig cannot be used.
    #[error("failed to use kubeconfig {path}: {reason}")]
    Kubeconfig {
        /// Where it was looked for.
        path: String,
        /// What is wrong with it, from [`crate::words`]: the library's error quotes the file.
        reason: String,
    },
    /// The pod's service account cannot be used.
    #[error("failed to use the pod's service account: {0}")]
    InCluster(String),
    /// The client cannot be built from the kubeconfig.
    #[error("failed to build the Kubernetes client: {0}")]
    Client(String),
    /// The API server refuses the credentials.
    #[error("failed to log in to the API server: it refuses the credentials (401 Unauthorized)")]
    Credentials,
    /// Files of `--tls-mode files`.
    #[error("failed to read certificates from {dir}: {reason}")]
    CertificateFiles {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An address cannot be bound.
    #[error("failed to listen on {address} for {purpose}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// `webhooks`, `metrics` or `health`, with the flag that moves it.
        purpose: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// Permissions that are needed are not there.
    #[error("failed to get the permissions that are needed\n{0}")]
    Permission(String),
    /// The server's own TLS settings.
    #[error("failed to set up TLS: {0}")]
    Tls(String),
    /// A task of the operator ended that never should.
    #[error("failed to keep {task} going: {reason}")]
    Task {
        /// Which.
        task: &'static str,
        /// Why.
        reason: String,
    },
    /// A second signal came while draining.
    #[error("failed to drain: a second signal ended the process at once")]
    Interrupted,
}

impl RunError {
    /// A fixed word for it, for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoCluster | Self::Kubeconfig { .. } | Self::InCluster(_) | Self::Client(_) => "kubeconfig",
            Self::Credentials => "credentials",
            Self::CertificateFiles { .. } => "certificate_files",
            Self::Bind { .. } => "bind",
            Self::Permission(_) => "permission",
            Self::Tls(_) => "tls",
            Self::Task { .. } => "task",
            Self::Interrupted => "interrupted",
        }
    }

    /// The exit code it leads to.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoCluster
            | Self::Kubeconfig { .. }
            | Self::InCluster(_)
            | Self::Client(_)
            | Self::Credentials
            | Self::CertificateFiles { .. } => ExitCode::Configuration,
            Self::Bind { .. } => ExitCode::Bind,
            Self::Permission(_) => ExitCode::Permission,
            Self::Tls(_) | Self::Task { .. } | Self::Interrupted => ExitCode::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_documented_exit_code() {
        let taken = RunError::Bind {
            address: ([127, 0, 0, 1], 1).into(),
            purpose: "webhooks",
            source: std::io::ErrorKind::AddrInUse.into(),
        };
        assert_eq!(taken.exit_code(), ExitCode::Bind);
        assert_eq!(RunError::NoCluster.exit_code(), ExitCode::Configuration);
        assert_eq!(RunError::Permission(String::new()).exit_code(), ExitCode::Permission);
        assert_eq!(RunError::Interrupted.exit_code(), ExitCode::Failure);
    }

    #[test]
    fn help_names_every_exit_code() {
        for code in [
            ExitCode::Ok,
            ExitCode::Failure,
            ExitCode::Usage,
            ExitCode::Configuration,
            ExitCode::Bind,
            ExitCode::Permission,
            ExitCode::Attention,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", code as u8)), "{code:?}");
        }
    }
}
