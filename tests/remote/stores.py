"""S3 servers on loopback for the proofs of the remote tier: moto's, and a cluster of Garage.

Both have the bucket `media`, and answer requests that are signed with Signature Version 4.
"""

import datetime
import hashlib
import hmac
import os
import shutil
import signal
import subprocess
import time

from origin import ask, check, until

PORTS = range(18894, 18900)  # Three of S3, three between the nodes of a cluster.
BUCKET = "media"


class Store:
    """What both have: an endpoint, a key, and processes that can be stopped."""

    region, key, secret = "us-east-1", "AKIDHEADWATER", "for-this-test"
    endpoint = ("127.0.0.1", PORTS[0])

    def __init__(self, program, folder):
        self.program, self.folder, self.nodes = program, folder, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for number in list(self.nodes):
            self.kill(number)

    def environment(self):
        return {"AWS_ENDPOINT": "http://%s:%d" % self.endpoint, "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": self.region, "AWS_ACCESS_KEY_ID": self.key,
                "AWS_SECRET_ACCESS_KEY": self.secret}

    def run(self, number, *words):
        """Starts a server; what it says is in a log."""
        with open(f"{self.folder}/store-{number}.log", "ab") as log:
            self.nodes[number] = subprocess.Popen(words, stdout=log, stderr=log)

    def kill(self, *numbers):
        """Ends servers without a word."""
        for number in numbers:
            process = self.nodes.pop(number)
            process.kill()
            process.wait()

    def freeze(self, *numbers):
        for number in numbers or self.nodes:
            os.kill(self.nodes[number].pid, signal.SIGSTOP)

    def thaw(self, *numbers):
        for number in numbers or self.nodes:
            os.kill(self.nodes[number].pid, signal.SIGCONT)

    def ask(self, method, place, body=None, headers={}):
        """One request of the store itself, signed; `place` is percent-encoded."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        lines = {"host": "%s:%d" % self.endpoint, "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
                 "x-amz-date": now}
        names = ";".join(lines)
        told = "".join(f"{name}:{value}\n" for name, value in lines.items())
        request = f"{method}\n{place}\n\n{told}\n{names}\nUNSIGNED-PAYLOAD"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope,
                          hashlib.sha256(request.encode()).hexdigest()])
        sign = f"AWS4{self.secret}".encode()
        for word in [*scope.split("/"), text]:
            sign = hmac.digest(sign, word.encode(), "sha256")
        lines["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, "
                                  f"SignedHeaders={names}, Signature={sign.hex()}")
        return ask(self.endpoint, method, place, body, {**lines, **headers})

    def stored(self, target):
        """What the store has of a key, or nothing."""
        status, _, body = self.ask("GET", f"/{BUCKET}/library{target}")
        check(f"the store answers {status} {body[:200]}", status in (200, 404))
        return body if status == 200 else None


class Moto(Store):
    name = "moto"

    def start(self):
        self.run(1, self.program, "-H", self.endpoint[0], "-p", str(self.endpoint[1]))
        until("moto does not start",
              lambda: ask(self.endpoint, "GET", "/moto-api/data.json")[0] == 200)
        made = self.ask("PUT", f"/{BUCKET}")
        check(f"the bucket is not made: {made}", made[0] == 200)

    def refuse(self):
        """Looks at credentials from now on, and knows none; `False` where moto checks none."""
        return ask(self.endpoint, "POST", "/moto-api/reset-auth", b"0")[0] == 200

    def allow(self):
        ask(self.endpoint, "POST", "/moto-api/reset-auth", b"inf")


class Garage(Store):
    """Three nodes with a copy of everything on each: two must agree on what is written."""

    name, region = "Garage", "garage"
    key, secret = "GK" + "5a" * 12, "6b" * 32
    CONFIG = """metadata_dir = "{folder}/meta"
data_dir = "{folder}/data"
db_engine = "lmdb"
replication_factor = 3
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secret}"
[s3_api]
api_bind_addr = "127.0.0.1:{api}"
s3_region = "garage"
"""

    def home(self, number):
        return f"{self.folder}/node-{number}"

    def through(self, number):
        """Has another node as its endpoint."""
        self.endpoint = (self.endpoint[0], PORTS[number - 1])

    def tell(self, number, *words, may_fail=False):
        """What a node answers to Garage's command line."""
        words = [self.program, "-c", f"{self.home(number)}/garage.toml", *words]
        told = subprocess.run(words, capture_output=True, text=True, timeout=60)
        check(f"{words}: {told.stderr}", may_fail or told.returncode == 0)
        return told.stdout if told.returncode == 0 else None

    def start_nodes(self, *numbers):
        """Starts nodes, and has them met at once: by themselves they would take half a minute."""
        for number in numbers:
            self.run(number, self.program, "-c", f"{self.home(number)}/garage.toml", "server")
        for number in numbers:
            until(f"node {number} does not start",
                  lambda: self.tell(number, "status", may_fail=True) is not None)
        for number in numbers:
            name = self.tell(number, "node", "id", "-q").strip()
            for other in self.nodes.keys() - {number}:
                self.tell(other, "node", "connect", name)

    def start(self):
        for number in (1, 2, 3):
            shutil.rmtree(self.home(number), ignore_errors=True)
            os.makedirs(self.home(number))
            with open(f"{self.home(number)}/garage.toml", "w") as config:
                config.write(self.CONFIG.format(folder=self.home(number), secret="7c" * 32,
                                                api=PORTS[number - 1], rpc=PORTS[number + 2]))
        self.start_nodes(1, 2, 3)
        for number in (1, 2, 3):
            name = self.tell(number, "node", "id", "-q").split("@")[0]
            self.tell(1, "layout", "assign", "-z", f"zone{number}", "-c", "4G", name)
        self.tell(1, "layout", "apply", "--version", "1")
        self.tell(1, "key", "import", "--yes", "-n", "headwater", self.key, self.secret)
        self.tell(1, "bucket", "create", BUCKET)
        self.allow()
        until("the cluster does not answer", lambda: self.ask("GET", f"/{BUCKET}/no")[0] == 404)

    def rights(self, verb):
        self.tell(1, "bucket", verb, "--read", "--write", "--owner", BUCKET, "--key", self.key)
        time.sleep(1)  # Nodes tell each other.

    def refuse(self):
        self.rights("deny")
        return True

    def allow(self):
        self.rights("allow")

    def __exit__(self, *_):
        super().__exit__()
        for number in (1, 2, 3):
            shutil.rmtree(self.home(number), ignore_errors=True)
