//! Reads the bodies of Bodhi's messages about buildroot overrides.
//!
//! The shapes are those of the schemas in `bodhi-messages` (26.4): `override` has `nvr` and
//! `submitter`. Bodhi sends the whole record of the override, so `expiration_date` is there as well,
//! as `YYYY-MM-DD HH:MM:SS` in UTC. The submitter and the notes are not kept: both name people, and
//! nothing here needs them.

use serde_json::Value;

use super::entry::time;
use super::fields::{self, Fields, Reason};
use super::reading::{ReadOutcome, Reading};
use crate::event::BuildrootOverrideChanged;
use crate::model::{Nvr, Timestamp};

impl Reading<'_, '_> {
    /// Reads that an override came into force.
    pub(super) fn override_tagged(&mut self) -> Result<ReadOutcome, Reason> {
        let body = self.overridden()?;
        let expires_at = match body.given("expiration_date") {
            Some(said) => Some(moment(said).ok_or_else(|| Reason::of("override.expiration_date", "a time"))?),
            None => None,
        };
        self.override_changed(body, true, expires_at)
    }

    /// Reads that an override ended. Its dates do not matter any more.
    pub(super) fn override_untagged(&mut self) -> Result<ReadOutcome, Reason> {
        let body = self.overridden()?;
        self.override_changed(body, false, None)
    }

    fn overridden(&self) -> Result<Fields<'_>, Reason> {
        match self.body.required("override")?.as_object() {
            Some(record) => Ok(Fields(record)),
            None => Err(Reason::of("override", "an object")),
        }
    }

    fn override_changed(
        &self,
        body: Fields<'_>,
        in_force: bool,
        expires_at: Option<Timestamp>,
    ) -> Result<ReadOutcome, Reason> {
        let name = body.given("nvr").ok_or_else(|| Reason::missing("override.nvr"))?;
        let nvr = name.as_str().and_then(Nvr::parse).filter(fields::is_nvr);
        let nvr = nvr.ok_or_else(|| Reason::of("override.nvr", "the name of a build"))?;
        let hub = self.hub.clone();
        let event = BuildrootOverrideChanged { hub, nvr, in_force, expires_at };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }
}

/// Reads a time of Bodhi. A text without a zone is in UTC.
fn moment(said: &Value) -> Option<Timestamp> {
    time(said).or_else(|| format!("{}Z", said.as_str()?.trim()).parse().ok())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::event::{BuildrootOverrideChanged, Event, Source};
    use crate::message::{CLOCK_TOLERANCE_SECS, Context, Incoming, Interpretation, interpret};
    use crate::model::koji::NAME_BYTES_MAX;
    use crate::model::{Hub, Nvr, Timestamp};

    /// What Bodhi sends, with all members of the record.
    fn record() -> serde_json::Value {
        json!({
            "nvr": "python-rpm-macros-3.14-2.fc44", "build_id": 4711, "submitter_id": 7,
            "notes": "for the new Python", "submission_date": "2026-11-20 07:59:58",
            "expiration_date": "2026-11-27 00:00:00", "expired_date": null,
            "build": {"nvr": "python-rpm-macros-3.14-2.fc44", "type": "rpm", "epoch": 0, "signed": true},
            "submitter": {"id": 7, "name": "alice", "email": "alice@example.org"},
        })
    }

    fn read(source: Source, what: &str, body: &serde_json::Value) -> Interpretation {
        let topic = format!("org.fedoraproject.prod.bodhi.buildroot_override.{what}");
        let sent = "2026-11-20T08:00:00+00:00";
        let raw = json!({"id": "m", "topic": topic, "sent-at": sent, "body": body}).to_string();
        let context = Context {
            service_user: "koschei".to_owned(),
            default_hub: Hub::new("primary"),
            source,
            clock_tolerance_secs: CLOCK_TOLERANCE_SECS,
        };
        let incoming = Incoming { id: "m", raw: raw.as_bytes(), sent_at: sent.parse().unwrap() };
        interpret(incoming, &context, &mut |name| panic!("{name} is kept"))
    }

    #[rstest]
    #[case::recorded(Source::Recording, Source::Recording)]
    #[case::on_a_bus(Source::Bus, Source::Bus)]
    #[case::beside_a_hub(Source::Hub, Source::Bus)]
    fn a_message_is_the_fact(#[case] context: Source, #[case] source: Source) {
        let expires = |in_force: bool| in_force.then(|| "2026-11-27T00:00:00Z".parse().unwrap());
        for (what, in_force) in [("tag", true), ("untag", false)] {
            let Interpretation::Facts(facts) = read(context, what, &json!({"override": record()})) else {
                panic!("no fact")
            };
            let nvr = Nvr::parse("python-rpm-macros-3.14-2.fc44").unwrap();
            let hub = Hub::new("primary");
            let event = BuildrootOverrideChanged { hub, nvr, in_force, expires_at: expires(in_force) };
            assert_eq!(facts.iter().map(|f| &f.event).collect::<Vec<_>>(), [&Event::from(event)]);
            assert_eq!(facts[0].source, source);
        }
    }

    /// What the schema asks for is enough.
    #[test]
    fn an_override_may_have_no_end() {
        let body = json!({"override": {"nvr": "foo-1-1", "submitter": {"name": "alice"}}});
        let Interpretation::Facts(facts) = read(Source::Bus, "tag", &body) else { panic!("no fact") };
        assert!(matches!(&facts[0].event, Event::BuildrootOverrideChanged(e) if e.expires_at.is_none()));
    }

    #[rstest]
    #[case::utc("2026-11-27 00:00:00")]
    #[case::iso("2026-11-27T00:00:00")]
    #[case::zoned("2026-11-27T01:00:00+01:00")]
    #[case::seconds("1795737600")]
    fn times_are_read(#[case] said: &str) {
        assert_eq!(super::moment(&json!(said)), Some(Timestamp::from_secs(1_795_737_600)));
    }

    /// Set aside with the reason. An override that ended needs no dates.
    #[rstest]
    #[case::nothing(json!({}), "`override` is missing")]
    #[case::a_text(json!({"override": "foo-1-1"}), "`override` is not an object")]
    #[case::no_build(json!({"override": {"submitter": {"name": "alice"}}}), "`override.nvr` is missing")]
    #[case::not_a_build(json!({"override": {"nvr": "foo"}}), "`override.nvr` is not the name of a build")]
    #[case::a_number(json!({"override": {"nvr": 4}}), "`override.nvr` is not the name of a build")]
    #[case::control(json!({"override": {"nvr": "f\u{7}o-1-1"}}), "`override.nvr` is not the name of a build")]
    #[case::huge(
        json!({"override": {"nvr": format!("foo-1-{}", "1".repeat(NAME_BYTES_MAX + 1))}}),
        "`override.nvr` is not the name of a build"
    )]
    #[case::odd_date(
        json!({"override": {"nvr": "foo-1-1", "expiration_date": "soon"}}),
        "`override.expiration_date` is not a time"
    )]
    #[case::no_month(
        json!({"override": {"nvr": "foo-1-1", "expiration_date": "2026-13-01 00:00:00"}}),
        "`override.expiration_date` is not a time"
    )]
    fn what_is_not_understood_is_set_aside(#[case] body: serde_json::Value, #[case] why: &str) {
        assert_eq!(read(Source::Bus, "tag", &body), Interpretation::Rejected(why.to_owned()));
        let untagged = read(Source::Bus, "untag", &body);
        assert_eq!(matches!(untagged, Interpretation::Rejected(_)), !why.contains("date"), "{untagged:?}");
    }
}
