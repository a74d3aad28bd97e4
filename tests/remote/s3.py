"""The remote tier against a real S3 server over HTTP: moto, or a cluster of Garage.

Usage: s3.py HEADWATER STORE FOLDER ROUNDS, where STORE is the program `moto_server` or `garage`.
Starts and ends the servers and every origin. Says a line with counts for each proof; ends in
`N passed, 0 failed`, or with the first failure.
"""

import os
import random
import signal
import sys
import threading
import time

import cluster
from origin import (KIB, MIB, PASSED, SITE, Origin, Uploaders, ask, check, metric, passed, pattern,
                    pending, put, read_until_cut, reads, settle, until)
from stores import BUCKET, Garage, Moto


def uploads_and_ranges(store):
    sizes = [0, 1, KIB, MIB, 8 * MIB, 8 * MIB + 1, 20 * MIB]
    bodies = {f"/vod/film%20{size}.mp4": pattern(f"vod {size}", size) for size in sizes}
    tags = {}
    with Origin(store):
        for target, body in bodies.items():
            put(target, body)
            tags[target] = ask(SITE, "HEAD", target)[1]["ETag"]
        settle()
        are_there = all(store.stored(target) == body for target, body in bodies.items())
        check("the store has others' bytes", are_there)
    with Origin(store):
        for target, body in bodies.items():
            reads(target, body, tags[target])
    passed(f"uploads: {len(sizes)} objects up to 20 MiB settle and are read back by a fresh origin")
    target, body = list(bodies.items())[-1]
    chance, count = random.Random(1), 0
    for _ in range(4):
        with Origin(store):
            for _ in range(5):
                first = chance.randrange(len(body))
                last = min(first + chance.randrange(1, 3 * MIB), len(body) - 1)
                lines = {"Range": f"bytes={first}-{last}"}
                status, headers, got = ask(SITE, "GET", target, headers=lines)
                told = headers["Content-Range"] == f"bytes {first}-{last}/{len(body)}"
                check(f"{lines}: {status}", status == 206 and told and got == body[first:last + 1])
                count += 1
    with Origin(store):
        status, _, _ = ask(SITE, "GET", target, headers={"Range": f"bytes={len(body)}-"})
        check(f"a range behind the end: {status}", status == 416)
    passed(f"ranges: {count} of a cold object of 20 MiB, and one behind its end")


def large_objects(store):
    target, body = "/vod/large.mp4", pattern("large", 40 * MIB + 5)
    with Origin(store):
        put(target, body)
        settle()
        check("the store has other bytes", store.stored(target) == body)
    with Origin(store):
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
        put_there = store.ask("PUT", f"/{BUCKET}/library{target}", other)[0]
        check(f"the store takes {put_there}", put_there == 200)
    with Origin(store):
        reads(target, other)
    passed(f"large: {count} ranges of 40 MiB from {fetched:.0f} chunks; replaced, read anew")


def conditions(store):
    """What is replaced at the store while it is read by chunks: no answer has bytes of both."""
    target, place = "/vod/replaced.mp4", f"/{BUCKET}/library/vod/replaced.mp4"
    bodies = [pattern(f"replaced {number}", 40 * MIB) for number in range(2)]
    with Origin(store):
        put(target, bodies[0])
        settle()
    tag = store.ask("HEAD", place)[1]["ETag"]
    told = [store.ask("GET", place, headers={"If-Match": match, "Range": "bytes=5-9"})[0]
            for match in (tag, '"another"')]
    with Origin(store):
        lines = {"Range": "bytes=0-99999"}
        check("the first chunk", ask(SITE, "GET", target, headers=lines)[2] == bodies[0][:100_000])
        check("replaced", store.ask("PUT", place, bodies[1])[0] == 200)
        got = read_until_cut(target)
        check("of two versions", got == bodies[1] or bodies[0].startswith(got))
        reads(target, bodies[1])
    passed(f"conditions: If-Match of the tag and of another are answered {told}; an object that is"
           f" replaced while it is read: {len(got)} bytes of one version, then the new one")


