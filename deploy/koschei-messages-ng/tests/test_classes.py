"""What all classes have in common: entry points, schemas, examples, properties."""

import functools
import unittest
from importlib import metadata, resources

import jsonschema
from fedora_messaging import message
from fedora_messaging.exceptions import ValidationError

import koschei_messages_ng

from .examples import body, examples

#: The topics with their severities, as the program has them in its headers.
SEVERITIES = {
    "koschei.cause.opened.v1": message.WARNING,
    "koschei.cause.grew.v1": message.WARNING,
    "koschei.cause.closed.v1": message.INFO,
    "koschei.package.changed.v1": message.INFO,
    "koschei.buildroot.changed.v1": message.WARNING,
    "koschei.rebuild.decided.v1": message.DEBUG,
    "koschei.rebuild.submitted.v1": message.DEBUG,
    "koschei.rebuild.ended.v1": message.DEBUG,
}

#: Fields of the examples that may be absent or null. `of` names the topic, if only some have it so.
NULLABLE = {"url", "cause of package", "repo_id of decided", "rebuild of ended", "task_id of ended"}
#: Fields of the examples that may be absent.
OPTIONAL = NULLABLE | {"usernames", "more", "problems", "arches"}


def is_in(fields, topic, field):
    """Return whether a set of fields has this field of the topic."""
    _, thing, verb, _ = topic.split(".")
    return not fields.isdisjoint({field, f"{field} of {thing}", f"{field} of {verb}"})


def each(test):
    """Run a test for the topic and the class of each message."""

    @functools.wraps(test)
    def run(self):
        for topic in SEVERITIES:
            with self.subTest(topic):
                test(self, topic, message.get_class(topic))

    return run


def errors(cls, of):
    """Return what the schema of a class says against a body."""
    return [error.message for error in jsonschema.Draft202012Validator(cls.body_schema).iter_errors(of)]


class Classes(unittest.TestCase):
    def test_entry_points_are_the_topics(self):
        points = metadata.distribution("koschei-messages-ng").entry_points
        self.assertEqual({point.group for point in points}, {"fedora.messages"})
        self.assertEqual({point.name: point.load().__name__ for point in points}, {
            topic: "".join(part.capitalize() for part in topic.split(".")[1:]) for topic in SEVERITIES
        })
        self.assertEqual({point.load() for point in points}, {
            getattr(koschei_messages_ng, name) for name in koschei_messages_ng.__all__
        })

    @each
    def test_fedora_messaging_finds_each_class(self, topic, cls):
        self.assertEqual((cls.topic, message.get_name(cls)), (topic, topic))
        self.assertEqual(cls.severity, SEVERITIES[topic])
        self.assertFalse(cls.deprecated)

    def test_there_is_one_schema_for_each_topic(self):
        files = {file.name for file in (resources.files("koschei_messages_ng") / "schemas").iterdir()}
        self.assertEqual(files, {f"{topic}.schema.json" for topic in SEVERITIES})

    def test_the_examples_are_those_of_the_topics(self):
        self.assertEqual(list(examples()), list(SEVERITIES))

    @each
    def test_examples_are_valid_and_have_their_summary(self, topic, cls):
        example, summary = examples()[topic]
        msg = cls(body=example)
        msg.validate()
        self.assertEqual(msg.summary, summary)
        self.assertTrue(str(msg).startswith(f"{summary}\n\n"), str(msg))
        self.assertTrue(str(msg).endswith(f"\n\n{example['url']}"), str(msg))

    @each
    def test_headers_name_class_package_and_filters(self, topic, cls):
        msg = cls(body=body(topic))
        headers = {name: value for name, value in msg._headers.items() if name != "sent-at"}
        self.assertEqual(headers, {
            "fedora_messaging_schema": topic,
            "fedora_messaging_schema_package": "koschei_messages_ng",
            "fedora_messaging_severity": SEVERITIES[topic],
            "priority": 0,
            **{f"fedora_messaging_rpm_{name}": True for name in msg.packages},
            **{f"fedora_messaging_user_{name}": True for name in msg.usernames},
        })

    @each
    def test_a_message_comes_through_the_bus(self, topic, cls):
        sent = cls(body=body(topic))
        came = message.get_message(f"org.fedoraproject.prod.{topic}", sent._properties, sent._encoded_body)
        self.assertIs(type(came), cls)
        self.assertEqual((came.body, came.summary, str(came)), (sent.body, sent.summary, str(sent)))

    @each
    def test_an_invalid_message_does_not(self, topic, cls):
        sent = cls(body=body(topic, at=...))
        with self.assertRaisesRegex(ValidationError, "'at' is a required property"):
            message.get_message(topic, sent._properties, sent._encoded_body)

    @each
    def test_only_optional_fields_may_be_absent(self, topic, cls):
        for field in body(topic):
            of = body(topic, **{field: ...})
            if is_in(OPTIONAL, topic, field):
                self.assertEqual(errors(cls, of), [])
                self.assertTrue(str(cls(body=of)))
            else:
                self.assertEqual(errors(cls, of), [f"'{field}' is a required property"])

    @each
    def test_null_counts_as_absent_or_is_rejected(self, topic, cls):
        for field in body(topic):
            null, absent = body(topic, **{field: None}), body(topic, **{field: ...})
            if is_in(NULLABLE, topic, field):
                self.assertEqual(errors(cls, null), [])
                self.assertEqual(str(cls(body=null)), str(cls(body=absent)))
            else:
                self.assertTrue(errors(cls, null), field)

    @each
    def test_values_of_the_wrong_type_are_rejected(self, topic, cls):
        for field in body(topic):
            self.assertTrue(errors(cls, body(topic, **{field: 1.5})), field)

    @each
    def test_fields_of_the_future_are_accepted(self, topic, cls):
        self.assertEqual(errors(cls, body(topic, new_field="new")), [])

    @each
    def test_properties_that_all_have(self, topic, cls):
        msg = cls(body=body(topic, usernames=["zoe", "bob"]))
        self.assertEqual(msg.app_name, "koschei")
        self.assertEqual(msg.usernames, ["bob", "zoe"])
        self.assertEqual(msg.url, msg.body["url"])
        self.assertEqual((msg.groups, msg.agent_name, msg.agent_avatar, msg.app_icon), ([], None, None, None))
        bare = cls(body=body(topic, usernames=..., url=...))
        self.assertEqual((bare.usernames, bare.url), ([], None))
        self.assertNotIn("http", str(bare))
