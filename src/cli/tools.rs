//! The flags of the commands that end by themselves: `certs`, `check`, `crds`, `charts`, `explain`, `version`.
//!
//! In: the command line. Out: a struct a command.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::run::RotationArgs;
use super::value::{duration, label, subdomain};
use crate::manifests::{CA_SECRET, NAMESPACE, RELEASE, SERVICE};

/// `crds`
#[derive(Debug, Clone, Args)]
pub struct CrdsArgs {
    /// Write one file a kind into this directory instead of printing
    #[arg(long, value_name = "DIR", env = "MCP_HANGAR_CRDS_DIR")]
    pub dir: Option<PathBuf>,

    /// Helm release that is to own the CRDs
    #[arg(long, default_value = RELEASE, value_name = "NAME", env = "MCP_HANGAR_RELEASE")]
    pub release: String,

    /// Namespace of that release, and of the conversion webhook's Service
    #[arg(long, default_value = NAMESPACE, value_name = "NAMESPACE", env = "MCP_HANGAR_RELEASE_NAMESPACE")]
    pub release_namespace: String,

    /// Without Helm's ownership metadata
    #[arg(long, conflicts_with = "release", env = "MCP_HANGAR_PLAIN")]
    pub plain: bool,
}

/// `check`
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Kubeconfig file [default: $KUBECONFIG, or the pod's service account]
    #[arg(long, env = "MCP_HANGAR_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; naming one also allows ~/.kube/config
    #[arg(long, env = "MCP_HANGAR_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// Namespace of the objects that are tried; nothing is stored [default: $POD_NAMESPACE, or mcp-system]
    #[arg(long, env = "MCP_HANGAR_NAMESPACE", value_name = "NAMESPACE", value_parser = label)]
    pub namespace: Option<String>,

    /// Service through which the API server reaches the webhooks, for advice
    #[arg(long, env = "MCP_HANGAR_SERVICE_NAME", default_value = SERVICE, value_name = "NAME", value_parser = label)]
    pub service_name: String,

    /// Try again for as long as this before it counts as failed
    #[arg(long, env = "MCP_HANGAR_CHECK_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,

    /// Namespace of the pod
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,
}

impl CheckArgs {
    /// Where the objects are tried.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().or(self.pod_namespace.as_deref()).unwrap_or(NAMESPACE)
    }
}

/// `certs`
#[derive(Debug, Clone, Args)]
pub struct CertsArgs {
    /// Kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, env = "MCP_HANGAR_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, env = "MCP_HANGAR_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// Namespace of the CA Secret [default: $POD_NAMESPACE, or mcp-system]
    #[arg(long, short, env = "MCP_HANGAR_NAMESPACE", value_name = "NAMESPACE", value_parser = label)]
    pub namespace: Option<String>,

    /// Secret that holds the CA
    #[arg(
        long,
        env = "MCP_HANGAR_CA_SECRET",
        default_value = CA_SECRET,
        value_name = "NAME",
        value_parser = subdomain
    )]
    pub ca_secret: String,

    /// Name of both webhook configurations
    #[arg(long, env = "MCP_HANGAR_CONFIGURATION_NAME", default_value = RELEASE, value_name = "NAME", value_parser = subdomain)]
    pub configuration_name: String,

    /// Lease of the leader election
    #[arg(long, env = "MCP_HANGAR_LEADER_ELECT_LEASE_NAME", default_value = RELEASE, value_name = "NAME", value_parser = subdomain)]
    pub leader_elect_lease_name: String,

    /// Form of the answer
    #[arg(long, short, default_value = "table", value_enum)]
    pub output: CertsFormat,

    /// Namespace of the pod
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,

    /// Times of a rotation.
    #[command(flatten)]
    pub rotation: RotationArgs,
}

impl CertsArgs {
    /// The namespace of the CA Secret.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().or(self.pod_namespace.as_deref()).unwrap_or(NAMESPACE)
    }
}

/// Form of what `certs` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CertsFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

/// `charts`
#[derive(Debug, Clone, Args)]
pub struct ChartsArgs {
    /// Folder that holds the charts
    #[arg(long, value_name = "DIR", default_value = "charts", env = "MCP_HANGAR_CHARTS_DIR")]
    pub dir: PathBuf,
}

/// `explain`
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// Codes, such as HGR101
    #[arg(required_unless_present_any = ["list", "markdown"], value_name = "CODE")]
    pub codes: Vec<String>,

    /// List all codes
    #[arg(long, conflicts_with_all = ["codes", "markdown"])]
    pub list: bool,

    /// Print all of docs/rules.md
    #[arg(long, conflicts_with = "codes")]
    pub markdown: bool,
}

/// `version`
#[derive(Debug, Clone, Args)]
pub struct VersionArgs {
    /// Form of the answer
    #[arg(long, short, default_value = "text", value_enum)]
    pub output: OutputFormat,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// For programs
    Json,
}
