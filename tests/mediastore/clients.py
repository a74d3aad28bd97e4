"""The unmodified boto3 client and awscli against a running origin.

Usage: clients.py ENDPOINT AWS, with the origin's key in AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY. Ends in `N passed, 0 failed`, or with the first failure.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, AWS = sys.argv[1], sys.argv[2]
PASSED = []


def client(**credentials):
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("mediastore-data", endpoint_url=ENDPOINT, region_name="eu-west-1",
                        config=config, **credentials)


STORE = client()


def check(name, holds):
    if not holds:
        sys.exit(f"FAILED: {name}")
    PASSED.append(name)


def fails(name, code, status, call):
    try:
        call()
    except ClientError as error:
        told = error.response
        found = told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"]
        return check(f"{name}: {found}", found == (code, status))
    check(f"{name}: did not fail", False)


class Unseekable(io.RawIOBase):
    """A body whose length nobody knows: sent in chunks."""

    def __init__(self, body):
        self.rest = io.BytesIO(body)

    def read(self, size=-1):
        return self.rest.read(size)


def puts_and_gets():
    body = os.urandom(70_000)
    sent = STORE.put_object(Path="boto/a.ts", Body=body, ContentType="video/mp2t",
                            CacheControl="max-age=6", StorageClass="TEMPORAL",
                            UploadAvailability="STANDARD")
    check("sha256", sent["ContentSHA256"] == hashlib.sha256(body).hexdigest())
    check("storage class", sent["StorageClass"] == "TEMPORAL")
    check("request id", len(sent["ResponseMetadata"]["RequestId"]) == 36)
    got = STORE.get_object(Path="boto/a.ts")
    check("get", got["Body"].read() == body and got["StatusCode"] == 200)
    check("headers", (got["ContentType"], got["CacheControl"]) == ("video/mp2t", "max-age=6"))
    check("etag", got["ETag"].strip('"') == sent["ETag"])
    part = STORE.get_object(Path="boto/a.ts", Range="bytes=10-19")
    check("range", part["Body"].read() == body[10:20] and part["StatusCode"] == 206)
    check("content range", part["ContentRange"] == "bytes 10-19/70000")
    told = STORE.describe_object(Path="boto/a.ts")
    check("describe", told["ContentLength"] == 70_000 and told["LastModified"].year > 2000)
    STORE.put_object(Path="boto/b=1~ c.ts", Body=b"odd name")
    check("odd name", STORE.get_object(Path="boto/b=1~ c.ts")["Body"].read() == b"odd name")
    for availability in ["STREAMING", "STANDARD"]:
        STORE.put_object(Path="boto/s.m4s", Body=Unseekable(body), UploadAvailability=availability)
        check("stream", STORE.get_object(Path="boto/s.m4s")["Body"].read() == body)
    STORE.put_object(Path="boto/a.ts", Body=b"replaced")
    check("replaced", STORE.get_object(Path="boto/a.ts")["Body"].read() == b"replaced")
    STORE.put_object(Path="boto/empty", Body=b"")
    check("empty", STORE.describe_object(Path="boto/empty")["ContentLength"] == 0)


def lists():
    for number in range(25):
        STORE.put_object(Path=f"list/{number:02}.ts", Body=b"x")
    STORE.put_object(Path="list/folder/a.ts", Body=b"x")
    STORE.put_object(Path="list/gone.m3u8", Body=b"transient")
    pages = list(STORE.get_paginator("list_items").paginate(
        Path="list", PaginationConfig={"PageSize": 10}))
    check("pages", [len(page["Items"]) for page in pages] == [10, 10, 6])
    items = [item for page in pages for item in page["Items"]]
    names = [item["Name"] for item in items]
    check("names", names == [f"{number:02}.ts" for number in range(25)] + ["folder"])
    check("types", {item["Type"] for item in items} == {"OBJECT", "FOLDER"})
    check("item", items[0]["ContentLength"] == 1 and items[0]["LastModified"].year > 2000)
    check("transient", STORE.get_object(Path="list/gone.m3u8")["Body"].read() == b"transient")
    check("root", "list" in [item["Name"] for item in STORE.list_items()["Items"]])
    check("nothing", STORE.list_items(Path="no/such/folder")["Items"] == [])


def errors():
    absent = {"Path": "no/such.ts"}
    fails("get absent", "ObjectNotFoundException", 404, lambda: STORE.get_object(**absent))
    fails("delete absent", "ObjectNotFoundException", 404, lambda: STORE.delete_object(**absent))
    fails("describe absent", "ObjectNotFoundException", 404,
          lambda: STORE.describe_object(**absent))
    try:
        STORE.get_object(**absent)
    except STORE.exceptions.ObjectNotFoundException:
        check("exception class", True)
    fails("range", "RequestedRangeNotSatisfiableException", 416,
          lambda: STORE.get_object(Path="boto/a.ts", Range="bytes=999999-"))
    fails("conflict", "ConflictException", 409, lambda: STORE.put_object(Path="boto", Body=b"x"))
    other = client(aws_access_key_id="NOBODY", aws_secret_access_key="x" * 40)
    fails("stranger", "UnrecognizedClientException", 403, lambda: other.list_items())
    forger = client(aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key="x" * 40)
    fails("forger", "InvalidSignatureException", 403,
          lambda: forger.put_object(Path="boto/a.ts", Body=b"forged"))
    STORE.delete_object(Path="boto/a.ts")
    fails("deleted", "ObjectNotFoundException", 404, lambda: STORE.get_object(Path="boto/a.ts"))


def aws(*words):
    done = subprocess.run([AWS, "mediastore-data", *words, "--endpoint-url", ENDPOINT,
                           "--region", "eu-west-1"], capture_output=True, text=True)
    return done.returncode, done.stdout or done.stderr


def command_line():
    with tempfile.TemporaryDirectory() as folder:
        here, back = f"{folder}/here", f"{folder}/back"
        with open(here, "wb") as file:
            file.write(b"from the command line")
        status, said = aws("put-object", "--path", "cli/a.ts", "--body", here)
        check("aws put-object", status == 0 and json.loads(said)["StorageClass"] == "TEMPORAL")
        status, said = aws("get-object", "--path", "cli/a.ts", back)
        check("aws get-object", status == 0 and open(back, "rb").read() == open(here, "rb").read())
    status, said = aws("describe-object", "--path", "cli/a.ts")
    check("aws describe-object", status == 0 and int(json.loads(said)["ContentLength"]) == 21)
    status, said = aws("list-items", "--path", "cli")
    check("aws list-items", [item["Name"] for item in json.loads(said)["Items"]] == ["a.ts"])
    check("aws delete-object", aws("delete-object", "--path", "cli/a.ts")[0] == 0)
    status, said = aws("get-object", "--path", "cli/a.ts", "/dev/null")
    check("aws error", status != 0 and "ObjectNotFoundException" in said)


puts_and_gets()
lists()
errors()
command_line()
print(f"{len(PASSED)} passed, 0 failed")
