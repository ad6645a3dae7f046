//! The operator as a process: its start, its memory, and what a new connection costs.
//!
//! It runs with certificates from files and without an API server; with one is in [`crate::cluster`].

use std::time::{Duration, Instant};

use crate::client::{Client, Load, connector, post, runtime};
use crate::cost::{Cost, memory};
use crate::report::{Report, Row, Spread};
use crate::reviews;
use crate::server::{Server, stay_on_client_core};

const STARTS: usize = 15;
const CROWD: usize = 512;
const HANDSHAKE_ROUNDS: usize = 10;

pub(crate) fn measure(report: &mut Report) {
    report.heading("process: the operator's release binary, certificates from files, no API server in reach");
    start(report);
    stay_on_client_core(true);
    memories(report);
    handshakes(report);
    stay_on_client_core(false);
}

/// From the moment before exec to the answer of the first call over TLS.
fn start(report: &mut Report) {
    let call = post("/validate", &reviews::update("v1beta1"));
    let connector = connector();
    let first_answer = |start: fn() -> Server| {
        let began = Instant::now();
        let server = start();
        runtime().block_on(async {
            loop {
                if let Ok(mut client) = Client::connect(server.address, &connector).await {
                    client.call(&call).await.unwrap();
                    return began.elapsed().as_secs_f64() * 1000.0;
                }
                assert!(began.elapsed() < Duration::from_secs(20), "no server");
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        })
    };
    let pairs: Vec<(f64, f64)> = (0..STARTS)
        .map(|_| (first_answer(Server::bare_anywhere), first_answer(Server::operator_anywhere)))
        .collect();
    report.add(Row::new(
        "bare hyper + rustls, exec to first TLS answer",
        Spread::of(pairs.iter().map(|(bare, _)| *bare)).median,
        "ms",
    ));
    let time = Spread::of(pairs.iter().map(|(_, operator)| *operator)).median;
    let ratio = Spread::of(pairs.iter().map(|(bare, operator)| operator / bare));
    report.add(
        Row::new("operator, exec to first TLS answer", time, "ms").against(ratio).goal("<= 10 ms", 10.0),
    );
}

fn memories(report: &mut Report) {
    let server = Server::operator();
    std::thread::sleep(Duration::from_secs(2));
    report.add(Row::new("memory idle (RSS)", memory(server.pid(), "VmRSS"), "MiB").goal("<= 15 MiB", 15.0));
    let call = post("/validate", &reviews::update("v1beta1"));
    runtime().block_on(async {
        let mut load = Load::open(&server, CROWD, call, "\"allowed\":true").await;
        report.add(Row::new(
            format!("memory with {CROWD} connections, all idle after one call (RSS)"),
            memory(server.pid(), "VmRSS"),
            "MiB",
        ));
        load.round(Duration::from_secs(2)).await;
        report.add(Row::new(
            format!("memory at its highest, {CROWD} connections all calling (VmHWM)"),
            memory(server.pid(), "VmHWM"),
            "MiB",
        ));
    });
}

/// Full handshakes, never resumed, each on a new connection that is closed again.
fn handshakes(report: &mut Report) {
    let (bare, operator) = (Server::bare(), Server::operator());
    std::thread::sleep(Duration::from_secs(1));
    let connector = connector();
    let a_handshake = |server: &Server| {
        runtime().block_on(async {
            let (began, before) = (Instant::now(), Cost::of_process(server.pid()));
            let each = (0..8).map(async |_| {
                let mut count = 0_u32;
                while began.elapsed() < Duration::from_millis(400) {
                    drop(Client::connect(server.address, &connector).await.unwrap());
                    count += 1;
                }
                count
            });
            let count: u32 = futures::future::join_all(each).await.iter().sum();
            (Cost::of_process(server.pid()) - before).cpu as f64 / f64::from(count) / 1000.0
        })
    };
    let pairs: Vec<(f64, f64)> =
        (0..HANDSHAKE_ROUNDS).map(|_| (a_handshake(&bare), a_handshake(&operator))).collect();
    let time = Spread::of(pairs.iter().map(|(_, operator)| *operator)).median;
    let ratio = Spread::of(pairs.iter().map(|(bare, operator)| operator / bare));
    report.add(Row::new("TLS handshake, CPU of the server", time, "µs").against(ratio));
    report.add(Row::new("TLS handshakes a second that one core can do", 1e6 / time, "1/s"));
}
