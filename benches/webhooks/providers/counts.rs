//! What the API server has been asked to do, by its own count.
//!
//! In: its metrics. Out: requests by verb and resource, of those resources that providers have to do with.

use std::collections::BTreeMap;

use crate::cluster::Api;

const RESOURCES: [&str; 9] = [
    "mcpprovidergroups",
    "mcpdiscoverysources",
    "mcpproviders",
    "deployments",
    "services",
    "events",
    "pods",
    "configmaps",
    "secrets",
];
const WRITES: [&str; 5] = ["POST", "PUT", "PATCH", "APPLY", "DELETE"];
const READS: [&str; 2] = ["GET", "LIST"];

/// Requests so far, such as `PATCH mcpproviders/status`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    pub(crate) async fn read(api: &Api) -> Self {
        let (text, _) = api.get("/metrics").await.unwrap();
        let mut all = Self::default();
        for line in text.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
            let (labels, value) = line.rsplit_once("} ").unwrap();
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                rest.split('"').next()
            };
            let is = |name| label(name).unwrap_or_default();
            // `subresource` holds the word too, so it is looked for with what stands before it.
            let resource = labels.split(",resource=\"").nth(1).and_then(|rest| rest.split('"').next());
            let (resource, sub) = (resource.unwrap_or_default(), is("subresource"));
            if !RESOURCES.contains(&resource) || !is("code").starts_with('2') || !is("dry_run").is_empty() {
                continue;
            }
            let slash = if sub.is_empty() { "" } else { "/" };
            let name = format!("{} {resource}{slash}{sub}", is("verb"));
            *all.0.entry(name).or_default() += value.parse::<f64>().unwrap() as u64;
        }
        all
    }

    fn only(&self, verbs: &[&str]) -> impl Iterator<Item = (&String, u64)> {
        let is = move |name: &str| verbs.iter().any(|verb| name.starts_with(&format!("{verb} ")));
        let verbs: Vec<_> =
            self.0.iter().filter(|(name, _)| is(name)).map(|(name, count)| (name, *count)).collect();
        verbs.into_iter()
    }

    /// The writes that came after.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let of = |name: &String| before.0.get(name).copied().unwrap_or(0);
        let more = self.only(&WRITES).map(|(name, count)| (name.clone(), count - of(name)));
        Self(more.filter(|(_, count)| *count > 0).collect())
    }

    /// All calls that came after but watches, which end and begin again by themselves.
    pub(crate) fn calls_since(&self, before: &Self) -> Self {
        let of = |name: &String| before.0.get(name).copied().unwrap_or(0);
        let reads = self.only(&READS).map(|(name, count)| (name.clone(), count - of(name)));
        let mut all = self.since(before);
        all.0.extend(reads.filter(|(_, count)| *count > 0));
        all
    }

    /// Without those that this program made itself.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        let mut rest = self.0.clone();
        rest.retain(|name, _| !names.contains(&name.as_str()));
        Self(rest)
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// In words, for each of so many.
    pub(crate) fn of_each(&self, number: usize) -> String {
        let all = self.0.iter().map(|(name, count)| format!("{name} {:.2}", *count as f64 / number as f64));
        let text = all.collect::<Vec<_>>().join(", ");
        if text.is_empty() { "nothing".to_owned() } else { text }
    }
}
