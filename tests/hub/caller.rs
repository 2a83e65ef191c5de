//! A simple client for tests of the hub itself: plain HTTP, one connection per call.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use koschei::koji::xmlrpc::{Fault, Value, decode_response};

use super::state::Hub;
use super::value::{V, request};

/// A response as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// Sends a request and reads until the connection closes. Fails if the response is missing or cut.
pub fn http(address: &str, head: &str, body: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    let text = format!("{head}Host: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(text.as_bytes())?;
    stream.write_all(body)?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(cut)?;
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let body = all[end + 4..].to_vec();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(cut)?;
    let length = head
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse::<usize>().ok()));
    if length.is_some_and(|length| length != body.len()) {
        return Err(cut());
    }
    Ok(Answer { status, head, body })
}

/// A caller, with or without a session.
#[derive(Clone, Debug)]
pub struct Caller {
    pub address: String,
    pub user: Option<String>,
    pub session: Option<(i64, String)>,
    pub callnum: i64,
}

impl Caller {
    pub fn new(hub: &Hub) -> Self {
        let address = hub.url().trim_start_matches("http://").trim_end_matches("/kojihub").to_owned();
        Self { address, user: None, session: None, callnum: 0 }
    }

    /// Logs in by the trusted header.
    pub fn login(hub: &Hub, user: &str) -> Self {
        let mut caller = Self { user: Some(user.to_owned()), ..Self::new(hub) };
        let answer = caller.post("/kojihub/ssllogin", &request("sslLogin", &[])).unwrap();
        caller.remember(&answer);
        caller
    }

    pub fn renew(&mut self) {
        let renew = V::Struct(vec![("renew".to_owned(), true.into()), ("__starstar".to_owned(), true.into())]);
        let answer = self.post("/kojihub/ssllogin", &request("sslLogin", &[renew])).unwrap();
        self.remember(&answer);
        self.callnum += 1;
    }

    fn remember(&mut self, answer: &Answer) {
        let value = decode_response(&answer.body).unwrap().unwrap();
        let key = value.get("session-key").and_then(Value::as_str).unwrap().to_owned();
        self.session = Some((value.get("session-id").and_then(Value::as_int).unwrap(), key));
    }

    pub fn post(&self, path: &str, body: &str) -> std::io::Result<Answer> {
        let mut head = format!("POST {path} HTTP/1.1\r\nContent-Type: text/xml\r\n");
        if let Some(user) = &self.user {
            head += &format!("Koji-Test-User: {user}\r\n");
        }
        if let Some((id, key)) = &self.session {
            head += &format!(
                "Koji-Session-Id: {id}\r\nKoji-Session-Key: {key}\r\nKoji-Session-Callnum: {}\r\n",
                self.callnum
            );
        }
        http(&self.address, &head, body.as_bytes())
    }

    /// Makes a call with the current call number, and does not advance the number.
    pub fn same(&self, method: &str, params: &[V]) -> Result<Value, Fault> {
        decode_response(&self.post("/kojihub", &request(method, params)).unwrap().body).unwrap()
    }

    /// Makes a call and advances the call number.
    pub fn call(&mut self, method: &str, params: &[V]) -> Result<Value, Fault> {
        let answer = self.same(method, params);
        self.callnum += 1;
        answer
    }
}
