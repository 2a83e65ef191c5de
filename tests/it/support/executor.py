"""Carries out Koschei's commands on a Koji hub in place of Koschei: takes them from the work queue on NATS JetStream, and
says what became of each. It may be killed at any moment, and several may run.

Usage: executor.py NATS-URL HUB-NAME HUB-URL CERTIFICATE AUTHORITIES
"""

import asyncio
import json
import sys
import uuid

import koji
import nats
import nats.errors

RESULT = "koschei.command.result.v1"
# What says nothing about the call itself: the hub is away, or wants another login or attempt.
LATER = (koji.ServerOffline, koji.AuthError, koji.AuthExpired, koji.AuthLockError, koji.RetryError, koji.LockError)
# How far the hub's clock may be behind Koschei's, in seconds.
CLOCKS = 60
# Pause after trouble, in seconds.
PAUSE = 1
# How often the queue hears that a command is still worked on, in seconds. After 30, another executor gets it.
ALIVE = 10


class Hub:
    """A login at the hub. A new one is made after any trouble."""

    def __init__(self, url, cert, serverca):
        self.url, self.cert, self.serverca = url, cert, serverca
        self.session = None

    def call(self, what, command):
        try:
            if self.session is None:
                options = {"serverca": self.serverca, "max_retries": 0, "anon_retry": False, "no_ssl_verify": False}
                self.session = koji.ClientSession(self.url, options)
                self.session.ssl_login(self.cert, None, self.serverca)
            return what(self, command)
        except Exception:
            self.session = None
            raise

    def task_of(self, command):
        """Returns the task that was made for a command, maybe by an executor that died. The lowest is the first."""
        me = self.session.getLoggedInUser()["id"]
        query = {"owner": me, "method": "build", "decode": True, "createdAfter": command["decided_at"] / 1e6 - CLOCKS}
        tasks = self.session.listTasks(query, {"order": "id"})
        return next((task["id"] for task in tasks if decision(task) == command["id"]), None)

    def build(self, command):
        found = self.task_of(command)
        if found is not None:
            return {"result": "submitted", "task_id": found}
        ours = {"koschei": {"decision": command["id"], "collection": command["collection"]}}
        opts = dict(command.get("build_opts", {}), scratch=True, custom_user_metadata=ours)
        if command.get("arches"):
            opts["arch_override"] = " ".join(command["arches"])
        if command.get("repo_id"):
            opts["repo_id"] = command["repo_id"]
        task = self.session.build(command["source"], command["target"], opts, priority=command["task_priority"])
        return {"result": "submitted", "task_id": task}

    def cancel(self, command):
        self.session.cancelTask(command["task_id"])
        return {"result": "done"}


def decision(task):
    request = task["request"]
    opts = request[2] if len(request) > 2 and isinstance(request[2], dict) else {}
    return ((opts.get("custom_user_metadata") or {}).get("koschei") or {}).get("decision")


def carry_out(hub, command):
    """Returns what became of a command. Fails if that is not known."""
    try:
        return hub.call({"rebuild": Hub.build, "cancel": Hub.cancel}[command["command"]], command)
    except LATER:
        raise
    except koji.GenericError as refusal:
        return {"result": "refused", "reason": str(refusal)}


async def main(url, name, *hub_options):
    hub = Hub(*hub_options)
    stream = (await nats.connect(url, max_reconnect_attempts=-1)).jetstream()
    queue = await stream.pull_subscribe_bind(f"executor-{name}", stream="KOSCHEI_COMMANDS")
    while True:
        try:
            messages = await queue.fetch(1, timeout=5)
        except nats.errors.TimeoutError:
            continue
        command = json.loads(messages[0].data)
        work = asyncio.create_task(asyncio.to_thread(carry_out, hub, command))
        while not (await asyncio.wait({work}, timeout=ALIVE))[0]:
            await messages[0].in_progress()
        if work.exception():
            print(f"{command['id']}: {work.exception()!r}", flush=True)
            await messages[0].nak(delay=PAUSE)
            continue
        result = {"id": str(uuid.uuid4()), "topic": RESULT, "body": {"command": command["id"], **work.result()}}
        await stream.publish("koschei.results", json.dumps(result).encode())
        await messages[0].ack_sync()
        print(f"{command['id']}: {work.result()}", flush=True)


asyncio.run(main(*sys.argv[1:]))
