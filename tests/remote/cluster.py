"""What the origin does while nodes of a cluster of three fail, of which two make a quorum."""

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from origin import (MIB, SITE, Origin, Uploaders, ask, check, passed, pattern, put, reads, settle,
                    until)
from stores import BUCKET

FIRST, SECOND, THIRD = 1, 2, 3  # The origin's endpoint is the first.


def prove(store):
    one_node_stopped(store)
    for how in ("killed", "frozen"):
        no_quorum(store, how)
    endpoint_stopped(store)


class Kept:
    """Objects that were acknowledged, with what each has."""

    def __init__(self, name):
        self.name, self.targets = name, {}

    def put(self, count, sizes=(100, 300_000, 9 * MIB), folder="/through"):
        """Uploads more of them, which must be taken; the longest time of an answer, in seconds."""
        slowest = 0
        for _ in range(count):
            target = f"{folder}/{self.name}/{len(self.targets)}"
            begin, size = time.monotonic(), sizes[len(self.targets) % len(sizes)]
            put(target, pattern(target, size))
            self.targets[target], slowest = size, max(slowest, time.monotonic() - begin)
        return slowest

    def read(self):
        for target, size in self.targets.items():
            reads(target, pattern(target, size))
        return len(self.targets)


def data(store, is_new=False):
    """The flags of an origin with a data folder, which is empty where it is to be new."""
    folder = f"{store.folder}/origin-data"
    if is_new:
        shutil.rmtree(folder, ignore_errors=True)
    return "--data", folder


def one_node_stopped(store):
    """Uploads, reads and large objects go on; the origin is killed meanwhile, too."""
    large, chance = pattern("with one node stopped", 40 * MIB + 7), random.Random(3)
    with Origin(store, *data(store, is_new=True)) as origin:
        with Uploaders("rolling", chance) as uploads:
            for node in (THIRD, SECOND):
                time.sleep(1)
                store.kill(node)
                time.sleep(2)
                store.start_nodes(node)
                until("the cluster is not whole", lambda: whole(store))
            store.kill(THIRD)
            time.sleep(2)
        check(f"refused with one node stopped: {uploads.refused}", not uploads.refused)
        put("/through/large", large)
        with Uploaders("killed", chance) as cut:
            time.sleep(2)
            origin.process.kill()
    with Origin(store, *data(store, is_new=True)):
        answered = uploads.are_kept()[0] + cut.are_kept()[0]
        lines = {"Range": f"bytes={39 * MIB}-"}
        status, _, got = ask(SITE, "GET", "/through/large", headers=lines)
        check(f"a range of a large object: {status}", status == 206 and got == large[39 * MIB:])
        reads("/through/large", large)
    store.start_nodes(THIRD)
    until("the cluster is not whole", lambda: whole(store))
    passed(f"one node of three killed, in turn: {answered} uploads of durability remote are taken"
           f" (the slowest in {uploads.slowest:.1f} s), and read by an origin that has nothing")


def whole(store):
    return "HEALTHY NODES" in (told := store.tell(FIRST, "status")) and "FAILED" not in told


def no_quorum(store, how):
    """Nothing is acknowledged that is not kept; what is here is served; then all is well."""
    kept, cold = Kept(f"quorum-{how}"), Kept(f"cold-{how}")
    with Origin(store):
        cold.put(3)
    with Origin(store, *data(store, is_new=True)) as origin:
        kept.put(9)
        stop(store, how, SECOND, THIRD)
        asked = [("PUT", f"/through/refused-{how}/{n}", pattern(f"{how}{n}", 1 + n * 9 * MIB))
                 for n in range(2)]
        asked += [("GET", target) for target in cold.targets]
        asked += [("DELETE", next(iter(kept.targets)))]
        with ThreadPoolExecutor() as pool:
            times = list(pool.map(lambda words: refused(*words), asked))
        kept.targets.pop(next(iter(kept.targets)))
        behind = Kept(f"behind-{how}")
        behind.put(30, folder="/vod")
        kept.read(), behind.read()
        origin.kill()
        with Origin(store, *data(store)):
            kept.read(), behind.read()  # From disk.
            times.append(refused("PUT", f"/through/refused-{how}/2", b"2"))
            later = Kept(f"later-{how}")
            later.put(30, folder="/vod")
            store_again(store, how, SECOND, THIRD)
            taken = until("the cluster takes nothing", lambda: store_takes(store))
            back = until("uploads do not recover", lambda: takes(f"/through/after-{how}"))
            cold.read()
            settled = settle()
    with Origin(store, *data(store, is_new=True)):
        count = kept.read() + later.read() + cold.read()
        reads(f"/through/refused-{how}/2", b"2")
    passed(f"two nodes of three {how}: refused with 503 or 504 within {max(times):.1f} s, what is"
           f" here is read; both are back: the cluster takes writes after {taken:.1f} s, the origin"
           f" {back:.1f} s later, {settled:.1f} s later nothing waits; {count} objects are whole")


def endpoint_stopped(store):
    """The node that the origin knows fails; another has all that was acknowledged."""
    kept = Kept("endpoint")
    with Origin(store, *data(store, is_new=True)):
        kept.put(6)
        store.kill(FIRST)
        took = refused("PUT", "/through/endpoint-refused", b"refused")
        kept.read()
        store.through(SECOND)
        store.start_nodes(FIRST)
        back = until("uploads do not recover", lambda: takes("/through/after-endpoint"))
        settle()
    with Origin(store, *data(store, is_new=True)):
        count = kept.read()
        reads("/through/endpoint-refused", b"refused")
    store.through(FIRST)
    passed(f"the endpoint killed: refused within {took:.1f} s, taken {back:.1f} s after its start;"
           f" through another node {count} objects are whole")


def stop(store, how, *nodes):
    store.kill(*nodes) if how == "killed" else store.freeze(*nodes)


def store_again(store, how, *nodes):
    store.start_nodes(*nodes) if how == "killed" else store.thaw(*nodes)


def store_takes(store):
    return store.ask("PUT", f"/{BUCKET}/probe", b"probe")[0] == 200


def takes(target):
    return ask(SITE, "PUT", target, b"again")[0] == 200


def refused(method, target, body=None):
    """How long the answer took that refuses because of the store, in seconds."""
    begin = time.monotonic()
    status, headers, said = ask(SITE, method, target, body)
    is_written = status in (503, 504) and headers["Retry-After"] and b"remote store" in said
    check(f"{method} {target}: {status} {said[:200]}", is_written)
    return time.monotonic() - begin
