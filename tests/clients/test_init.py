"""`strandline init` and what `doctor` says of a bucket's settings, on LocalStack and MinIO, looked at with boto3.

LocalStack has all settings; MinIO lacks some, which must be said and must not hurt. What a policy denies is Amazon's to
enforce: neither server knows these conditions.
"""

import json
import uuid

import pytest

from bed import Store, run_command

LIFECYCLE = "strandline-unfinished-uploads-main"


def fresh(server, kind, prefix="main"):
    return Store(kind, f"s3://bucket-{uuid.uuid4().hex[:12]}/{prefix}", server.environment(), server)


def bucket_of(store):
    return store.url.split("/")[2]


def lines(done):
    """What was said of each rule: its first word."""
    said = [line.split(maxsplit=1) for line in done.stdout.decode().splitlines() if line and not line.startswith(" ")]
    return {rule: word for word, rule in said}


@pytest.fixture
def localstack_store(localstack):
    return fresh(localstack, "localstack")


def test_a_bucket_is_made_with_its_settings_and_then_left_alone(localstack_store):
    store, s3, bucket = localstack_store, localstack_store.server.client(), bucket_of(localstack_store)
    made = lines(run_command(["init", store.url], store))
    assert made[f"the bucket {bucket}"] == "made"
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["ID"] == LIFECYCLE and rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1} and "Expiration" not in rule
    [statement] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny" and statement["Resource"] == f"arn:aws:s3:::{bucket}/main/journal/*"
    assert statement["Condition"]["Null"] == {"s3:if-none-match": "true"}
    again = lines(run_command(["init", store.url], store))
    assert set(again.values()) == {"ok", "Next:"}
    doctor = run_command(["doctor", store.url], store).stdout.decode()
    assert "DRIFT" not in doctor and "safe" in doctor


def test_what_others_have_set_stays(localstack_store):
    store, s3, bucket = localstack_store, localstack_store.server.client(), bucket_of(localstack_store)
    s3.create_bucket(Bucket=bucket)
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "elsewhere/"}, "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [theirs]})
    allow = {"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/elsewhere/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    run_command(["init", store.url, "--collector-role", "arn:aws:iam::111122223333:role/collector"], store)
    assert [rule["ID"] for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]] == ["theirs", LIFECYCLE]
    statements = {one["Sid"]: one for one in json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]}
    ours = {f"Strandline{what}{b'main'.hex()}" for what in ("ConditionalWrites", "Deletes")}
    assert set(statements) == {"Theirs", *ours}
    deletes = statements[f"StrandlineDeletes{b'main'.hex()}"]
    assert deletes["Condition"]["ArnNotLike"]["aws:PrincipalArn"] == ["arn:aws:iam::111122223333:role/collector"]
    assert not any("/node/" in resource for resource in deletes["Resource"])


def test_doctor_reports_drift_and_init_mends_it(localstack_store):
    store, s3, bucket = localstack_store, localstack_store.server.client(), bucket_of(localstack_store)
    run_command(["init", store.url], store)
    s3.delete_public_access_block(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    doctor = run_command(["doctor", store.url], store)
    found = lines(doctor)
    drift = {rule for rule, word in found.items() if word == "DRIFT"}
    assert drift == {"nothing can be made public", "the journal takes conditional writes only"}
    assert f"strandline init {store.url}" in doctor.stdout.decode()
    would = lines(run_command(["init", store.url, "--dry-run", "--whole-bucket"], store))
    assert {rule for rule, word in would.items() if word == "would"} == drift
    assert lines(run_command(["doctor", store.url], store))["nothing can be made public"] == "DRIFT"
    run_command(["init", store.url], store)
    left = {rule for rule, word in lines(run_command(["doctor", store.url], store)).items() if word == "DRIFT"}
    assert left == {"nothing can be made public"}, "what holds for all of a bucket is its owner's to change"
    run_command(["init", store.url, "--whole-bucket"], store)
    assert "DRIFT" not in lines(run_command(["doctor", store.url], store)).values()


def test_a_bucket_that_deletes_by_itself_is_not_safe(localstack_store):
    store, s3, bucket = localstack_store, localstack_store.server.client(), bucket_of(localstack_store)
    run_command(["init", store.url], store)
    rule = {"ID": "cleaning", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    doctor = run_command(["doctor", store.url], store, check=False)
    assert doctor.code == 1 and "cleaning" in doctor.stdout.decode() and "NOT safe" in doctor.stderr
    init = run_command(["init", store.url], store, check=False)
    assert init.code == 1 and "cleaning" in init.stdout.decode()


@pytest.mark.parametrize("kind", ["minio", "localstack"])
def test_a_dry_run_makes_nothing_and_a_log_runs_where_init_was(kind, request):
    store = fresh(request.getfixturevalue(kind), kind)
    run_command(["init", store.url, "--dry-run"], store)
    s3 = store.server.client()
    assert bucket_of(store) not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    said = lines(run_command(["init", store.url], store))
    assert "FAILED" not in said.values() and "unknown" not in said.values()
    run_command(["produce", "greetings", "--store", store.url], store, input=b"hello\n")
    assert run_command(["consume", "greetings", "--store", store.url], store).stdout == b"hello\n"
    run_command(["doctor", store.url], store)


def test_what_is_no_bucket_needs_none(tmp_path):
    refused = run_command(["init", f"file://{tmp_path}/store"], check=False)
    assert refused.code == 1 and "no bucket on S3" in refused.stderr
    assert not (tmp_path / "store").exists()
