//! Encodes values to documents.
//!
//! The encoder writes what Koji's hub accepts and writes itself: `<int>` within 32 bits, `<i8>`
//! beyond, `<nil/>`, and typed strings. What XML cannot represent (control characters, infinite
//! floats) is an error that names the place.

use std::fmt::Write as _;

use base64::Engine as _;

use super::{Call, Fault, MAX_DEPTH, MAX_DOCUMENT, MAX_VALUES, STARSTAR, Value};
use crate::model::{Class, Classified};

/// Why a value cannot be encoded.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// A text has a character that XML cannot represent.
    #[error("encode XML-RPC: {path} has the character U+{character:04X}, which XML cannot carry")]
    Character {
        /// The place: numbers of parameters and elements, names of members.
        path: String,
        /// The character.
        character: u32,
    },
    /// A float is infinite or not a number.
    #[error("encode XML-RPC: {path} is {number}, which XML-RPC cannot carry")]
    NotFinite {
        /// The place.
        path: String,
        /// The float.
        number: f64,
    },
    /// A keyword argument has the name that marks keyword arguments.
    #[error("encode XML-RPC: no keyword argument can be called `__starstar`")]
    Keyword,
    /// The document would be too long, too deep or have too many values.
    #[error("encode XML-RPC: more than {limit} {what}")]
    Bound {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl Classified for EncodeError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl EncodeError {
    /// Returns the same error, seen from one level further out.
    fn within(mut self, step: impl FnOnce() -> String) -> Self {
        if let Self::Character { path, .. } | Self::NotFinite { path, .. } = &mut self {
            *path = format!("{}{path}", step());
        }
        self
    }
}

/// Encodes a request. Keyword arguments become a last struct with a true `__starstar`. Decoding
/// returns an equal call.
///
/// # Errors
/// Returns an [`EncodeError`] (rejected) if a value cannot be encoded. The document may have up to
/// [`MAX_DOCUMENT`] bytes. A hub accepts fewer.
pub fn encode_request(call: &Call) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::default();
    writer.raw("<?xml version='1.0'?>\n<methodCall><methodName>");
    writer.text(&call.method).map_err(|e| e.within(|| "the method name".to_owned()))?;
    writer.raw("</methodName><params>");
    for (number, parameter) in call.params()?.iter().enumerate() {
        writer.raw("<param>");
        writer.value(parameter, 0).map_err(|e| e.within(|| format!("parameter {number}")))?;
        writer.raw("</param>");
    }
    writer.raw("</params></methodCall>\n");
    writer.finish()
}

/// Encodes an answer, a value or a fault, like a hub.
///
/// # Errors
/// Returns an [`EncodeError`] (rejected) if a value cannot be encoded.
pub fn encode_response(answer: &Result<Value, Fault>) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::default();
    writer.raw("<?xml version='1.0'?>\n<methodResponse>");
    let top = |e: EncodeError| e.within(|| "the answer".to_owned());
    match answer {
        Ok(value) => {
            writer.raw("<params><param>");
            writer.value(value, 0).map_err(top)?;
            writer.raw("</param></params>");
        }
        Err(fault) => {
            writer.raw("<fault>");
            writer.value(&fault.to_value(), 0).map_err(top)?;
            writer.raw("</fault>");
        }
    }
    writer.raw("</methodResponse>\n");
    writer.finish()
}

impl Call {
    /// Returns the parameters as they are sent. This is the inverse of [`Call::new`].
    ///
    /// # Errors
    /// Returns [`EncodeError::Keyword`] if a keyword argument is called `__starstar`.
    pub fn params(&self) -> Result<Vec<Value>, EncodeError> {
        if self.kwargs.contains_key(STARSTAR) {
            return Err(EncodeError::Keyword);
        }
        let mut params = self.args.clone();
        // If the last positional argument looks like keywords, an empty struct of keywords must
        // follow it. Otherwise it would be taken for keywords.
        if !self.kwargs.is_empty() || params.last().is_some_and(Value::is_keywords) {
            let mut members = self.kwargs.clone();
            members.insert(STARSTAR.to_owned(), Value::Bool(true));
            params.push(Value::Struct(members));
        }
        Ok(params)
    }
}

