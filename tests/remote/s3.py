"""The remote tier against a real S3 server, moto, over HTTP.

Usage: s3.py HEADWATER MOTO_SERVER FOLDER ROUNDS. Starts and ends the server and every origin.
Says a line with counts for each proof; ends in `N passed, 0 failed`, or with the first failure.
"""

import hashlib
import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

HEADWATER, MOTO, FOLDER, ROUNDS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
SITE, ADMIN, STORE = ("127.0.0.1", 18892), ("127.0.0.1", 18893), ("127.0.0.1", 18894)
KIB, MIB = 1024, 1024 * 1024
CREDENTIAL = "AWS4-HMAC-SHA256 Credential=AKIDHEADWATER/20260101/us-east-1/s3/aws4_request"
CONFIG = '[[path]]\npattern = "through/**"\ndurability = "remote"\n'
PASSED = []


def ask(place, method, target, body=None, headers={}, timeout=30):
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
    PASSED.append(line)
    print(line, flush=True)


def until(what, holds, patience=60):
    end = time.monotonic() + patience
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        check(what, time.monotonic() < end)
        time.sleep(0.1)


def pattern(name, size):
    return hashlib.shake_128(name.encode()).digest(size)


class Origin:
    """One `headwater serve` before a bucket, with an empty memory."""

    def __init__(self, url="s3://media/library"):
        self.log = open(f"{FOLDER}/origin.log", "ab")
        environment = dict(os.environ, AWS_ENDPOINT=f"http://{STORE[0]}:{STORE[1]}",
                           AWS_ALLOW_HTTP="true", AWS_REGION="us-east-1",
                           AWS_ACCESS_KEY_ID="AKIDHEADWATER", AWS_SECRET_ACCESS_KEY="for-this-test")
        words = [HEADWATER, "serve", "--remote", url, "--shards", "2", "--memory", "256MiB",
                 "--config", f"{FOLDER}/headwater.toml",
                 "--listen", "%s:%d" % SITE, "--admin", "%s:%d" % ADMIN]
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


def metric(name, labels=""):
    told = ask(ADMIN, "GET", "/metrics")[2].decode().splitlines()
    return sum(float(line.split()[-1]) for line in told if line.startswith(name) and labels in line)


def pending():
    return metric("headwater_remote_pending")


def settle():
    time.sleep(1.2)  # Meters are told with a delay.
    until("what waits for the store stays", lambda: pending() == 0)


def stored(target):
    """What the store has of a key, or nothing."""
    place = f"/media/library{target}"
    status, _, body = ask(STORE, "GET", place, headers={"Authorization": CREDENTIAL})
    check(f"the store answers {status}", status in (200, 404))
    return body if status == 200 else None


def uploads_and_ranges():
    sizes = [0, 1, KIB, MIB, 8 * MIB, 8 * MIB + 1, 20 * MIB]
    bodies = {f"/vod/film%20{size}.mp4": pattern(f"vod {size}", size) for size in sizes}
    tags = {}
    with Origin():
        for target, body in bodies.items():
            put(target, body)
            tags[target] = ask(SITE, "HEAD", target)[1]["ETag"]
        settle()
        check("the store has others' bytes", all(stored(t) == body for t, body in bodies.items()))
    with Origin():
        for target, body in bodies.items():
            reads(target, body, tags[target])
    passed(f"uploads: {len(sizes)} objects up to 20 MiB settle and are read back by a fresh origin")
    target, body = list(bodies.items())[-1]
    chance, count = random.Random(1), 0
    for _ in range(4):
        with Origin():
            for _ in range(5):
                first = chance.randrange(len(body))
                last = min(first + chance.randrange(1, 3 * MIB), len(body) - 1)
                lines = {"Range": f"bytes={first}-{last}"}
                status, headers, got = ask(SITE, "GET", target, headers=lines)
                told = headers["Content-Range"] == f"bytes {first}-{last}/{len(body)}"
                check(f"{lines}: {status}", status == 206 and told and got == body[first:last + 1])
                count += 1
    with Origin():
        status, _, _ = ask(SITE, "GET", target, headers={"Range": f"bytes={len(body)}-"})
        check(f"a range behind the end: {status}", status == 416)
    passed(f"ranges: {count} of a cold object of 20 MiB, and one behind its end")


