//! Forms that change something: their bounds, and that they come from our own pages.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::response::Redirect;

use super::settings::LoginSettings;
use super::who::{By, Identity};
use crate::base::secret;
use crate::web::refusal::Refusal;

/// Largest form, in bytes.
pub(super) const FORM_BYTES_MAX: usize = 16 << 10;

/// Checks that a form was sent from one of our own pages, as far as the browser says. Browsers send
/// `Sec-Fetch-Site` or `Origin` with every form.
///
/// # Errors
/// Refuses forms of other sites.
pub(super) fn is_ours(headers: &HeaderMap, settings: &LoginSettings) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let elsewhere = || Refusal::Forbidden("the form was sent from another site".to_owned());
    match (text("sec-fetch-site"), text("origin"), text("host")) {
        (Some("same-origin" | "none"), ..) => Ok(()),
        (Some(_), ..) => Err(elsewhere()),
        (None, Some(origin), host) => {
            let of_host = |host: &str| origin.split_once("://").is_some_and(|(_, rest)| rest == host);
            let is_own = settings.url.as_deref() == Some(origin) || host.is_some_and(of_host);
            is_own.then_some(()).ok_or_else(elsewhere)
        }
        // A program. It has no cookies that somebody could misuse.
        (None, None, _) => Ok(()),
    }
}

/// Checks the mark that a form of a session carries. Only our own pages know it.
///
/// # Errors
/// Refuses everybody who is not known by a session, and a form of another session.
pub(super) fn is_of_session(identity: &Identity, mark: &str) -> Result<(), Refusal> {
    match identity.person().map(|p| &p.by) {
        Some(By::Session { form, .. }) if secret::same(form, mark) => Ok(()),
        Some(By::Session { .. }) => {
            Err(Refusal::Forbidden("the form is of another login; open the page again".to_owned()))
        }
        _ => Err(Refusal::Forbidden("only who is logged in with a browser may do that; log in first".to_owned())),
    }
}

/// Returns where to go on after a login: an address within the site, or the account.
pub(super) fn within(next: &str) -> String {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.starts_with("/login");
    let is_plain = next.len() <= 2_000 && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_path && is_plain { next.to_owned() } else { "/account".to_owned() }
}

/// Sends a browser on. The response is for this browser only.
pub(super) fn go(to: &str, cookies: &[String]) -> Response<Body> {
    let mut response = Redirect::to(to).into_response();
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    debug_assert_eq!(response.status(), StatusCode::SEE_OTHER);
    response
}

/// Writes a cookie that no script and no other site can read. Without a value, it deletes it.
pub(super) fn cookie(name: &str, value: Option<&str>, seconds: i64, settings: &LoginSettings) -> String {
    let (value, seconds) = value.map_or(("", 0), |value| (value, seconds));
    let secure = if settings.is_secure() { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/package/curl?collection=f99", "/package/curl?collection=f99")]
    #[case("", "/account")]
    #[case("//evil.example", "/account")]
    #[case("/\\evil.example", "/account")]
    #[case("https://evil.example", "/account")]
    #[case("javascript:alert(1)", "/account")]
    #[case("/a\r\nSet-Cookie: x", "/account")]
    #[case("/login?next=/", "/account")]
    fn a_login_leads_nowhere_else(#[case] next: &str, #[case] expected: &str) {
        assert_eq!(within(next), expected);
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        let settings =
            LoginSettings { url: Some("https://koschei.example.org".to_owned()), ..LoginSettings::default() };
        let sent = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            is_ours(&headers, &settings).is_ok()
        };
        assert!(sent(&[("sec-fetch-site", "same-origin"), ("origin", "https://koschei.example.org")]));
        assert!(!sent(&[("sec-fetch-site", "cross-site"), ("origin", "https://koschei.example.org")]));
        assert!(!sent(&[("sec-fetch-site", "same-site")]));
        assert!(sent(&[("origin", "https://koschei.example.org")]));
        assert!(sent(&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")]));
        assert!(!sent(&[("origin", "https://evil.example"), ("host", "koschei.example.org")]));
        assert!(!sent(&[("origin", "null"), ("host", "koschei.example.org")]));
    }
}
