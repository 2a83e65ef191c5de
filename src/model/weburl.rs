//! Checks addresses to which browsers are sent.

/// Longest address of a Koji web interface, in bytes.
const WEBURL_BYTES_MAX: usize = 1_000;

/// An error for an address that cannot be a link to a Koji web interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "use `{0}` as the address of Koji's web pages: it must be http:// or https:// and a host, such as \
        https://koji.example.org/koji, without a login"
)]
pub struct BadWebUrl(String);

/// Checks whether browsers may be sent to an address: it leads to a host by HTTP, and contains no
/// password.
///
/// # Errors
/// Returns [`BadWebUrl`] if it does not.
pub fn check(weburl: &str) -> Result<(), BadWebUrl> {
    let rest = weburl.strip_prefix("https://").or_else(|| weburl.strip_prefix("http://"));
    let plain =
        weburl.len() <= WEBURL_BYTES_MAX && weburl.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    match plain && !host.is_empty() && !host.starts_with(':') && !host.contains('@') {
        true => Ok(()),
        false => Err(BadWebUrl(super::secrets::shown(weburl).chars().take(80).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_by_http() {
        for fine in
            ["https://koji.example.org/koji", "http://koji", "http://[2001:db8::1]:8080/koji/", "https://k/x?y=@"]
        {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        let long = format!("https://k/{}", "x".repeat(1_000));
        for bad in [
            "",
            "javascript:alert(1)",
            "koji.example.org",
            "https://",
            "https:///koji",
            "http://:80/",
            "HTTPS ://k",
            "ftp://k/",
            "//koji.example.org",
            "https://k/ x",
            "https://k/\u{202e}",
            "https://k/\"x",
            "https://user:s3cret@k/",
            &long,
        ] {
            let said = check(bad).unwrap_err().to_string();
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}
