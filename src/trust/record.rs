//! Between the CA Secret and a [`State`]: reads whatever is found there, and writes a state into it.
//!
//! In: a Secret, whole, damaged, of an older or a newer release, or rubbish. Out: [`Observed`], which says how much of it
//! is good. Reasons never hold any of its text. What to do about it is decided in [`super::store`]. `ca.crt` and
//! `ca.key` are always the CA that signs, as in releases without rotation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use mcp_hangar_webhooks::tls::{Authority, TlsError};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::bundle;
use super::state::{Reason, Stage, State, made_at};
use crate::manifests::labels;

/// Key of the certificate of the CA that signs.
pub const CERTIFICATE_KEY: &str = "ca.crt";
/// Key of its private key.
pub const PRIVATE_KEY_KEY: &str = "ca.key";
/// Key of the next CA's certificate, while it is being published.
pub const NEXT_CERTIFICATE_KEY: &str = "next.crt";
/// Key of the next CA's private key.
pub const NEXT_PRIVATE_KEY_KEY: &str = "next.key";
/// Key of the certificates of CAs that signed before and are still trusted.
pub const PREVIOUS_KEY: &str = "previous.crt";
/// Key of the certificate of the signing CA that the one before signed.
pub const CROSS_KEY: &str = "cross.crt";
/// Key of phase, times and what else belongs to a rotation.
pub const ROTATION_KEY: &str = "rotation.json";
/// For people: until when the CA is valid.
pub const NOT_AFTER_ANNOTATION: &str = "mcp-hangar.io/ca-not-after";
/// For people: when it was made.
pub const CREATED_ANNOTATION: &str = "mcp-hangar.io/ca-created-at";
/// For people: the phase.
pub const PHASE_ANNOTATION: &str = "mcp-hangar.io/ca-phase";
/// From people: `now` asks for a rotation.
pub const ROTATE_ANNOTATION: &str = "mcp-hangar.io/rotate";

/// The form of [`ROTATION_KEY`] that this release writes.
const FORMAT: u32 = 1;
/// No honest Secret has seen as many steps.
const MOST_STEPS: u64 = 1 << 40;

