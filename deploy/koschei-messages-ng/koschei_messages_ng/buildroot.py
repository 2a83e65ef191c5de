"""Messages about the buildroot of a collection: the packages that every build starts with."""

from fedora_messaging import message

from .base import KoscheiMessage, block, fields, schema_of

SENTENCES = {
    ("unknown", "ok"): "The buildroot of {place} can be installed",
    ("unresolved", "ok"): "The buildroot of {place} can be installed again",
}
BROKEN = "The buildroot of {place} cannot be installed, so nothing can be built"


class BuildrootChangedV1(KoscheiMessage):
    """A collection's buildroot has another state."""

    topic = "koschei.buildroot.changed.v1"
    body_schema = schema_of(topic)
    severity = message.WARNING

    @property
    def summary(self):
        """The state, and what follows from it."""
        old, new = self.body["old"], self.body["new"]
        other = BROKEN if new == "unresolved" else "The buildroot of {place} has the state {new}"
        return SENTENCES.get((old, new), other).format(place=self.place, new=new)

    def details(self):
        """Return the repository and what cannot be installed."""
        problems = block("Problems:", self.body.get("problems", []))
        return [fields(("Repository", self.body["repo_id"])), problems]
