//! The command line. Every flag is also an environment variable, shown by `--help` with its default.
//!
//! In: arguments and environment, where an empty variable is none. Out: [`Cli`], checked as far as it can be without
//! files and the cluster; what needs those is checked by the command itself.

use std::ffi::OsString;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use mcp_hangar_webhooks::policy::ImageDigestPolicy;

use crate::exit::EXIT_CODES;
use crate::leader::elect::identity;
use crate::leader::election::Candidate;
use crate::manifests::{BaseUrl, Endpoint, NAMESPACE, RELEASE, SERVICE};
use crate::trust::Schedule;

/// Kubernetes operator for MCP servers.
#[derive(Debug, Parser)]
#[command(name = "mcp-hangar-operator", version, after_help = EXIT_CODES, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line and the environment; on an error says it and ends with 2.
    pub fn read() -> Self {
        Self::try_read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn try_read<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let mut command = without_empty_variables(Self::command());
        let read = command
            .try_get_matches_from_mut(arguments)
            .and_then(|matches| Self::from_arg_matches(&matches))
            .and_then(|cli| match &cli.command {
                Command::Run(args) => args.check(&mut command).map(|()| cli),
                _ => Ok(cli),
            });
        read.map_err(|error| naming_the_variable(error, &command))
    }
}

/// Charts and shells set variables to nothing when they mean to leave them out.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |argument: &clap::Arg| {
        argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty())
    };
    command.mut_subcommands(|command| {
        command.mut_args(|argument| if is_empty(&argument) { argument.env(None) } else { argument })
    })
}

