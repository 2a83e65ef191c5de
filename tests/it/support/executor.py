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
# Faults that say nothing about the call itself: the hub is away, or wants another login or attempt.
LATER = (koji.ServerOffline, koji.AuthError, koji.AuthExpired, koji.AuthLockError, koji.RetryError, koji.LockError)
# How far the hub's clock may be behind Koschei's, in seconds.
CLOCKS = 60
# Pause after trouble, in seconds.
PAUSE = 1
# How often the queue hears that a command is still worked on, in seconds. After 30, another executor gets it.
ALIVE = 10


def log_in(url, cert, serverca):
    session = koji.ClientSession(url, {"serverca": serverca, "max_retries": 0, "anon_retry": False})
    session.ssl_login(cert, None, serverca)
    return session


def task_of(session, command):
    """Returns the task that was made for a command, maybe by an executor that died. The lowest is the first."""
    me = session.getLoggedInUser()["id"]
    query = {"owner": me, "method": "build", "decode": True, "createdAfter": command["decided_at"] / 1e6 - CLOCKS}
    tasks = session.listTasks(query, {"order": "id"})
    return next((task["id"] for task in tasks if decision(task) == command["id"]), None)


def decision(task):
    opts = task["request"][2] if len(task["request"]) > 2 else {}
    return ((opts.get("custom_user_metadata") or {}).get("koschei") or {}).get("decision")


def build(session, command):
    task = task_of(session, command)
    if task is None:
        ours = {"koschei": {"decision": command["id"], "collection": command["collection"]}}
        opts = dict(command.get("build_opts", {}), scratch=True, custom_user_metadata=ours)
        if "arches" in command:
            opts["arch_override"] = " ".join(command["arches"])
        if "repo_id" in command:
            opts["repo_id"] = command["repo_id"]
        task = session.build(command["source"], command["target"], opts, priority=command["task_priority"])
    return {"result": "submitted", "task_id": task}


def cancel(session, command):
    session.cancelTask(command["task_id"])
    return {"result": "done"}


def carry_out(login, command):
    """Returns what became of a command. Fails if that is not known."""
    session = log_in(*login)
    try:
        return {"rebuild": build, "cancel": cancel}[command["command"]](session, command)
    except LATER:
        raise
    except koji.GenericError as refusal:
        return {"result": "refused", "reason": str(refusal)}


async def main(url, name, *login):
    stream = (await nats.connect(url, max_reconnect_attempts=-1)).jetstream()
    queue = await stream.pull_subscribe_bind(f"executor-{name}", stream="KOSCHEI_COMMANDS")
    while True:
        try:
            message = (await queue.fetch(1, timeout=5))[0]
        except nats.errors.TimeoutError:
            continue
        command = json.loads(message.data)
        work = asyncio.create_task(asyncio.to_thread(carry_out, login, command))
        while not (await asyncio.wait({work}, timeout=ALIVE))[0]:
            await message.in_progress()
        if work.exception():
            print(f"{command['id']}: {work.exception()!r}", flush=True)
            await message.nak(delay=PAUSE)
            continue
        result = {"id": str(uuid.uuid4()), "topic": RESULT, "body": {"command": command["id"], **work.result()}}
        await stream.publish("koschei.results", json.dumps(result).encode())
        await message.ack_sync()
        print(f"{command['id']}: {work.result()}", flush=True)


asyncio.run(main(*sys.argv[1:]))
