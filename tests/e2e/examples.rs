//! The manifests that users are shown, as test data: every file of `examples/kubernetes` and `examples/v1beta1`.
//!
//! Out: their text for a namespace of the test's own, and the objects of our kinds in them.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The versions and the folders of their examples.
pub(crate) const FOLDERS: [(&str, &str); 2] =
    [("v1alpha1", "examples/kubernetes"), ("v1beta1", "examples/v1beta1")];

/// One file.
pub(crate) struct Example {
    pub(crate) name: String,
    text: String,
}

/// A folder of this repository.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The YAML files of a folder, by name; there must be some.
pub(crate) fn yaml_files(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "{name} holds no YAML file");
    files
}

/// The examples of one folder.
pub(crate) fn examples(folder: &str) -> Vec<Example> {
    let read = |path: PathBuf| Example {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    };
    yaml_files(folder).into_iter().map(read).collect()
}

impl Example {
    /// The whole file, for a namespace other than `default`.
    pub(crate) fn text_in(&self, namespace: &str) -> String {
        self.text.replace("namespace: default\n", &format!("namespace: {namespace}\n"))
    }
}

/// Every document of a YAML text.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    documents.filter(|document| !document.is_null()).collect()
}

/// The documents of our kinds.
pub(crate) fn ours(text: &str) -> Vec<Value> {
    let mut documents = documents(text);
    documents.retain(|document| {
        document["apiVersion"].as_str().is_some_and(|version| version.starts_with("mcp-hangar.io/"))
    });
    documents
}

/// Every leaf, with its path; an empty list or map is a leaf.
pub(crate) fn leaves(value: &Value) -> Vec<(String, Value)> {
    fn walk(value: &Value, path: &str, out: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                members.iter().for_each(|(key, value)| {
                    walk(value, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), out)
                });
            }
            Value::Array(items) if !items.is_empty() => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| walk(item, &format!("{path}/{index}"), out));
            }
            leaf => out.push((path.to_owned(), leaf.clone())),
        }
    }
    let mut out = Vec::new();
    walk(value, "", &mut out);
    out
}
