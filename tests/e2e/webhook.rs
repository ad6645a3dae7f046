//! The webhooks as the API server reaches them: TLS, checked against the CA that the Secret holds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::api::Api;
use crate::cluster::Site;

/// Where the CA is.
pub(crate) const SECRET: &str = "/api/v1/namespaces/mcp-system/secrets/mcp-hangar-operator-webhook-ca";

/// The CA's certificate in the Secret, as PEM; empty where there is none.
pub(crate) fn authority(api: &Api) -> String {
    let encoded = api.get(SECRET).body["data"]["ca.crt"].as_str().unwrap_or_default().to_owned();
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

/// A TLS connection to an address, which must present a certificate for `name` that the CA has signed.
pub(crate) fn connect(
    address: SocketAddr,
    name: &str,
    authority: &str,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client =
        ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let tcp = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut stream = StreamOwned::new(client, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Where a `clientConfig` leads, and the name that is certified there.
fn door(site: &Site, client: &Value) -> (SocketAddr, String) {
    if let Some(url) = client["url"].as_str() {
        let address = url.strip_prefix("https://").unwrap().split('/').next().unwrap();
        return (address.parse().unwrap(), "127.0.0.1".to_owned());
    }
    let service = &client["service"];
    let (name, namespace) = (service["name"].as_str().unwrap(), service["namespace"].as_str().unwrap());
    let found = site.api.get(&format!("/api/v1/namespaces/{namespace}/services/{name}")).ok();
    let address = format!("{}:{}", found["spec"]["clusterIP"].as_str().unwrap(), service["port"]);
    (address.parse().unwrap(), format!("{name}.{namespace}.svc"))
}

/// One call of the shared operator's webhook; status and JSON.
pub(crate) fn post(site: &Site, path: &str, body: &Value) -> (u16, Value) {
    let configuration = site
        .api
        .get("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/mcp-hangar-operator")
        .ok();
    let (address, name) = door(site, &configuration["webhooks"][0]["clientConfig"]);
    let mut stream = connect(address, &name, &authority(&site.api)).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path}?timeout=5s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}
