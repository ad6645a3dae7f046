//! A ConversionReview in, a ConversionReview out: order, count and uid kept, every object answered or the whole review
//! `Failed` with a message that names the object. HTTP 200 whenever a uid was found.

use std::time::Instant;

use serde::de::{Deserialize, DeserializeSeed, Deserializer};
use serde_json::value::RawValue;

use super::{Scratch, convert};
use crate::field::printable;
use crate::json::{self, Json, Plan, Planned, Text, write_string};
use crate::kind::{Kind, Version};
use crate::observer::{Conversion, Observer};
use crate::reply::{Reply, uid_of};

/// A review whose objects are read as `T`.
#[derive(serde::Deserialize)]
struct Review<'a, T> {
    #[serde(borrow, bound(deserialize = "T: Deserialize<'de>"))]
    request: Request<'a, T>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a, T> {
    #[serde(borrow)]
    uid: Text<'a>,
    #[serde(borrow, rename = "desiredAPIVersion")]
    desired_api_version: Text<'a>,
    objects: Vec<T>,
}

/// What a conversion looks into, of whatever kind the object is. Nothing depends on it but the time it takes.
const OPENED: &[Plan] = &[Plan("apiVersion", None), Plan("kind", None), Plan("spec", Some(SPEC))];
const SPEC: &[Plan] = &[
    CONTAINER,
    Plan("lifecycle", Some(&[])),
    Plan("pod", Some(&[])),
    Plan("remote", Some(&[])),
    Plan("providerTemplate", Some(&[Plan("spec", Some(&[CONTAINER, Plan("pod", Some(&[]))]))])),
];
const CONTAINER: Plan = Plan("container", Some(&[Plan("resources", Some(RESOURCES))]));
const RESOURCES: &[Plan] = &[Plan("limits", Some(&[])), Plan("requests", Some(&[]))];

/// An object, opened as far as a conversion looks.
struct Opened<'a>(Json<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Opened<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Planned(OPENED).deserialize(deserializer).map(Self)
    }
}

/// Answers one conversion review. Never panics, whatever the bytes.
pub fn review(body: &[u8], observer: &dyn Observer) -> Reply {
    let started = Instant::now();
    let fast = json::read::<Review<'_, Opened<'_>>>(body);
    if let Ok(Review { request }) = fast {
        return answer(request, |Opened(object)| object, body.len(), started, observer);
    }
    // Something is not what it should be. Read as text it may still be converted, and is described as well as it can be.
    match json::read::<Review<'_, &RawValue>>(body) {
        Ok(Review { request }) => answer(request, Json::Raw, body.len(), started, observer),
        Err(error) => undecodable(body, &error),
    }
}

fn answer<'a, T>(
    request: Request<'a, T>,
    open: impl Fn(T) -> Json<'a>,
    bytes: usize,
    started: Instant,
    observer: &dyn Observer,
) -> Reply {
    let Request { uid, desired_api_version, objects } = request;
    let mut record = Record { kind: "unknown", from: "unknown" };
    let to = Version::parse(&desired_api_version);
    let count = objects.len();
    let outcome = match to {
        Some(to) => {
            let mut out = success(&uid, bytes + 128 * count);
            convert_all(objects.into_iter().map(open), to, &mut record, &mut out).map(|()| out)
        }
        None => Err(format!(
            "cannot convert to {:?}: the versions are {} and {}",
            printable(&desired_api_version),
            Version::V1Alpha1.api_version(),
            Version::V1Beta1.api_version()
        )),
    };
    let succeeded = outcome.is_ok();
    let body = outcome.map_or_else(
        |message| failure(&uid, &message),
        |mut out| {
            out.push_str("]}}");
            out
        },
    );
    observer.conversion(&Conversion {
        kind: record.kind,
        from: record.from,
        to: to.map_or("unknown", Version::name),
        objects: count,
        succeeded,
        elapsed: started.elapsed(),
    });
    Reply { status: 200, body: body.into_bytes() }
}

struct Record {
    kind: &'static str,
    from: &'static str,
}

/// Writes the converted objects as the items of a JSON list.
fn convert_all<'a>(
    objects: impl Iterator<Item = Json<'a>>,
    to: Version,
    record: &mut Record,
    out: &mut String,
) -> Result<(), String> {
    for (index, object) in objects.enumerate() {
        if index > 0 {
            out.push(',');
        }
        convert_one(object, to, record, out).map_err(|error| format!("objects[{index}]: {error}"))?;
    }
    Ok(())
}

fn convert_one(
    mut object: Json<'_>,
    to: Version,
    record: &mut Record,
    out: &mut String,
) -> Result<(), String> {
    let Some(members) = object.expand_object() else {
        return Err(format!("is of type {}, not an object", object.type_name()));
    };
    for name in ["kind", "apiVersion"] {
        if let Some(value) = members.get_mut(name) {
            value.expand();
        }
    }
    let text = |name: &str| members.get(name).and_then(Json::as_str).unwrap_or_default();
    let (kind, from) = (text("kind"), text("apiVersion"));
    let kind = Kind::parse(kind)
        .ok_or_else(|| format!("kind: {:?} is none of the kinds of this webhook", printable(kind)))?;
    let from = Version::parse(from)
        .ok_or_else(|| format!("apiVersion: {:?} is no served version of {kind}", printable(from)))?;
    (record.kind, record.from) = (kind.name(), from.name());
    let Json::Object(members) = object else { return Ok(()) };
    if from == to {
        Json::Object(members).write(out);
    } else {
        let scratch = Scratch::new();
        Json::Object(convert(kind, from, to, members, &scratch)).write(out);
    }
    Ok(())
}

const HEAD: &str = r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","response":{"uid":"#;

/// The answer up to its list of objects, in a text with room for them.
fn success(uid: &str, room: usize) -> String {
    let mut out = String::with_capacity(room);
    out.push_str(HEAD);
    write_string(uid, &mut out);
    out.push_str(r#","result":{"status":"Success"},"convertedObjects":["#);
    out
}

fn failure(uid: &str, message: &str) -> String {
    let mut out = String::from(HEAD);
    write_string(uid, &mut out);
    out.push_str(r#","result":{"status":"Failed","message":"#);
    write_string(message, &mut out);
    out.push_str(r#"},"convertedObjects":[]}}"#);
    out
}

/// A body that is no review: `Failed` under its uid where one can be found, else 400.
fn undecodable(body: &[u8], error: &serde_json::Error) -> Reply {
    let message = format!("the body is not a ConversionReview: {error}");
    match uid_of(body) {
        Some(uid) => Reply { status: 200, body: failure(&uid, &message).into_bytes() },
        None => Reply { status: 400, body: message.into_bytes() },
    }
}
