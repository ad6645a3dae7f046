//! What a probe is made of, checked before anything is sent: endpoint, headers, certificates.
//!
//! In: text of a spec and of Secrets. Out: values that can be used, or what is wrong with them, without a secret in it.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use super::failure::{Field, Kind, clean};
use super::verdict::Verdict;
use super::wire;

pub(super) fn endpoint(text: &str) -> Result<Url, Verdict> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match url {
        Some(mut url) if url.username().is_empty() && url.password().is_none() => {
            url.set_fragment(None);
            Ok(url)
        }
        Some(_) => Err(invalid(
            "the endpoint holds a user or a password",
            "name a Secret with an Authorization header in ",
            Field::Headers,
        )),
        None => Err(invalid(
            "the endpoint is no http or https URL",
            "write for example https://tools.example.com/mcp in ",
            Field::Endpoint,
        )),
    }
}

pub(super) fn headers(given: &[(String, Vec<u8>)]) -> Result<HeaderMap, Verdict> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let shown = clean(name, 80);
        let known = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !wire::is_reserved(name));
        let Some(known) = known else {
            return Err(invalid(
                &format!("the header \"{shown}\" cannot be set"),
                "write another name in ",
                Field::Headers,
            ));
        };
        // A final line break is how Secrets are usually written by hand.
        let Ok(mut value) = HeaderValue::from_bytes(value.trim_ascii()) else {
            let saw = format!("the value for the header \"{shown}\" has characters that no header may have");
            return Err(invalid(&saw, "mend the Secret named in ", Field::Headers));
        };
        value.set_sensitive(true);
        headers.append(known, value);
    }
    Ok(headers)
}

pub(super) fn invalid(saw: &str, fix: &str, field: Field) -> Verdict {
    (Kind::InvalidSpec, saw.to_owned(), vec![fix.into(), field.into()])
}

/// What trusts the certificates of a bundle, if it holds any.
pub(super) fn trusting(pem: &[u8]) -> Option<Arc<rustls::ClientConfig>> {
    trust(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect())
}

/// The system's certificates, or Mozilla's where it has none, as in an image from scratch.
pub(super) async fn system() -> Option<Arc<rustls::ClientConfig>> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.ok()?;
    trust(loaded.certs).or_else(mozillas)
}

fn mozillas() -> Option<Arc<rustls::ClientConfig>> {
    config(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
}

/// What trusts these certificates and no others.
fn trust(certificates: Vec<CertificateDer<'static>>) -> Option<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    config(roots)
}

fn config(roots: rustls::RootCertStore) -> Option<Arc<rustls::ClientConfig>> {
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_certificate_trusts_nobody_and_an_image_without_any_trusts_mozillas() {
        assert!(trusting(b"no certificate").is_none() && trust(Vec::new()).is_none());
        assert!(mozillas().is_some());
    }
}
