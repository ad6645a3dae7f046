//! Admission reviews in, admission reviews out. Pure: bytes and policy to bytes.
//!
//! `/default` fills what is absent, then judges, and refuses with the complete list of errors; `/validate` judges again
//! what other mutating webhooks made of it. The answer is HTTP 200 with a review whenever a uid can be found. How an
//! answer is written is in [`answer`], how a review is read in [`request`].

use std::borrow::Cow;
use std::time::Instant;

use mcp_hangar_api::annotation::CONVERSION_DATA;
use serde_json::value::RawValue;

use crate::conversion::stash;
use crate::defaulting;
use crate::field::Path;
use crate::json::{self, Json, Object, write_string};
use crate::kind::{Kind, Version};
use crate::observer::{self, Observer};
use crate::policy::Policy;
use crate::reply::Reply;
use crate::validation::{self, Subject};

mod answer;
mod request;

use answer::{Denial, Verdict};
use request::{Meta, Request, Review, Sent};

/// Which of the two admission webhooks was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Webhook {
    /// `POST /default`
    Default,
    /// `POST /validate`
    Validate,
}

impl Webhook {
    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Validate => "validate",
        }
    }
}

/// Answers one admission review. Never panics, whatever the bytes.
pub fn review(webhook: Webhook, body: &[u8], policy: &Policy, observer: &dyn Observer) -> Reply {
    let started = Instant::now();
    let review: Review<'_> = match json::read(body) {
        Ok(review) => review,
        Err(error) => return answer::undecodable(body, &error),
    };
    let Request { uid, kind, operation, .. } = &review.request;
    let (uid, operation) = (uid.clone(), operation.clone());
    let (known_kind, version) = kind.known();
    let verdict = match (known_kind, version) {
        (Some(kind), Some(version)) => decide(webhook, kind, version, review.request, body, policy),
        _ => Verdict::unreadable(format!("{kind} is none of the kinds of this webhook")),
    };
    observer.admission(&observer::Admission {
        webhook: webhook.name(),
        kind: known_kind.map_or("unknown", Kind::name),
        version: version.map_or("unknown", Version::name),
        operation: match &*operation {
            "CREATE" => "CREATE",
            "UPDATE" => "UPDATE",
            _ => "other",
        },
        allowed: verdict.denial.is_none(),
        codes: &verdict.codes(),
        elapsed: started.elapsed(),
    });
    Reply { status: 200, body: verdict.write(&uid).into_bytes() }
}

fn decide<'a>(
    webhook: Webhook,
    kind: Kind,
    version: Version,
    request: Request<'a>,
    body: &'a [u8],
    policy: &Policy,
) -> Verdict {
    let is_update = &*request.operation == "UPDATE";
    if !is_update && &*request.operation != "CREATE" {
        return Verdict::allowed();
    }
    let Some(mut sent) = request.object else {
        return Verdict::unreadable("the review holds no object".to_owned());
    };
    if sent.metadata.deletion_timestamp.is_some() {
        return Verdict::allowed();
    }
    let old = request.old_object.filter(|_| is_update);
    let mut verdict = Verdict::allowed();
    if webhook == Webhook::Default {
        if let (Version::V1Alpha1, Some(old)) = (version, old) {
            keep_stash(&mut sent.metadata, old, request.options, &mut verdict);
        }
        if let Some(spec) = &sent.spec {
            verdict.patch.extend(defaulting::patch(kind, version, spec));
        }
    }
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let judge = |metadata: &Meta<'_>, spec| {
        validation::judge(metadata.subject(kind, version, namespace, spec), policy)
    };
    let Sent { metadata, spec } = sent;
    let report = judge(&metadata, spec);
    let clean = report.is_clean();
    let (violations, more, warnings) = report.finish();
    if webhook == Webhook::Default {
        verdict.warnings.extend(warnings);
    }
    if clean {
        return verdict;
    }
    let (violations, more) = match old.map(|old| serde_json::from_str::<Sent<'_>>(old.get())) {
        Some(Ok(Sent { metadata, spec })) => {
            // The old object is judged only here, when there may be something to forgive.
            let (before, more_before, _) = judge(&metadata, spec).finish();
            let kept = validation::ratchet(violations, &before, |path| has_changed(body, path));
            (kept, more.saturating_sub(more_before))
        }
        _ => (violations, more),
    };
    if !violations.is_empty() || more > 0 {
        verdict.patch.clear();
        let name = metadata.shown_name(request.name.as_deref().unwrap_or_default());
        verdict.denial = Some(Denial::new(kind, namespace, name, violations, more));
    }
    verdict
}