/// A value that nobody wrote on the command line comes from a variable, which clap does not say.
fn naming_the_variable(error: clap::Error, command: &clap::Command) -> clap::Error {
    let Some(ContextValue::String(invalid)) = error.get(ContextKind::InvalidArg) else { return error };
    let Some(flag) = invalid.split(' ').next().and_then(|flag| flag.strip_prefix("--")) else { return error };
    let written = std::env::args()
        .any(|argument| argument.strip_prefix("--").is_some_and(|rest| rest.split('=').next() == Some(flag)));
    let mut arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let variable = arguments.find(|argument| argument.get_long() == Some(flag)).and_then(clap::Arg::get_env);
    match variable.filter(|name| !written && std::env::var_os(name).is_some()) {
        Some(name) => {
            let text = error.to_string();
            let text = format!(
                "{}\n(--{flag} comes from the environment variable {})",
                text.trim_end(),
                name.display()
            );
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            clap::Error::raw(error.kind(), format!("{text}\n"))
        }
        None => error,
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator: webhooks, certificates, metrics
    // Whoever adds flags to those of a script means his own.
    #[command(after_help = RUN_HELP, args_override_self = true)]
    Run(Box<RunArgs>),
    /// Print the CRDs, or write them to a directory
    #[command(after_help = CRDS_HELP)]
    Crds(CrdsArgs),
    /// Explain a code of a denial, such as HGR101
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Ask the API server, by dry-runs, whether it uses the webhooks; `helm test` runs it
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Show CA, served certificates, whom the targets trust and what happens next
    #[command(after_help = CERTS_HELP)]
    Certs(CertsArgs),
    /// Write the generated files of the charts
    #[command(hide = true)]
    Charts(ChartsArgs),
    /// Print version, build and served API versions
    Version(VersionArgs),
}

const RUN_HELP: &str = "Examples:
  In a cluster, as the pod's service account:
    mcp-hangar-operator run
  Beside a cluster; applies CRDs and webhook configurations itself:
    mcp-hangar-operator run --kubeconfig FILE --webhook-url https://127.0.0.1:9443

With --webhook-url the operator owns the two webhook configurations and puts right whatever is changed in its entries.
Their namespaceSelector and objectSelector are yours: it neither writes nor repairs them.

SIGTERM or Ctrl-C drains and ends with 0; a second one, half a second later or more, ends at once with 1.

Exit codes:
  0 drained   1 failed   2 wrong flag   3 kubeconfig, credentials or certificates   4 port taken   5 permission missing";

const CRDS_HELP: &str = "Example:
  mcp-hangar-operator crds --plain | kubectl apply --server-side -f -

By default the CRDs carry Helm's ownership metadata, so that a chart can adopt them.";

const CHECK_HELP: &str = "Examples:
  mcp-hangar-operator check --kubeconfig FILE
  helm test mcp-hangar-operator --namespace mcp-system --logs

A bad object must be refused by our webhooks and a good one taken, in each version. Nothing is stored.

Exit codes:
  0 all passed   1 one failed   2 wrong flag   3 kubeconfig or credentials";

const CERTS_HELP: &str = "Examples:
  mcp-hangar-operator certs
  mcp-hangar-operator certs --context production --namespace mcp-system -o json

Nothing is changed, and no key is ever printed. It needs get on the CA Secret, the two webhook configurations and the
three CRDs; with get on the Lease and list of EndpointSlices it shows more.

Exit codes:
  0 in order   1 the API server did not answer   2 wrong flag   3 kubeconfig or credentials
  5 a permission is missing   6 something needs a look; the table says what";

const EXPLAIN_HELP: &str = "Examples:
  mcp-hangar-operator explain HGR101
  mcp-hangar-operator explain --list";

/// `run`
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Where webhooks listen (HTTPS); port 0 takes a free one
    #[arg(long, env = "MCP_HANGAR_WEBHOOK_ADDR", default_value = "[::]:9443", value_name = "ADDR:PORT")]
    pub webhook_addr: SocketAddr,

    /// Where the API server reaches them when that is not a Service; then CRDs and webhook configurations are applied too
    #[arg(long, env = "MCP_HANGAR_WEBHOOK_URL", value_name = "https://HOST:PORT", value_parser = BaseUrl::parse)]
    pub webhook_url: Option<BaseUrl>,

    /// Service through which the API server reaches them
    #[arg(long, env = "MCP_HANGAR_SERVICE_NAME", default_value = SERVICE, value_name = "NAME", value_parser = label)]
    pub service_name: String,

    /// Its namespace [default: $POD_NAMESPACE, or mcp-system]
    #[arg(long, env = "MCP_HANGAR_SERVICE_NAMESPACE", value_name = "NAMESPACE", value_parser = label)]
    pub service_namespace: Option<String>,

    /// Its port
    #[arg(long, env = "MCP_HANGAR_SERVICE_PORT", default_value_t = 443, value_parser = clap::value_parser!(u16).range(1..))]
    pub service_port: u16,

    /// Name of both webhook configurations
    #[arg(long, env = "MCP_HANGAR_CONFIGURATION_NAME", default_value = RELEASE, value_name = "NAME", value_parser = subdomain)]
    pub configuration_name: String,

    /// Namespace of the CA Secret, and of the self-test [default: $POD_NAMESPACE, or mcp-system]
    #[arg(long, env = "MCP_HANGAR_NAMESPACE", value_name = "NAMESPACE", value_parser = label)]
    pub namespace: Option<String>,

    /// Secret that holds the CA; made when it is not there
    #[arg(
        long,
        env = "MCP_HANGAR_CA_SECRET",
        default_value = "mcp-hangar-operator-webhook-ca",
        value_name = "NAME",
        value_parser = subdomain
    )]
    pub ca_secret: String,

    /// Who makes the certificates
    #[arg(long, env = "MCP_HANGAR_TLS_MODE", default_value = "self-managed", value_enum)]
    pub tls_mode: TlsMode,

    /// Directory with tls.crt, tls.key and ca.crt, re-read when they change (tls-mode files)
    #[arg(long, env = "MCP_HANGAR_TLS_CERT_DIR", value_name = "DIR", required_if_eq("tls_mode", "files"))]
    pub tls_cert_dir: Option<PathBuf>,

    /// Where metrics listen (HTTP); 0 or off: nowhere
    #[arg(long, env = "MCP_HANGAR_METRICS_ADDR", default_value = "[::]:8080", value_name = "ADDR:PORT|off")]
    pub metrics_addr: Listen,

    /// Where /healthz and /readyz listen (HTTP); 0 or off: nowhere
    #[arg(long, env = "MCP_HANGAR_HEALTH_ADDR", default_value = "[::]:8081", value_name = "ADDR:PORT|off")]
    pub health_addr: Listen,

    /// Kubeconfig file [default: $KUBECONFIG, or the pod's service account]
    #[arg(long, env = "MCP_HANGAR_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; naming one also allows ~/.kube/config
    #[arg(long, env = "MCP_HANGAR_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// Whether replicas elect one for what only one may do; false: this one leads, and no other may run
    #[arg(
        long,
        env = "MCP_HANGAR_LEADER_ELECT",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub leader_elect: bool,

    /// Lease of the election, in the namespace of --namespace
    #[arg(long, env = "MCP_HANGAR_LEADER_ELECT_LEASE_NAME", default_value = RELEASE, value_name = "NAME", value_parser = subdomain)]
    pub leader_elect_lease_name: String,

    /// How long the others wait after the last sign of the leader before one of them leads
    #[arg(long, env = "MCP_HANGAR_LEADER_ELECT_LEASE_DURATION", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_lease_duration: Duration,

    /// How long the leader works on when it cannot renew the Lease
    #[arg(long, env = "MCP_HANGAR_LEADER_ELECT_RENEW_DEADLINE", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_renew_deadline: Duration,

    /// How often the leader renews the Lease, and the others look at it
    #[arg(long, env = "MCP_HANGAR_LEADER_ELECT_RETRY_PERIOD", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_retry_period: Duration,

    /// Stored objects of an older version that the leader writes anew in a second; 0: none
    #[arg(long, env = "MCP_HANGAR_MIGRATE_RATE", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=1000), value_name = "N")]
    pub migrate_rate: u32,

    /// What to do about an image without a digest
    #[arg(long, env = "MCP_HANGAR_IMAGE_DIGEST_POLICY", default_value = "off", value_enum)]
    pub image_digest_policy: DigestPolicy,

    /// Namespaces whose ConfigMaps a discovery source elsewhere may read; * means all
    #[arg(long, env = "MCP_HANGAR_CONFIGMAP_NAMESPACES", value_delimiter = ',', value_name = "A,B")]
    pub configmap_namespaces: Vec<String>,

    /// Answer at least this long after SIGTERM
    #[arg(long, env = "MCP_HANGAR_DRAIN_MINIMUM", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub drain_minimum: Duration,

    /// ... and until nobody has called for this long
    #[arg(long, env = "MCP_HANGAR_DRAIN_QUIET", default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub drain_quiet: Duration,

    /// ... but no longer than this
    #[arg(long, env = "MCP_HANGAR_DRAIN_MAXIMUM", default_value = "45s", value_parser = duration, value_name = "DURATION")]
    pub drain_maximum: Duration,

    /// Form of the log; auto is text on a terminal, else JSON
    #[arg(long, env = "MCP_HANGAR_LOG_FORMAT", default_value = "auto", value_enum)]
    pub log_format: LogFormat,

    /// error, warn, info, debug, trace, or directives such as info,mcp_hangar_webhooks=debug
    #[arg(long, env = "MCP_HANGAR_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: String,

    /// Name of the pod, to which Events are attached
    #[arg(long, env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,

    /// Namespace of the pod
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,

    /// Times of a rotation.
    #[command(flatten)]
    pub rotation: RotationArgs,
}

