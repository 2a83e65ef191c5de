//! A pull reader of XML over quick-xml, with bounds. It drops the prefixes of element names and
//! resolves references in text.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};

use super::compression::is_bomb;
use super::encoding::ToUtf8;
use super::error::RepodataError;
use super::limits::Limits;

/// One event of the reader. An empty element gives [`Node::Open`] and [`Node::Close`].
pub(crate) enum Node<'a> {
    /// A start tag.
    Open(Tag<'a>),
    /// An end tag.
    Close,
    /// A piece of text. The text of one element may come in several pieces.
    Text(Cow<'a, str>),
    /// A comment, a declaration, or space around the root element.
    Other,
    /// The document is complete.
    End,
}

/// A start tag.
pub(crate) struct Tag<'a> {
    start: BytesStart<'a>,
}

impl Tag<'_> {
    /// Returns the name without namespace prefix. The prefixes in rpm-md are fixed by habit; their
    /// namespaces do not matter.
    pub(crate) fn name(&self) -> &str {
        self.start.local_name().into_inner()
    }

    /// Returns the attributes with their full names. A broken attribute is an error.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Result<(&str, Cow<'_, str>), String>> {
        self.start.attributes().map(|attribute| {
            let attribute = attribute.map_err(|e| e.to_string())?;
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|e| e.to_string())?;
            Ok((attribute.key.into_inner(), value))
        })
    }

    /// Returns one attribute by its full name.
    pub(crate) fn attribute(&self, name: &str) -> Result<Option<String>, String> {
        for attribute in self.attributes() {
            let (key, value) = attribute?;
            if key == name {
                return Ok(Some(value.into_owned()));
            }
        }
        Ok(None)
    }
}

/// The reader of one document. `file` names the input in errors.
pub(crate) struct Xml<'f, R> {
    reader: Reader<TokenGuard<ToUtf8<R>>>,
    buffer: Vec<u8>,
    depth: usize,
    roots: usize,
    limits: Limits,
    file: &'f str,
}