#[derive(Default)]
struct Writer {
    out: String,
    values: usize,
}

impl Writer {
    fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn finish(self) -> Result<Vec<u8>, EncodeError> {
        self.check_size()?;
        Ok(self.out.into_bytes())
    }

    fn check_size(&self) -> Result<(), EncodeError> {
        if self.out.len() > MAX_DOCUMENT {
            return Err(EncodeError::Bound { what: "bytes", limit: MAX_DOCUMENT });
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), EncodeError> {
        for c in text.chars() {
            match c {
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '&' => self.raw("&amp;"),
                // An XML parser would turn a plain carriage return into a line feed.
                '\r' => self.raw("&#13;"),
                '\t' | '\n' => self.out.push(c),
                '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {
                    return Err(EncodeError::Character { path: String::new(), character: c.into() });
                }
                _ => self.out.push(c),
            }
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), EncodeError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(EncodeError::Bound { what: "values", limit: MAX_VALUES });
        }
        self.check_size()?;
        self.raw("<value>");
        match value {
            Value::Nil => self.raw("<nil/>"),
            Value::Bool(b) => self.raw(if *b { "<boolean>1</boolean>" } else { "<boolean>0</boolean>" }),
            Value::Int(n) if i32::try_from(*n).is_ok() => self.number("int", n),
            Value::Int(n) => self.number("i8", n),
            // `{:?}` writes the fewest digits that represent the number exactly.
            Value::Double(d) if d.is_finite() => self.number("double", &format_args!("{d:?}")),
            Value::Double(d) => return Err(EncodeError::NotFinite { path: String::new(), number: *d }),
            Value::Text(text) => {
                self.raw("<string>");
                self.text(text)?;
                self.raw("</string>");
            }
            Value::Bytes(bytes) => {
                self.raw("<base64>");
                base64::engine::general_purpose::STANDARD.encode_string(bytes, &mut self.out);
                self.raw("</base64>");
            }
            Value::Array(_) | Value::Struct(_) if depth >= MAX_DEPTH => {
                return Err(EncodeError::Bound { what: "levels", limit: MAX_DEPTH });
            }
            Value::Array(elements) => {
                self.raw("<array><data>");
                for (number, element) in elements.iter().enumerate() {
                    self.value(element, depth + 1).map_err(|e| e.within(|| format!("[{number}]")))?;
                }
                self.raw("</data></array>");
            }
            Value::Struct(members) => {
                self.raw("<struct>");
                for (name, member) in members {
                    self.raw("<member><name>");
                    let step = || format!(".{}", name.escape_default());
                    self.text(name).map_err(|e| e.within(step))?;
                    self.raw("</name>");
                    self.value(member, depth + 1).map_err(|e| e.within(step))?;
                    self.raw("</member>");
                }
                self.raw("</struct>");
            }
        }
        self.raw("</value>");
        Ok(())
    }

    fn number(&mut self, kind: &str, number: &dyn std::fmt::Display) {
        write!(self.out, "<{kind}>{number}</{kind}>").expect("writing to a `String` cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::super::{decode_request, decode_response};
    use super::*;

    fn round(value: &Value) -> Value {
        decode_response(&encode_response(&Ok(value.clone())).unwrap()).unwrap().unwrap()
    }

    #[rstest]
    #[case::nil(Value::Nil, "<nil/>")]
    #[case::largest_int(Value::Int(2_147_483_647), "<int>2147483647</int>")]
    #[case::smallest_int(Value::Int(-2_147_483_648), "<int>-2147483648</int>")]
    #[case::beyond(Value::Int(2_147_483_648), "<i8>2147483648</i8>")]
    #[case::far_beyond(Value::Int(i64::MIN), "<i8>-9223372036854775808</i8>")]
    #[case::bool(Value::Bool(true), "<boolean>1</boolean>")]
    #[case::double(Value::Double(1_795_164_719.896_991), "<double>1795164719.896991</double>")]
    #[case::whole_double(Value::Double(3.0), "<double>3.0</double>")]
    #[case::text(Value::from("a <b> & \"c\" ä€\r\n\t"), "<string>a &lt;b&gt; &amp; \"c\" ä€&#13;\n\t</string>")]
    #[case::cdata_end(Value::from("]]>"), "<string>]]&gt;</string>")]
    #[case::bytes(Value::Bytes(b"hello".to_vec()), "<base64>aGVsbG8=</base64>")]
    fn values_are_written_as_the_hub_takes_them(#[case] value: Value, #[case] expected: &str) {
        let written = String::from_utf8(encode_response(&Ok(value.clone())).unwrap()).unwrap();
        assert!(written.contains(&format!("<value>{expected}</value>")), "{written}");
        assert_eq!(round(&value), value);
    }

    #[rstest]
    #[case::escape("a\u{1b}[0m", 0x1b)]
    #[case::nul("\0", 0)]
    #[case::not_a_character("\u{fffe}", 0xfffe)]
    fn what_xml_cannot_carry_is_refused_and_named(#[case] text: &str, #[case] character: u32) {
        let inner = Value::Struct([("opts".to_owned(), Value::Array(vec![Value::Nil, text.into()]))].into());
        let error = encode_request(&Call::new("build".to_owned(), vec![Value::Nil, inner])).unwrap_err();
        assert_eq!(error, EncodeError::Character { path: "parameter 1.opts[1]".to_owned(), character });
        let member = Value::Struct([(text.to_owned(), Value::Nil)].into());
        assert!(matches!(encode_response(&Ok(member)), Err(EncodeError::Character { .. })));
        assert!(encode_request(&Call::new(text.to_owned(), Vec::new())).is_err());
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(encode_response(&Ok(Value::Double(number))), Err(EncodeError::NotFinite { .. })));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n| (0..n).fold(Value::Nil, |inner, _| Value::Array(vec![inner]));
        assert_eq!(round(&nested(MAX_DEPTH)), nested(MAX_DEPTH));
        let deep = encode_response(&Ok(nested(MAX_DEPTH + 1)));
        assert_eq!(deep, Err(EncodeError::Bound { what: "levels", limit: MAX_DEPTH }));
    }

    #[test]
    fn keywords_come_last_and_are_marked() {
        let call = Call::new("getTag".to_owned(), vec!["f99".into()]).with("event", 5).with("strict", true);
        let written = String::from_utf8(encode_request(&call).unwrap()).unwrap();
        assert!(written.contains("<member><name>__starstar</name><value><boolean>1</boolean></value></member>"));
        assert_eq!(decode_request(written.as_bytes()).unwrap(), call);
        let call = call.with(STARSTAR, 1);
        assert_eq!(encode_request(&call), Err(EncodeError::Keyword));
    }

    #[test]
    fn a_last_argument_that_looks_like_keywords_stays_an_argument() {
        let alike = Value::Struct([(STARSTAR.to_owned(), Value::Bool(true))].into());
        let call = Call { method: "m".to_owned(), args: vec![alike], kwargs: [].into() };
        assert_eq!(decode_request(&encode_request(&call).unwrap()).unwrap(), call);
    }

    #[test]
    fn faults_are_written_as_faults() {
        let fault = Fault { code: 1014, message: "server is <offline>".to_owned() };
        let answer = Err(fault);
        assert_eq!(decode_response(&encode_response(&answer).unwrap()).unwrap(), answer);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = proptest::collection::vec(any::<char>(), 0..8).prop_map(|chars| {
            let fit =
                |c: &char| !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
            chars.into_iter().filter(fit).collect::<String>()
        });
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter("finite", |d| d.is_finite()).prop_map(Value::Double),
            text.clone().prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                proptest::collection::btree_map(text.clone(), inner, 0..6).prop_map(Value::Struct),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in any_value()) {
            prop_assert_eq!(round(&value), value);
        }
    }
}