def large_objects():
    target, body = "/vod/large.mp4", pattern("large", 40 * MIB + 5)
    with Origin():
        put(target, body)
        settle()
        check("the store has other bytes", stored(target) == body)
    with Origin():
        chance = random.Random(2)
        for count in range(1, 11):
            first = chance.randrange(len(body) - MIB)
            lines = {"Range": f"bytes={first}-{first + MIB - 1}"}
            status, _, got = ask(SITE, "GET", target, headers=lines)
            check(f"{lines}: {status}", status == 206 and got == body[first:first + MIB])
        time.sleep(1.2)  # Meters are told with a delay.
        fetched = metric('headwater_remote_orders_total', 'outcome="chunk"')
        check(f"{fetched:.0f} chunks", 0 < fetched <= 11)
        reads(target, body)
        # Others replace it.
        other = pattern("other", 40 * MIB)
        place = f"/media/library{target}"
        put_there = ask(STORE, "PUT", place, other, {"Authorization": CREDENTIAL})[0]
        check(f"the store takes {put_there}", put_there == 200)
    with Origin():
        reads(target, other)
    passed(f"large: {count} ranges of 40 MiB from {fetched:.0f} chunks; replaced, read anew")


def deletions():
    targets = [f"/gone/{number}" for number in range(20)]
    with Origin():
        for target in targets + ["/gone/kept"]:
            put(target, pattern(target, 5000))
        settle()
        check("a warm DELETE", all(ask(SITE, "DELETE", t)[0] == 200 for t in targets[:10]))
    with Origin():
        check("a cold DELETE", all(ask(SITE, "DELETE", t)[0] == 200 for t in targets[10:]))
        check("a second DELETE", ask(SITE, "DELETE", targets[0])[0] == 404)
    with Origin():
        check("deleted and read", all(ask(SITE, "GET", t)[0] == 404 for t in targets))
        reads("/gone/kept", pattern("/gone/kept", 5000))
    check("deleted and stored", not any(stored(target) for target in targets))
    passed(f"deletions: {len(targets)} warm and cold ones are gone from here and from the store")


def lifetimes():
    with Origin():
        for number in range(10):
            put(f"/through/short/{number}?ttl_seconds=2", b"short")
            put(f"/through/long/{number}?ttl_seconds=600", b"long")
            check("an acknowledged upload", stored(f"/through/short/{number}") == b"short")
            time.sleep(0.02)
        until("a lifetime does not end in the store",
              lambda: not any(stored(f"/through/short/{number}") for number in range(10)), 20)
        check("over", all(ask(SITE, "GET", f"/through/short/{n}")[0] == 404 for n in range(10)))
        put("/through/late?ttl_seconds=1", b"late")
    time.sleep(1.2)
    with Origin():
        check("over while nobody ran", ask(SITE, "GET", "/through/late")[0] == 404)
        check("over, and in the store", stored("/through/late") is None)
        for number in range(10):
            reads(f"/through/long/{number}", b"long")
    passed("lifetimes: 11 end here and in the store, 10 go on behind a restart")


def stopped_store(moto):
    bodies = {f"/behind/{n}": pattern(f"behind {n}", 1 + 40_000 * n) for n in range(40)}
    waiting, said = pattern("waiting", 9 * MIB), []
    with Origin():
        put("/behind/before", b"before")
        settle()
        os.kill(moto.pid, signal.SIGSTOP)
        try:
            through = threading.Thread(
                target=lambda: said.append(ask(SITE, "PUT", "/through/waiting", waiting)[0]))
            through.start()
            for target, body in bodies.items():
                put(target, body)
            time.sleep(2)
            check("answered without the store", not said)
            for target, body in bodies.items():
                reads(target, body)
            count = pending()
            check("nothing waits for a store that is stopped", count > 0)
        finally:
            os.kill(moto.pid, signal.SIGCONT)
        through.join()
        check(f"the upload that waited: {said}", said == [200])
        settle()
    with Origin():
        for target, body in bodies.items():
            reads(target, body)
        reads("/through/waiting", waiting)
    passed(f"stopped store: {len(bodies)} uploads go on ({count:.0f} waited), all are there later;"
           " one of durability remote waits for it")


