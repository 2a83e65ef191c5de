//! Fetches the beginning of a file, as far as it is needed.

use reqwest::header::{ETAG, HeaderValue, IF_RANGE, RANGE, TRANSFER_ENCODING};
use reqwest::{Response, StatusCode, Url};

use super::error::{FetchError, Trouble};
use super::fetch::{Attempt, Failure, Fetcher};
use super::response::content_range;

/// The result of parsing the beginning of a file.
pub(super) enum Step<T> {
    /// The beginning was enough.
    Done(T),
    /// At least this number of bytes from the beginning is needed. The error applies if the file is
    /// shorter.
    Needs(u64, FetchError),
}

/// The beginning of a file that is being fetched. `parse` looks at the bytes each time as many have
/// arrived as it asked for.
pub(super) struct Prefix<F> {
    url: Url,
    bytes: Vec<u8>,
    want: u64,
    limit: u64,
    /// The entity tag of the version of which we have the beginning.
    tag: Option<HeaderValue>,
    parse: F,
}

impl<F> Prefix<F> {
    /// Asks for `want` bytes at first, and never for more than `limit`.
    pub(super) fn new(url: Url, want: u64, limit: u64, parse: F) -> Self {
        Self { url, bytes: Vec::new(), want: want.min(limit), limit, tag: None, parse }
    }

    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// A response that is being read.
struct Answer {
    response: Response,
    /// Whether the response has the whole file, not only the range asked for.
    whole: bool,
    /// Where the file ends, if known.
    end: Option<u64>,
    /// Whether a response that ends too early is noticed.
    framed: bool,
}

impl<F> Prefix<F> {
    /// Asks for the bytes up to `want` that are still missing. Returns `None` if the file ends
    /// here.
    async fn ask(&mut self, fetcher: &Fetcher) -> Result<Option<Answer>, Failure> {
        let request = fetcher.get(&self.url).header(RANGE, format!("bytes={}-{}", self.length(), self.want - 1));
        let request = match &self.tag {
            Some(tag) if !self.bytes.is_empty() => request.header(IF_RANGE, tag.clone()),
            _ => request,
        };
        let response = fetcher.send(&self.url, request).await?;
        let range = content_range(response.headers());
        let tag = response.headers().get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")).cloned();
        match response.status() {
            // The whole file: the server does not support ranges, or the file has changed.
            StatusCode::OK => {
                self.bytes.clear();
                self.tag = tag;
                let end = response.content_length();
                let framed = end.is_some() || response.headers().contains_key(TRANSFER_ENCODING);
                Ok(Some(Answer { response, whole: true, end, framed }))
            }
            StatusCode::PARTIAL_CONTENT => {
                let same = self.bytes.is_empty() || self.tag == tag;
                let fits = range.and_then(|r| r.bytes).is_some_and(|(first, _)| first == self.length());
                if !same || !fits {
                    self.bytes.clear();
                    return Err(Trouble::Changed("the server sends another range, or has another file").into());
                }
                self.tag = tag;
                // If a server returns less than asked for and does not say how long the file is, it
                // has returned everything.
                let end = range.and_then(|r| r.total.or(r.bytes.map(|b| b.1).filter(|end| *end < self.want)));
                Ok(Some(Answer { response, whole: false, end, framed: true }))
            }
            _ => Ok(None),
        }
    }

    /// Reads bytes until there are enough. Returns `false` if the body ended before.
    async fn take(&mut self, fetcher: &Fetcher, response: &mut Response) -> Result<bool, Failure> {
        while self.length() < self.want {
            match fetcher.chunk(response, 0).await? {
                // At most one piece more than wanted.
                Some(bytes) => self.bytes.extend_from_slice(bytes.as_ref()),
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl<T, F> Attempt for Prefix<F>
where
    T: Send,
    F: FnMut(&[u8]) -> Result<Step<T>, FetchError> + Send,
{
    type Done = T;

    fn url(&self) -> &Url {
        &self.url
    }

    async fn run(&mut self, fetcher: &Fetcher) -> Result<T, Failure> {
        let mut answer: Option<Answer> = None;
        loop {
            if self.length() >= self.want {
                match (self.parse)(&self.bytes)? {
                    Step::Done(done) => return Ok(done),
                    Step::Needs(more, _) if more > self.limit => {
                        return Err(FetchError::TooLarge { from: self.url.to_string(), limit: self.limit }.into());
                    }
                    // Always asks for more than there is, so that the loop ends.
                    Step::Needs(more, _) => self.want = more.max(self.length() + 1),
                }
                continue;
            }
            let mut current = match answer.take() {
                Some(current) => current,
                None => match self.ask(fetcher).await? {
                    Some(new) => new,
                    None => return self.at_the_end(true),
                },
            };
            if self.take(fetcher, &mut current.response).await? {
                // A range ends here. A further request gets what else is needed.
                answer = current.whole.then_some(current);
                continue;
            }
            let got = self.length();
            return match current.end {
                Some(expected) if got < expected => Err(Trouble::Cut { got, expected }.into()),
                _ => self.at_the_end(current.framed),
            };
        }
    }
}

impl<T, F: FnMut(&[u8]) -> Result<Step<T>, FetchError>> Prefix<F> {
    /// Handles the end of the file. `certain` is false if the connection may have broken unnoticed.
    fn at_the_end(&mut self, certain: bool) -> Result<T, Failure> {
        match (self.parse)(&self.bytes)? {
            Step::Done(done) => Ok(done),
            Step::Needs(_, error) if certain => Err(error.into()),
            Step::Needs(expected, _) => Err(Trouble::Cut { got: self.length(), expected }.into()),
        }
    }
}
