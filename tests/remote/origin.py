"""What the proofs of the remote tier share: requests, verdicts, and one origin before a store."""

import hashlib
import http.client
import os
import random
import subprocess
import sys
import threading
import time

SITE, ADMIN = ("127.0.0.1", 18892), ("127.0.0.1", 18893)
KIB, MIB = 1024, 1024 * 1024
CONFIG = '[[path]]\npattern = "through/**"\ndurability = "remote"\n'
PASSED, BEGIN = [], time.monotonic()


def ask(place, method, target, body=None, headers={}, timeout=60):
    """Status, headers and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection(*place, timeout=timeout)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def check(name, holds):
    if not holds:
        sys.exit(f"FAILED: {name}")


def passed(line):
    """Says what was proven, and how long that took since the last proof."""
    global BEGIN
    PASSED.append(line)
    print(f"{line} ({time.monotonic() - BEGIN:.0f} s)", flush=True)
    BEGIN = time.monotonic()


def until(what, holds, patience=60):
    """Waits until it holds, and says how long that was, in seconds."""
    begin = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - begin
        except OSError:
            pass
        check(what, time.monotonic() < begin + patience)
        time.sleep(0.1)


def pattern(name, size):
    return hashlib.shake_128(name.encode()).digest(size)


class Origin:
    """One `headwater serve` before a store's bucket, with an empty memory."""

    headwater, folder = None, None  # The program, and where its log and configuration lie.

    def __init__(self, store, *flags, bucket="media"):
        with open(f"{self.folder}/headwater.toml", "w") as config:
            config.write(CONFIG)
        self.log = open(f"{self.folder}/origin.log", "ab")
        words = [self.headwater, "serve", "--remote", f"s3://{bucket}/library", "--shards", "2",
                 "--memory", "256MiB", "--config", f"{self.folder}/headwater.toml",
                 "--listen", "%s:%d" % SITE, "--admin", "%s:%d" % ADMIN, *flags]
        environment = dict(os.environ, **store.environment())
        self.process = subprocess.Popen(words, env=environment, stdout=self.log, stderr=self.log)
        until("the origin does not start", lambda: ask(ADMIN, "GET", "/readyz")[0] == 200)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """Ends the process without a word."""
        self.process.kill()
        self.process.wait()
        self.log.close()


def put(target, body):
    status, _, said = ask(SITE, "PUT", target, body)
    check(f"PUT {target}: {status} {said[:200]}", status == 200)


def reads(target, body, etag=None):
    status, headers, got = ask(SITE, "GET", target)
    check(f"GET {target}: {status}, {len(got)} bytes", status == 200 and got == body)
    check(f"GET {target}: another tag", etag in (None, headers["ETag"]))


def read_until_cut(target):
    """The bytes of an answer, which may end early."""
    connection, got = http.client.HTTPConnection(*SITE, timeout=60), bytearray()
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        check(f"GET {target}: {answer.status}", answer.status == 200)
        while piece := answer.read(64 * KIB):
            got += piece
    except (ConnectionError, http.client.IncompleteRead):
        pass
    finally:
        connection.close()
    return bytes(got)


def metric(name, labels=""):
    told = ask(ADMIN, "GET", "/metrics")[2].decode().splitlines()
    return sum(float(line.split()[-1]) for line in told if line.startswith(name) and labels in line)


def pending():
    return metric("headwater_remote_pending")


def settle():
    time.sleep(1.2)  # Meters are told with a delay.
    return until("what waits for the store stays", lambda: pending() == 0)


class Uploaders:
    """Four at once that upload with durability `remote` until they are stopped or refused."""

    def __init__(self, round_, chance):
        self.uploads = {}  # Of each the size, and whether it was answered 200.
        self.refused, self.is_over, self.slowest = [], False, 0
        chances = [random.Random(chance.random()) for _ in range(4)]
        self.workers = [threading.Thread(target=self.upload, args=(f"/through/{round_}/{n}", own))
                        for n, own in enumerate(chances)]

    def __enter__(self):
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        for worker in self.workers:
            worker.join()

    def upload(self, folder, chance):
        for number in range(10_000):
            size = chance.choice([100, 5000, 300_000, 9 * MIB])
            target, begin = f"{folder}/{number}", time.monotonic()
            if self.is_over:
                return
            self.uploads[target] = (size, False)
            try:
                status, _, said = ask(SITE, "PUT", target, pattern(target, size))
            except (OSError, http.client.HTTPException):
                return
            if status != 200:
                self.refused.append((status, said))
                return
            self.uploads[target] = (size, True)
            self.slowest = max(self.slowest, time.monotonic() - begin)

    def are_kept(self):
        """Reads all of them; how many were answered, and how many were not."""
        for target, (size, was_answered) in self.uploads.items():
            status, _, body = ask(SITE, "GET", target)
            is_whole = status == 200 and body == pattern(target, size)
            check(f"{target}: {status} after its answer", is_whole or not was_answered)
            check(f"{target}: {status}, in part", is_whole or status == 404)
        answered = sum(was_answered for _, was_answered in self.uploads.values())
        return answered, len(self.uploads) - answered
