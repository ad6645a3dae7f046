//! The five objects that carry the bundle: their names, and what each should say.
//!
//! In: the context and the bundle of now. Out: a [`Wanted`] to compare with, or the whole object where we apply it
//! ourselves. Reading and writing are [`super`]'s.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::ApiResource;
use serde_json::Value;

use super::InjectError;
use super::decide::{SELECTORS, Wanted};
use crate::context::Context;
use crate::manifests::{self, RESOURCES, crd_name};
use crate::trust::Bundle;

/// An object that carries the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The CRD of one of [`RESOURCES`].
    Crd(&'static str),
    /// The mutating configuration.
    Mutating,
    /// The validating configuration.
    Validating,
}

/// All targets, CRDs first.
pub const TARGETS: [Target; 5] = [
    Target::Crd(RESOURCES[0]),
    Target::Crd(RESOURCES[1]),
    Target::Crd(RESOURCES[2]),
    Target::Mutating,
    Target::Validating,
];

/// The object that says whose the cluster is.
pub(super) const CLAIM: Target = Target::Mutating;

impl Target {
    /// The label of its metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Crd(resource) => resource,
            Self::Mutating => "mutatingwebhookconfiguration",
            Self::Validating => "validatingwebhookconfiguration",
        }
    }

    pub(super) fn name(self, ctx: &Context) -> String {
        match self {
            Self::Crd(resource) => crd_name(resource),
            Self::Mutating | Self::Validating => ctx.configuration_name.clone(),
        }
    }

    /// Whether more than `clientConfig` is ours.
    pub(super) fn is_whole(self, ctx: &Context) -> bool {
        ctx.applies() && !matches!(self, Self::Crd(_))
    }

    pub(super) fn resource(self) -> ApiResource {
        match self {
            Self::Crd(_) => ApiResource::erase::<CustomResourceDefinition>(&()),
            Self::Mutating => ApiResource::erase::<MutatingWebhookConfiguration>(&()),
            Self::Validating => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
        }
    }

    pub(super) fn wanted(self, ctx: &Context, bundle: &Bundle) -> Result<Wanted, InjectError> {
        let (entry, path) = match self {
            Self::Crd(_) => return Ok(Wanted::conversion(&ctx.endpoint, bundle)),
            Self::Mutating => (manifests::DEFAULT_ENTRY, manifests::DEFAULT_PATH),
            Self::Validating => (manifests::VALIDATE_ENTRY, manifests::VALIDATE_PATH),
        };
        let wanted = Wanted::admission(&ctx.endpoint, bundle, entry, path);
        Ok(if self.is_whole(ctx) { wanted.with_rest(&self.manifest(ctx, bundle)?) } else { wanted })
    }

    /// The whole object, as it is applied beside a cluster.
    pub(super) fn manifest(self, ctx: &Context, bundle: &Bundle) -> Result<Value, InjectError> {
        let pem = Some(bundle.pem().as_bytes());
        let manifest = match self {
            Self::Crd(_) => {
                let name = self.name(ctx);
                let crd = manifests::crds(&ctx.endpoint, pem)
                    .into_iter()
                    .find(|crd| crd.metadata.name.as_deref() == Some(name.as_str()));
                serde_json::to_value(crd)
            }
            Self::Mutating => {
                serde_json::to_value(manifests::mutating(&ctx.configuration_name, &ctx.endpoint, pem))
            }
            Self::Validating => {
                serde_json::to_value(manifests::validating(&ctx.configuration_name, &ctx.endpoint, pem))
            }
        };
        let mut manifest =
            manifest.map_err(|source| InjectError::Manifest { target: self.label(), source })?;
        if let Some(entry) = manifest.pointer_mut("/webhooks/0").and_then(Value::as_object_mut) {
            entry.retain(|key, _| !SELECTORS.contains(&key.as_str()));
        }
        Ok(manifest)
    }
}
