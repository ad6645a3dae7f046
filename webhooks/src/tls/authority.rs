//! A certificate authority: one ECDSA P-256 key and its self-signed certificate.
//!
//! Comes from [`Authority::generate`] or from two PEM texts, which are checked to belong together; gives leaves
//! and, for its successor, a cross certificate, which leaves of the successor then carry. rcgen's defaults (valid from
//! 1975 to 4096, one name for everyone, no key identifiers) are overridden one by one. Storing and rotating authorities is left to the operator.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Leaf, TlsError, provider, to_date, to_system_time};

/// How far back a certificate's validity starts, for clients whose clock is behind ours.
pub const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// How long a new authority is valid.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

/// A CA that can sign: the certificate, its key and, where it has one, a certificate of the same key that a predecessor
/// signed.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    subject: String,
    certificate: CertificateDer<'static>,
    cross: Option<CertificateDer<'static>>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("subject", &self.subject)
            .field("not_after", &self.not_after)
            .field("cross", &self.cross.is_some())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority, valid for five years; see [`Self::generate_for`].
    pub fn generate(name_hint: &str, now: SystemTime) -> Result<Self, TlsError> {
        Self::generate_for(name_hint, now, AUTHORITY_LIFETIME)
    }

    /// Makes a new authority, valid from 24 hours before `now` for `lifetime` from `now`. Its name is `name_hint` (cut
    /// at 40 characters) and a random suffix, so that no two ever share a name.
    pub fn generate_for(name_hint: &str, now: SystemTime, lifetime: Duration) -> Result<Self, TlsError> {
        let suffix: String = random::<6>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let hint: String = name_hint.chars().take(40).collect();
        let subject = format!("{hint} {suffix}");
        let mut params = authority_params(&subject, 1)?;
        params.not_before = to_date(now - BACKDATE)?;
        params.not_after = to_date(now + lifetime)?;
        let key = new_key(&subject)?;
        let certificate = params.self_signed(&key).map_err(|source| TlsError::Sign { subject, source })?;
        Self::assemble(certificate.der().clone(), key)
    }

    /// Reads an authority. Refuses, each with an error of its own, text that does not parse, a key that belongs to
    /// another certificate, a certificate that may not sign others, and one that is not valid at `now`.
    pub fn from_pem(certificate_pem: &str, key_pem: &str, now: SystemTime) -> Result<Self, TlsError> {
        let certificate = parse_certificate_pem("CA certificate", certificate_pem)?;
        let key = KeyPair::from_pem(key_pem)
            .map_err(|error| TlsError::Parse { what: "CA private key", reason: error.to_string() })?;
        let authority = Self::assemble(certificate, key)?;
        authority.check_valid_at(now)?;
        Ok(authority)
    }

    fn assemble(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, TlsError> {
        let parsed = parse_der("CA certificate", &certificate)?;
        let subject = parsed.subject().to_string();
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(TlsError::KeyMismatch { subject });
        }
        check_may_sign(&parsed, &subject)?;
        let not_before = to_system_time(parsed.validity().not_before.to_datetime());
        let not_after = to_system_time(parsed.validity().not_after.to_datetime());
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| TlsError::Parse { what: "CA certificate", reason: error.to_string() })?;
        Ok(Self { issuer, subject, certificate, cross: None, not_before, not_after })
    }

    /// Adds a certificate of this authority's key that a predecessor signed ([`Self::cross_sign`]). Every leaf then
    /// carries it, so that clients who only know the predecessor accept it too. On an error nothing has changed.
    pub fn carry(&mut self, cross_pem: &str) -> Result<(), TlsError> {
        let cross = parse_certificate_pem("cross certificate", cross_pem)?;
        {
            let parsed = parse_der("cross certificate", &cross)?;
            let own = parse_der("CA certificate", &self.certificate)?;
            let same_name = parsed.subject().as_raw() == own.subject().as_raw();
            if !same_name || parsed.public_key().raw != own.public_key().raw {
                return Err(TlsError::KeyMismatch { subject: parsed.subject().to_string() });
            }
        }
        self.cross = Some(cross);
        Ok(())
    }

    /// Signs the key of `successor` under its own name, as PEM; valid no longer than either of the two.
    pub fn cross_sign(&self, successor: &Self, now: SystemTime) -> Result<String, TlsError> {
        self.check_valid_at(now)?;
        let parsed = parse_der("CA certificate", &successor.certificate)?;
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let mut params = authority_params(name.unwrap_or_default(), 0)?;
        params.not_before = to_date(now - BACKDATE)?;
        params.not_after = to_date(self.not_after.min(successor.not_after))?;
        let subject = successor.subject.clone();
        let certificate = params
            .signed_by(successor.issuer.key(), &self.issuer)
            .map_err(|source| TlsError::Sign { subject: subject.clone(), source })?;
        // Chains are built by name and key identifier: both must be the successor's, byte for byte.
        let cross = parse_der("cross certificate", certificate.der())?;
        if cross.subject().as_raw() != parsed.subject().as_raw() {
            return Err(TlsError::NotAuthority { subject, reason: "its subject is more than a common name" });
        }
        Ok(encode_pem(certificate.der()))
    }

    /// Issues a leaf for `names` (DNS names and IP addresses) with a new key, valid from 24 hours before `now` for
    /// `lifetime` from `now`, but never longer than the authority itself.
    pub fn issue(&self, names: &[String], now: SystemTime, lifetime: Duration) -> Result<Leaf, TlsError> {
        self.check_valid_at(now)?;
        let first = names.first().ok_or(TlsError::NoName)?;
        let mut params = new_params(first)?;
        params.subject_alt_names =
            names.iter().map(|name| subject_alt_name(name)).collect::<Result<_, _>>()?;
        // Not `NoCa`: only the explicit form gets a subject key identifier.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = to_date(now - BACKDATE)?;
        params.not_after = to_date((now + lifetime).min(self.not_after))?;
        let key = new_key(first)?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|source| TlsError::Sign { subject: first.clone(), source })?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = std::iter::once(certificate.der().clone()).chain(self.cross.clone()).collect();
        Leaf::new(chain, key, now)
    }

    /// The certificate, as PEM in canonical form: two texts are equal exactly when the certificates are.
    pub fn certificate_pem(&self) -> String {
        encode_pem(&self.certificate)
    }

    /// The certificate that a predecessor signed, as PEM.
    pub fn cross_pem(&self) -> Option<String> {
        self.cross.as_ref().map(|cross| encode_pem(cross))
    }

    /// The private key, as PKCS#8 PEM. Secret.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The certificate's subject, such as `CN=mcp-hangar 5e1f...`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The first second of the authority.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The last second of the authority.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    fn check_valid_at(&self, now: SystemTime) -> Result<(), TlsError> {
        if now > self.not_after {
            return Err(TlsError::Expired {
                subject: self.subject.clone(),
                not_after: to_date(self.not_after)?,
            });
        }
        if now < self.not_before {
            return Err(TlsError::NotYetValid {
                subject: self.subject.clone(),
                not_before: to_date(self.not_before)?,
            });
        }
        Ok(())
    }
}

