"""What the guide says of remotes holds: the bucket can be read without datapin, and its policy suffices to push."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from clones import BIN, ENVIRONMENT, Clone
from remotes import bucket_place
from servers.s3_server import S3Server

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "remotes.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    found = re.search(rf"<!-- tested: {name} -->\n```\w+\n(.*?)```", GUIDE, re.S)
    assert found, f"the guide has no block {name}"
    return found[1]


def test_a_remote_is_read_with_parquet_and_json_alone(filled: Clone) -> None:
    filled.dvc("remote", "add", "--default", "lab", "remote")
    filled.datapin("push")
    said = subprocess.run(
        [BIN / "python", "-I", "-c", block("without-datapin")],
        cwd=filled.path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    first = filled.json("ls", "data/raw", "--limit", "1")[0]
    assert said.stdout.split() == [first["key"], str(first["size"])]


def test_the_policy_of_the_guide_suffices_to_push_and_to_fetch(
    filled: Clone, tmp_path: Path, radosgw_server: S3Server
) -> None:
    place = bucket_place(radosgw_server)
    place.configure(filled.path)
    bucket = place.settings["url"].removeprefix("s3://").split("/")[0]
    allowed = [action for said in json.loads(block("policy-push"))["Statement"] for action in said["Action"]]
    only = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "NotAction": [*allowed, "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"],
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }
    radosgw_server.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(only))
    assert filled.json("push")["assets"] > 0
    filled.commit("data")
    subprocess.run(["git", "clone", "-q", str(filled.path), str(tmp_path / "reader")], check=True)
    reader = Clone(tmp_path / "reader")
    place.configure(reader.path)
    assert reader.json("fetch")["assets"] > 0


def test_the_policy_of_the_guide_does_not_let_delete() -> None:
    actions = [action for said in json.loads(block("policy-push"))["Statement"] for action in said["Action"]]
    assert not [action for action in actions if "Delete" in action or "*" in action]
