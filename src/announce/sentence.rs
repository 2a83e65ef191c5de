//! Says a message in one sentence, for lists of messages.

use serde_json::Value;

use super::{koschei_messages, richer};

/// Returns what a message says, from its topic and body. The Python classes say the same in their
/// own words.
pub fn sentence(topic: &str, body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let change = || format!("{} -> {}", text("old"), text("new"));
    let cause = || cause_words(&body["cause"]);
    let of = text("collection");
    match topic {
        koschei_messages::PACKAGE => format!("{}: {} in {of}", text("name"), change()),
        koschei_messages::COLLECTION | richer::BUILDROOT_CHANGED => format!("buildroot of {of}: {}", change()),
        richer::PACKAGE_CHANGED => {
            let by = if body["cause"].is_object() { format!(", by {}", cause()) } else { String::new() };
            format!("{}: {} in {of}{by}", text("package"), change())
        }
        richer::CAUSE_OPENED => format!("{} breaks {} in {of}", cause(), packages(&body)),
        richer::CAUSE_GREW => format!("{} now breaks {} in {of}", cause(), packages(&body)),
        richer::CAUSE_CLOSED => format!("{} breaks nothing any more in {of}", cause()),
        richer::REBUILD_DECIDED => format!("rebuild {} of {} decided in {of}", body["rebuild"], text("nvr")),
        richer::REBUILD_SUBMITTED => {
            format!("rebuild {} of {} is task {}", body["rebuild"], text("package"), body["task_id"])
        }
        richer::REBUILD_ENDED => {
            let which = match (body["rebuild"].as_u64(), body["task_id"].as_i64()) {
                (Some(rebuild), _) => format!("rebuild {rebuild}"),
                (None, Some(task)) => format!("task {task}"),
                (None, None) => "a rebuild".to_owned(),
            };
            format!("{which} of {}: {}, {}", text("package"), text("outcome").replace('_', " "), text("reason"))
        }
        _ => String::new(),
    }
}

fn packages(body: &Value) -> String {
    let everything = body["packages"].as_array().is_some_and(|all| all.iter().any(|name| name == "*"));
    match body["count"].as_u64() {
        _ if everything => "all packages".to_owned(),
        Some(1) => "1 package".to_owned(),
        count => format!("{} packages", count.unwrap_or_default()),
    }
}

fn cause_words(cause: &Value) -> String {
    let named = cause["source"].as_str().or(cause["known_by"].as_str()).unwrap_or_default();
    match cause["was"].as_str() {
        Some(was) if cause["source"].is_string() => format!("{named} (was {was})"),
        _ => named.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(
        koschei_messages::PACKAGE,
        json!({"name": "curl", "old": "ok", "new": "failing"}),
        "curl: ok -> failing in f99"
    )]
    #[case(
        koschei_messages::COLLECTION,
        json!({"old": "ok", "new": "unresolved"}),
        "buildroot of f99: ok -> unresolved"
    )]
    #[case(
        richer::PACKAGE_CHANGED,
        json!({"package": "curl", "old": "ok", "new": "failing", "cause": {"known_by": "foo is gone"}}),
        "curl: ok -> failing in f99, by foo is gone"
    )]
    #[case(
        richer::CAUSE_OPENED,
        json!({"count": 60, "packages": ["a"], "cause": {"source": "foo-2-1", "was": "foo-1-1"}}),
        "foo-2-1 (was foo-1-1) breaks 60 packages in f99"
    )]
    #[case(
        richer::CAUSE_GREW,
        json!({"count": 1, "packages": ["*"], "cause": {"known_by": "target f99"}}),
        "target f99 now breaks all packages in f99"
    )]
    #[case(richer::CAUSE_CLOSED, json!({"cause": {"source": "foo-2-1"}}), "foo-2-1 breaks nothing any more in f99")]
    #[case(richer::REBUILD_DECIDED, json!({"rebuild": 7, "nvr": "a-1-1"}), "rebuild 7 of a-1-1 decided in f99")]
    #[case(richer::REBUILD_SUBMITTED, json!({"rebuild": 7, "package": "a", "task_id": 9}), "rebuild 7 of a is task 9")]
    #[case(
        richer::REBUILD_ENDED,
        json!({"package": "a", "task_id": 9, "outcome": "timed_out", "reason": "too long"}),
        "task 9 of a: timed out, too long"
    )]
    fn each_topic(#[case] topic: &str, #[case] mut body: Value, #[case] said: &str) {
        body["collection"] = "f99".into();
        assert_eq!(sentence(topic, &body.to_string()), said);
    }

    #[test]
    fn what_cannot_be_read_is_empty() {
        assert_eq!(sentence("else", "{}"), "");
        assert_eq!(sentence(richer::CAUSE_CLOSED, "no JSON"), " breaks nothing any more in ");
    }
}