/// The Secret as it was found.
#[derive(Debug)]
pub enum Observed {
    /// There is none.
    Absent,
    /// All of it is good.
    Good(Box<State>),
    /// The signing CA is good, something else is not. The state is what is left without it.
    Damaged {
        /// What can be used.
        state: Box<State>,
        /// What is wrong.
        reason: String,
    },
    /// There is no signing CA that can be used now.
    Spoilt {
        /// What is wrong.
        reason: String,
        /// The last step that can still be read.
        revision: u64,
        /// The next CA, where that one is good.
        spare: Option<Arc<Authority>>,
        /// It is whole but not valid yet: then it is more likely this machine's clock that is wrong.
        early: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    phase: String,
    revision: u64,
    since: String,
    #[serde(default)]
    reason: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<String>,
}

/// Reads a Secret.
pub fn observe(secret: Option<&Secret>, now: SystemTime) -> Observed {
    let Some(secret) = secret else { return Observed::Absent };
    let head = head(secret);
    let active = match authority(secret, CERTIFICATE_KEY, PRIVATE_KEY_KEY, now) {
        Ok(active) => active,
        Err(reason) => {
            let revision = head.ok().flatten().map_or(0, |head| head.revision);
            let spare = authority(secret, NEXT_CERTIFICATE_KEY, NEXT_PRIVATE_KEY_KEY, now).ok();
            let early = is_early(secret, now);
            return Observed::Spoilt { reason, revision, spare: spare.map(Arc::new), early };
        }
    };
    match head {
        Ok(Some(head)) => with_head(secret, active, head, now),
        Ok(None) if data(secret).keys().all(|key| !is_of_a_rotation(key)) => {
            let since = made_at(&active);
            Observed::Good(Box::new(State::first(Arc::new(active), Reason::Bootstrap, 0, since)))
        }
        Ok(None) => guess(secret, active, format!("it has no {ROTATION_KEY}"), now),
        Err(reason) => guess(secret, active, reason, now),
    }
}

fn with_head(secret: &Secret, mut active: Authority, head: Head, now: SystemTime) -> Observed {
    let Head { format, phase, revision, since, reason, retired } = head;
    let reason = Reason::ALL.into_iter().find(|known| known.word() == reason).unwrap_or(Reason::Bootstrap);
    let (stage, stage_is_whole) = match phase.as_str() {
        "Stable" if format == FORMAT => (Stage::Stable, Ok(())),
        "Publishing" if format == FORMAT => {
            match authority(secret, NEXT_CERTIFICATE_KEY, NEXT_PRIVATE_KEY_KEY, now) {
                Ok(next) => (Stage::Publishing { next: Arc::new(next) }, Ok(())),
                Err(reason) => (Stage::Stable, Err(format!("its next CA is unusable: {reason}"))),
            }
        }
        "Switched" if format == FORMAT => match switched(secret, &mut active, now) {
            (previous, whole) if previous.is_empty() => (Stage::Stable, whole),
            (previous, whole) => (Stage::Switched { previous }, whole),
        },
        _ => (newer(secret, &mut active, phase), Ok(())),
    };
    let (since, whole) = match parse_time(&since) {
        Some(since) => (since, stage_is_whole),
        None => (now, Err(format!("the time in its {ROTATION_KEY} cannot be read"))),
    };
    let state = Box::new(State { revision, since, reason, active: Arc::new(active), stage, retired });
    match whole {
        Ok(()) => Observed::Good(state),
        Err(reason) => Observed::Damaged { state, reason },
    }
}

/// The certificates that are still trusted; `active` gets what the one before signed.
fn switched(secret: &Secret, active: &mut Authority, now: SystemTime) -> (Vec<String>, Result<(), String>) {
    let previous = match text(secret, PREVIOUS_KEY).map(bundle::certificates) {
        Ok(Ok(found)) if !found.is_empty() => found,
        Ok(_) => return (Vec::new(), Err(format!("its {PREVIOUS_KEY} holds no certificate"))),
        Err(reason) => return (Vec::new(), Err(reason)),
    };
    // A predecessor that had expired signed nothing.
    if !data(secret).contains_key(CROSS_KEY) && previous.iter().all(|pem| bundle::is_expired(pem, now)) {
        return (previous, Ok(()));
    }
    let crossed = text(secret, CROSS_KEY).and_then(|cross| {
        if !previous.iter().any(|pem| bundle::names_issuer(cross, pem)) {
            return Err(format!("its {CROSS_KEY} was signed by none of its {PREVIOUS_KEY}"));
        }
        active.carry(cross).map_err(|error| error.to_string())
    });
    (previous, crossed)
}

/// What a newer release wrote, as far as it can be used.
fn newer(secret: &Secret, active: &mut Authority, phase: String) -> Stage {
    if let Ok(cross) = text(secret, CROSS_KEY) {
        // A chain is better with it; without it, the bundles still are.
        let _ = active.carry(cross);
    }
    let texts =
        data(secret).keys().filter(|key| key.ends_with(".crt")).filter_map(|key| text(secret, key).ok());
    let trusted = texts.filter_map(|text| bundle::certificates(text).ok()).flatten().collect();
    Stage::Newer { phase, trusted, raw: data(secret).clone() }
}

/// Without a head: what the other keys suggest, from now on.
fn guess(secret: &Secret, mut active: Authority, reason: String, now: SystemTime) -> Observed {
    let (previous, _) = switched(secret, &mut active, now);
    let next = authority(secret, NEXT_CERTIFICATE_KEY, NEXT_PRIVATE_KEY_KEY, now);
    let stage = match next {
        _ if !previous.is_empty() => Stage::Switched { previous },
        Ok(next) => Stage::Publishing { next: Arc::new(next) },
        Err(_) => Stage::Stable,
    };
    let mut state = State::first(Arc::new(active), Reason::Bootstrap, 0, now);
    state.stage = stage;
    Observed::Damaged { state: Box::new(state), reason }
}

/// Writes a state into a Secret: what is not ours stays, what belongs to another phase goes.
pub fn secret(base: Secret, namespace: &str, name: &str, state: &State) -> Secret {
    let Secret { mut metadata, data, immutable, string_data: _, type_ } = base;
    metadata.name = Some(name.to_owned());
    metadata.namespace = Some(namespace.to_owned());
    metadata.labels.get_or_insert_default().extend(labels());
    // From the certificate, so that a Secret that is restored says what the lost one said.
    let notes = [
        (NOT_AFTER_ANNOTATION, rfc3339(state.active.not_after())),
        (CREATED_ANNOTATION, rfc3339(made_at(&state.active))),
        (PHASE_ANNOTATION, state.stage.phase().to_owned()),
    ];
    metadata.annotations.get_or_insert_default().extend(notes.map(|(key, value)| (key.to_owned(), value)));
    let mut data: BTreeMap<String, ByteString> = data.unwrap_or_default();
    data.retain(|key, _| !is_of_a_rotation(key));
    match &state.stage {
        Stage::Newer { raw, .. } => data.extend(raw.clone()),
        _ => data.extend(
            texts(state).into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))),
        ),
    }
    Secret {
        metadata,
        data: Some(data),
        immutable,
        string_data: None,
        type_: Some(type_.unwrap_or_else(|| "Opaque".into())),
    }
}