/// Times of a CA rotation. For tests: nobody needs other ones, and they are not promised to stay.
#[derive(Debug, Clone, Args)]
pub struct RotationArgs {
    /// How long a new CA is trusted before it signs
    #[arg(long, env = "MCP_HANGAR_CA_ROTATION_PUBLISH_FOR", default_value = "5m", value_parser = duration, hide = true)]
    pub ca_rotation_publish_for: Duration,

    /// How long the old CA stays trusted beyond one life of a leaf
    #[arg(long, env = "MCP_HANGAR_CA_ROTATION_RETIRE_GRACE", default_value = "24h", value_parser = duration, hide = true)]
    pub ca_rotation_retire_grace: Duration,

    /// How much time a CA has left when it is rotated
    #[arg(long, env = "MCP_HANGAR_CA_ROTATION_BEFORE", default_value = "8760h", value_parser = duration, hide = true)]
    pub ca_rotation_before: Duration,

    /// How long a CA is valid
    #[arg(long, env = "MCP_HANGAR_CA_LIFETIME", default_value = "43800h", value_parser = duration, hide = true)]
    pub ca_lifetime: Duration,

    /// How long a serving certificate is valid
    #[arg(long, env = "MCP_HANGAR_LEAF_LIFETIME", default_value = "168h", value_parser = duration, hide = true)]
    pub leaf_lifetime: Duration,
}

