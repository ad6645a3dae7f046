//! The spec of a discovery source in both directions.
//!
//! It keeps every field; only the provider spec inside its template is one of its version, and goes the way of
//! [`super::provider`].

use super::provider;
use crate::json::Json;

/// A v1alpha1 source spec as the hub has it.
pub fn widen(mut spec: Json<'_>) -> Json<'_> {
    if let Some(place) = template_spec(&mut spec) {
        let inner = std::mem::replace(place, Json::Null);
        *place = provider::widen(inner);
    }
    spec
}

/// A hub source spec as v1alpha1 can say it, and whether something did not fit.
pub fn project(mut spec: Json<'_>) -> (Json<'_>, bool) {
    let mut narrowed = false;
    if let Some(place) = template_spec(&mut spec) {
        let inner = std::mem::replace(place, Json::Null);
        (*place, narrowed) = provider::project(inner);
    }
    (spec, narrowed)
}

/// Whether the template holds what v1alpha1 cannot say.
pub fn is_beyond_v1alpha1(spec: &Json<'_>) -> bool {
    let template = spec.as_object().and_then(|spec| spec.get("providerTemplate")?.as_object()?.get("spec"));
    template.is_some_and(provider::is_beyond_v1alpha1)
}

/// `spec.providerTemplate.spec`, opened down to there.
fn template_spec<'a, 'b>(spec: &'b mut Json<'a>) -> Option<&'b mut Json<'a>> {
    spec.expand_object()?.get_mut("providerTemplate")?.expand_object()?.get_mut("spec")
}
