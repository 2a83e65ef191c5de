//! Checks `build_opts`: options that we pass with every `build` call.

use toml::{Table, Value};

use crate::decide::command::BuildOptions;

/// Maximum number of values, including those in lists and tables.
const VALUES_MAX: usize = 100;
/// Maximum nesting of lists and tables.
const DEPTH_MAX: usize = 4;
/// Maximum number of bytes of text, including names.
const BYTES_MAX: usize = 16 << 10;

/// Options that we set ourselves and the configuration may not set, each with the reason.
const OURS: [(&str, &str); 13] = [
    ("scratch", "Koschei submits only scratch builds"),
    ("draft", "a scratch build cannot be a draft"),
    ("repo_id", "the repository is the one that was resolved; `bind_repo` of the hub says whether it is sent"),
    ("event_id", "builds run in the repository that was resolved, not in an earlier one"),
    ("wait_repo", "builds run in the repository that was resolved, not in a later one"),
    ("wait_builds", "builds run in the repository that was resolved, not in a later one"),
    ("custom_user_metadata", "it holds the id of the decision, by which Koschei recognises its tasks"),
    ("arch_override", "it comes from `arches` and from packages' `arch_override`"),
    ("src", "it is an argument of the call, not an option: the source of the package"),
    ("target", "it is an argument of the call, not an option: `target` of the collection"),
    ("priority", "it is an argument of the call, not an option: `task_priority` of the policy"),
    ("channel", "it is an argument of the call, not an option, and only administrators may give it"),
    ("__starstar", "it marks arguments by name"),
];

/// Checks options as written in the file.
///
/// # Errors
/// Returns a text that says what is wrong, and why.
pub(super) fn check(options: &Table) -> Result<(), String> {
    for name in options.keys() {
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| ours == name) {
            return Err(format!("`build_opts.{name}` cannot be set: {why}"));
        }
    }
    let mut room = Room { values: VALUES_MAX, bytes: BYTES_MAX };
    options.iter().try_for_each(|(name, value)| room.member("build_opts", name, value, 1))
}

/// What is left of the limits.
struct Room {
    values: usize,
    bytes: usize,
}

impl Room {
    fn text(&mut self, at: &str, text: &str) -> Result<(), String> {
        if let Some(bad) =
            text.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || *c >= '\u{fffe}' && *c <= '\u{ffff}')
        {
            return Err(format!("`{at}` has the character U+{:04X}, which XML-RPC cannot carry", u32::from(bad)));
        }
        self.bytes = self
            .bytes
            .checked_sub(text.len())
            .ok_or_else(|| format!("`{at}`: all options together have more than {BYTES_MAX} bytes of text"))?;
        Ok(())
    }

    fn member(&mut self, of: &str, name: &str, value: &Value, depth: usize) -> Result<(), String> {
        let at = format!("{of}.{}", name.escape_default());
        if name.is_empty() {
            return Err(format!("`{of}` has an option without a name"));
        }
        self.text(&at, name)?;
        self.value(&at, value, depth)
    }

    fn value(&mut self, at: &str, value: &Value, depth: usize) -> Result<(), String> {
        self.values = self
            .values
            .checked_sub(1)
            .ok_or_else(|| format!("`{at}`: there are more than {VALUES_MAX} values in all"))?;
        let deeper = depth + 1;
        if deeper > DEPTH_MAX + 1 && matches!(value, Value::Array(_) | Value::Table(_)) {
            return Err(format!("`{at}`: lists and tables are more than {DEPTH_MAX} deep"));
        }
        match value {
            Value::Boolean(_) | Value::Integer(_) => Ok(()),
            Value::String(text) => self.text(at, text),
            Value::Array(all) => all.iter().try_for_each(|v| self.value(at, v, deeper)),
            Value::Table(all) => all.iter().try_for_each(|(name, v)| self.member(at, name, v, deeper)),
            Value::Float(_) | Value::Datetime(_) => Err(format!(
                "`{at}` is a {}; options are true or false, integers, texts, and lists and tables of these",
                if value.is_float() { "number with a point" } else { "date or time" }
            )),
        }
    }
}

/// Returns all options of a collection: its own, and the common ones that it does not set itself.
pub(crate) fn merged(common: &Table, own: &Table) -> BuildOptions {
    let all = common.iter().filter(|(name, _)| !own.contains_key(*name)).chain(own);
    all.map(|(name, value)| (name.clone(), json(value))).collect()
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(s) => s.as_str().into(),
        Value::Integer(i) => (*i).into(),
        Value::Float(f) => (*f).into(),
        Value::Boolean(b) => (*b).into(),
        Value::Datetime(d) => d.to_string().into(),
        Value::Array(all) => all.iter().map(json).collect(),
        Value::Table(all) => all.iter().map(|(name, v)| (name.clone(), json(v))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_ours_is_refused_with_the_reason() {
        for (name, why) in OURS {
            let said = check(&table(&format!("{name} = true"))).unwrap_err();
            assert!(said.contains(&format!("`build_opts.{name}`")) && said.contains(why), "{said}");
        }
        check(&table("fail_fast = true\n[rpmopts]\nscratch = 'only the outermost names are options'")).unwrap();
    }

    #[test]
    fn values_are_bounded() {
        let said = |text: &str| check(&table(text)).unwrap_err();
        assert!(said("a = 1.5").contains("`build_opts.a` is a number with a point"));
        assert!(said("a = [{ b = 2026-01-01 }]").contains("`build_opts.a.b` is a date or time"));
        assert!(said("a = \"\\u0007\"").contains("U+0007"));
        assert!(said("'' = 1").contains("without a name"));
        check(&table("a = [[[[1]]]]")).unwrap();
        assert!(said("a = [[[[[1]]]]]").contains("more than 4 deep"));
        let list = |n: usize| format!("a = [{}]", "1,".repeat(n));
        check(&table(&list(VALUES_MAX - 1))).unwrap();
        assert!(said(&list(VALUES_MAX)).contains("more than 100 values"));
        let text = |n: usize| format!("a = '{}'", "x".repeat(n));
        check(&table(&text(BYTES_MAX - 1))).unwrap();
        assert!(said(&text(BYTES_MAX)).contains("bytes of text"));
    }

    #[test]
    fn a_collections_own_go_before() {
        let all = merged(&table("a = 1\nb = { x = 1 }\nc = true"), &table("b = { y = 2 }\nc = false"));
        assert_eq!(serde_json::to_value(all).unwrap(), serde_json::json!({ "a": 1, "b": { "y": 2 }, "c": false }));
    }
}
