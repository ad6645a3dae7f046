//! The table of moves: which field of a provider's v1alpha1 spec is which field of the hub.
//!
//! It drives the conversion in both directions, the defaulting webhook (whose table is written in hub paths) and the
//! translation of error paths. Groups and discovery sources keep every field, so only a provider spec, and the
//! template of one inside a source, has rows. A test walks both schemas and fails for a leaf that no row names.

use crate::field::{Path, Segment};
use crate::kind::{Kind, Version};

/// How a field of the provider spec is written in the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// `spec.<name>` in both.
    Same(&'static str),
    /// `spec.mode`, whose two values are spelled differently.
    Mode,
    /// `spec.<name>` in v1alpha1, `spec.<block>.<name>` in the hub.
    Moved(&'static str, &'static str),
    /// Like `Moved`, but v1alpha1 can say only a part of it.
    Narrowed(&'static str, &'static str, Part),
    /// `spec.<block>.<name>` in the hub, unknown to v1alpha1.
    HubOnly(&'static str, &'static str),
}

/// What v1alpha1 can say of a narrowed field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// No `fieldRef` and no `resourceFieldRef`.
    Env,
    /// Only cpu and memory.
    Resources,
}

/// Every field of a provider spec.
pub static PROVIDER: &[Row] = &[
    Row::Mode,
    Row::Moved("container", "image"),
    Row::Moved("container", "command"),
    Row::Moved("container", "args"),
    Row::Moved("container", "workingDir"),
    Row::Narrowed("container", "env", Part::Env),
    Row::Moved("container", "volumes"),
    Row::Narrowed("container", "resources", Part::Resources),
    Row::HubOnly("container", "port"),
    Row::HubOnly("container", "path"),
    Row::Moved("remote", "endpoint"),
    Row::HubOnly("remote", "headersFrom"),
    Row::HubOnly("remote", "caBundle"),
    Row::Same("replicas"),
    Row::Moved("lifecycle", "idleTTL"),
    Row::Moved("lifecycle", "startupTimeout"),
    Row::Moved("lifecycle", "shutdownGracePeriod"),
    Row::Moved("pod", "serviceAccountName"),
    Row::Moved("pod", "nodeSelector"),
    Row::Moved("pod", "tolerations"),
    Row::Moved("pod", "affinity"),
    Row::Moved("pod", "priorityClassName"),
    Row::Moved("pod", "securityContext"),
    Row::Moved("pod", "imagePullSecrets"),
    Row::Same("healthCheck"),
    Row::Same("circuitBreaker"),
    Row::Same("tools"),
    Row::Same("observability"),
];

/// The blocks that only the hub has.
pub static BLOCKS: &[&str] = &["container", "remote", "lifecycle", "pod"];

/// The row of a field of the v1alpha1 spec.
pub fn by_v1alpha1(name: &str) -> Option<Row> {
    PROVIDER.iter().copied().find(|row| match row {
        Row::Mode => name == "mode",
        Row::Same(same) => *same == name,
        Row::Moved(_, moved) | Row::Narrowed(_, moved, _) => *moved == name,
        Row::HubOnly(..) => false,
    })
}

/// The row of a field inside a block of the hub spec.
pub fn by_block(block: &str, name: &str) -> Option<Row> {
    PROVIDER.iter().copied().find(|row| match row {
        Row::Mode | Row::Same(_) => false,
        Row::Moved(b, n) | Row::Narrowed(b, n, _) | Row::HubOnly(b, n) => *b == block && *n == name,
    })
}

/// The row of a field of the hub spec that is in no block.
pub fn by_hub(name: &str) -> Option<Row> {
    PROVIDER.iter().copied().find(|row| match row {
        Row::Mode => name == "mode",
        Row::Same(same) => *same == name,
        _ => false,
    })
}

/// `mode` spelled in the other version: a bijection on all texts.
pub fn swap_mode(text: &str) -> Option<&'static str> {
    match text {
        "container" => Some("Container"),
        "Container" => Some("container"),
        "remote" => Some("Remote"),
        "Remote" => Some("remote"),
        _ => None,
    }
}

/// A place as a user of some version would write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The field is there in that version.
    Field(Path),
    /// Only the hub has the field: the v1alpha1 object carries it in its stash.
    Stashed(Path),
}