impl RotationArgs {
    /// The same as a schedule.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            publish_for: self.ca_rotation_publish_for,
            leaf_life: self.leaf_lifetime,
            retire_grace: self.ca_rotation_retire_grace,
            ca_life: self.ca_lifetime,
            rotate_before: self.ca_rotation_before,
        }
    }

    /// A CA must be older than nothing when it is rotated, and outlive its leaves.
    fn check(&self) -> Result<(), String> {
        let Self { ca_lifetime, ca_rotation_before, leaf_lifetime, .. } = self;
        if *leaf_lifetime < Duration::from_secs(1) {
            return Err(format!("--leaf-lifetime ({leaf_lifetime:?}) is less than 1s"));
        }
        if ca_rotation_before >= ca_lifetime {
            return Err(format!(
                "--ca-rotation-before ({ca_rotation_before:?}) is not less than --ca-lifetime ({ca_lifetime:?})"
            ));
        }
        if *ca_lifetime > LONGEST_CA {
            return Err(format!("--ca-lifetime ({ca_lifetime:?}) is more than {LONGEST_CA:?}"));
        }
        Ok(())
    }
}

/// Twenty years.
const LONGEST_CA: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

impl RunArgs {
    /// What no value shows alone.
    fn check(&self, command: &mut clap::Command) -> Result<(), clap::Error> {
        let Self { drain_minimum, drain_maximum, .. } = self;
        let text = if drain_minimum > drain_maximum {
            format!(
                "--drain-minimum ({drain_minimum:?}) is longer than --drain-maximum ({drain_maximum:?}); set both, or lower the first"
            )
        } else if let Err(text) = self.check_election().and_then(|()| self.rotation.check()) {
            text
        } else {
            return Ok(());
        };
        let run = command.find_subcommand_mut("run").map(|run| run.error(ErrorKind::ArgumentConflict, &text));
        Err(run.unwrap_or_else(|| command.error(ErrorKind::ArgumentConflict, text)))
    }

    /// A leader must have stopped before another may start, and try again before it has to stop.
    fn check_election(&self) -> Result<(), String> {
        let (lease, deadline, retry) = (
            self.leader_elect_lease_duration,
            self.leader_elect_renew_deadline,
            self.leader_elect_retry_period,
        );
        let longest = crate::leader::election::LONGEST_LEASE;
        if lease < Duration::from_secs(1) || lease > longest {
            return Err(format!(
                "--leader-elect-lease-duration ({lease:?}) is not between 1s and {longest:?}"
            ));
        }
        if deadline.mul_f64(1.2) > lease {
            return Err(format!(
                "--leader-elect-renew-deadline ({deadline:?}) is more than five sixths of --leader-elect-lease-duration ({lease:?}); a \
                 leader must have stopped before another starts, whatever their clocks do"
            ));
        }
        if retry < Duration::from_millis(100) || retry.mul_f64(2.0) > deadline {
            return Err(format!(
                "--leader-elect-retry-period ({retry:?}) is not between 100ms and half of --leader-elect-renew-deadline ({deadline:?})"
            ));
        }
        Ok(())
    }

    /// This replica in the election; `None` without one.
    pub fn candidate(&self) -> Option<Candidate> {
        self.leader_elect.then(|| Candidate {
            identity: identity(self.pod_name.as_deref()),
            namespace: self.namespace().to_owned(),
            name: self.leader_elect_lease_name.clone(),
            lease_duration: self.leader_elect_lease_duration,
            renew_deadline: self.leader_elect_renew_deadline,
            retry_period: self.leader_elect_retry_period,
        })
    }