fn texts(state: &State) -> Vec<(&'static str, String)> {
    let State { revision, since, reason, active, stage, retired } = state;
    let head = Head {
        format: FORMAT,
        phase: stage.phase().to_owned(),
        revision: *revision,
        since: rfc3339(*since),
        reason: reason.word().to_owned(),
        retired: retired.clone(),
    };
    let mut all = vec![
        (CERTIFICATE_KEY, active.certificate_pem()),
        (PRIVATE_KEY_KEY, active.key_pem()),
        // Plain words and numbers; there is nothing in it that JSON cannot say.
        (ROTATION_KEY, serde_json::to_string(&head).unwrap_or_default()),
    ];
    match stage {
        Stage::Stable | Stage::Newer { .. } => {}
        Stage::Publishing { next } => {
            all.extend([
                (NEXT_CERTIFICATE_KEY, next.certificate_pem()),
                (NEXT_PRIVATE_KEY_KEY, next.key_pem()),
            ]);
        }
        Stage::Switched { previous } => {
            all.push((PREVIOUS_KEY, previous.concat()));
            all.extend(active.cross_pem().map(|cross| (CROSS_KEY, cross)));
        }
    }
    all
}

/// Whether somebody asked for a rotation.
pub fn is_requested(secret: &Secret) -> bool {
    let annotations = secret.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(ROTATE_ANNOTATION)).is_some_and(|value| value.trim() == "now")
}

fn is_of_a_rotation(key: &str) -> bool {
    [NEXT_CERTIFICATE_KEY, NEXT_PRIVATE_KEY_KEY, PREVIOUS_KEY, CROSS_KEY, ROTATION_KEY].contains(&key)
}

fn head(secret: &Secret) -> Result<Option<Head>, String> {
    if !data(secret).contains_key(ROTATION_KEY) {
        return Ok(None);
    }
    let unreadable = || format!("its {ROTATION_KEY} cannot be read");
    let head: Head = serde_json::from_str(text(secret, ROTATION_KEY)?).map_err(|_| unreadable())?;
    if head.revision > MOST_STEPS { Err(unreadable()) } else { Ok(Some(head)) }
}

fn authority(secret: &Secret, certificate: &str, key: &str, now: SystemTime) -> Result<Authority, String> {
    Authority::from_pem(text(secret, certificate)?, text(secret, key)?, now)
        .map_err(|error| error.to_string())
}

fn is_early(secret: &Secret, now: SystemTime) -> bool {
    let (Ok(certificate), Ok(key)) = (text(secret, CERTIFICATE_KEY), text(secret, PRIVATE_KEY_KEY)) else {
        return false;
    };
    matches!(Authority::from_pem(certificate, key, now), Err(TlsError::NotYetValid { .. }))
}

fn data(secret: &Secret) -> &BTreeMap<String, ByteString> {
    static NONE: BTreeMap<String, ByteString> = BTreeMap::new();
    secret.data.as_ref().unwrap_or(&NONE)
}

fn text<'a>(secret: &'a Secret, key: &str) -> Result<&'a str, String> {
    let value = data(secret).get(key).ok_or_else(|| format!("it has no {key}"))?;
    std::str::from_utf8(&value.0).map_err(|_| format!("its {key} is not text"))
}

/// As annotations and logs write it.
pub fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

fn parse_time(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}