/// Translates a hub path into the version that was sent.
pub fn place(kind: Kind, version: Version, path: Path) -> Place {
    let steps = spec_steps(kind, &path);
    if version == Version::HUB || steps == 0 {
        return Place::Field(path);
    }
    let key = |position: usize| match path.0.get(position) {
        Some(Segment::Key(key)) => Some(key.as_str()),
        _ => None,
    };
    let Some(block) = key(steps).filter(|name| BLOCKS.contains(name)) else { return Place::Field(path) };
    let Some(row) = key(steps + 1).and_then(|name| by_block(block, name)) else { return Place::Field(path) };
    let hub_only_part = match row {
        Row::HubOnly(..) => true,
        Row::Narrowed(_, _, part) => is_beyond(part, path.0.get(steps + 2..).unwrap_or_default()),
        _ => false,
    };
    if hub_only_part {
        return Place::Stashed(path);
    }
    let mut path = path;
    path.0.remove(steps);
    Place::Field(path)
}

/// Whether the rest of a path below a narrowed field leads to what v1alpha1 cannot say.
fn is_beyond(part: Part, rest: &[Segment]) -> bool {
    match (part, rest) {
        (Part::Env, [_, Segment::Key(from), Segment::Key(source), ..]) => {
            from == "valueFrom" && provider_env_beyond(source)
        }
        (Part::Resources, [_, Segment::Key(name) | Segment::MapKey(name), ..]) => !is_v1alpha1_resource(name),
        _ => false,
    }
}

/// Whether v1alpha1 lacks this source of an env value.
pub fn provider_env_beyond(source: &str) -> bool {
    matches!(source, "fieldRef" | "resourceFieldRef")
}

/// Whether v1alpha1 has this compute resource.
pub fn is_v1alpha1_resource(name: &str) -> bool {
    matches!(name, "cpu" | "memory")
}

/// How many leading steps of the path lead to a provider spec; 0 where it is not inside one.
fn spec_steps(kind: Kind, path: &Path) -> usize {
    let leads = |names: &[&str]| {
        names
            .iter()
            .enumerate()
            .all(|(i, name)| matches!(path.0.get(i), Some(Segment::Key(key)) if key == name))
    };
    match kind {
        Kind::Provider if leads(&["spec"]) => 1,
        Kind::Discovery if leads(&["spec", "providerTemplate", "spec"]) => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: Kind, hub: Path) -> String {
        match place(kind, Version::V1Alpha1, hub) {
            Place::Field(path) => path.to_string(),
            Place::Stashed(path) => format!("stashed {path}"),
        }
    }

    #[test]
    fn hub_paths_are_shown_as_v1alpha1_writes_them() {
        for (hub, alpha) in [
            ("spec.container.image", "spec.image"),
            ("spec.lifecycle.idleTTL", "spec.idleTTL"),
            ("spec.healthCheck.timeout", "spec.healthCheck.timeout"),
            ("spec.container.port", "stashed spec.container.port"),
            ("spec.container.resources.limits.cpu", "spec.resources.limits.cpu"),
            ("spec.container.resources.limits.gpu", "stashed spec.container.resources.limits.gpu"),
            ("metadata.name", "metadata.name"),
        ] {
            assert_eq!(shown(Kind::Provider, Path::of(hub)), alpha);
        }
        assert_eq!(
            shown(Kind::Discovery, Path::of("spec.providerTemplate.spec.pod.tolerations")),
            "spec.providerTemplate.spec.tolerations"
        );
        assert_eq!(shown(Kind::Group, Path::of("spec.selector")), "spec.selector");
    }

    #[test]
    fn an_env_source_that_only_the_hub_has_is_stashed() {
        let mut path = Path::of("spec.container.env");
        path.0.push(Segment::Item { index: 1, name: None });
        assert_eq!(shown(Kind::Provider, path.clone().key("name")), "spec.env[1].name");
        let beyond = path.key("valueFrom").key("fieldRef").key("fieldPath");
        assert!(shown(Kind::Provider, beyond).starts_with("stashed"));
    }

    #[test]
    fn the_mode_map_is_a_bijection() {
        for text in ["container", "Container", "remote", "Remote"] {
            assert_eq!(swap_mode(text).and_then(swap_mode), Some(text));
        }
    }
}