def deletions(store):
    targets = [f"/gone/{number}" for number in range(20)]
    with Origin(store):
        for target in targets + ["/gone/kept"]:
            put(target, pattern(target, 5000))
        settle()
        check("a warm DELETE", all(ask(SITE, "DELETE", t)[0] == 200 for t in targets[:10]))
    with Origin(store):
        check("a cold DELETE", all(ask(SITE, "DELETE", t)[0] == 200 for t in targets[10:]))
        check("a second DELETE", ask(SITE, "DELETE", targets[0])[0] == 404)
    with Origin(store):
        check("deleted and read", all(ask(SITE, "GET", t)[0] == 404 for t in targets))
        reads("/gone/kept", pattern("/gone/kept", 5000))
    check("deleted and stored", not any(store.stored(target) for target in targets))
    passed(f"deletions: {len(targets)} warm and cold ones are gone from here and from the store")


def lifetimes(store):
    with Origin(store):
        for number in range(10):
            put(f"/through/short/{number}?ttl_seconds=2", b"short")
            put(f"/through/long/{number}?ttl_seconds=600", b"long")
            check("an acknowledged upload", store.stored(f"/through/short/{number}") == b"short")
            time.sleep(0.02)
        until("a lifetime does not end in the store",
              lambda: not any(store.stored(f"/through/short/{number}") for number in range(10)), 20)
        check("over", all(ask(SITE, "GET", f"/through/short/{n}")[0] == 404 for n in range(10)))
        put("/through/late?ttl_seconds=1", b"late")
    time.sleep(1.2)
    with Origin(store):
        check("over while nobody ran", ask(SITE, "GET", "/through/late")[0] == 404)
        check("over, and in the store", store.stored("/through/late") is None)
        for number in range(10):
            reads(f"/through/long/{number}", b"long")
    passed("lifetimes: 11 end here and in the store, 10 go on behind a restart")


def stopped_store(store):
    bodies = {f"/behind/{n}": pattern(f"behind {n}", 1 + 40_000 * n) for n in range(40)}
    waiting, said = pattern("waiting", 9 * MIB), []
    with Origin(store):
        put("/behind/before", b"before")
        settle()
        store.freeze()
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
            store.thaw()
        through.join()
        check(f"the upload that waited: {said}", said == [200])
        settle()
    with Origin(store):
        for target, body in bodies.items():
            reads(target, body)
        reads("/through/waiting", waiting)
    passed(f"stopped store: {len(bodies)} uploads go on ({count:.0f} waited), all are there later;"
           " one of durability remote waits for it")


def killed_origin(store, rounds):
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"kill -9: {rounds} rounds, seed {seed}", flush=True)
    kept = lost = 0
    for round_ in range(rounds):
        with Origin(store) as origin:
            chance = random.Random(seed + round_)
            with Uploaders(round_, chance) as uploads:
                time.sleep(0.3 + chance.random())
                origin.process.kill()
        with Origin(store):
            answered, others = uploads.are_kept()
            kept, lost = kept + answered, lost + others
    passed(f"kill -9: {kept} acknowledged uploads are whole, {lost} others whole or absent")


def refusals(store):
    def expect(what, target, method, word, body=None):
        status, headers, said = ask(SITE, method, target, body)
        check(f"{what}: {method} {status} {said}", status == 503 and word in said.decode())
        check(f"{what}: no Retry-After", headers["Retry-After"] is not None)

    with Origin(store, bucket="no-such-bucket"):
        expect("no bucket", "/a", "GET", "bucket")
        expect("no bucket", "/through/a", "PUT", "bucket", b"a")
    passed("missing bucket: a read and an upload get 503 that names it")
    if not store.refuse():
        print("wrong credentials: skipped, this moto does not check any")
        return
    with Origin(store):
        expect("credentials", "/vod/never", "GET", "credentials")
        expect("credentials", "/through/a", "PUT", "credentials", b"a")
        store.allow()
        until("good credentials again", lambda: ask(SITE, "PUT", "/through/a", b"b")[0] == 200)
    passed("wrong credentials: a read and an upload get 503 that names them; then all is well")


def main():
    Origin.headwater, program, Origin.folder, rounds = sys.argv[1:]
    open(f"{Origin.folder}/origin.log", "w").close()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    kind = Garage if os.path.basename(program) == "garage" else Moto
    with kind(program, Origin.folder) as store:
        store.start()
        for prove in (uploads_and_ranges, large_objects, conditions, deletions, lifetimes,
                      stopped_store):
            prove(store)
        killed_origin(store, int(rounds))
        refusals(store)
        if kind is Garage:
            cluster.prove(store)
    print(f"{store.name}: {len(PASSED)} passed, 0 failed")


main()
