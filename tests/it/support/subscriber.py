"""Takes messages of a queue with the consumer of fedora-messaging, as Fedora's services do, and writes what the classes
of koschei-messages say of each: a line of JSON. Ends after COUNT messages.

Usage: FEDORA_MESSAGING_CONF=FILE subscriber.py COUNT
"""

import json
import sys

from fedora_messaging import api, exceptions

left = int(sys.argv[1])


def hear(message):
    global left
    properties = message._properties
    print(
        json.dumps(
            {
                "id": message.id,
                "topic": message.topic,
                "class": type(message).__name__,
                "body": message.body,
                "headers": properties.headers,
                "severity": message.severity,
                "content": [properties.content_type, properties.content_encoding, properties.delivery_mode],
                "summary": message.summary,
                "url": message.url,
                "packages": message.packages,
                "usernames": message.usernames,
                "groups": message.groups,
            }
        ),
        flush=True,
    )
    left -= 1
    if left == 0:
        raise exceptions.HaltConsumer()


try:
    api.consume(hear)
except exceptions.HaltConsumer as halted:
    sys.exit(halted.exit_code)
