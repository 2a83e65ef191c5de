//! Puts several calls into one request.
//!
//! `multiCall` takes one parameter, an array of `{methodName, params}`. It answers with an array in
//! the same order. A call that worked gives an array of one element, a call that failed gives a
//! fault struct. On the hub it is one transaction, and only a call that fails is rolled back. A
//! fault of the whole `multiCall` means that nothing was done.

use super::{Call, EncodeError, Fault, Value, fault};

/// The method that makes several calls.
pub const METHOD: &str = "multiCall";

/// Joins several calls into one.
///
/// # Errors
/// Returns [`EncodeError::Keyword`] if a keyword argument is called `__starstar`.
pub fn join(calls: &[Call]) -> Result<Call, EncodeError> {
    let one = |call: &Call| {
        let members = [("methodName", Value::from(call.method.as_str())), ("params", Value::Array(call.params()?))];
        Ok(Value::Struct(members.map(|(name, value)| (name.to_owned(), value)).into()))
    };
    let calls = calls.iter().map(one).collect::<Result<_, _>>()?;
    Ok(Call::new(METHOD.to_owned(), vec![Value::Array(calls)]))
}

/// Returns the calls in a `multiCall`. `None` if this is not a `multiCall`, or an element is not a
/// call.
pub fn split(call: &Call) -> Option<Vec<Call>> {
    let (METHOD, [Value::Array(calls)]) = (call.method.as_str(), call.args.as_slice()) else { return None };
    let one = |call: &Value| {
        let params = call.get("params").and_then(Value::as_array).unwrap_or_default();
        Some(Call::new(call.get("methodName")?.as_str()?.to_owned(), params.to_vec()))
    };
    calls.iter().map(one).collect()
}

/// Joins the answers to several calls into one.
pub fn join_answers(answers: Vec<Result<Value, Fault>>) -> Value {
    let one = |answer: Result<Value, Fault>| match answer {
        Ok(value) => Value::Array(vec![value]),
        Err(fault) => fault.to_value(),
    };
    Value::Array(answers.into_iter().map(one).collect())
}

/// Splits the answer to several calls into their answers, in order.
///
/// # Errors
/// Returns the number of the first element that is neither an answer nor a fault, or `None` if the
/// whole is not an array.
pub fn split_answers(answer: Value) -> Result<Vec<Result<Value, Fault>>, Option<usize>> {
    let Value::Array(elements) = answer else { return Err(None) };
    let one = |(number, element): (usize, Value)| match element {
        Value::Array(mut one) if one.len() == 1 => Ok(Ok(one.remove(0))),
        other => fault(&other).map(Err).ok_or(Some(number)),
    };
    elements.into_iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_go_together_and_apart() {
        let calls = vec![
            Call::new("getTag".to_owned(), vec!["f99".into()]).with("strict", true),
            Call::new("getLastEvent".to_owned(), Vec::new()),
        ];
        let one = join(&calls).unwrap();
        assert_eq!(split(&one), Some(calls));
        assert_eq!(split(&Call::new("getTag".to_owned(), Vec::new())), None);
    }

    #[test]
    fn each_answer_is_a_value_or_a_fault() {
        let answers = vec![
            Ok(Value::Nil),
            Err(Fault { code: 1000, message: "No such tag".to_owned() }),
            Ok(Value::Array(vec![])),
        ];
        assert_eq!(split_answers(join_answers(answers.clone())), Ok(answers));
        assert_eq!(split_answers(Value::Nil), Err(None));
        let strange = Value::Array(vec![Value::Array(vec![Value::Nil]), Value::Array(vec![])]);
        assert_eq!(split_answers(strange), Err(Some(1)));
    }
}
