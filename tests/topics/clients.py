"""Clients of others on one topic, unmodified: sseclient-py, websockets, and what a page does.

Usage: clients.py ORIGIN    (publishes and subscribes at ORIGIN/topics/clients/...)
"""

import asyncio
import itertools
import json
import sys
import threading

import requests
import sseclient
import websockets

ORIGIN = sys.argv[1]
COUNT = 20


def publish(topic, first):
    for number in range(first, first + COUNT):
        requests.post(f"{ORIGIN}/topics/clients/{topic}", data=f"text {number}", timeout=10).raise_for_status()


def texts(numbers):
    return [f"text {number}" for number in numbers]


def take(events):
    read = [json.loads(event.data) for event in itertools.islice(events, COUNT)]
    return [item["value"]["text"] for item in read]


def stream(**headers):
    lines = {"Accept": "text/event-stream", **headers}
    answer = requests.get(f"{ORIGIN}/topics/clients/sse", stream=True, headers=lines, timeout=10)
    return sseclient.SSEClient(answer)


def by_sseclient():
    client = stream()
    threading.Thread(target=publish, args=("sse", 0)).start()
    events = list(itertools.islice(client.events(), COUNT))
    assert take(iter(events)) == texts(range(COUNT)), events
    client.close()
    publish("sse", COUNT)
    resumed = stream(**{"Last-Event-ID": events[-1].id})
    assert take(resumed.events()) == texts(range(COUNT, 2 * COUNT)), "it resumes where it was"
    resumed.close()


async def by_websockets():
    address = ORIGIN.replace("http", "ws", 1) + "/topics/clients/ws"
    async with websockets.connect(address) as socket:
        assert "subscribed" in json.loads(await socket.recv())
        for number in range(COUNT):
            await socket.send(json.dumps({"publish": "clients/ws", "value": {"text": f"text {number}"}}))
        seen = []
        while len(seen) < COUNT:
            said = json.loads(await socket.recv())
            seen += [said["item"]["value"]["text"]] if "item" in said else []
        assert seen == texts(range(COUNT)), seen
        await (await socket.ping())


async def by_values():
    """What `python -m websockets` and websocat do with lines of a terminal."""
    address = ORIGIN.replace("http", "ws", 1) + "/topics/clients/chat?messages=values"
    async with websockets.connect(address) as socket:
        for said in ["hello", b"\x00\xff"]:
            await socket.send(said)
            assert await socket.recv() == said


by_sseclient()
print("OK     sseclient-py: every message in order, and it resumes")
asyncio.run(by_websockets())
print("OK     websockets: publishes and subscribes on one socket")
asyncio.run(by_values())
print("OK     websockets: lines as a terminal sends them")
