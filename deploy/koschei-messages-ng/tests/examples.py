"""The examples of README.md."""

import functools
import json
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"

TOPIC = re.compile(r"^### (koschei\.\S+)$", re.MULTILINE)
EXAMPLE = re.compile(r"```json\n(.*?)```\n\nSummary: (.*?)\n", re.DOTALL)


@functools.lru_cache(maxsize=None)
def examples():
    """Return the body and the summary of each topic's only example."""
    parts = TOPIC.split(README.read_text(encoding="utf-8"))[1:]
    found = {}
    for topic, text in zip(parts[::2], parts[1::2]):
        [(body, summary)] = EXAMPLE.findall(text)
        found[topic] = json.loads(body), summary
    return found


def body(topic, **changes):
    """Return the body of a topic's example with changes. A change to `...` removes the field."""
    of = {**examples()[topic][0], **changes}
    return {name: value for name, value in of.items() if value is not ...}
