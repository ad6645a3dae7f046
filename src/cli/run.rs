//! The flags of `run`, and what no flag alone can show to be wrong.
//!
//! In: the command line. Out: [`RunArgs`], which other modules ask for what they need of it. How a text becomes a value is
//! in [`super::value`].

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use mcp_hangar_webhooks::policy::{ImageDigestPolicy, Policy};

use super::value::{duration, label, subdomain};
use crate::leader::elect::identity;
use crate::leader::election::Candidate;
use crate::manifests::{BaseUrl, CA_SECRET, Endpoint, NAMESPACE, RELEASE, SERVICE};
use crate::trust::Schedule;

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
        default_value = CA_SECRET,
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

    /// Namespaces whose providers are looked after; none means all
    #[arg(long, env = "MCP_HANGAR_WATCH_NAMESPACES", value_delimiter = ',', value_name = "A,B")]
    pub watch_namespaces: Vec<String>,

    /// Namespaces whose Secrets are read, for headers of remote providers and to roll pods on a change; * means all
    #[arg(long, env = "MCP_HANGAR_SECRET_NAMESPACES", value_delimiter = ',', value_name = "A,B")]
    pub secret_namespaces: Vec<String>,

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
    /// What the webhooks judge by.
    pub fn policy(&self) -> Policy {
        let names = self.configmap_namespaces.iter().filter(|name| !name.is_empty());
        Policy {
            image_digest: self.image_digest_policy.into(),
            configmap_namespaces: names.cloned().collect(),
        }
    }

    /// What no value shows alone.
    pub(super) fn check(&self, command: &mut clap::Command) -> Result<(), clap::Error> {
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
