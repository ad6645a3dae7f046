//! The program: reads the command line, does what it says, ends with a documented exit code.
//!
//! In: arguments and environment, read by [`cli`](mcp_hangar_operator::cli). Out: what a command prints, or the log of
//! `run`, and a code from [`exit`](mcp_hangar_operator::exit). Everything else is in the library, where tests reach it.

use std::process::ExitCode as Code;

use mcp_hangar_operator::cli::{Cli, Command, RunArgs};
use mcp_hangar_operator::exit::{ExitCode, RunError};
use mcp_hangar_operator::output::OutputError;
use mcp_hangar_operator::{certs, check, logging, output, run};

fn main() -> Code {
    // The client of the API server takes the process-wide provider. It can be set once, and here nobody has.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut out = std::io::stdout();
    let printed = match &Cli::read().command {
        Command::Run(args) => return operate(args).into(),
        Command::Crds(args) => output::crds(args, &mut out),
        Command::Check(args) => return answer(check::check(args, &mut out)).into(),
        Command::Certs(args) => return answer(certs::certs(args, &mut out)).into(),
        Command::Charts(args) => output::charts(args),
        Command::Explain(args) => output::explain(args, &mut out),
        Command::Version(args) => output::version(args, &mut out),
    };
    match printed {
        Ok(()) => ExitCode::Ok.into(),
        Err(error) => {
            let code = match &error {
                OutputError::UnknownCode(_) => ExitCode::Usage,
                OutputError::Write { .. } | OutputError::Yaml { .. } | OutputError::Chart(_) => {
                    ExitCode::Failure
                }
            };
            complain(&error.into());
            code.into()
        }
    }
}

/// Ends a command that has said on standard output how it went.
fn answer(result: Result<ExitCode, RunError>) -> ExitCode {
    result.unwrap_or_else(|error| {
        let code = error.exit_code();
        complain(&error.into());
        code
    })
}

fn operate(args: &RunArgs) -> ExitCode {
    if let Err(reason) = logging::start(args.log_format, &args.log_level) {
        complain(&anyhow::Error::msg(reason));
        return ExitCode::Usage;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&anyhow::Error::new(error).context("failed to start the runtime"));
            return ExitCode::Failure;
        }
    };
    let result = runtime.block_on(run::run(args));
    // Nothing that still runs is worth waiting for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::Ok,
        Err(error) => {
            let (kind, code) = (error.kind(), error.exit_code());
            report(kind, code, error);
            code
        }
    }
}

/// The last line of the log; a person at a terminal reads the same.
fn report(kind: &'static str, code: ExitCode, error: RunError) {
    tracing::error!(kind, exit_code = code as u8, "{:#}", anyhow::Error::from(error));
}

#[allow(clippy::print_stderr)]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
