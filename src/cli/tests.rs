//! The command line, read as a person types it.
//!
//! What the whole program says to a wrong one is in `tests/cli.rs`.

use std::time::Duration;

use super::*;
use crate::manifests::Endpoint;
use crate::trust::Schedule;

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
        for flag in
            ["--namespace", "--service-namespace", "--service-name", "--ca-secret", "--configuration-name"]
        {
            assert!(run(&[&format!("{flag}={bad}")]).is_err(), "{flag} {bad}");
        }
    }
    assert!(run(&["--namespace=a.b"]).is_err());
    assert!(run(&["--namespace=0-a", "--ca-secret=a.b-c.d"]).is_ok());
}
