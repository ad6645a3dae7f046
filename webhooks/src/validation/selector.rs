//! Label selectors and plain maps of labels.
//!
//! In: a selector as any field holds it. Out: what Kubernetes would say of it, at the place where it is. Which objects it
//! matches is for controllers to find out.

use super::code;
use super::fields::{each_text, list, object, text};
use super::names;
use super::report::{Report, Shown};
use crate::field::{At, Step};
use crate::json::{Json, Object};

/// A `LabelSelector`: `matchLabels` and `matchExpressions`.
pub(super) fn judge(selector: &Object<'_>, at: &At<'_>, r: &mut Report) {
    labels(selector, "matchLabels", at, r);
    let expressions_at = at.key("matchExpressions");
    for (index, item) in list(selector, "matchExpressions").iter().enumerate() {
        if let Json::Object(expression) = item {
            requirement(expression, &expressions_at.then(Step::Index(index)), r);
        }
    }
}

fn requirement(expression: &Object<'_>, at: &At<'_>, r: &mut Report) {
    if let Some(key) = text(expression, "key")
        && let Err(says) = names::qualified(key)
    {
        r.hub(&at.key("key"), &code::NAME, Shown::Text(key), key, &says);
    }
    let count = list(expression, "values").len();
    let values_at = at.key("values");
    match text(expression, "operator") {
        Some(operator @ ("In" | "NotIn")) if count == 0 => {
            let says = format!("must hold at least one value with operator {operator}");
            r.hub(&values_at, &code::SELECTOR, Shown::Nothing, operator, &says);
        }
        Some(operator @ ("Exists" | "DoesNotExist")) if count > 0 => {
            let says =
                format!("must be empty with operator {operator}; remove the values or write operator: In");
            r.hub(&values_at, &code::SELECTOR, Shown::Nothing, operator, &says);
        }
        _ => {}
    }
    each_text(expression, "values", at, |value, at| {
        if let Err(says) = names::label_value(value) {
            r.hub(at, &code::NAME, Shown::Text(value), value, &says);
        }
    });
}

/// A map of labels: keys and values.
pub(super) fn labels(parent: &Object<'_>, key: &str, at: &At<'_>, r: &mut Report) {
    keys(parent, key, at, r);
    let map_at = at.key(key);
    for (name, value) in object(parent, key).into_iter().flat_map(Object::iter) {
        if let Some(value) = value.as_str()
            && let Err(says) = names::label_value(value)
        {
            r.hub(&map_at.then(Step::MapKey(name)), &code::NAME, Shown::Text(value), value, &says);
        }
    }
}

/// The keys of a map of labels or annotations.
pub(super) fn keys(parent: &Object<'_>, key: &str, at: &At<'_>, r: &mut Report) {
    let map_at = at.key(key);
    for (name, value) in object(parent, key).into_iter().flat_map(Object::iter) {
        if !value.is_null()
            && let Err(says) = names::qualified(name)
        {
            r.hub(&map_at.then(Step::MapKey(name)), &code::NAME, Shown::Text(name), name, &says);
        }
    }
}
