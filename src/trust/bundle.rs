//! The CA bundle: the certificates by which the API server knows us, in a form where equal means equal.
//!
//! In: PEM texts of one or several CAs, and the time. Out: their certificates sorted, each once, none expired.
//! Where the texts come from is the matter of [`super::store`] and [`super::files`]; where they go, [`super::inject`]'s.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::Pem;

/// A bundle with at least one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pem: String,
    expires: SystemTime,
    /// Without these, our own certificate does not verify.
    required: BTreeSet<String>,
}

/// Why there is no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The text is not PEM, or a block in it is not a certificate.
    #[error("failed to read CA bundle: {0}")]
    Read(String),
    /// Nothing is left to trust.
    #[error("failed to build CA bundle: it holds no certificate that is valid now")]
    Empty,
}

impl BundleError {
    /// A fixed word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Empty => "empty",
        }
    }
}

impl Bundle {
    /// Builds it from PEM texts; blocks other than certificates are left out.
    pub fn build<'a>(texts: impl IntoIterator<Item = &'a str>, now: SystemTime) -> Result<Self, BundleError> {
        let mut certificates = BTreeSet::new();
        let mut expires: Option<SystemTime> = None;
        for text in texts {
            for der in blocks(text)? {
                let not_after = not_after(&der)?;
                if now <= not_after {
                    expires = Some(expires.map_or(not_after, |first| first.min(not_after)));
                    certificates.insert(der);
                }
            }
        }
        let expires = expires.ok_or(BundleError::Empty)?;
        let pems: Vec<String> = certificates.iter().map(|der| encode(der)).collect();
        Ok(Self { pem: pems.concat(), expires, required: pems.into_iter().collect() })
    }

    /// The same, of which only this certificate must be there for our own to verify.
    pub fn requiring(mut self, certificate: &str) -> Self {
        self.required = BTreeSet::from([certificate.to_owned()]);
        self
    }

    /// Whether whoever trusts that text accepts our own certificate.
    pub fn is_enough_in(&self, text: &str) -> bool {
        certificates(text).is_ok_and(|found| self.required.iter().all(|needed| found.contains(needed)))
    }

    /// This bundle and what is good in that text: others may need it.
    pub fn joined_with(&self, text: &str, now: SystemTime) -> Self {
        match Self::build([self.pem.as_str(), text], now) {
            Ok(joined) => Self { required: self.required.clone(), ..joined },
            Err(_) => self.clone(),
        }
    }

    /// The text that goes into `caBundle`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The first moment after which a certificate in it is no longer valid.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }
}

/// The certificates of a text, in the form in which equal texts are equal certificates.
pub fn certificates(text: &str) -> Result<Vec<String>, BundleError> {
    let blocks = blocks(text)?;
    blocks.iter().map(|der| not_after(der).map(|_| encode(der))).collect()
}

/// Whether the time of a certificate is over; one that cannot be read is.
pub fn is_expired(certificate: &str, now: SystemTime) -> bool {
    let read = blocks(certificate).ok().and_then(|blocks| not_after(blocks.first()?).ok());
    read.is_none_or(|not_after| now > not_after)
}

/// Whether a certificate says that this issuer signed it.
pub fn names_issuer(certificate: &str, issuer: &str) -> bool {
    let (Ok(certificate), Ok(issuer)) = (blocks(certificate), blocks(issuer)) else { return false };
    let (Some(certificate), Some(issuer)) = (certificate.first(), issuer.first()) else { return false };
    match (parse_x509_certificate(certificate), parse_x509_certificate(issuer)) {
        (Ok((_, certificate)), Ok((_, issuer))) => certificate.issuer().as_raw() == issuer.subject().as_raw(),
        _ => false,
    }
}

fn blocks(text: &str) -> Result<Vec<Vec<u8>>, BundleError> {
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let block = block.map_err(|error| BundleError::Read(error.to_string()))?;
        if block.label == "CERTIFICATE" {
            found.push(block.contents);
        }
    }
    Ok(found)
}

fn not_after(der: &[u8]) -> Result<SystemTime, BundleError> {
    let (_, certificate) =
        parse_x509_certificate(der).map_err(|error| BundleError::Read(error.to_string()))?;
    let seconds = certificate.validity().not_after.timestamp();
    Ok(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// One certificate as PEM, in the form of [`certificates`].
pub fn encode(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use mcp_hangar_webhooks::tls::Authority;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn authority(now: SystemTime) -> String {
        Authority::generate("test", now).unwrap().certificate_pem()
    }

    #[test]
    fn the_order_and_number_of_texts_do_not_matter() {
        let now = SystemTime::now();
        let (a, b) = (authority(now), authority(now));
        let bundle = Bundle::build([a.as_str(), b.as_str()], now).unwrap();
        let joined = format!("{b}\n# a comment\n{a}{b}");
        assert_eq!(Bundle::build([joined.as_str()], now).unwrap(), bundle);
        assert_eq!(bundle.pem().matches("BEGIN").count(), 2);
    }

    #[test]
    fn writes_a_certificate_as_its_authority_does() {
        let now = SystemTime::now();
        let pem = authority(now);
        assert_eq!(Bundle::build([pem.as_str()], now).unwrap().pem(), pem);
    }

    #[test]
    fn leaves_out_what_has_expired() {
        let now = SystemTime::now();
        let (old, new) = (authority(now - 6 * 365 * DAY), authority(now));
        assert_eq!(Bundle::build([old.as_str(), new.as_str()], now).unwrap().pem(), new);
        assert_eq!(Bundle::build([old.as_str()], now), Err(BundleError::Empty));
    }

    #[test]
    fn a_text_is_enough_when_it_has_what_our_certificate_needs() {
        let now = SystemTime::now();
        let (a, b, other) = (authority(now), authority(now), authority(now));
        let all = Bundle::build([a.as_str(), b.as_str()], now).unwrap();
        let signed_by_a = all.clone().requiring(&a);
        for (text, by_all, by_a) in [
            (format!("{a}{b}"), true, true),
            (format!("{other}{a}"), false, true),
            (b, false, false),
            ("rubbish".into(), false, false),
            (String::new(), false, false),
        ] {
            assert_eq!((all.is_enough_in(&text), signed_by_a.is_enough_in(&text)), (by_all, by_a), "{text}");
        }
    }

    #[test]
    fn joining_keeps_what_others_need_and_drops_rubbish() {
        let now = SystemTime::now();
        let (a, b, old) = (authority(now), authority(now), authority(now - 6 * 365 * DAY));
        let ours = Bundle::build([a.as_str()], now).unwrap();
        let joined = ours.joined_with(&format!("{old}{b}"), now);
        assert_eq!(joined.pem(), Bundle::build([b.as_str(), a.as_str()], now).unwrap().pem());
        assert!(joined.is_enough_in(&a));
        for text in ["rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""] {
            assert_eq!(ours.joined_with(text, now), ours);
        }
    }

    #[test]
    fn an_issuer_is_known_by_name() {
        let now = SystemTime::now();
        let (a, b) = (Authority::generate("a", now).unwrap(), Authority::generate("b", now).unwrap());
        let cross = a.cross_sign(&b, now).unwrap();
        assert!(names_issuer(&cross, &a.certificate_pem()));
        assert!(!names_issuer(&cross, &b.certificate_pem()));
        assert!(!names_issuer("", &b.certificate_pem()));
    }

    #[test]
    fn refuses_text_without_a_certificate() {
        assert_eq!(Bundle::build(["hello"], SystemTime::now()), Err(BundleError::Empty));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Bundle::build([broken], SystemTime::now()).unwrap_err().kind(), "read");
    }
}
