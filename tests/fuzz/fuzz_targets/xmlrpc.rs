//! Parses any bytes as XML-RPC. The parser returns a result or an error and never panics. A parsed
//! value, written and parsed again, is the same. Reading Koji's records from the value never
//! panics.
#![no_main]

use koschei::koji::records::{BuildRequest, History, Repo, Rpm, Tag, TaggedBuild, Task, TaskResult, TaskTree};
use koschei::koji::shape::FromValue;
use koschei::koji::xmlrpc::{
    EncodeError, Value, decode_request, decode_response, encode_request, encode_response, multi,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(answer) = decode_response(input) {
        if let Some(document) = written(encode_response(&answer)) {
            assert_eq!(decode_response(&document).unwrap(), answer);
        }
        if let Ok(value) = answer {
            records(&value);
            if let Ok(answers) = multi::split_answers(value) {
                assert_eq!(multi::split_answers(multi::join_answers(answers.clone())), Ok(answers));
            }
        }
    }
    if let Ok(call) = decode_request(input) {
        if let Some(document) = written(encode_request(&call)) {
            assert_eq!(decode_request(&document).unwrap(), call);
        }
        let _ = BuildRequest::of(&call.args);
        if let Some(calls) = multi::split(&call) {
            assert_eq!(multi::split(&multi::join(&calls).unwrap()), Some(calls));
        }
    }
});

/// Returns the encoded document, or `None` if it holds a value that our lenient parser accepts and
/// XML cannot carry. Panics on any other error.
fn written(document: Result<Vec<u8>, EncodeError>) -> Option<Vec<u8>> {
    match document {
        Ok(document) => Some(document),
        Err(EncodeError::Character { .. } | EncodeError::NotFinite { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

fn records(value: &Value) {
    let _ = (Vec::<TaggedBuild>::from_value(value), Option::<Task>::from_value(value), TaskTree::from_value(value));
    let _ = (History::from_value(value), Repo::from_value(value), TaskResult::from_value(value));
    let _ = (Vec::<Rpm>::from_value(value), Option::<Tag>::from_value(value));
}