/// Whether an update changes the value at a path: read from the whole review, on the rare way to a denial.
fn has_changed(body: &[u8], path: &Path) -> bool {
    let review = std::str::from_utf8(body).ok().and_then(|text| Json::parse(text).ok());
    let request = review.as_ref().and_then(|review| review.as_object()?.get("request")?.as_object());
    let value =
        |object: &str| request.and_then(|request| request.get(object)?.at(&path.0)).map(Json::canonical);
    value("object") != value("oldObject")
}

/// On an update sent as v1alpha1 the stash stays what it is: a file without it, or an old export, would otherwise
/// drop or revert what only the hub can say.
fn keep_stash<'a>(
    metadata: &mut Meta<'a>,
    old: &'a RawValue,
    options: Option<&RawValue>,
    verdict: &mut Verdict,
) {
    let written = metadata.annotations.as_ref().and_then(Json::as_object);
    let sent = written.and_then(|annotations| annotations.get(CONVERSION_DATA)?.as_str());
    // Most objects have none, which shows without reading the old one again.
    if sent.is_none() && !stash::may_be_in(old.get()) {
        return;
    }
    let old_annotations = request::annotations_of(old);
    let stored =
        old_annotations.as_ref().and_then(|annotations| annotations.as_object()?.get(CONVERSION_DATA));
    let stored = stored.and_then(Json::as_str);
    if stored == sent {
        return;
    }
    if sent.is_some() && request::writer_owns_stash(metadata.managed_fields, options) {
        verdict.warnings.push(format!(
            "metadata.annotations[{CONVERSION_DATA}]: kept as stored; remove it from your manifest"
        ));
    }
    let pointer = format!("/metadata/annotations/{}", defaulting::pointer_step(CONVERSION_DATA));
    let Some(stored) = stored else {
        verdict.patch.push(defaulting::remove(&pointer));
        if let Some(Json::Object(annotations)) = &mut metadata.annotations {
            annotations.remove(CONVERSION_DATA);
        }
        return;
    };
    let mut value = String::new();
    write_string(stored, &mut value);
    let stored = Json::String(Cow::Owned(stored.to_owned()));
    match &mut metadata.annotations {
        Some(Json::Object(annotations)) => {
            verdict.patch.push(defaulting::add(&pointer, &value));
            annotations.insert(CONVERSION_DATA, stored);
        }
        absent => {
            let mut key = String::new();
            write_string(CONVERSION_DATA, &mut key);
            verdict.patch.push(defaulting::add("/metadata/annotations", &format!("{{{key}:{value}}}")));
            *absent = Some(Json::Object(Object::from_iter([(Cow::Borrowed(CONVERSION_DATA), stored)])));
        }
    }
}

impl<'a> Meta<'a> {
    fn subject<'m>(
        &'m self,
        kind: Kind,
        version: Version,
        namespace: &'m str,
        spec: Option<Json<'m>>,
    ) -> Subject<'m, 'm>
    where
        'a: 'm,
    {
        let annotations = self.annotations.as_ref().and_then(Json::as_object);
        let metadata = validation::Metadata {
            name: self.name.as_deref().unwrap_or_default(),
            generate_name: self.generate_name.as_deref().unwrap_or_default(),
            namespace,
            annotations,
        };
        Subject { kind, version, metadata, spec }
    }

    /// The name to say in an answer; a generated one is random and means nothing to its author.
    fn shown_name<'m>(&'m self, requested: &'m str) -> &'m str {
        let prefix = self.generate_name.as_deref().filter(|prefix| !prefix.is_empty());
        prefix.or(self.name.as_deref()).unwrap_or(requested)
    }
}
