//! All recorded exchanges with a hub: each is decoded and encoded again with equal meaning, and its
//! faults are known.
//!
//! `tests/data/*/exchanges.jsonl.zst` hold every exchange of two recordings. With
//! `KOSCHEI_EXCHANGES_DIR=DIR`, the exchanges of a directory (`NAME.req.xml`, `NAME.resp.xml`) are
//! tested as well.

use std::path::Path;

use koschei::koji::xmlrpc::{
    Call, Fault, Value, decode_request, decode_response, encode_request, encode_response, multi,
};
use serde::Deserialize;

/// One exchange.
#[derive(Deserialize)]
pub(crate) struct Exchange {
    pub(crate) label: String,
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) request: Option<String>,
    pub(crate) response: Option<String>,
}

impl Exchange {
    /// Returns the call, if the request is one.
    pub(crate) fn call(&self) -> Option<Call> {
        let request = self.request.as_deref().filter(|body| body.contains("<methodCall>") && !self.is_malformed())?;
        Some(decode_request(request.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", self.label)))
    }

    /// Returns the answer, if the hub gave one. Other answers come from the web server.
    pub(crate) fn answer(&self) -> Option<Result<Value, Fault>> {
        if self.status != 200 || self.content_type.as_deref() != Some("text/xml") {
            return None;
        }
        let response = self.response.as_deref().unwrap();
        Some(decode_response(response.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", self.label)))
    }

    fn is_malformed(&self) -> bool {
        self.label.contains("malformed")
    }
}

/// Returns the exchanges of one recording.
pub(crate) fn recording(name: &str) -> Vec<Exchange> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).join("exchanges.jsonl.zst");
    let text = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    let lines = std::str::from_utf8(&text).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the exchanges of both recordings.
pub(crate) fn all() -> Vec<Exchange> {
    let mut all = recording("koji");
    all.extend(recording("koji-external"));
    all
}

/// Decodes, encodes and decodes again. Both values must be equal.
fn round(call: &Call) {
    assert_eq!(decode_request(&encode_request(call).unwrap()).unwrap(), *call);
    if let Some(calls) = multi::split(call) {
        assert_eq!(multi::join(&calls).unwrap(), *call);
    }
}

fn round_answer(answer: &Result<Value, Fault>) {
    assert_eq!(decode_response(&encode_response(answer).unwrap()).unwrap(), *answer);
}

#[test]
fn every_recorded_exchange_goes_round() {
    let (mut calls, mut answers, mut faults, mut several) = (0, 0, 0, 0);
    for exchange in all() {
        if let Some(call) = exchange.call() {
            round(&call);
            calls += 1;
            if let (Some(asked), Some(Ok(answer))) = (multi::split(&call), exchange.answer()) {
                let answered = multi::split_answers(answer.clone()).unwrap();
                assert_eq!(answered.len(), asked.len(), "{}", exchange.label);
                // The hub's traceback beside a fault is not kept.
                assert_eq!(multi::split_answers(multi::join_answers(answered.clone())).unwrap(), answered);
                several += 1;
            }
        }
        if let Some(answer) = exchange.answer() {
            round_answer(&answer);
            answers += 1;
            faults += usize::from(answer.is_err());
        }
    }
    // Counted with another decoder.
    assert_eq!((calls, answers, faults, several), (382, 384, 59, 2));
}

#[test]
fn every_exchange_of_a_directory_goes_round() {
    let Some(dir) = std::env::var_os("KOSCHEI_EXCHANGES_DIR") else { return };
    let mut found = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let read = || std::fs::read(&path).unwrap();
        if name.ends_with(".req.xml") && !name.contains("malformed") {
            let document = read();
            if document.starts_with(b"<?xml") {
                round(&decode_request(&document).unwrap_or_else(|error| panic!("{name}: {error}")));
                found += 1;
            }
        } else if name.ends_with(".resp.xml") {
            let document = read();
            // The web server's own answers are text or HTML.
            if document.starts_with(b"<?xml") {
                round_answer(&decode_response(&document).unwrap_or_else(|error| panic!("{name}: {error}")));
                found += 1;
            }
        }
    }
    assert!(found > 0, "nothing there");
}
