//! Judges what `certs` saw. Pure: what was found and the time in, a [`Report`] out.
//!
//! A report says what is in use, what is wrong, what the operator will do about it and when, and what only a person can
//! mend. It holds certificates and never a key.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::parse_x509_pem;

use super::fetch::{Refused, Seen, Served, Unread};
use crate::exit::ExitCode;
use crate::trust::inject::inspect::{Trust, View};
use crate::trust::record::{Observed, ROTATE_ANNOTATION, is_requested, observe, rfc3339};
use crate::trust::rotation::{self, Cause, Facts, Step, Wait};
use crate::trust::state::{Schedule, State, fingerprint};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A CA with less than this should have been rotated long ago.
const LATE: Duration = Duration::from_secs(90 * 24 * 3600);

/// All that `certs` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Namespace and name of the CA Secret.
    pub secret: String,
    /// The phase of the rotation.
    pub phase: Option<String>,
    /// When it began.
    pub since: Option<String>,
    /// Why the newest CA was made.
    pub reason: Option<&'static str>,
    /// The CA that signs.
    pub ca: Option<Certificate>,
    /// The one that will.
    pub next_ca: Option<Certificate>,
    /// Those that did and are still trusted.
    pub previous_cas: Vec<Certificate>,
    /// The replica that makes the steps of a rotation.
    pub leader: Option<String>,
    /// Whom the API server trusts.
    pub targets: Vec<TargetReport>,
    /// What is presented.
    pub served: Vec<ServedReport>,
    /// What happens next.
    pub next: Option<Next>,
    /// What a person should look at.
    pub problems: Vec<String>,
    /// What could not be read.
    pub unread: Vec<String>,
    #[serde(skip)]
    forbidden: bool,
}

/// A certificate.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Its subject.
    pub subject: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// SHA-256 over it, in hexadecimal.
    pub sha256: String,
    /// Its last second.
    pub not_after: String,
    /// Whole days until then, negative when it is over.
    pub days_left: i64,
}

/// One target.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetReport {
    /// Kind and name.
    pub object: String,
    /// Whether it trusts exactly those whom it should.
    pub in_sync: bool,
    /// What is wrong otherwise.
    pub problem: Option<String>,
    /// Where it sends calls.
    pub address: Option<String>,
}

/// One webhook.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedReport {
    /// Pod or address.
    pub by: String,
    /// The certificate that it presents, verified.
    pub certificate: Option<Certificate>,
    /// Why there is none to show.
    pub problem: Option<String>,
}

/// The next step.
#[derive(Debug, Serialize)]
pub struct Next {
    /// In words.
    pub what: String,
    /// When, where that is known; now, where it is due.
    pub at: Option<String>,
}

impl Report {
    /// Whether all is well, and if not, why.
    pub fn exit_code(&self) -> ExitCode {
        match (self.forbidden, self.unread.is_empty(), self.problems.is_empty()) {
            (true, ..) => ExitCode::Permission,
            (false, false, _) => ExitCode::Failure,
            (false, true, false) => ExitCode::Attention,
            (false, true, true) => ExitCode::Ok,
        }
    }
}

/// Judges.
pub fn report(seen: &Seen, schedule: &Schedule, now: SystemTime) -> Report {
    let mut report = Report {
        secret: seen.secret_name.clone(),
        phase: None,
        since: None,
        reason: None,
        ca: None,
        next_ca: None,
        previous_cas: Vec::new(),
        leader: seen.leader.clone(),
        targets: Vec::new(),
        served: seen.served.iter().map(|served| self::served(served, now)).collect(),
        next: None,
        problems: Vec::new(),
        unread: Vec::new(),
        forbidden: false,
    };
    let state = secret(&mut report, seen, now);
    targets(&mut report, seen, state.as_ref(), now);
    if let Some(state) = &state {
        describe(&mut report, state, now);
        what_next(&mut report, seen, state, schedule, now);
    }
    for served in &seen.served {
        if let Err(Refused::Untrusted(reason)) = &served.certificate {
            report
                .problems
                .push(format!("{} presents a certificate that is not trusted: {reason}", served.by));
        }
    }
    report
}

fn secret(report: &mut Report, seen: &Seen, now: SystemTime) -> Option<State> {
    let found = match &seen.secret {
        Ok(found) => found.as_ref(),
        Err(unread) => {
            report.leave_out(unread);
            return None;
        }
    };
    match observe(found, now) {
        Observed::Good(state) => Some(*state),
        Observed::Damaged { state, reason } => {
            report
                .problems
                .push(format!("the CA Secret is damaged: {reason}; a running operator mends it in seconds"));
            Some(*state)
        }
        Observed::Spoilt { reason, .. } => {
            report.problems.push(format!(
                "the CA Secret is unusable: {reason}; a running operator restores it in seconds, or makes a new CA"
            ));
            None
        }
        Observed::Absent => {
            let place = &report.secret;
            report.problems.push(format!(
                "there is no CA Secret {place}; a running operator makes it in seconds: is one running, and are --namespace and --ca-secret right? (with --tls-mode=files there is none)"
            ));
            None
        }
    }
}

