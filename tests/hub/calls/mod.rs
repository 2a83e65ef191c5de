//! The calls that the hub answers: binding of arguments like in Python, the table of methods,
//! `multiCall`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use koschei::koji::xmlrpc::{Call, Value};

use super::fault::Fault;
use super::tx::Tx;
use super::value::{V, row};

pub mod builds;
pub mod change;
pub mod common;
pub mod history;
pub mod hosts;
pub mod repos;
pub mod rpms;
pub mod tags;
pub mod tasks;
pub mod users;

/// Arguments by name. A missing argument is nil.
pub struct Args {
    values: BTreeMap<String, V>,
    pub rest: Vec<V>,
}

impl Args {
    pub fn get(&self, name: &str) -> &V {
        self.values.get(name).unwrap_or(&V::Nil)
    }

    /// Checks whether an argument was given and is not nil.
    pub fn has(&self, name: &str) -> bool {
        *self.get(name) != V::Nil
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name).as_int()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).as_str()
    }

    pub fn truth(&self, name: &str) -> bool {
        self.get(name).truth()
    }

    /// Returns a flag that is true unless it was given as false.
    pub fn not_false(&self, name: &str) -> bool {
        !self.has(name) || self.truth(name)
    }

    pub fn event(&self) -> Option<i64> {
        self.int("event")
    }

    /// Returns a time given in seconds since 1970, in microseconds.
    #[allow(clippy::cast_possible_truncation, reason = "times fit")]
    pub fn time(&self, name: &str) -> Option<i64> {
        common::seconds(self.get(name))
    }
}

