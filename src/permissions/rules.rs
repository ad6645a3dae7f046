//! Permissions as the rules of roles, the least that grants them.
//!
//! In: the list of [`needed_in`](super::needed_in). Out: rules for a ClusterRole and for a Role in the operator's
//! namespace; an object that has a name is named wherever RBAC allows it. Where the roles are written, and to whom they
//! are bound, is the chart's matter: [`crate::manifests::chart`].

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::Permission;

/// Rules by where they hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// In the whole cluster.
    pub cluster: Vec<PolicyRule>,
    /// In the namespace of the permissions.
    pub namespaced: Vec<PolicyRule>,
}

/// One rule for each object or group of objects on which the same verbs are allowed, in the order of the list.
pub fn rules(permissions: &[Permission]) -> Rules {
    let mut rules = Rules::default();
    for object in objects(permissions) {
        let place = if object.namespaced { &mut rules.namespaced } else { &mut rules.cluster };
        // Several names of one resource are one rule.
        let alike = place.iter_mut().find(|rule| {
            object.name.is_some()
                && rule.resource_names.is_some()
                && rule.api_groups.as_deref() == Some(&[object.group.to_owned()])
                && rule.resources.as_deref() == Some(&[object.resource.to_owned()])
                && rule.verbs == object.verbs
        });
        match alike {
            Some(rule) => rule.resource_names.get_or_insert_default().extend(object.name.map(str::to_owned)),
            None => place.push(PolicyRule {
                api_groups: Some(vec![object.group.to_owned()]),
                resources: Some(vec![object.resource.to_owned()]),
                resource_names: object.name.map(|name| vec![name.to_owned()]),
                verbs: object.verbs,
                non_resource_urls: None,
            }),
        }
    }
    rules
}

/// What is allowed on one object, or on all of a kind.
struct Object<'a> {
    namespaced: bool,
    group: &'a str,
    resource: &'a str,
    name: Option<&'a str>,
    verbs: Vec<String>,
}

fn objects(permissions: &[Permission]) -> Vec<Object<'_>> {
    let mut objects: Vec<Object<'_>> = Vec::new();
    for Permission { verb, group, resource, namespace, name } in permissions {
        let (namespaced, name) = (namespace.is_some(), name.as_deref());
        let known = objects.iter_mut().find(|known| {
            (known.namespaced, known.group, known.resource, known.name)
                == (namespaced, group, resource.as_str(), name)
        });
        match known {
            Some(known) if known.verbs.iter().any(|known| known == verb) => {}
            Some(known) => known.verbs.push((*verb).to_owned()),
            None => objects.push(Object { namespaced, group, resource, name, verbs: vec![(*verb).into()] }),
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::super::{Scope, needed_in};
    use super::*;
    use crate::provider::places::Places;

    fn of(own_ca: bool) -> Rules {
        rules(&needed_in(Scope {
            namespace: "tools",
            ca_secret: "ca",
            configuration_name: "config",
            applies: false,
            own_ca,
            lease: Some("lease"),
            migrates: true,
            places: Some(&Places::default()),
        }))
    }

    fn all(rules: &Rules) -> impl Iterator<Item = &PolicyRule> {
        rules.cluster.iter().chain(&rules.namespaced)
    }

    fn has(texts: Option<&Vec<String>>, text: &str) -> bool {
        texts.is_some_and(|texts| texts.iter().any(|known| known == text))
    }

    #[test]
    fn grants_every_permission_and_nothing_else() {
        let places = Places::default();
        let scope = Scope {
            namespace: "tools",
            ca_secret: "ca",
            configuration_name: "c",
            applies: false,
            own_ca: true,
            lease: Some("lease"),
            migrates: true,
            places: Some(&places),
        };
        let needed = needed_in(scope);
        let rules = rules(&needed);
        let granted =
            |rules: &[PolicyRule], namespaced: bool| -> Vec<(bool, String, String, String, Option<String>)> {
                let mut all = Vec::new();
                for rule in rules {
                    let names: Vec<Option<String>> = match &rule.resource_names {
                        Some(names) => names.iter().cloned().map(Some).collect(),
                        None => vec![None],
                    };
                    for verb in &rule.verbs {
                        for name in &names {
                            let group = rule.api_groups.clone().unwrap().remove(0);
                            let resource = rule.resources.clone().unwrap().remove(0);
                            all.push((namespaced, verb.clone(), group, resource, name.clone()));
                        }
                    }
                }
                all
            };
        let mut granted: Vec<_> = [granted(&rules.cluster, false), granted(&rules.namespaced, true)]
            .into_iter()
            .flatten()
            .collect();
        let mut wanted: Vec<_> = needed
            .into_iter()
            .map(|p| (p.namespace.is_some(), p.verb.to_owned(), p.group.to_owned(), p.resource, p.name))
            .collect();
        granted.sort();
        wanted.sort();
        wanted.dedup();
        assert_eq!(granted, wanted);
    }

    #[test]
    fn secrets_are_granted_in_one_namespace_only_and_not_at_all_with_certificates_from_files() {
        let rules = of(true);
        assert!(!rules.cluster.iter().any(|rule| has(rule.resources.as_ref(), "secrets")));
        for rule in rules.namespaced.iter().filter(|rule| has(rule.resources.as_ref(), "secrets")) {
            assert!(rule.resource_names.is_some() || rule.verbs == ["create"], "{rule:?}");
        }
        assert!(!all(&of(false)).any(|rule| has(rule.resources.as_ref(), "secrets")));
    }

    #[test]
    fn nothing_is_granted_by_a_star() {
        for rule in all(&of(true)) {
            for texts in [&rule.api_groups, &rule.resources, &rule.resource_names, &Some(rule.verbs.clone())]
            {
                assert!(!has(texts.as_ref(), "*"), "{rule:?}");
            }
        }
    }
}