fn describe(report: &mut Report, state: &State, now: SystemTime) {
    report.phase = Some(state.stage.phase().to_owned());
    report.since = Some(rfc3339(state.since));
    report.reason = Some(state.reason.word());
    report.ca = certificate(&state.active.certificate_pem(), now);
    report.next_ca = state.next().and_then(|next| certificate(&next.certificate_pem(), now));
    report.previous_cas = state.previous().iter().filter_map(|pem| certificate(pem, now)).collect();
    let left = state.active.not_after().duration_since(now).unwrap_or_default();
    if left < LATE {
        report.problems.push(format!(
            "the CA is over in {} days and should have been rotated long ago: see what happens next",
            left.as_secs() / DAY.as_secs()
        ));
    }
}

fn targets(report: &mut Report, seen: &Seen, state: Option<&State>, now: SystemTime) {
    for (object, view) in &seen.targets {
        let view = match view {
            Ok(view) => view,
            Err(unread) => {
                report.leave_out(unread);
                let problem = Some("could not be read".to_owned());
                report.targets.push(TargetReport {
                    object: object.clone(),
                    in_sync: false,
                    problem,
                    address: None,
                });
                continue;
            }
        };
        let problem = problem(view, state, now);
        if let Some(problem) = &problem
            && state.is_some()
        {
            report.problems.push(format!("{object}: {problem}"));
        }
        report.targets.push(TargetReport {
            object: object.clone(),
            in_sync: problem.is_none() && state.is_some(),
            problem: problem.or_else(|| state.is_none().then(|| "the CA is not known".to_owned())),
            address: address(view),
        });
    }
}

/// What is wrong with a target.
fn problem(view: &View, state: Option<&State>, now: SystemTime) -> Option<String> {
    let state = state?;
    let Ok(ours) = state.bundle(now) else { return Some("every CA is expired".into()) };
    match &view.trust {
        Trust::Nobody(reason) | Trust::Rubbish(reason) => Some(reason.clone()),
        Trust::Certificates(found) => {
            let text = found.concat();
            if text == ours.pem() {
                None
            } else if !ours.is_enough_in(&text) {
                Some("its caBundle lacks the CA that signs: calls to it fail".into())
            } else if view.lacks(&state.trusted()).is_some() {
                Some("its caBundle lacks the next CA, or the one before".into())
            } else {
                Some("its caBundle trusts others too".into())
            }
        }
    }
}

fn address(view: &View) -> Option<String> {
    let text = |pointer: &str| view.client.pointer(pointer).and_then(serde_json::Value::as_str);
    match (text("/url"), text("/service/namespace"), text("/service/name")) {
        (Some(url), ..) => Some(url.to_owned()),
        (None, Some(namespace), Some(name)) => Some(format!("service {namespace}/{name}")),
        _ => None,
    }
}

fn what_next(report: &mut Report, seen: &Seen, state: &State, schedule: &Schedule, now: SystemTime) {
    let secret = seen.secret.as_ref().ok().and_then(Option::as_ref);
    let trusted = state.trusted();
    let views = seen.targets.iter().filter_map(|(_, view)| view.as_ref().ok());
    let facts = Facts {
        requested: secret.is_some_and(is_requested),
        lacking: views.filter_map(|view| view.lacks(&trusted)).collect(),
    };
    let step = rotation::next(state, &facts, schedule, now);
    let at = match &step {
        Step::Wait(wait) => wait.until.map(rfc3339),
        _ => Some(rfc3339(now)),
    };
    if let Step::Wait(Wait { cause: Cause::Targets(_), .. }) = &step
        && now > state.since + schedule.publish_for * 3
    {
        report.problems.push("the rotation waits for targets that the operator cannot mend".into());
    }
    if !matches!(step, Step::Wait(_)) && report.leader.is_none() {
        report.problems.push("a step of the rotation is due, and no replica leads".into());
    }
    report.next = Some(Next { what: rotation::words(&step), at });
    let annotations = secret.and_then(|secret| secret.metadata.annotations.as_ref());
    if let Some(value) = annotations.and_then(|all| all.get(ROTATE_ANNOTATION))
        && value.trim() != "now"
    {
        report
            .problems
            .push(format!("the annotation {ROTATE_ANNOTATION} has another value than now and does nothing"));
    }
}

fn served(served: &Served, now: SystemTime) -> ServedReport {
    let (certificate, problem) = match &served.certificate {
        Ok(pem) => (certificate(pem, now), None),
        Err(Refused::Unreached(reason)) => (None, Some(format!("not reached from here: {reason}"))),
        Err(Refused::Untrusted(reason)) => (None, Some(format!("not trusted: {reason}"))),
    };
    ServedReport { by: served.by.clone(), certificate, problem }
}

fn certificate(pem: &str, now: SystemTime) -> Option<Certificate> {
    let (_, block) = parse_x509_pem(pem.as_bytes()).ok()?;
    let (_, parsed) = parse_x509_certificate(&block.contents).ok()?;
    let seconds = parsed.validity().not_after.timestamp();
    let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let days = |distance: Duration| i64::try_from(distance.as_secs() / DAY.as_secs()).unwrap_or(i64::MAX);
    Some(Certificate {
        subject: parsed.subject().to_string(),
        serial: parsed.raw_serial_as_string(),
        sha256: fingerprint(pem),
        not_after: rfc3339(not_after),
        days_left: match not_after.duration_since(now) {
            Ok(left) => days(left),
            Err(over) => -1 - days(over.duration()),
        },
    })
}

impl Report {
    fn leave_out(&mut self, unread: &Unread) {
        self.forbidden |= unread.forbidden;
        self.unread.push(unread.reason.clone());
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