fn check_may_sign(certificate: &X509Certificate<'_>, subject: &str) -> Result<(), TlsError> {
    let refuse = |reason| Err(TlsError::NotAuthority { subject: subject.to_owned(), reason });
    if !certificate.is_ca() {
        return refuse("it is not a CA certificate");
    }
    match certificate.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => {
            refuse("its key usage does not allow signing certificates")
        }
        Ok(_) => Ok(()),
        Err(_) => refuse("its key usage cannot be read"),
    }
}

fn authority_params(common_name: &str, path_len: u8) -> Result<CertificateParams, TlsError> {
    let mut params = new_params(common_name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn new_params(common_name: &str) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // A common name holds at most 64 characters; who looks at names looks at the SANs.
    params.distinguished_name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    let mut serial = random::<16>()?;
    if let Some(first) = serial.first_mut() {
        // Positive and without leading zeros.
        *first = (*first & 0x7f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn subject_alt_name(name: &str) -> Result<SanType, TlsError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad = || TlsError::BadName { name: name.to_owned() };
    rustls::pki_types::DnsName::try_from(name).map_err(|_| bad())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| bad())?))
}

fn new_key(subject: &str) -> Result<KeyPair, TlsError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|source| TlsError::Generate { subject: subject.to_owned(), source })
}

fn random<const N: usize>() -> Result<[u8; N], TlsError> {
    let mut bytes = [0; N];
    provider().secure_random.fill(&mut bytes).map_err(|_| TlsError::Random)?;
    Ok(bytes)
}

fn parse_certificate_pem(what: &'static str, pem: &str) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| TlsError::Parse { what, reason: error.to_string() })
}

pub(super) fn parse_der<'a>(what: &'static str, der: &'a [u8]) -> Result<X509Certificate<'a>, TlsError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(TlsError::Parse { what, reason: "bytes after the end of the certificate".to_owned() }),
        Err(error) => Err(TlsError::Parse { what, reason: error.to_string() }),
    }
}

fn encode_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}
