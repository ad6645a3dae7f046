//! The limit: the least that answers HTTPS with the same libraries. Accepts, reads the body, sends a fixed answer.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use mcp_hangar_webhooks::tls::{LeafResolver, server_config};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The first word of the command line of the child process.
pub(crate) const ROLE: &str = "serve-bare";

const ANSWER: &[u8] = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"0b3c9a2e-3f0a-4c55-b5f0-52a9d0a1f7d2","allowed":true}}"#;

/// Serves for ever.
pub(crate) fn serve(folder: &Path, port: u16) {
    let resolver = LeafResolver::new(Vec::new(), Arc::new(SystemTime::now));
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap();
    resolver.set_files(&read("tls.crt"), &read("tls.key")).unwrap();
    let acceptor = TlsAcceptor::from(server_config(Arc::new(resolver)).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = stream.set_nodelay(true);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let _ =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
}

async fn answer(request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
