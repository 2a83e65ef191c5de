"""Messages about the state of a package."""

from fedora_messaging import message

from .base import KoscheiMessage, fields, schema_of
from .cause import blamed, details_of

SENTENCES = {
    "ok": "{package}'s builds are back to normal in {place}",
    "failing": "{package}'s builds started to fail in {place}",
    "unresolved": "{package}'s dependencies failed to resolve in {place}",
    "ignored": "{package} is not watched any more in {place}",
}


class PackageChangedV1(KoscheiMessage):
    """A package has another state."""

    topic = "koschei.package.changed.v1"
    body_schema = schema_of(topic)
    severity = message.INFO

    @property
    def packages(self):
        """The package."""
        return [self.body["package"]]

    @property
    def summary(self):
        """The state, and what broke the package if that is known."""
        old, new, cause = self.body["old"], self.body["new"], self.body.get("cause")
        if (old, new) == ("ignored", "ok"):
            sentence = "{package} is watched again in {place}"
        else:
            sentence = SENTENCES.get(new, "{package} has the state {new} in {place}")
        sentence = sentence.format(package=self.body["package"], place=self.place, new=new)
        return sentence + (blamed(cause) if cause else "")

    def details(self):
        """Return both states, the reason, and what is known about the cause."""
        cause = self.body.get("cause")
        states = fields(("State", self.body["new"]), ("Before", self.body["old"]), ("Reason", self.body["reason"]))
        return [states, *(details_of(cause) if cause else [])]
