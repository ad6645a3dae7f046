//! Where providers are looked after, and where Secrets may be read for them.
//!
//! In: the flags. Out: namespaces to watch, `None` for the whole cluster; what roles must grant follows from the same
//! value. Nothing here reads anything.

/// Namespaces by what may be done there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    watched: Vec<String>,
    secrets: Vec<String>,
    configmaps: Vec<String>,
}

/// In a list of namespaces: all.
const ALL: &str = "*";

impl Places {
    /// From the flags: no watched namespace means all, no namespace for Secrets means none; `*` is all in both.
    pub fn new(watched: &[String], secrets: &[String]) -> Self {
        let named = |names: &[String]| {
            let mut names: Vec<_> = names.iter().filter(|name| !name.is_empty()).cloned().collect();
            names.sort();
            names.dedup();
            names
        };
        let mut watched = named(watched);
        if watched.iter().any(|name| name == ALL) {
            watched.clear();
        }
        Self { watched, secrets: named(secrets), configmaps: Vec::new() }
    }

    /// Whose ConfigMaps a discovery source of another namespace may name, `*` for all.
    pub fn with_configmaps(mut self, names: &[String]) -> Self {
        self.configmaps = names.iter().filter(|name| !name.is_empty()).cloned().collect();
        self.configmaps.sort();
        self.configmaps.dedup();
        self
    }

    /// Where ConfigMaps are read although no provider is looked after.
    pub fn configmaps(&self) -> Vec<Option<&str>> {
        if self.watched.is_empty() {
            return Vec::new();
        }
        if self.configmaps.iter().any(|name| name == ALL) {
            return vec![None];
        }
        let is_else = |name: &&String| !self.watched.contains(name);
        self.configmaps.iter().filter(is_else).map(|name| Some(name.as_str())).collect()
    }

    /// Where providers are looked after.
    pub fn watched(&self) -> Vec<Option<&str>> {
        if self.watched.is_empty() {
            return vec![None];
        }
        self.watched.iter().map(|name| Some(name.as_str())).collect()
    }

    /// Where Secrets are read: never where no provider is looked after.
    pub fn secrets(&self) -> Vec<Option<&str>> {
        if self.secrets.iter().any(|name| name == ALL) {
            return self.watched();
        }
        let is_watched = |name: &&String| self.watched.is_empty() || self.watched.contains(name);
        self.secrets.iter().filter(is_watched).map(|name| Some(name.as_str())).collect()
    }

    /// Whether Secrets of this namespace are read.
    pub fn reads_secrets(&self, namespace: &str) -> bool {
        self.secrets().into_iter().any(|place| place.is_none_or(|place| place == namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_maps_of_other_namespaces_are_read_where_the_flag_says_so() {
        let names = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        for (watched, configmaps, reads) in
            [("", "", ""), ("", "a,*", ""), ("a", "", ""), ("a", "a,b", "b"), ("a,b", "c,*", "*")]
        {
            let places = Places::new(&names(watched), &[]).with_configmaps(&names(configmaps));
            let found: Vec<_> = places.configmaps().into_iter().map(|place| place.unwrap_or("*")).collect();
            assert_eq!(found.join(" "), reads, "{watched} {configmaps}");
        }
    }

    #[test]
    fn flags_say_where_to_look_and_where_to_read_secrets() {
        let names = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        for (watched, secrets, places, reads) in [
            ("", "", "*", ""),
            ("*", "", "*", ""),
            ("b,a,b", "", "a b", ""),
            ("", "*", "*", "*"),
            ("", "a", "*", "a"),
            ("a,b", "*", "a b", "a b"),
            ("a,b", "b,c", "a b", "b"),
        ] {
            let found = Places::new(&names(watched), &names(secrets));
            let text = |places: Vec<Option<&str>>| {
                places.into_iter().map(|place| place.unwrap_or("*").to_owned()).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(
                (text(found.watched()), text(found.secrets())),
                (places.into(), reads.into()),
                "{watched} {secrets}"
            );
            assert_eq!(found.reads_secrets("b"), reads.contains('b') || reads == "*");
        }
    }
}
