//! Addresses of our own pages, below the address of the site.

use std::fmt::Write as _;

/// Encodes text for a path or a query (RFC 3986). Only unreserved characters stay.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            // Writing into a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

/// Returns the page of a package in a collection.
pub fn package(collection: &str, package: &str) -> String {
    format!("/package/{}?collection={}", encoded(package), encoded(collection))
}

/// Returns the page of a collection.
pub fn collection(name: &str) -> String {
    format!("/collection/{}", encoded(name))
}

/// Returns the page of a cause.
pub fn cause(id: &str) -> String {
    format!("/cause/{}", encoded(id))
}