type Method = fn(&mut Tx<'_>, &Args) -> Result<V, Fault>;

/// A call: its name, the Python function it calls, its parameters (`=`: optional, `*`: any number),
/// and its implementation.
pub struct Entry(&'static str, &'static str, &'static str, Method);

/// Makes a table of calls: `entries! { "name" as "python": "params" => function; }`
macro_rules! entries {
    ($($name:literal as $python:literal: $params:literal => $method:expr;)*) => {
        &[$($crate::hub::calls::entry($name, $python, $params, $method)),*]
    };
}
pub(crate) use entries;

pub const fn entry(name: &'static str, python: &'static str, params: &'static str, method: Method) -> Entry {
    Entry(name, python, params, method)
}

static TABLE: LazyLock<BTreeMap<&'static str, &'static Entry>> = LazyLock::new(|| {
    let parts = [
        users::CALLS,
        tags::CALLS,
        builds::CALLS,
        rpms::CALLS,
        history::CALLS,
        hosts::CALLS,
        tasks::CALLS,
        repos::CALLS,
        change::CALLS,
    ];
    parts.into_iter().flatten().map(|e| (e.0, e)).collect()
});

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Binds arguments to parameters, with Python's error texts.
fn bind(entry: &Entry, args: Vec<V>, kwargs: Vec<(String, V)>) -> Result<Args, Fault> {
    let python = entry.1;
    let params: Vec<(&str, bool)> =
        entry.2.split_whitespace().map(|p| p.strip_suffix('=').map_or((p, false), |p| (p, true))).collect();
    let mut bound = Args { values: BTreeMap::new(), rest: Vec::new() };
    let variadic = params.last().is_some_and(|(name, _)| *name == "*");
    if variadic {
        bound.rest = args;
        bound.values = kwargs.into_iter().collect();
        return Ok(bound);
    }
    if args.len() > params.len() {
        let (own, needed) = (params.len(), params.iter().filter(|(_, optional)| !optional).count());
        let takes = if needed == own { own.to_string() } else { format!("from {needed} to {own}") };
        let were = if args.len() == 1 { "was" } else { "were" };
        let text =
            format!("{python}() takes {takes} positional argument{} but {} {were} given", plural(own), args.len());
        return Err(Fault::parameter(text));
    }
    for ((name, _), value) in params.iter().zip(args) {
        bound.values.insert((*name).to_owned(), value);
    }
    for (name, value) in kwargs {
        if !params.iter().any(|(p, _)| *p == name) {
            return Err(Fault::parameter(format!("{python}() got an unexpected keyword argument '{name}'")));
        }
        if bound.values.insert(name.clone(), value).is_some() {
            return Err(Fault::parameter(format!("{python}() got multiple values for argument '{name}'")));
        }
    }
    let missing: Vec<String> =
        params.iter().filter(|(p, o)| !o && !bound.values.contains_key(*p)).map(|(p, _)| format!("'{p}'")).collect();
    if missing.is_empty() {
        return Ok(bound);
    }
    let names = match missing.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    };
    let text =
        format!("{python}() missing {} required positional argument{}: {names}", missing.len(), plural(missing.len()));
    Err(Fault::parameter(text))
}

/// Answers a single call that is not a `multiCall`.
pub fn dispatch(tx: &mut Tx<'_>, call: &Call) -> Result<V, Fault> {
    let entry = TABLE.get(call.method.as_str()).filter(|e| !e.0.starts_with("repo.") || tx.settings.has_repo_calls());
    let Some(entry) = entry else {
        return Err(Fault::generic(format!("Invalid method: {}", call.method)));
    };
    let given = || call.args.iter().chain(call.kwargs.values());
    let is = |v: &Value, text: &str| v.as_str() == Some(text) || v.as_int().is_some_and(|n| n.to_string() == text);
    if tx.settings.broken.iter().any(|(method, text)| *method == call.method && given().any(|v| is(v, text))) {
        return Err(Fault { code: 1, message: "<class 'IndexError'>: list index out of range".to_owned() });
    }
    let args = call.args.iter().map(V::from).collect();
    let kwargs = call.kwargs.iter().map(|(n, v)| (n.clone(), V::from(v))).collect();
    let args = bind(entry, args, kwargs)?;
    tx.new_call();
    (entry.3)(tx, &args)
}

/// Answers an element of a `multiCall`.
pub fn element(tx: &mut Tx<'_>, call: &Call) -> Result<V, Fault> {
    match &tx.settings.element_fault {
        Some((method, code, message)) if *method == call.method => Err(Fault { code: *code, message: message.clone() }),
        _ => dispatch(tx, call),
    }
}

/// Returns the arguments that were given by name.
pub fn keywords(call: &Call) -> Args {
    Args { values: call.kwargs.iter().map(|(n, v)| (n.clone(), V::from(v))).collect(), rest: Vec::new() }
}

/// Returns the names of all calls.
pub fn methods() -> Vec<&'static str> {
    TABLE.keys().copied().chain(["multiCall"]).collect()
}

/// Runs several calls in one transaction. Each element has a savepoint: if it fails, only its
/// changes are rolled back. Its messages stay.
pub fn multi(tx: &mut Tx<'_>, calls: &[Value], mut each: impl FnMut(&mut Tx<'_>, &Call) -> Result<V, Fault>) -> V {
    let mut answers = Vec::new();
    for element in calls {
        let params = element.get("params").and_then(Value::as_array).unwrap_or_default().to_vec();
        let call = Call::new(element.get("methodName").and_then(Value::as_str).unwrap_or_default().to_owned(), params);
        let (savepoint, wrote) = (tx.w.clone(), tx.wrote);
        answers.push(match each(tx, &call) {
            Ok(value) => V::Array(vec![value]),
            Err(fault) => {
                *tx.w = savepoint;
                tx.wrote = wrote;
                let traceback = vec![
                    V::from("Traceback (most recent call last):\n"),
                    V::from(format!("  File \"kojixmlrpc.py\", in multiCall\n    {}\n", call.method)),
                    V::from(format!("koji.GenericError: {}\n", fault.message)),
                ];
                row! { "faultCode" => fault.code, "faultString" => fault.message, "traceback" => traceback }
            }
        });
    }
    V::Array(answers)
}
