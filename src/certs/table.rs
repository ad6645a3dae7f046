//! A report of `certs` for people. In: [`Report`]. Out: text, with the most important things on top.
//!
//! What cannot be seen from where the command runs says how it can be seen.

use std::fmt::Write as _;

use super::report::{Certificate, Report};

/// Writes it.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{label:<10}{value}");
    };
    line("SECRET", &report.secret);
    match (&report.phase, &report.since, report.reason) {
        (Some(phase), Some(since), Some(reason)) => {
            line("PHASE", &format!("{phase} since {since}; the newest CA was made for: {reason}"));
        }
        _ => line("PHASE", "not known"),
    }
    line("LEADER", report.leader.as_deref().unwrap_or("none that can be seen"));
    if let Some(next) = &report.next {
        line("NEXT", &next.what);
    }
    let cas = [("CA", report.ca.as_ref()), ("NEXT CA", report.next_ca.as_ref())];
    let previous = report.previous_cas.iter().map(|previous| ("BEFORE", Some(previous)));
    for (label, certificate) in cas.into_iter().chain(previous) {
        if let Some(certificate) = certificate {
            describe(&mut text, label, certificate);
        }
    }
    targets(&mut text, report);
    served(&mut text, report);
    for (title, all) in [("NEEDS A LOOK", &report.problems), ("COULD NOT BE READ", &report.unread)] {
        if !all.is_empty() {
            let _ = writeln!(text, "\n{title}");
            all.iter().for_each(|entry| {
                let _ = writeln!(text, "  - {entry}");
            });
        }
    }
    if report.exit_code() == crate::exit::ExitCode::Permission {
        let (namespace, name) = report.secret.split_once('/').unwrap_or(("", &report.secret));
        let _ = writeln!(
            text,
            "  get on secret/{name} in namespace {namespace} and on the objects above is all that is needed; check: kubectl auth can-i get secret/{name} -n {namespace}"
        );
    }
    text
}

fn describe(text: &mut String, label: &str, certificate: &Certificate) {
    let Certificate { subject, serial, sha256, not_after, days_left } = certificate;
    let _ = writeln!(
        text,
        "\n{label:<10}{subject}\n          not after {not_after} ({days_left} days left)\n          serial    {serial}\n          sha256    {sha256}"
    );
}

fn targets(text: &mut String, report: &Report) {
    let width = report.targets.iter().map(|target| target.object.len()).max().unwrap_or_default() + 2;
    let _ = writeln!(text, "\n{:<width$}STATE", "TARGET");
    for target in &report.targets {
        let state = target.problem.as_deref().unwrap_or("in sync");
        let address = target.address.as_ref().map(|address| format!(" ({address})")).unwrap_or_default();
        let _ = writeln!(text, "{:<width$}{state}{address}", target.object);
    }
}

fn served(text: &mut String, report: &Report) {
    let width = report.served.iter().map(|served| served.by.len()).max().unwrap_or_default().max(9) + 2;
    let _ = writeln!(text, "\n{:<width$}CERTIFICATE", "SERVED BY");
    for served in &report.served {
        let state = match (&served.certificate, &served.problem) {
            (Some(leaf), _) => format!("trusted; not after {} (serial {})", leaf.not_after, leaf.serial),
            (None, problem) => problem.clone().unwrap_or_else(|| "not readable".into()),
        };
        let _ = writeln!(text, "{:<width$}{state}", served.by);
    }
    let hidden = report.served.is_empty() || report.served.iter().any(|served| served.certificate.is_none());
    if hidden {
        text.push_str(
            "  pods are seldom reached from outside their cluster. To see what one presents: \
             kubectl port-forward -n NAMESPACE POD 9443 & openssl s_client -connect 127.0.0.1:9443 </dev/null | openssl x509 -noout -issuer -enddate\n",
        );
    }
}
