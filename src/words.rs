//! Words for errors of the client library that quote nothing of what was being read.
//!
//! In: an error about a kubeconfig, credentials or a call. Out: what is wrong and where, in one sentence. The library's
//! own texts show excerpts of the file, or all that a credential plugin printed, and both may hold a token.

use std::error::Error;

use kube::client::AuthError;
use kube::config::{InClusterError, KubeconfigError, LoadDataError};

/// What is wrong with a kubeconfig. Names of contexts and clusters may be in it, values never.
pub fn kubeconfig(error: &KubeconfigError) -> String {
    use KubeconfigError::{
        LoadCertificateAuthority, LoadClientCertificate, LoadClientKey, LoadClusterOfContext, LoadContext,
        Parse, ParseCertificates, ParseClusterUrl, ParseProxyUrl, ReadConfig,
    };
    match error {
        ReadConfig(source, _) => source.to_string(),
        Parse(source) => yaml(source),
        LoadContext(name) => format!("it has no context {name:?}"),
        LoadClusterOfContext(name) => format!("it has no cluster {name:?}, which the context names"),
        ParseClusterUrl(source) => format!("the cluster's server: {source}"),
        ParseProxyUrl(source) => format!("the cluster's proxy-url: {source}"),
        LoadCertificateAuthority(source) => data("certificate-authority", source),
        LoadClientCertificate(source) => data("client-certificate", source),
        LoadClientKey(source) => data("client-key", source),
        ParseCertificates(_) => "the certificate authority is not PEM".into(),
        // The rest are fixed texts.
        other => other.to_string(),
    }
}

/// What is wrong with the pod's service account.
pub fn in_cluster(error: &InClusterError) -> String {
    match error {
        InClusterError::ParseCertificates(_) => "its ca.crt is not PEM".into(),
        // Of a certificate file, an address or a port; none of it is secret.
        other => other.to_string(),
    }
}

/// The innermost words of an error of the client: the server's message, or the system's.
pub fn client(error: &kube::Error) -> String {
    use kube::Error::{Api, ProxyProtocolDisabled, ProxyProtocolUnsupported, RustlsTls, SerdeError};
    match error {
        Api(status) => return status.message.clone(),
        // The server's answer may be a Secret.
        SerdeError(source) => {
            return format!(
                "the answer cannot be read ({:?} error at column {})",
                source.classify(),
                source.column()
            );
        }
        ProxyProtocolUnsupported { .. } | ProxyProtocolDisabled { .. } => {
            return "proxies are not supported (proxy-url, HTTPS_PROXY)".into();
        }
        RustlsTls(_) => return "the certificates or the client's key are not PEM, or do not fit".into(),
        _ => {}
    }
    let mut innermost: &(dyn Error + 'static) = error;
    loop {
        if let Some(error) = innermost.downcast_ref::<AuthError>() {
            return credentials(error);
        }
        if let Some(error) = innermost.downcast_ref::<KubeconfigError>() {
            return kubeconfig(error);
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => return innermost.to_string(),
        }
    }
}

fn credentials(error: &AuthError) -> String {
    use AuthError::{
        AuthExec, AuthExecParse, AuthExecRun, AuthExecStart, InvalidBasicAuth, InvalidBearerToken,
        MalformedTokenExpirationDate, ParseTokenKey, ReadTokenFile,
    };
    match error {
        InvalidBasicAuth(_) => "user name or password hold characters that no header may hold".into(),
        InvalidBearerToken(_) => "the token holds characters that no header may hold".into(),
        MalformedTokenExpirationDate(_) => "the credential plugin gave an expiry that is no date".into(),
        AuthExecStart(source) => format!("the credential plugin cannot be started: {source}"),
        AuthExecRun { out, .. } => {
            format!("the credential plugin failed ({}); run its command by hand to see why", out.status)
        }
        AuthExecParse(source) => {
            format!("what the credential plugin printed is no ExecCredential: {}", yaml(source))
        }
        AuthExec(_) => "the auth-provider of the user is not supported, or failed".into(),
        ParseTokenKey(_) => "the auth-provider's answer has no token where it should".into(),
        ReadTokenFile(source, path) => format!("failed to read token file {}: {source}", path.display()),
        // The rest are fixed texts, or the system's.
        other => other.to_string(),
    }
}

fn data(what: &str, error: &LoadDataError) -> String {
    match error {
        LoadDataError::DecodeBase64(_) => format!("{what}-data is not base64"),
        LoadDataError::ReadFile(source, path) => format!("{what} {}: {source}", path.display()),
        LoadDataError::NoBase64DataOrFile => format!("{what} has neither data nor a file"),
    }
}

/// What the parser expected, where that comes from our types and not from the text, and the place.
pub fn yaml(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error::{DuplicateMappingKey, Eof, SerdeMissingField, Unexpected};
    let error = error.without_snippet();
    let what = match error {
        Eof { .. } => "it ends too early".to_owned(),
        Unexpected { expected, .. } => format!("expected {expected}"),
        SerdeMissingField { field, .. } => format!("{field} is missing"),
        DuplicateMappingKey { .. } => "a key is there twice".to_owned(),
        _ => "not YAML, or a value of another type than that field has".to_owned(),
    };
    match error.location() {
        Some(place) => format!("{what}, at line {}, column {}", place.line(), place.column()),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;

    use super::*;

    const MARKER: &str = "s3cr3t";

    #[test]
    fn a_kubeconfig_that_does_not_parse_is_never_quoted() {
        for text in [
            format!("users: [{{name: x, user: {{token: {MARKER}"),
            format!("users: [{{name: x, user: {{token: [{MARKER}]}}}}]"),
            format!("users: [{{name: x, user: {MARKER}}}]"),
            format!("users:\n- name: x\n  user:\n    token: *{MARKER}\n"),
            format!("users: !{MARKER} x"),
            format!("users:\n- user:\n  \ttoken: {MARKER}\n"),
            format!("a: {MARKER}\na: {MARKER}\n"),
            MARKER.to_owned(),
        ] {
            let said = kubeconfig(&Kubeconfig::from_yaml(&text).unwrap_err());
            assert!(!said.contains(MARKER) && said.contains("at line "), "{text}: {said}");
        }
    }

    #[test]
    fn what_a_credential_plugin_printed_is_never_quoted() {
        let out = std::process::Output {
            status: std::process::ExitStatus::default(),
            stdout: MARKER.into(),
            stderr: MARKER.into(),
        };
        let run = AuthError::AuthExecRun { cmd: MARKER.into(), out: Box::new(out) };
        let parse = serde_saphyr::from_str::<Vec<u8>>(MARKER)
            .map_err(|error| AuthError::AuthExecParse(Box::new(error)));
        for error in [run, parse.unwrap_err(), AuthError::AuthExec(MARKER.into())] {
            let said = client(&kube::Error::Service(Box::new(error)));
            assert!(!said.contains(MARKER), "{said}");
            assert!(said.contains("auth-provider") || said.contains("credential plugin"), "{said}");
        }
    }
}