    /// The namespace of the CA Secret and of the self-test.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().or(self.pod_namespace.as_deref()).unwrap_or(NAMESPACE)
    }

    /// How the API server reaches us.
    pub fn endpoint(&self) -> Endpoint {
        if let Some(url) = &self.webhook_url {
            return Endpoint::Url(url.clone());
        }
        let namespace =
            self.service_namespace.as_deref().or(self.pod_namespace.as_deref()).unwrap_or(NAMESPACE);
        Endpoint::Service {
            name: self.service_name.clone(),
            namespace: namespace.to_owned(),
            port: self.service_port,
        }
    }
}

/// Who makes the certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TlsMode {
    /// The operator, with a CA of its own
    SelfManaged,
    /// Somebody else, as files
    Files,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, else JSON
    Auto,
    /// For people
    Text,
    /// For collectors
    Json,
}

/// `--image-digest-policy`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DigestPolicy {
    /// Say nothing
    Off,
    /// Allow with a warning
    Warn,
    /// Refuse
    Block,
}

impl From<DigestPolicy> for ImageDigestPolicy {
    fn from(policy: DigestPolicy) -> Self {
        match policy {
            DigestPolicy::Off => Self::Off,
            DigestPolicy::Warn => Self::Warn,
            DigestPolicy::Block => Self::Block,
        }
    }
}

/// An address to listen on, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "0" | "off") {
            return Ok(Self(None));
        }
        // Other operators take ":8080".
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|error| format!("{error}"))?;
            return Ok(Self(Some((Ipv6Addr::UNSPECIFIED, port).into())));
        }
        text.parse()
            .map(|address| Self(Some(address)))
            .map_err(|error| format!("{error}; write ADDR:PORT, :PORT or off"))
    }
}

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
        default_value = "mcp-hangar-operator-webhook-ca",
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

/// A Go duration, as everywhere in the API.
fn duration(text: &str) -> Result<Duration, String> {
    let nanos = mcp_hangar_api::duration::parse(text).map_err(|error| error.to_string())?.nanos();
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| "must not be negative".to_owned())
}

/// A name of up to 63 characters, as namespaces and Services have.
fn label(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner);
    if fits {
        return Ok(text.to_owned());
    }
    Err("a name is at most 63 lowercase letters, digits and '-', and starts and ends with a letter or digit"
        .into())
}

