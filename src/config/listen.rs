//! Reads addresses to listen on.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use serde::{Deserialize, Deserializer};

use crate::model::secrets::shown;

/// Reads an address to listen on: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or another name
/// of this machine. `8080` and `:8080` are reached only from this machine.
///
/// # Errors
/// Returns a text that says what could be written instead.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(here(port));
    }
    let bad = || {
        let given = shown(text);
        format!(
            "`{given}` is not an address to listen at; write 127.0.0.1:8080, [::1]:8080, localhost:8080 or 8080 \
                (this machine only), 0.0.0.0:8080 (reached from everywhere)"
        )
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(here(port));
    }
    (host, port).to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(bad)
}

/// Reads such an address from a configuration.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Port(u16),
        Text(String),
    }
    let text = match Written::deserialize(from)? {
        Written::Port(port) => port.to_string(),
        Written::Text(text) => text,
    };
    listen_address(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::Config;

    #[rstest]
    #[case("127.0.0.1:8080", "127.0.0.1:8080")]
    #[case("[::1]:80", "[::1]:80")]
    #[case("0.0.0.0:8080", "0.0.0.0:8080")]
    #[case("localhost:8080", "127.0.0.1:8080")]
    #[case("8080", "127.0.0.1:8080")]
    #[case(":8080", "127.0.0.1:8080")]
    fn addresses(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(listen_address(text).unwrap().to_string(), expected);
        let config: Config = toml::from_str(&format!("serve.listen = '{text}'")).unwrap();
        assert_eq!(config.serve.listen.unwrap().to_string(), expected);
    }

    #[rstest]
    fn others_are_refused(#[values("", "localhost", "80800", "http://localhost:8080", "localhost:http")] text: &str
    ) {
        assert!(listen_address(text).unwrap_err().contains("localhost:8080"));
    }

    #[test]
    fn a_port_may_stand_alone() {
        let config: Config = toml::from_str("serve.listen = 8080").unwrap();
        assert_eq!(config.serve.listen.unwrap().to_string(), "127.0.0.1:8080");
        assert!(toml::from_str::<Config>("").unwrap().serve.listen.is_none());
    }
}
