//! What really is in the store: etcd asked directly, past the API server and its conversions.
//!
//! In: a cluster, whose etcd listens on loopback. Out: for each object of ours the version in which it is stored and how
//! often it was written. etcd speaks gRPC; the few frames of HTTP/2 and fields of protobuf that one call needs are
//! written here by hand, since nothing else in this project needs them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;

/// One stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Of its `apiVersion`.
    pub(crate) version: String,
    /// Writes since it was created, that one among them.
    pub(crate) writes: u64,
}

/// Every object of a resource, by `namespace/name`.
pub(crate) fn stored(cluster: &Cluster, resource: &str) -> BTreeMap<String, Stored> {
    let prefix = format!("/registry/mcp-hangar.io/{resource}/");
    // The next prefix: '0' follows '/'.
    let end = format!("{}0", prefix.trim_end_matches('/'));
    let request = [bytes(1, prefix.as_bytes()), bytes(2, end.as_bytes())].concat();
    let answer = range(cluster, &request);
    let pairs = fields(&answer).into_iter().filter(|(number, _)| *number == 2);
    pairs
        .map(|(_, pair)| {
            let pair: BTreeMap<u64, Field<'_>> = fields(pair.bytes()).into_iter().collect();
            let key = std::str::from_utf8(pair[&1].bytes()).unwrap();
            let object: Value = serde_json::from_slice(pair[&5].bytes()).unwrap();
            let version = object["apiVersion"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            (key.strip_prefix(&prefix).unwrap().to_owned(), Stored { version, writes: pair[&4].number() })
        })
        .collect()
}

/// How many objects of a resource are stored in a version.
pub(crate) fn count(cluster: &Cluster, resource: &str, version: &str) -> usize {
    stored(cluster, resource).values().filter(|stored| stored.version == version).count()
}

/// One call; the answer's message, which is empty where there is none.
fn range(cluster: &Cluster, message: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address(cluster)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/etcdserverpb.KV/Range"),
        (":authority", "etcd"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        // HPACK: a literal that is not indexed, without Huffman.
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).unwrap());
            head.extend(text.as_bytes());
        }
    }
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0], length.as_slice(), message].concat();
    // A window that no answer here fills: INITIAL_WINDOW_SIZE, and the connection's own.
    let wide = 0x7fff_0000_u32.to_be_bytes();
    let request = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[&[0, 4], wide.as_slice()].concat()),
        frame(WINDOW_UPDATE, 0, 0, &0x7ffe_0000_u32.to_be_bytes()),
        frame(HEADERS, END_HEADERS, 1, &head),
        frame(DATA, END_STREAM, 1, &body),
    ];
    stream.write_all(&request.concat()).unwrap();
    let answer = answer(&mut stream);
    answer.get(5..).unwrap_or_default().to_vec()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The data of stream 1, to its end.
fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).unwrap();
        let (kind, flags) = (head[3], head[4]);
        match kind {
            DATA => data.extend(payload),
            SETTINGS if flags & 1 == 0 => stream.write_all(&frame(SETTINGS, 1, 0, &[])).unwrap(),
            _ => {}
        }
        if flags & END_STREAM != 0 && matches!(kind, DATA | HEADERS) {
            return data;
        }
    }
}

/// A field of a protobuf message.
#[derive(Debug, Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(bytes) => panic!("{bytes:?} is no number"),
        }
    }

    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => panic!("{number} is no bytes"),
        }
    }
}

fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = number(&mut message);
        let value = number(&mut message);
        let field = match tag & 7 {
            0 => Field::Number(value),
            2 => {
                let (bytes, rest) = message.split_at(usize::try_from(value).unwrap());
                message = rest;
                Field::Bytes(bytes)
            }
            other => panic!("no field here has the type {other}"),
        };
        found.push((tag >> 3, field));
    }
    found
}

fn number(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().unwrap();
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// From etcd's own log.
fn address(cluster: &Cluster) -> SocketAddr {
    let log = std::fs::read_to_string(cluster.folder.join("logs/etcd.log")).unwrap();
    let mut lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let said = lines
        .find(|line| line["msg"].as_str().is_some_and(|text| text.starts_with("serving client traffic")))
        .unwrap();
    said["address"].as_str().unwrap().parse().unwrap()
}
