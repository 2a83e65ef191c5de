//! Shared parts of the calls: query options, arguments that are a name or a number, texts in
//! Python's notation.

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, time, ts};
use super::super::world::World;
use super::Args;

/// Returns a value like Python's `repr`.
pub fn repr(value: &V) -> String {
    match value {
        V::Nil => "None".to_owned(),
        V::Bool(true) => "True".to_owned(),
        V::Bool(false) => "False".to_owned(),
        V::Int(n) => n.to_string(),
        V::Double(d) => format!("{d:?}"),
        V::Text(t) => format!("'{t}'"),
        V::Bytes(_) => "b''".to_owned(),
        V::Array(a) => format!("[{}]", a.iter().map(repr).collect::<Vec<_>>().join(", ")),
        V::Struct(s) => {
            let members: Vec<String> = s.iter().map(|(n, v)| format!("'{n}': {}", repr(v))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// Returns microseconds from seconds since 1970, or from the hub's own text of a time.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "times fit")]
pub fn seconds(value: &V) -> Option<i64> {
    match value {
        V::Int(n) => Some(n * 1_000_000),
        V::Double(d) => Some((d * 1e6).round() as i64),
        V::Text(text) => {
            let stamp = text.trim().replace(' ', "T");
            let zoned = if stamp.contains('+') || stamp.ends_with('Z') { stamp } else { format!("{stamp}Z") };
            zoned.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
        }
        _ => None,
    }
}

fn rank(value: &V) -> u8 {
    match value {
        V::Nil => 2,
        _ => 1,
    }
}

fn compare(a: &V, b: &V) -> std::cmp::Ordering {
    match (a, b) {
        (V::Int(a), V::Int(b)) => a.cmp(b),
        (V::Text(a), V::Text(b)) => a.cmp(b),
        (V::Double(a), V::Double(b)) => a.total_cmp(b),
        (V::Bool(a), V::Bool(b)) => a.cmp(b),
        // PostgreSQL sorts null last.
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// Applies `queryOpts`: order, offset, limit, countOnly, asList.
pub fn query(mut rows: Vec<V>, opts: &V) -> V {
    if let Some(order) = opts.get("order").and_then(V::as_str) {
        let fields: Vec<(&str, bool)> =
            order.split(',').map(|f| f.strip_prefix('-').map_or((f, false), |f| (f, true))).collect();
        rows.sort_by(|a, b| {
            let orders = fields.iter().map(|(field, down)| {
                let of = |row: &V| row.get(field).cloned().unwrap_or(V::Nil);
                let order = compare(&of(a), &of(b));
                if *down { order.reverse() } else { order }
            });
            orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
    }
    let number = |name: &str| opts.get(name).and_then(V::as_int).and_then(|n| usize::try_from(n).ok());
    if let Some(offset) = number("offset") {
        rows.drain(..offset.min(rows.len()));
    }
    if let Some(limit) = number("limit") {
        rows.truncate(limit);
    }
    if opts.get("countOnly").is_some_and(V::truth) {
        return V::Int(i64::try_from(rows.len()).unwrap());
    }
    V::Array(rows)
}

/// Adds the members `*_time` and `*_ts` of a time.
pub fn push_time(members: &mut Vec<(String, V)>, name: &str, at: Option<i64>) {
    members.push((format!("{name}_time"), at.map(time).into()));
    members.push((format!("{name}_ts"), at.map(ts).into()));
}

/// Finds a tag by name or number, or by a struct with one of them.
pub fn tag_of(w: &World, value: &V, event: Option<i64>) -> Option<i64> {
    let id = match value {
        V::Int(id) => Some(*id),
        V::Text(name) => {
            w.tags.iter().filter(|t| t.name == *name).map(|t| t.id).find(|id| w.config(*id, event).is_some())
        }
        V::Struct(_) => value.get("id").and_then(V::as_int).or_else(|| tag_of(w, value.get("name")?, event)),
        _ => None,
    };
    id.filter(|id| w.config(*id, event).is_some())
}

pub fn tag(tx: &Tx<'_>, args: &Args, name: &str) -> Result<i64, Fault> {
    let value = args.get(name);
    let found = tag_of(tx.w, value, args.event());
    found.ok_or_else(|| Fault::generic(format!("No such tagInfo: {}", repr(value))))
}

/// Finds a package by name or number.
pub fn package_of(w: &World, value: &V) -> Option<i64> {
    match value {
        V::Int(id) => w.package_name(*id).map(|_| *id),
        V::Text(name) => w.package(name),
        _ => None,
    }
}

/// Finds a user by name or number, or by a struct with one of them.
pub fn user_of<'a>(w: &'a World, value: &V) -> Option<&'a User> {
    match value {
        V::Int(id) => w.user(*id),
        V::Text(name) => w.users.iter().find(|u| u.name == *name || u.principal.as_deref() == Some(name)),
        V::Struct(_) => value.get("id").or(value.get("name")).and_then(|v| user_of(w, v)),
        _ => None,
    }
}

/// Finds a build by number, by `name-version-release`, or by a struct of either.
pub fn build_of<'a>(w: &'a World, value: &V) -> Option<&'a Build> {
    match value {
        V::Int(id) => w.build(*id),
        V::Text(nvr) => w.build_of_nvr(nvr),
        V::Struct(_) => match value.get("id").and_then(V::as_int) {
            Some(id) => w.build(id),
            None => {
                let part = |name: &str| value.get(name).and_then(V::as_str);
                w.build_of_nvr(&format!("{}-{}-{}", part("name")?, part("version")?, part("release")?))
            }
        },
        _ => None,
    }
}

/// Returns a list of values. A single value becomes a list of one.
pub fn list(value: &V) -> Option<Vec<V>> {
    match value {
        V::Nil => None,
        V::Array(values) => Some(values.clone()),
        one => Some(vec![one.clone()]),
    }
}

/// Checks whether a value is among the given ones. Any value is if none are given.
pub fn among(value: &V, given: &V) -> bool {
    list(given).is_none_or(|given| given.contains(value))
}
