//! The command line. Every flag is also an environment variable, shown by `--help` with its default.
//!
//! In: arguments and environment, where an empty variable is none. Out: [`Cli`], checked as far as it can be without
//! files and the cluster; what needs those is checked by the command itself.

mod run;
mod tools;
mod value;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use run::{DigestPolicy, Listen, LogFormat, RotationArgs, RunArgs, TlsMode};
pub use tools::{
    CertsArgs, CertsFormat, ChartsArgs, CheckArgs, CrdsArgs, ExplainArgs, OutputFormat, VersionArgs,
};

use crate::exit::EXIT_CODES;

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

#[cfg(test)]
mod tests;