/// Labels between dots, as Secrets and webhook configurations may have.
fn subdomain(text: &str) -> Result<String, String> {
    if text.len() <= 253 && text.split('.').all(|part| label(part).is_ok()) {
        return Ok(text.to_owned());
    }
    Err("a name is lowercase letters, digits, '-' and '.', and each part between dots starts and ends with a letter or digit".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
        let all = ["mcp-hangar-operator", "run"].iter().chain(arguments);
        Cli::try_read(all).map(|cli| match cli.command {
            Command::Run(args) => *args,
            _ => unreachable!(),
        })
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_run_is_also_an_environment_variable() {
        let cli = Cli::command();
        let run = cli.find_subcommand("run").unwrap();
        for argument in
            run.get_arguments().filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        {
            assert!(argument.get_env().is_some(), "{}", argument.get_id());
        }
    }

    #[test]
    fn zero_and_off_switch_a_listener_off() {
        for text in ["0", "off"] {
            assert_eq!(run(&["--metrics-addr", text]).unwrap().metrics_addr, Listen(None));
        }
        assert_eq!(run(&["--health-addr", ":1"]).unwrap().health_addr, Listen(Some(([0u16; 8], 1).into())));
        assert!(run(&["--health-addr", "nowhere"]).is_err());
    }

    #[test]
    fn the_service_of_the_chart_is_the_default_endpoint() {
        let mut args = run(&[]).unwrap();
        args.pod_namespace = None;
        assert_eq!(args.endpoint(), Endpoint::default_service("mcp-system"));
        args.pod_namespace = Some("tools".into());
        assert_eq!(args.endpoint(), Endpoint::default_service("tools"));
        assert_eq!(args.namespace(), "tools");
    }

    #[test]
    fn files_mode_needs_a_directory() {
        assert!(run(&["--tls-mode", "files"]).is_err());
        assert!(run(&["--tls-mode", "files", "--tls-cert-dir", "/certs"]).is_ok());
    }

    #[test]
    fn durations_need_a_unit() {
        assert!(run(&["--drain-minimum", "15"]).is_err());
        assert_eq!(run(&["--drain-minimum", "0s"]).unwrap().drain_minimum, Duration::ZERO);
        assert_eq!(run(&["--drain-quiet", "1m30s"]).unwrap().drain_quiet, Duration::from_secs(90));
    }

    #[test]
    fn a_minimum_above_the_maximum_is_refused() {
        let error = run(&["--drain-minimum", "50s", "--drain-maximum", "10s"]).unwrap_err();
        assert!(error.to_string().contains("--drain-maximum (10s)"), "{error}");
        assert!(run(&["--drain-minimum", "10s", "--drain-maximum", "10s"]).is_ok());
    }

    #[test]
    fn a_leader_that_could_work_on_while_another_starts_is_refused() {
        let of = |lease: &str, deadline: &str, retry: &str| {
            run(&[
                &format!("--leader-elect-lease-duration={lease}"),
                &format!("--leader-elect-renew-deadline={deadline}"),
                &format!("--leader-elect-retry-period={retry}"),
            ])
        };
        assert!(run(&[]).unwrap().candidate().is_some());
        assert!(of("3s", "2s", "500ms").is_ok());
        for (lease, deadline, retry, words) in [
            ("15s", "15s", "2s", "renew-deadline"),
            ("15s", "13s", "2s", "renew-deadline"),
            ("11m", "10s", "2s", "lease-duration"),
            ("0s", "0s", "0s", "lease-duration"),
            ("15s", "10s", "6s", "retry-period"),
            ("15s", "10s", "1ms", "retry-period"),
        ] {
            let error = of(lease, deadline, retry).unwrap_err().to_string();
            assert!(error.contains(words), "{lease} {deadline} {retry}: {error}");
        }
    }

    #[test]
    fn the_times_of_a_rotation_are_those_of_the_design_unless_a_test_says_otherwise() {
        assert_eq!(run(&[]).unwrap().rotation.schedule(), Schedule::default());
        let error = run(&["--ca-lifetime=1h", "--ca-rotation-before=1h"]).unwrap_err().to_string();
        assert!(error.contains("--ca-rotation-before"), "{error}");
        assert!(run(&["--leaf-lifetime=0s"]).is_err());
        assert!(run(&["--ca-lifetime=200000h"]).is_err());
    }

    #[test]
    fn of_a_flag_that_is_given_twice_the_last_one_counts() {
        let args = run(&["--webhook-addr=127.0.0.1:1", "--webhook-addr", "127.0.0.1:2"]).unwrap();
        assert_eq!(args.webhook_addr.port(), 2);
    }

    #[test]
    fn the_election_is_switched_off_by_a_value() {
        assert!(run(&["--leader-elect"]).unwrap().leader_elect);
        assert!(run(&["--leader-elect=false"]).unwrap().candidate().is_none());
        assert!(run(&["--leader-elect=perhaps"]).is_err());
    }

    #[test]
    fn names_are_names_that_the_api_server_takes() {
        let long = "a".repeat(64);
        for bad in ["A_B", "", "-a", "a-", "a b", &long] {
            for flag in [
                "--namespace",
                "--service-namespace",
                "--service-name",
                "--ca-secret",
                "--configuration-name",
            ] {
                assert!(run(&[&format!("{flag}={bad}")]).is_err(), "{flag} {bad}");
            }
        }
        assert!(run(&["--namespace=a.b"]).is_err());
        assert!(run(&["--namespace=0-a", "--ca-secret=a.b-c.d"]).is_ok());
    }
}
