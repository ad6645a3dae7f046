//! The rules of an object's own name and annotations.
//!
//! Of the annotations only those that act like fields are judged, and the size of all of them where v1alpha1 has to
//! carry more. Labels are nobody's business here.

use mcp_hangar_api::annotation;

use super::code::{self, Code};
use super::names;
use super::report::{Report, Shown};
use crate::conversion::stash;
use crate::field::Path;
use crate::json::{Json, Object};
use crate::kind::{Kind, Version};

/// What the rules read of an object's metadata.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'m, 'a> {
    /// Its name; empty where none was given.
    pub name: &'m str,
    /// The prefix of a generated name; empty where none was given.
    pub generate_name: &'m str,
    /// Its namespace.
    pub namespace: &'m str,
    /// Its annotations.
    pub annotations: Option<&'m Object<'a>>,
}

impl Metadata<'_, '_> {
    /// The text of one annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations?.get(name)?.as_str()
    }
}

/// The longest name that leaves room for the Services derived from it.
fn longest_name(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Provider => Some(63 - "-pods".len()),
        Kind::Group => Some(63 - "-group".len()),
        Kind::Discovery => None,
    }
}

/// Judges name and annotations; `hub_spec` is for the budget of what v1alpha1 has to carry.
pub(super) fn judge(
    kind: Kind,
    version: Version,
    metadata: &Metadata<'_, '_>,
    hub_spec: Option<&Json<'_>>,
    r: &mut Report,
) {
    if let Some(longest) = longest_name(kind) {
        name(metadata, longest, r);
    }
    if kind == Kind::Provider {
        for (key, check) in OWN {
            if let Some(text) = metadata.annotation(key)
                && let Err(says) = check(text)
            {
                r.push(Path::annotation(key), &code::ANNOTATION, Shown::Text(text), text, says);
            }
        }
    }
    if let Some(text) = metadata.annotation(annotation::ALLOW_MUTABLE_IMAGE)
        && !matches!(text, "true" | "false")
    {
        let says = "must be \"true\" or \"false\"";
        r.push(
            Path::annotation(annotation::ALLOW_MUTABLE_IMAGE),
            &code::ANNOTATION,
            Shown::Text(text),
            text,
            says,
        );
    }
    conversion_data(version, metadata, r);
    if version == Version::HUB {
        budget(kind, metadata, hub_spec, r);
    }
}

fn name(metadata: &Metadata<'_, '_>, longest: usize, r: &mut Report) {
    const GENERATED: usize = 5;
    let prefix = metadata.generate_name;
    if !prefix.is_empty() {
        // The API server cuts the prefix at 58 characters and adds five of its own.
        let whole = format!("{}{}", prefix.get(..58).unwrap_or(prefix), "x".repeat(GENERATED));
        if names::service_label(&whole, longest).is_err() {
            let says = format!(
                "must begin a DNS label, since Services are named after it: at most {} lower case letters, digits and \"-\", \
                 beginning with a letter",
                longest - GENERATED
            );
            r.push(Path::of("metadata.generateName"), &code::OBJECT_NAME, Shown::Text(prefix), prefix, &says);
        }
    } else if !metadata.name.is_empty()
        && let Err(says) = names::service_label(metadata.name, longest)
    {
        r.push(
            Path::of("metadata.name"),
            &code::OBJECT_NAME,
            Shown::Text(metadata.name),
            metadata.name,
            &says,
        );
    }
}

type Check = fn(&str) -> Result<(), &'static str>;

/// The annotations that act like fields of a provider.
const OWN: &[(&str, Check)] = &[
    (annotation::WEIGHT, |text| within(text, 1, 100, "must be a whole number between 1 and 100, in quotes")),
    (annotation::PRIORITY, |text| {
        within(text, 0, i64::from(i32::MAX), "must be a whole number of 0 or more, in quotes")
    }),
    (annotation::PORT, |text| {
        within(text, 1, 65535, "must be a whole number between 1 and 65535, in quotes")
    }),
    (annotation::PATH, |text| {
        const LONGEST: usize = 1024;
        let fits = text.len() <= LONGEST && names::absolute_path(text).is_ok();
        if fits {
            Ok(())
        } else {
            Err("must be an absolute path of at most 1024 bytes; write for example \"/mcp\"")
        }
    }),
];

fn within(text: &str, least: i64, greatest: i64, says: &'static str) -> Result<(), &'static str> {
    let plain = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let number = text.parse::<i64>().ok().filter(|_| plain);
    if number.is_some_and(|number| (least..=greatest).contains(&number)) { Ok(()) } else { Err(says) }
}

fn conversion_data(version: Version, metadata: &Metadata<'_, '_>, r: &mut Report) {
    let Some(text) = metadata.annotation(annotation::CONVERSION_DATA) else { return };
    let code: &'static Code = &code::STASH;
    let place = Path::annotation(annotation::CONVERSION_DATA);
    if version == Version::HUB {
        let says =
            "has no place on a v1beta1 object, which says everything in its spec; remove the annotation";
        r.push(place, code, Shown::Nothing, text, says);
    } else if stash::parse(text).is_none() {
        let says =
            "was written by the operator and cannot be read back; restore it, or remove the annotation";
        r.push(place, code, Shown::Nothing, text, says);
    }
}

fn budget(kind: Kind, metadata: &Metadata<'_, '_>, hub_spec: Option<&Json<'_>>, r: &mut Report) {
    let Some(text) = hub_spec.and_then(|spec| stash::text_for(kind, spec)) else { return };
    let written: usize = metadata
        .annotations
        .into_iter()
        .flat_map(Object::iter)
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    let carried = annotation::CONVERSION_DATA.len() + text.len();
    let most = stash::ANNOTATION_BYTES;
    if carried > most {
        // No other annotation is to blame.
        let place = stash::largest_part(&text).unwrap_or_else(|| Path::of("spec"));
        let says = format!(
            "with the other fields that only {} has, {carried} bytes in an annotation of v1alpha1, may not be more than \
             {most}; this is the largest of them, shorten it",
            Version::HUB
        );
        r.push(place, &code::BUDGET, Shown::Nothing, &carried.to_string(), &says);
    } else if written + carried > most {
        let whole = written + carried;
        let says = format!(
            "{whole} bytes in v1alpha1, may not be more than {most}; shorten other annotations by {} bytes",
            whole - most
        );
        r.push(Path::of("metadata.annotations"), &code::BUDGET, Shown::Nothing, &whole.to_string(), &says);
    }
}