def upload_until_killed(round_, worker, acknowledged, chance):
    for number in range(10_000):
        size = chance.choice([100, 5000, 300_000, 9 * MIB])
        target = f"/through/{round_}/{worker}/{number}"
        acknowledged[target] = (size, False)
        try:
            if ask(SITE, "PUT", target, pattern(target, size))[0] != 200:
                return
        except (OSError, http.client.HTTPException):
            return
        acknowledged[target] = (size, True)


def killed_origin():
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"kill -9: {ROUNDS} rounds, seed {seed}", flush=True)
    kept = lost = 0
    for round_ in range(ROUNDS):
        chance, uploads = random.Random(seed + round_), {}
        with Origin() as origin:
            chances = [random.Random(chance.random()) for _ in range(4)]
            workers = [threading.Thread(target=upload_until_killed,
                                        args=(round_, worker, uploads, own))
                       for worker, own in enumerate(chances)]
            for worker in workers:
                worker.start()
            time.sleep(0.3 + chance.random())
            origin.process.kill()
            for worker in workers:
                worker.join()
        with Origin():
            for target, (size, was_answered) in uploads.items():
                status, _, body = ask(SITE, "GET", target)
                is_whole = status == 200 and body == pattern(target, size)
                check(f"{target}: {status} after its answer", is_whole or not was_answered)
                check(f"{target}: {status}, in part", is_whole or status == 404)
                kept, lost = kept + was_answered, lost + (not was_answered)
    passed(f"kill -9: {kept} acknowledged uploads are whole, {lost} others whole or absent")


def refusals():
    def expect(what, target, method, word, body=None):
        status, headers, said = ask(SITE, method, target, body)
        check(f"{what}: {method} {status} {said}", status == 503 and word in said.decode())
        check(f"{what}: no Retry-After", headers["Retry-After"] is not None)

    with Origin("s3://no-such-bucket/x"):
        expect("no bucket", "/a", "GET", "bucket")
        expect("no bucket", "/through/a", "PUT", "bucket", b"a")
    passed("missing bucket: a read and an upload get 503 that names it")
    # From now on moto looks at credentials, and knows none.
    status, _, _ = ask(STORE, "POST", "/moto-api/reset-auth", b"0")
    if status != 200:
        print("wrong credentials: skipped, this moto does not check any")
        return
    with Origin():
        expect("credentials", "/vod/never", "GET", "credentials")
        expect("credentials", "/through/a", "PUT", "credentials", b"a")
        ask(STORE, "POST", "/moto-api/reset-auth", b"inf")
        until("good credentials again", lambda: ask(SITE, "PUT", "/through/a", b"b")[0] == 200)
    passed("wrong credentials: a read and an upload get 503 that names them; then all is well")


def main():
    with open(f"{FOLDER}/headwater.toml", "w") as config:
        config.write(CONFIG)
    open(f"{FOLDER}/origin.log", "w").close()
    with open(f"{FOLDER}/moto.log", "wb") as log:
        moto = subprocess.Popen([MOTO, "-H", STORE[0], "-p", str(STORE[1])], stdout=log, stderr=log)
    try:
        until("moto does not start", lambda: ask(STORE, "GET", "/moto-api/data.json")[0] == 200)
        made = ask(STORE, "PUT", "/media", headers={"Authorization": CREDENTIAL})
        check(f"the bucket is not made: {made}", made[0] == 200)
        uploads_and_ranges()
        large_objects()
        deletions()
        lifetimes()
        stopped_store(moto)
        killed_origin()
        refusals()
    finally:
        moto.kill()
        moto.wait()
    print(f"{len(PASSED)} passed, 0 failed")


main()