impl<'f, R: BufRead> Xml<'f, R> {
    pub(crate) fn new(input: R, file: &'f str, limits: &Limits) -> Self {
        let mut reader =
            Reader::from_reader(TokenGuard { inner: ToUtf8::new(input), used: 0, limit: limits.xml_token });
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new(), depth: 0, roots: 0, limits: *limits, file }
    }

    /// Returns the number of elements that are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Makes an error at the current position.
    pub(crate) fn error(&self, problem: impl Into<String>) -> RepodataError {
        RepodataError::Xml {
            file: self.file.to_owned(),
            offset: self.reader.buffer_position(),
            problem: problem.into(),
        }
    }

    /// Reads one event. After an error the reader must not be used any more.
    pub(crate) fn next(&mut self) -> Result<Node<'_>, RepodataError> {
        self.buffer.clear();
        self.reader.get_mut().used = 0;
        let offset = self.reader.buffer_position();
        let file = self.file;
        let fail = |problem: String| Err(RepodataError::Xml { file: file.to_owned(), offset, problem });
        let event = match self.reader.read_event_into(&mut self.buffer) {
            Ok(event) => event,
            Err(error) => return Err(xml_error(error, file, offset)),
        };
        match event {
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => Ok(Node::Other),
            // comps names its DTD; nothing reads it. Refuse a document type with declarations of
            // its own: entity bombs are made of those.
            Event::DocType(text) if !text.contains('[') => Ok(Node::Other),
            Event::DocType(_) => fail("a document type with declarations of its own is not accepted".to_owned()),
            Event::Start(start) | Event::Empty(start) => {
                self.depth += 1;
                self.roots += usize::from(self.depth == 1);
                if self.depth > self.limits.xml_depth {
                    return fail(format!("elements are nested deeper than {}", self.limits.xml_depth));
                }
                if self.roots > 1 {
                    return fail("a second root element".to_owned());
                }
                Ok(Node::Open(Tag { start }))
            }
            Event::End(_) => {
                self.depth -= 1;
                Ok(Node::Close)
            }
            Event::Text(text) if self.depth > 0 => Ok(Node::Text(text.xml10_content())),
            Event::CData(text) if self.depth > 0 => Ok(Node::Text(text.xml10_content())),
            Event::GeneralRef(reference) if self.depth > 0 => match reference.resolve_char_ref() {
                Ok(Some(c)) => Ok(Node::Text(Cow::Owned(c.to_string()))),
                Ok(None) => match resolve_xml_entity(&reference.xml10_content()) {
                    Some(text) => Ok(Node::Text(Cow::Borrowed(text))),
                    None => fail(format!("entity `&{};` is not known", reference.xml10_content())),
                },
                Err(error) => fail(error.to_string()),
            },
            Event::Text(text) if text.xml10_content().chars().all(|c| c.is_ascii_whitespace() || c == '\u{feff}') => {
                Ok(Node::Other)
            }
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
                fail("text outside the root element: this is not XML".to_owned())
            }
            Event::Eof if self.depth > 0 || self.roots == 0 => {
                fail("it ends before its last element does: it is cut short or not XML".to_owned())
            }
            Event::Eof => Ok(Node::End),
        }
    }

    /// Returns the text of the element just opened, up to its end tag. Elements inside are skipped
    /// with their text.
    pub(crate) fn text(&mut self) -> Result<String, RepodataError> {
        let depth = self.depth;
        let limit = self.limits.xml_token;
        let mut text = String::new();
        loop {
            let here = self.depth;
            match self.next()? {
                Node::Text(piece) => {
                    if here == depth {
                        if text.len() + piece.len() > limit {
                            return Err(self.error(format!("the text of an element is longer than {limit} bytes")));
                        }
                        text.push_str(&piece);
                    }
                }
                Node::Close if here == depth => return Ok(text),
                Node::End => return Err(self.error("it ends inside an element")),
                Node::Open(_) | Node::Close | Node::Other => {}
            }
        }
    }

    /// Skips the element just opened and everything in it.
    pub(crate) fn skip(&mut self) -> Result<(), RepodataError> {
        let depth = self.depth;
        while self.depth >= depth {
            if matches!(self.next()?, Node::End) {
                return Err(self.error("it ends inside an element"));
            }
        }
        Ok(())
    }

    /// Reads up to the start tag of the root element. Fails if that has another name.
    pub(crate) fn root(&mut self, wanted: &'static str) -> Result<(), RepodataError> {
        let file = self.file;
        loop {
            match self.next()? {
                Node::Open(tag) if tag.name() == wanted => return Ok(()),
                Node::Open(tag) => {
                    let problem = format!("its root element is <{}>, not <{wanted}>", tag.name());
                    return Err(RepodataError::Format { file: file.to_owned(), problem });
                }
                Node::Other => {}
                Node::Text(_) | Node::Close | Node::End => return Err(self.error("no root element")),
            }
        }
    }
}

fn xml_error(error: quick_xml::Error, file: &str, offset: u64) -> RepodataError {
    if let quick_xml::Error::Io(io) = &error {
        if let Some(limit) = is_bomb(io) {
            return RepodataError::Bomb { file: file.to_owned(), limit };
        }
        if io.get_ref().is_none_or(|inner| !inner.is::<TokenError>()) {
            let source = io::Error::new(io.kind(), io.to_string());
            return RepodataError::Damaged { file: file.to_owned(), source };
        }
    }
    RepodataError::Xml { file: file.to_owned(), offset, problem: error.to_string() }
}

/// Limits the bytes that quick-xml gets for one token, because quick-xml buffers a whole token.
struct TokenGuard<R> {
    inner: R,
    used: usize,
    limit: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("a tag, a comment or a text is longer than {limit} bytes")]
struct TokenError {
    limit: usize,
}

impl<R: BufRead> Read for TokenGuard<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for TokenGuard<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used > self.limit {
            return Err(io::Error::other(TokenError { limit: self.limit }));
        }
        let left = self.limit - self.used + 1;
        let bytes = self.inner.fill_buf()?;
        Ok(bytes.get(..left).unwrap_or(bytes))
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
        self.inner.consume(amount);
    }
}
