//! Label selectors, as Kubernetes means them.
//!
//! In: a `LabelSelector`. Out: a [`Selector`] that says whether labels match, and by which of its requirements matching
//! objects can be found without looking at all. The rules have judged the grammar of keys and values before.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Requirements that must all hold; none matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One requirement on the labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The key has one of these values.
    In(String, BTreeSet<String>),
    /// The key is not there, or has none of these values.
    NotIn(String, BTreeSet<String>),
    /// The key is there.
    Exists(String),
    /// The key is not there.
    DoesNotExist(String),
}

/// A selector that says nothing sensible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// There is no such operator.
    #[error("failed to read selector: there is no operator \"{}\"", .0.escape_default())]
    Operator(String),
    /// In or NotIn of nothing.
    #[error("failed to read selector: operator {0} needs at least one value")]
    Values(String),
}

impl Selector {
    /// Reads one.
    pub fn of(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let LabelSelector { match_labels, match_expressions } = selector;
        let exact = match_labels.iter().flatten();
        let exact = exact.map(|(key, value)| Ok(Requirement::In(key.clone(), [value.clone()].into())));
        let others = match_expressions.iter().flatten().map(Requirement::of);
        Ok(Self { requirements: exact.chain(others).collect::<Result<_, _>>()? })
    }

    /// Whether an object is meant; `label` gives the value that it has for a key.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(&label))
    }

    /// Whether an object with these labels is meant.
    pub fn matches_all(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches(|key| labels.get(key).map(String::as_str))
    }

    /// The requirements.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl Requirement {
    fn of(expression: &LabelSelectorRequirement) -> Result<Self, SelectorError> {
        let LabelSelectorRequirement { key, operator, values } = expression;
        let key = key.clone();
        let values: BTreeSet<_> = values.iter().flatten().cloned().collect();
        match operator.as_str() {
            "In" | "NotIn" if values.is_empty() => Err(SelectorError::Values(operator.clone())),
            "In" => Ok(Self::In(key, values)),
            "NotIn" => Ok(Self::NotIn(key, values)),
            "Exists" => Ok(Self::Exists(key)),
            "DoesNotExist" => Ok(Self::DoesNotExist(key)),
            _ => Err(SelectorError::Operator(operator.clone())),
        }
    }

    fn holds<'a>(&self, label: &impl Fn(&str) -> Option<&'a str>) -> bool {
        match self {
            Self::In(key, values) => label(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => label(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => label(key).is_some(),
            Self::DoesNotExist(key) => label(key).is_none(),
        }
    }
}

/// As kubectl writes it: `a=b,c in (d,e),!f`.
impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(",");
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) if values.len() == 1 => write!(f, "{key}={}", list(values))?,
                Requirement::In(key, values) => write!(f, "{key} in ({})", list(values))?,
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", list(values))?,
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::DoesNotExist(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> Result<Selector, SelectorError> {
        Selector::of(&serde_saphyr::from_str(text).unwrap())
    }

    #[test]
    fn matches_what_kubernetes_would() {
        let labels = |text: &str| -> BTreeMap<String, String> {
            text.split(' ')
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.into(), v.into()))
                .collect()
        };
        for (text, shown, matching, others) in [
            ("{}", "", "|a=1", "-"),
            ("matchLabels: {a: '1', b: '2'}", "a=1,b=2", "a=1 b=2|a=1 b=2 c=3", "a=1|b=2|a=1 b=3|"),
            (
                "matchExpressions: [{key: a, operator: In, values: ['1', '2']}]",
                "a in (1,2)",
                "a=1|a=2 b=1",
                "a=3||b=1",
            ),
            (
                "matchExpressions: [{key: a, operator: NotIn, values: ['1', '2']}]",
                "a notin (1,2)",
                "a=3||b=1",
                "a=1|a=2",
            ),
            ("matchExpressions: [{key: a, operator: Exists}]", "a", "a=1|a=", "b=1|"),
            ("matchExpressions: [{key: a, operator: DoesNotExist}]", "!a", "b=1|", "a=1|a="),
            (
                "{matchLabels: {a: '1'}, matchExpressions: [{key: b, operator: DoesNotExist}]}",
                "a=1,!b",
                "a=1|a=1 c=1",
                "a=1 b=1|",
            ),
            // The same key twice: both must hold.
            (
                "{matchLabels: {a: '1'}, matchExpressions: [{key: a, operator: NotIn, values: ['1']}]}",
                "a=1,a notin (1)",
                "-",
                "a=1|a=2|",
            ),
        ] {
            let selector = selector(text).unwrap();
            assert_eq!(selector.to_string(), shown);
            for (all, expected) in [(matching, true), (others, false)] {
                for text in all.split('|').filter(|text| *text != "-") {
                    assert_eq!(selector.matches_all(&labels(text)), expected, "{selector} on {text:?}");
                }
            }
        }
    }

    #[test]
    fn refuses_what_means_nothing() {
        for (text, says) in [
            ("matchExpressions: [{key: a, operator: Near}]", "there is no operator \"Near\""),
            ("matchExpressions: [{key: a, operator: In}]", "operator In needs at least one value"),
            ("matchExpressions: [{key: a, operator: NotIn, values: []}]", "operator NotIn needs"),
        ] {
            let error = selector(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
