//! What a response says besides its status: when to ask again, and which part of a file it has; and
//! whether there is none because the server is not trusted.

use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, DATE, HeaderMap, RETRY_AFTER};

/// Checks whether a connection failed because of the server's certificate.
pub(super) fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return matches!(tls, rustls::Error::InvalidCertificate(_));
        }
        // The `source` of an I/O error skips the error that it wraps, so `get_ref` is needed.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// Returns the pause that the server asks for. The header has seconds or a time. A time is measured
/// from the server's own clock (`Date`).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp());
    let until = time(value)?.duration_since(time(text(DATE)?)?);
    Some(until.try_into().unwrap_or(Duration::ZERO))
}

/// The content of a `Content-Range` header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ContentRange {
    /// First byte, and the one after the last. `None` if the range cannot be served.
    pub(super) bytes: Option<(u64, u64)>,
    /// Length of the file, if known.
    pub(super) total: Option<u64>,
}

/// Reads `Content-Range: bytes FIRST-LAST/TOTAL`. A `*` stands for an unknown part.
pub(super) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let (range, total) = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    if range == "*" {
        return Some(ContentRange { bytes: None, total });
    }
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let end = last.checked_add(1)?;
    (first <= last && total.is_none_or(|t| end <= t)).then_some(ContentRange { bytes: Some((first, end)), total })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn headers(pairs: &[(reqwest::header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn range(bytes: Option<(u64, u64)>, total: Option<u64>) -> Option<ContentRange> {
        Some(ContentRange { bytes, total })
    }

    #[rstest]
    #[case("bytes 0-9/10", range(Some((0, 10)), Some(10)))]
    #[case("bytes 5-9/*", range(Some((5, 10)), None))]
    #[case("bytes */10", range(None, Some(10)))]
    #[case("bytes 5-4/10", None)]
    #[case("bytes 5-10/10", None)]
    #[case("bytes 5-18446744073709551615/*", None)]
    #[case("bytes x-9/10", None)]
    #[case("0-9/10", None)]
    fn ranges(#[case] text: &'static str, #[case] expected: Option<ContentRange>) {
        assert_eq!(content_range(&headers(&[(CONTENT_RANGE, text)])), expected);
    }

    #[rstest]
    #[case("120", None, Some(120))]
    #[case(" 7 ", None, Some(7))]
    #[case("Wed, 21 Oct 2015 07:28:00 GMT", Some("Wed, 21 Oct 2015 07:27:30 GMT"), Some(30))]
    #[case("Wed, 21 Oct 2015 07:28:00 GMT", Some("Wed, 21 Oct 2015 07:29:30 GMT"), Some(0))]
    #[case("Wed, 21 Oct 2015 07:28:00 GMT", None, None)]
    #[case("-3", None, None)]
    #[case("soon", None, None)]
    fn when_to_ask_again(
        #[case] value: &'static str,
        #[case] date: Option<&'static str>,
        #[case] seconds: Option<u64>,
    ) {
        let mut all = headers(&[(RETRY_AFTER, value)]);
        if let Some(date) = date {
            all.insert(DATE, HeaderValue::from_static(date));
        }
        assert_eq!(retry_after(&all), seconds.map(Duration::from_secs));
    }
}
