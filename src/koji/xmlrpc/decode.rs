//! Decodes documents to values.

use std::collections::BTreeMap;

use base64::Engine as _;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::{Call, Fault, MAX_DEPTH, MAX_DOCUMENT, MAX_VALUES, Value, fault};
use crate::model::{Class, Classified};

/// Why a document cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum XmlRpcError {
    /// The document is too long, too deep, or has too many values.
    #[error("decode XML-RPC: more than {limit} {what}")]
    Bound {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The document is not UTF-8.
    #[error("decode XML-RPC: not UTF-8")]
    Encoding(#[source] std::str::Utf8Error),
    /// The document is not XML.
    #[error("decode XML-RPC: not XML near byte {offset}")]
    Syntax {
        /// Approximate offset, in bytes.
        offset: u64,
        /// The parser's error.
        #[source]
        source: Box<quick_xml::Error>,
    },
    /// The document is XML, but not XML-RPC.
    #[error("decode XML-RPC: expected {expected} near byte {offset}, found {found}")]
    Unexpected {
        /// Approximate offset, in bytes.
        offset: u64,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
}

impl Classified for XmlRpcError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

/// Decodes an answer: a value or a fault.
///
/// # Errors
/// Returns an [`XmlRpcError`] (rejected) if the document is not an answer, or exceeds a limit.
pub fn decode_response(document: &[u8]) -> Result<Result<Value, Fault>, XmlRpcError> {
    let mut parser = Parser::new(document)?;
    parser.start("methodResponse")?;
    match parser.any_start("params or fault")?.as_str() {
        "params" => {
            parser.start("param")?;
            parser.start("value")?;
            let value = parser.value(0)?;
            parser.ends(3)?;
            Ok(Ok(value))
        }
        "fault" => {
            parser.start("value")?;
            let value = parser.value(0)?;
            parser.ends(2)?;
            Ok(Err(fault(&value).ok_or_else(|| parser.unexpected("faultCode and faultString", "another struct"))?))
        }
        other => Err(parser.unexpected("params or fault", other)),
    }
}

/// Decodes a request.
///
/// # Errors
/// Returns an [`XmlRpcError`] (rejected) if the document is not a request, or exceeds a limit.
pub fn decode_request(document: &[u8]) -> Result<Call, XmlRpcError> {
    let mut parser = Parser::new(document)?;
    parser.start("methodCall")?;
    parser.start("methodName")?;
    let method = parser.text("a method name")?;
    let mut args = Vec::new();
    if parser.start_or_end("params")? {
        while parser.start_or_end("param")? {
            parser.start("value")?;
            args.push(parser.value(0)?);
            parser.ends(1)?;
        }
        parser.ends(1)?;
    }
    parser.end_of_document()?;
    Ok(Call::new(method, args))
}

/// The XML tokens that matter. Comments and the like are left out.
enum Token<'a> {
    Start(String),
    End,
    Text(std::borrow::Cow<'a, str>),
    Eof,
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    values: usize,
}

impl<'a> Parser<'a> {
    fn new(document: &'a [u8]) -> Result<Self, XmlRpcError> {
        if document.len() > MAX_DOCUMENT {
            return Err(XmlRpcError::Bound { what: "bytes", limit: MAX_DOCUMENT });
        }
        let text = std::str::from_utf8(document).map_err(XmlRpcError::Encoding)?;
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Ok(Self { reader, values: 0 })
    }

    fn unexpected(&self, expected: &'static str, found: &str) -> XmlRpcError {
        let found = found.chars().take(40).collect();
        XmlRpcError::Unexpected { offset: self.reader.buffer_position(), expected, found }
    }

    fn next(&mut self) -> Result<Token<'a>, XmlRpcError> {
        loop {
            let event = self.reader.read_event().map_err(|source| XmlRpcError::Syntax {
                offset: self.reader.error_position(),
                source: Box::new(source),
            })?;
            return Ok(match event {
                Event::Start(tag) => Token::Start(tag.local_name().as_ref().to_owned()),
                Event::End(_) => Token::End,
                Event::Text(text) => Token::Text(text.xml10_content()),
                Event::CData(text) => Token::Text(text.into_inner()),
                Event::GeneralRef(entity) => {
                    let c = match entity.resolve_char_ref() {
                        Ok(Some(c)) => Some(c),
                        _ => predefined(&entity.xml10_content()),
                    };
                    let c = c.ok_or_else(|| self.unexpected("a known entity", "another"))?;
                    Token::Text(c.to_string().into())
                }
                Event::Eof => Token::Eof,
                Event::DocType(_) => return Err(self.unexpected("a document without type declaration", "DOCTYPE")),
                // `expand_empty_elements` turns empty elements into a start and an end.
                Event::Empty(_) | Event::Comment(_) | Event::PI(_) | Event::Decl(_) => continue,
            });
        }
    }

    /// Returns the next token, skipping white space between elements.
    fn structure(&mut self, expected: &'static str) -> Result<Token<'a>, XmlRpcError> {
        loop {
            match self.next()? {
                Token::Text(text) if text.trim().is_empty() => (),
                Token::Text(text) => return Err(self.unexpected(expected, &text)),
                token => return Ok(token),
            }
        }
    }

    fn any_start(&mut self, expected: &'static str) -> Result<String, XmlRpcError> {
        match self.structure(expected)? {
            Token::Start(name) => Ok(name),
            Token::End | Token::Eof | Token::Text(_) => Err(self.unexpected(expected, "an end")),
        }
    }

    fn start(&mut self, name: &'static str) -> Result<(), XmlRpcError> {
        let found = self.any_start(name)?;
        if found == name { Ok(()) } else { Err(self.unexpected(name, &found)) }
    }

    /// Returns true at the start of an element of that name, and false at the end of the
    /// surrounding element.
    fn start_or_end(&mut self, name: &'static str) -> Result<bool, XmlRpcError> {
        match self.structure(name)? {
            Token::Start(found) if found == name => Ok(true),
            Token::Start(found) => Err(self.unexpected(name, &found)),
            Token::End => Ok(false),
            Token::Eof | Token::Text(_) => Err(self.unexpected(name, "the end of the document")),
        }
    }

    fn ends(&mut self, count: usize) -> Result<(), XmlRpcError> {
        for _ in 0..count {
            if !matches!(self.structure("the end of an element")?, Token::End) {
                return Err(self.unexpected("the end of an element", "something else"));
            }
        }
        Ok(())
    }

    fn end_of_document(&mut self) -> Result<(), XmlRpcError> {
        match self.structure("the end of the document")? {
            Token::End | Token::Eof => Ok(()),
            Token::Start(found) => Err(self.unexpected("the end of the document", &found)),
            Token::Text(text) => Err(self.unexpected("the end of the document", &text)),
        }
    }

    /// Returns the text up to the end of the current element.
    fn text(&mut self, expected: &'static str) -> Result<String, XmlRpcError> {
        let mut all = String::new();
        loop {
            match self.next()? {
                Token::Text(text) => all.push_str(&text),
                Token::End => return Ok(all),
                Token::Start(found) => return Err(self.unexpected(expected, &found)),
                Token::Eof => return Err(self.unexpected(expected, "the end of the document")),
            }
        }
    }

    fn number<T: std::str::FromStr>(&mut self, expected: &'static str) -> Result<T, XmlRpcError> {
        let text = self.text(expected)?;
        text.trim().parse().map_err(|_| self.unexpected(expected, &text))
    }

    /// Reads a value up to its end. Its `<value>` was just read.
    fn value(&mut self, depth: usize) -> Result<Value, XmlRpcError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(XmlRpcError::Bound { what: "values", limit: MAX_VALUES });
        }
        let mut bare = String::new();
        loop {
            match self.next()? {
                Token::Text(text) => bare.push_str(&text),
                Token::End => return Ok(Value::Text(bare)),
                Token::Eof => return Err(self.unexpected("a value", "the end of the document")),
                Token::Start(kind) if bare.trim().is_empty() => {
                    let value = self.typed(&kind, depth)?;
                    self.ends(1)?;
                    return Ok(value);
                }
                Token::Start(found) => return Err(self.unexpected("text alone or one element", &found)),
            }
        }
    }

    fn typed(&mut self, kind: &str, depth: usize) -> Result<Value, XmlRpcError> {
        match kind {
            "nil" => {
                self.ends(1)?;
                Ok(Value::Nil)
            }
            "int" | "i1" | "i2" | "i4" | "i8" => Ok(Value::Int(self.number("an integer")?)),
            "double" | "float" => Ok(Value::Double(self.number("a number")?)),
            "boolean" => match self.text("0 or 1")?.trim() {
                "1" | "true" => Ok(Value::Bool(true)),
                "0" | "false" => Ok(Value::Bool(false)),
                other => Err(self.unexpected("0 or 1", other)),
            },
            "string" | "dateTime.iso8601" => Ok(Value::Text(self.text("text")?)),
            "base64" => {
                let text: String = self.text("base64")?.split_ascii_whitespace().collect();
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                bytes.map(Value::Bytes).map_err(|error| self.unexpected("base64", &error.to_string()))
            }
            "array" | "struct" if depth >= MAX_DEPTH => Err(XmlRpcError::Bound { what: "levels", limit: MAX_DEPTH }),
            "array" => {
                let mut elements = Vec::new();
                if self.start_or_end("data")? {
                    while self.start_or_end("value")? {
                        elements.push(self.value(depth + 1)?);
                    }
                    self.ends(1)?;
                }
                Ok(Value::Array(elements))
            }
            "struct" => {
                let mut members = BTreeMap::new();
                while self.start_or_end("member")? {
                    self.start("name")?;
                    let name = self.text("a name")?;
                    self.start("value")?;
                    members.insert(name, self.value(depth + 1)?);
                    self.ends(1)?;
                }
                Ok(Value::Struct(members))
            }
            other => Err(self.unexpected("a type of XML-RPC", other)),
        }
    }
}

