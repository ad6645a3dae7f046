//! What the commands print: CRDs as YAML, explanations, the version.
//!
//! In: the arguments of a command, and where to write. Out: text, the same for the same arguments, or an [`OutputError`].
//! The only place that writes to standard output.

use std::io::Write;
use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use mcp_hangar_webhooks::validation::code::{self, CODES};

use crate::cli::{ChartsArgs, CrdsArgs, ExplainArgs, OutputFormat, VersionArgs};
use crate::manifests::chart::{self, ChartError};
use crate::manifests::{self, Endpoint};
use crate::version::Build;

const HEADER: &str = "# Generated from the Rust types by `make generate`; changes made here are lost.\n";

/// What goes wrong with a command that prints.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Standard output, or a file.
    #[error("failed to write {place}")]
    Write {
        /// Where to.
        place: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// An object that has no YAML.
    #[error("failed to write {name} as YAML: {reason}")]
    Yaml {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Files of the charts.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// Codes that do not exist; the text says what does.
    #[error("failed to find {0}")]
    UnknownCode(String),
}

impl OutputError {
    /// A fixed word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Yaml { .. } => "yaml",
            Self::Chart(error) => error.kind(),
            Self::UnknownCode(_) => "unknown_code",
        }
    }
}

/// `crds`
pub fn crds(args: &CrdsArgs, out: &mut dyn Write) -> Result<(), OutputError> {
    let crds = release_crds(args);
    let Some(dir) = &args.dir else {
        let documents: Vec<String> = crds.iter().map(yaml).collect::<Result<_, _>>()?;
        return print(out, &format!("{HEADER}---\n{}", documents.join("---\n")));
    };
    std::fs::create_dir_all(dir)
        .map_err(|source| OutputError::Write { place: dir.display().to_string(), source })?;
    for crd in &crds {
        let path = dir
            .join(format!("{}.yaml", crd.spec.names.singular.as_deref().unwrap_or(&crd.spec.names.plural)));
        write_file(&path, &format!("{HEADER}{}", yaml(crd)?))?;
    }
    Ok(())
}

/// The CRDs as a release brings them: with the conversion stanza and, unless plain, Helm's ownership metadata.
pub fn release_crds(args: &CrdsArgs) -> Vec<CustomResourceDefinition> {
    let CrdsArgs { dir: _, release, release_namespace, plain } = args;
    let crds = manifests::crds(&Endpoint::default_service(release_namespace), None);
    if *plain {
        return crds;
    }
    crds.into_iter().map(|crd| mcp_hangar_api::crd::for_release(crd, release, release_namespace)).collect()
}

/// `charts`
pub fn charts(args: &ChartsArgs) -> Result<(), OutputError> {
    for chart::File { path, text } in chart::files()? {
        let path = args.dir.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| OutputError::Write { place: folder.display().to_string(), source })?;
        }
        write_file(&path, &text)?;
    }
    Ok(())
}

/// `explain`
pub fn explain(args: &ExplainArgs, out: &mut dyn Write) -> Result<(), OutputError> {
    if args.markdown {
        return print(out, &code::rules_markdown());
    }
    if args.list {
        return print(out, &list());
    }
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for id in &args.codes {
        match code::find(id) {
            Some(code) => found.push(code.explain()),
            None => unknown.push(id.as_str()),
        }
    }
    print(out, &found.join("\n"))?;
    if unknown.is_empty() {
        return Ok(());
    }
    let hints: Vec<String> = unknown
        .iter()
        .map(|id| match nearest(id) {
            Some(near) => format!("{id:?}; did you mean {near}?"),
            None => format!("{id:?}"),
        })
        .collect();
    Err(OutputError::UnknownCode(format!(
        "{}\n`explain --list` lists all {} codes",
        hints.join(", "),
        CODES.len()
    )))
}

fn list() -> String {
    CODES.iter().map(|code| format!("{}  {}\n", code.id, code.title)).collect()
}

/// The one known code that differs in one character, or lacks only the prefix.
fn nearest(id: &str) -> Option<&'static str> {
    let id = id.to_ascii_uppercase();
    let with_prefix = format!("HGR{id}");
    let mut near = CODES.iter().map(|code| code.id).filter(|known| {
        *known == with_prefix
            || (known.len() == id.len()
                && known.bytes().zip(id.bytes()).filter(|(one, other)| one != other).count() == 1)
    });
    near.next()
}

/// `version`
pub fn version(args: &VersionArgs, out: &mut dyn Write) -> Result<(), OutputError> {
    let build = Build::current();
    match args.output {
        OutputFormat::Text => print(out, &build.text()),
        OutputFormat::Json => print(out, &format!("{:#}\n", build.json())),
    }
}

/// One YAML document, with a newline at its end.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, OutputError> {
    let error =
        |reason: String| OutputError::Yaml { name: crd.metadata.name.clone().unwrap_or_default(), reason };
    let value = mcp_hangar_api::crd::to_value(crd).map_err(|source| error(source.to_string()))?;
    let mut text = serde_saphyr::to_string(&value).map_err(|source| error(source.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), OutputError> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `crds | head` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|source| OutputError::Write { place: "standard output".into(), source }),
    }
}

fn write_file(path: &Path, text: &str) -> Result<(), OutputError> {
    std::fs::write(path, text)
        .map_err(|source| OutputError::Write { place: path.display().to_string(), source })
}
