//! A ConversionReview in, a ConversionReview out: order, count and uid kept, every object answered or the whole review
//! `Failed` with a message that names the object. HTTP 200 whenever a uid was found.

use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Scratch, convert};
use crate::field::printable;
use crate::json::{Json, Text, write_string};
use crate::kind::{Kind, Version};
use crate::observer::{Conversion, Observer};
use crate::reply::{Reply, uid_of};

#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    uid: Text<'a>,
    #[serde(borrow, rename = "desiredAPIVersion")]
    desired_api_version: Text<'a>,
    #[serde(borrow)]
    objects: Vec<&'a RawValue>,
}

/// Answers one conversion review. Never panics, whatever the bytes.
pub fn review(body: &[u8], observer: &dyn Observer) -> Reply {
    let started = Instant::now();
    let review: Review<'_> = match serde_json::from_slice(body) {
        Ok(review) => review,
        Err(error) => return undecodable(body, &error),
    };
    let request = review.request;
    let mut record = Record { kind: "unknown", from: "unknown" };
    let to = Version::parse(&request.desired_api_version);
    let outcome = match to {
        Some(to) => convert_all(&request.objects, to, &mut record),
        None => Err(format!(
            "cannot convert to {:?}: the versions are {} and {}",
            printable(&request.desired_api_version),
            Version::V1Alpha1.api_version(),
            Version::V1Beta1.api_version()
        )),
    };
    let succeeded = outcome.is_ok();
    let body = answer(&request.uid, outcome);
    observer.conversion(&Conversion {
        kind: record.kind,
        from: record.from,
        to: to.map_or("unknown", Version::name),
        objects: request.objects.len(),
        succeeded,
        elapsed: started.elapsed(),
    });
    Reply { status: 200, body: body.into_bytes() }
}

struct Record {
    kind: &'static str,
    from: &'static str,
}

/// The converted objects as the text of a JSON list, without its brackets.
fn convert_all(objects: &[&RawValue], to: Version, record: &mut Record) -> Result<String, String> {
    let mut out = String::with_capacity(objects.iter().map(|object| object.get().len() + 128).sum());
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        convert_one(object, to, record, &mut out).map_err(|error| format!("objects[{index}]: {error}"))?;
    }
    Ok(out)
}

fn convert_one(raw: &RawValue, to: Version, record: &mut Record, out: &mut String) -> Result<(), String> {
    let mut object = Json::Raw(raw);
    let Some(members) = object.expand_object() else {
        return Err(format!("is of type {}, not an object", object.type_name()));
    };
    let mut text = |name: &str| {
        let value = members.get_mut(name)?;
        value.expand();
        value.as_str().map(str::to_owned)
    };
    let (kind_name, version_name) =
        (text("kind").unwrap_or_default(), text("apiVersion").unwrap_or_default());
    let kind = Kind::parse(&kind_name)
        .ok_or_else(|| format!("kind: {:?} is none of the kinds of this webhook", printable(&kind_name)))?;
    let from = Version::parse(&version_name).ok_or_else(|| {
        format!("apiVersion: {:?} is no served version of {kind}", printable(&version_name))
    })?;
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

fn answer(uid: &str, outcome: Result<String, String>) -> String {
    let mut out = String::from(
        r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","response":{"uid":"#,
    );
    write_string(uid, &mut out);
    match outcome {
        Ok(objects) => {
            out.push_str(r#","result":{"status":"Success"},"convertedObjects":["#);
            out.push_str(&objects);
            out.push_str("]}}");
        }
        Err(message) => {
            out.push_str(r#","result":{"status":"Failed","message":"#);
            write_string(&message, &mut out);
            out.push_str(r#"},"convertedObjects":[]}}"#);
        }
    }
    out
}

/// A body that is no review: `Failed` under its uid where one can be found, else 400.
fn undecodable(body: &[u8], error: &serde_json::Error) -> Reply {
    let message = format!("the body is not a ConversionReview: {error}");
    match uid_of(body) {
        Some(uid) => Reply { status: 200, body: answer(&uid, Err(message)).into_bytes() },
        None => Reply { status: 400, body: message.into_bytes() },
    }
}