/// Returns the character of one of XML's five predefined entities.
fn predefined(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn value(inner: &str) -> Result<Value, XmlRpcError> {
        let document = format!(
            "<?xml version='1.0'?>\n<methodResponse><params><param>\n\
             <value>{inner}</value></param></params></methodResponse>\n"
        );
        decode_response(document.as_bytes()).map(Result::unwrap)
    }

    fn text(t: &str) -> Value {
        Value::Text(t.to_owned())
    }

    #[rstest]
    #[case::nil("<nil/>", Value::Nil)]
    #[case::nil_of_apache("<ex:nil xmlns:ex='x'></ex:nil>", Value::Nil)]
    #[case::int("<int>-7</int>", Value::Int(-7))]
    #[case::beyond_32_bits("<i8>1099511627776</i8>", Value::Int(1_099_511_627_776))]
    #[case::boolean("<boolean>1</boolean>", Value::Bool(true))]
    #[case::double("<double>1795164719.896991</double>", Value::Double(1_795_164_719.896_991))]
    #[case::empty("<string></string>", text(""))]
    #[case::short_empty("<string/>", text(""))]
    #[case::bare("plain text", text("plain text"))]
    #[case::bare_nothing("", text(""))]
    #[case::entities("<string>a &lt;b&gt; &amp; &#228;&#x20ac;</string>", text("a <b> & ä€"))]
    #[case::cdata("<string><![CDATA[a < b]]>c</string>", text("a < bc"))]
    #[case::white_space_counts("<string> a\n</string>", text(" a\n"))]
    #[case::time("<dateTime.iso8601>20260101T00:00:00</dateTime.iso8601>", text("20260101T00:00:00"))]
    #[case::base64("<base64>\naGVs\nbG8=\n</base64>", Value::Bytes(b"hello".to_vec()))]
    #[case::array("\n<array><data>\n<value>a</value><!-- c \
        --><value><int>1</int></value></data></array>\n", Value::Array(vec![text("a"), Value::Int(1)]))]
    #[case::structure(
        "<struct><member>\n<name>a</name>\n<value><nil/></value></member></struct>",
        Value::Struct([("a".to_owned(), Value::Nil)].into())
    )]
    fn values(#[case] xml: &str, #[case] expected: Value) {
        assert_eq!(value(xml).unwrap(), expected);
    }

    #[rstest]
    #[case::number("<int>x</int>")]
    #[case::unknown_type("<set/>")]
    #[case::two_elements("<int>1</int><int>2</int>")]
    #[case::text_beside("x<int>1</int>")]
    #[case::boolean("<boolean>2</boolean>")]
    #[case::base64("<base64>%%</base64>")]
    #[case::member_without_name("<struct><member><value/></member></struct>")]
    #[case::unknown_entity("<string>&nbsp;</string>")]
    #[case::cut("<array><data><value>")]
    fn malformed(#[case] xml: &str) {
        assert_eq!(value(xml).unwrap_err().class(), Class::Rejected);
    }

    #[rstest]
    #[case::html(b"<html><body>500</body></html>".as_slice())]
    #[case::empty(b"")]
    #[case::not_utf8(b"<methodResponse>\xff")]
    #[case::entity_bomb(b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><methodResponse/>")]
    fn not_answers(#[case] document: &[u8]) {
        assert!(decode_response(document).is_err());
        assert!(decode_request(document).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n| format!("{}{}", "<array><data><value>".repeat(n), "</value></data></array>".repeat(n));
        assert!(value(&nested(MAX_DEPTH)).is_ok());
        let Err(XmlRpcError::Bound { what: "levels", .. }) = value(&nested(MAX_DEPTH + 1)) else { panic!() };
        let open = "<array><data><value>".repeat(1_000_000);
        assert!(matches!(value(&open), Err(XmlRpcError::Bound { .. })));
    }

    #[test]
    fn faults_are_answers() {
        let document = "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>1000</int>\
                        </value></member><member><name>faultString</name><value><string>No such tag</string></value>\
                        </member></struct></value></fault></methodResponse>";
        let fault = decode_response(document.as_bytes()).unwrap().unwrap_err();
        assert_eq!(fault.to_string(), "fault 1000: No such tag");
    }

    #[test]
    fn requests_have_keywords() {
        let document = "<methodCall><methodName>getTag</methodName><params><param><value>f99</value></param><param>\
                        <value><struct><member><name>event</name><value><int>5</int></value></member>\
                        <member><name>__starstar</name><value><boolean>1</boolean></value></member></struct></value>\
                        </param></params></methodCall>";
        let call = decode_request(document.as_bytes()).unwrap();
        assert_eq!((call.method.as_str(), call.args), ("getTag", vec![text("f99")]));
        assert_eq!(call.kwargs, [("event".to_owned(), Value::Int(5))].into());
        let call = decode_request(b"<methodCall><methodName>hello</methodName></methodCall>").unwrap();
        assert_eq!((call.method.as_str(), call.args.len(), call.kwargs.len()), ("hello", 0, 0));
    }
}
