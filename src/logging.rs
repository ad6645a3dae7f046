//! Sets up the log: text with colour on a terminal, JSON elsewhere, always on standard error.
//!
//! In: `--log-format` and `--log-level`. Out: the process-wide subscriber, and a panic hook that writes to the log too.
//! Nothing logs a request at `info`, and nothing ever logs the value of a Secret.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Starts logging; the error is for the user who wrote the level.
pub fn start(format: LogFormat, level: &str) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(directives(level)).map_err(|error| format!("--log-level {level:?}: {error}"))?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let colour = terminal && std::env::var_os("NO_COLOR").is_none();
    let started = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.with_ansi(colour).with_target(false).try_init()
    };
    started.map_err(|error| error.to_string())?;
    // In the log like everything else, and without its message, which may quote what was being read.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(
            location = panic.location().map(tracing::field::display),
            "a task panicked; this is a bug"
        );
    }));
    Ok(())
}

/// A bare level is for our own crates; what the clients' libraries say (of the API server, of MCP servers that are no
/// such) is said again by us, once, in better words. What `rmcp` prints holds parts of answers, and those may repeat a
/// header that we sent: it is silent at every level, unless somebody names it.
fn directives(level: &str) -> String {
    if level == "off" || level.contains("rmcp") {
        return level.to_owned();
    }
    if level == "trace" || level.contains([',', '=']) {
        return format!("{level},rmcp=off");
    }
    format!("error,kube_client=off,kube_runtime=off,rmcp=off,mcp_hangar={level}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_for_our_own_crates() {
        assert_eq!(directives("info"), "error,kube_client=off,kube_runtime=off,rmcp=off,mcp_hangar=info");
        assert_eq!(directives("info,hyper=debug"), "info,hyper=debug,rmcp=off");
        assert_eq!(directives("trace"), "trace,rmcp=off");
        assert_eq!(directives("info,rmcp=debug"), "info,rmcp=debug");
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        assert!(EnvFilter::try_new(directives("infoo")).is_err());
    }
}
