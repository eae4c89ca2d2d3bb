"""What is in infra/ against what it speaks of: the program, the sources, Kubernetes' schemas, and each other. Needs no cluster."""

import contextlib
import copy
import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

import bed
import infra
from infra import KUBERNETES, container, helm, kustomize, merged, nodes, of_kind, own_metrics, pod, role

STORE = {"store": {"url": infra.URL}}

# Values that somebody may have, and the Kubernetes that they are rendered for.
VARIATIONS = {
    "none but the store": ({}, "1.37"),
    "a Secret": ({"credentials": {"existingSecret": "strandline-credentials"}}, "1.37"),
    "own metrics": ({"metrics": {"own": True, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}}, "1.37"),
    "one role": ({"reader": {"enabled": False}, "compactor": {"enabled": False}, "networkPolicy": {"enabled": False}}, "1.37"),
    "fixed numbers": ({role: {"autoscaling": {"enabled": False}, "replicas": 3} for role in ("ingest", "reader")}, "1.37"),
    "an old Kubernetes": ({}, "1.30"),
    "no racks": ({"rack": {"byRole": False, "byZone": False}}, "1.37"),
    "MinIO": (
        {"store": {"endpoint": "http://minio.minio.svc:9000", "allowHttp": True}, "networkPolicy": {"storePorts": [9000, 443]}},
        "1.37",
    ),
    "another cloud": ({"store": {"url": "gs://bucket/log", "region": ""}, "serviceAccount": {"create": False, "name": "logs"}}, "1.37"),
    "places": (
        {
            "ingest": {
                "nodeSelector": {"pool": "logs"},
                "tolerations": [{"key": "logs", "operator": "Exists"}],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
                "env": {"STRANDLINE_FLUSH_INTERVAL": "250ms"},
                "service": {"type": "LoadBalancer", "annotations": {"example.net/internal": "true"}},
                "podAnnotations": {"example.net/team": "logs"},
            },
            "image": {"repository": "registry.example.net/strandline", "tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
            "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/strandline"}},
        },
        "1.37",
    ),
}


@pytest.fixture(scope="module")
def plain():
    return kustomize()


@pytest.fixture(scope="module")
def plain_own(tmp_path_factory):
    """The plain manifests with the component for autoscaling by own metrics."""
    return infra.kustomize_with("own-metrics", tmp_path_factory.mktemp("kustomize") / "kubernetes")


@pytest.fixture(scope="module")
def all_of_them(plain, plain_own):
    """Everything that comes out of infra/, by a name."""
    charts = {f"chart: {name}": helm(merged(STORE, values), version=version) for name, (values, version) in VARIATIONS.items()}
    return {"plain": plain, "plain, own metrics": plain_own, **charts, "chart: another name": helm(STORE, name="logs")}


@pytest.fixture(scope="module")
def help_of():
    """`help_of(command)`: the variables and the flags that the program knows there."""

    def ask(command):
        text = bed.run_command(["help", command]).stdout.decode()
        return set(re.findall(r"\b(STRANDLINE_\w+)=", text)), set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", text))

    return ask


def each_deployment(all_of_them):
    for name, documents in all_of_them.items():
        for deployment in of_kind(documents, "Deployment"):
            yield f"{name}, {deployment['metadata']['name']}", documents, deployment


# --- what Kubernetes makes of it ---


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_everything(all_of_them, version):
    """By the strict schemas: a field that is not known is an error."""
    for name, documents in all_of_them.items():
        assert len(documents) >= 5, name
        assert not (said := infra.validate(documents, version)), f"{name}: {said}"


def test_the_schemas_notice(plain):
    """A field with a wrong name, a number where a text belongs: else the test above would mean nothing."""
    for spoil in (
        lambda c: c.update(readynessProbe=c.pop("readinessProbe")),
        lambda c: c["env"].append({"name": "STRANDLINE_LOG_LEVEL", "value": 1}),
        lambda c: c["securityContext"].update(readOnlyRootFileSystem=True),
    ):
        documents = copy.deepcopy(plain)
        spoil(container(nodes(documents)[0]))
        assert infra.validate(documents, KUBERNETES[-1])


def test_what_is_named_is_there(all_of_them):
    """Services, budgets, policies and autoscalers find pods; settings and accounts that pods name exist; ports are those of containers."""
    for name, documents in all_of_them.items():
        deployments = of_kind(documents, "Deployment")
        labels = {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"] for each in deployments}
        have = {(each["kind"], each["metadata"]["name"]) for each in documents}

        def found(selector):
            return [pods for pods, theirs in labels.items() if selector.items() <= theirs.items()]

        for each in deployments:
            own = each["metadata"]["name"]
            assert found(each["spec"]["selector"]["matchLabels"]) == [own], name
            account = pod(each)["serviceAccountName"]
            assert ("ServiceAccount", account) in have or account == "logs", name
            for source in container(each)["envFrom"]:
                assert "secretRef" in source or ("ConfigMap", source["configMapRef"]["name"]) in have, name
            for spread in pod(each).get("topologySpreadConstraints", []):
                assert found(spread["labelSelector"]["matchLabels"]) == [own], name
        for service in of_kind(documents, "Service"):
            [pods] = found(service["spec"]["selector"])
            [deployment] = [each for each in deployments if each["metadata"]["name"] == pods]
            ports = {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}
            assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == ports == {"kafka": 9092, "http": 9080}, name
        serving = sorted(each["metadata"]["name"] for each in nodes(documents))
        for kind in ("Service", "PodDisruptionBudget"):
            assert sorted(each["metadata"]["name"] for each in of_kind(documents, kind)) == serving, name
        for budget in of_kind(documents, "PodDisruptionBudget"):
            assert found(budget["spec"]["selector"]["matchLabels"]) == [budget["metadata"]["name"]], name
        for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
            [target] = [each for each in deployments if each["metadata"]["name"] == scaler["spec"]["scaleTargetRef"]["name"]]
            assert "replicas" not in target["spec"], f"{name}: the number of pods has two owners"
        for policy in of_kind(documents, "NetworkPolicy"):
            assert found(policy["spec"]["podSelector"]["matchLabels"]) == list(labels), name


def test_the_chart_gives_what_the_plain_manifests_give(plain, plain_own):
    """Field by field, but for what each of the two ways brings along: labels of a release, names with a hash, the namespace."""

    dropped = {
        "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart",
        "checksum/settings", "namespace", "imagePullPolicy", "optional",
    }  # fmt: skip
    only_a_release = [{}, {"app.kubernetes.io/name": "strandline"}]

    def bare(value):
        if isinstance(value, dict):
            kept = {key: bare(each) for key, each in value.items() if key not in dropped}
            return {key: each for key, each in kept.items() if key not in ("labels", "annotations") or each not in only_a_release}
        if isinstance(value, list):
            return [bare(each) for each in value]
        return re.sub(r"^strandline-[a-z0-9]{10}$", "strandline", value) if isinstance(value, str) else value

    def essence(documents):
        found = [bare(document) for document in documents if document["kind"] != "Namespace"]
        return {(document["kind"], document["metadata"]["name"]): document for document in found}

    secret = {"credentials": {"existingSecret": "strandline-credentials"}}
    for documents, values in ((plain, {}), (plain_own, {"metrics": {"own": True}})):
        ours, theirs = essence(documents), essence(helm(merged(merged(STORE, secret), values)))
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert ours[key] == theirs[key], key


# --- the chart ---


def test_the_chart_is_linted(tmp_path):
    for number, (values, version) in enumerate(VARIATIONS.values()):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(merged(STORE, values)))
        infra.run(infra.HELM, "lint", "--strict", infra.CHART, "--kube-version", version, "--values", file)


@pytest.mark.parametrize(
    "values, says",
    [
        ({}, "store.url"),
        (merged(STORE, {"ingest": {"cacheMib": 64}}), "cacheMib"),
        (merged(STORE, {"compactor": {"memoryMiB": 32}}), "memoryMiB"),
        ({"store": {"url": "file:/data"}}, "url"),
        (merged(STORE, {"reader": {"autoscaling": {"cpu": 0}}}), "nothing to go by"),
    ],
    ids=["no store", "a slip", "too little memory", "a disk", "no metric"],
)
def test_values_that_make_no_sense_are_refused(values, says):
    refused = helm(values, check=False)
    assert refused.returncode != 0 and says in refused.stderr, refused


def test_every_value_does_something():
    """Each value of values.yaml, changed alone, changes what comes out: none is left over."""
    [defaults] = infra.parse((infra.CHART / "values.yaml").read_text())
    # What a value needs around it to matter.
    around = merged(STORE, {"metrics": {"own": True, "serviceMonitor": {"enabled": True}}})
    fixed = {role: {"autoscaling": {"enabled": False}} for role in ("ingest", "reader")}
    others = {
        "url": "s3://other/log", "endpoint": "https://store.example.net", "inflight": "7Mi", "rate": "50MiB", "format": "text",
        "pullPolicy": "Always", "type": "NodePort", "interval": "7s", "storePorts": [9000], "pullSecrets": [{"name": "other"}],
        "tolerations": [{"operator": "Exists"}], "clients": [], "affinity": {"podAntiAffinity": {}}, "cpu": "1",
    }  # fmt: skip

    def leaves(value, path=()):
        if isinstance(value, dict) and value and path[-1:] not in (("requests",), ("limits",)):
            for key, each in value.items():
                yield from leaves(each, (*path, key))
        else:
            yield path, value

    def other(path, value):
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + 1
        if path[-1] in others:
            return others[path[-1]]
        return {"other": "1"} if isinstance(value, dict) else "other"

    grounds = [around, merged(around, fixed)]
    before = [helm(ground) for ground in grounds]
    idle = []
    for path, value in leaves(merged(defaults, around)):
        changed = other(path, value)
        for key in reversed(path):
            changed = {key: changed}
        if all(helm(merged(ground, changed)) == was for ground, was in zip(grounds, before)):
            idle.append(".".join(path))
    assert not idle


# --- what the program makes of it ---


def test_the_program_knows_every_variable_and_flag(all_of_them, help_of):
    cloud = re.compile(r"(AWS|GOOGLE|AZURE)_[A-Z_]+|POD_IP|ZONE")
    for name, documents, deployment in each_deployment(all_of_them):
        command, *arguments = container(deployment)["args"]
        variables, flags = help_of(command)
        settings = [c["data"] for c in of_kind(documents, "ConfigMap")]
        # What stands in the settings is for all: each variable must be known somewhere.
        for variable in {variable for data in settings for variable in data}:
            assert variable in help_of("serve")[0] or cloud.fullmatch(variable), f"{name}: {variable}"
        for variable in container(deployment).get("env", []):
            assert variable["name"] in variables or cloud.fullmatch(variable["name"]), f"{name}: {variable['name']}"
        for argument in arguments:
            assert argument.split("=")[0] in flags, f"{name}: {argument}"


def test_pods_may_do_little_and_have_what_they_need(all_of_them):
    """Not root, nothing to write to, no rights; memory for the caches that they are told of; time to end."""
    for name, documents, deployment in each_deployment(all_of_them):
        whole, only = pod(deployment), container(deployment)
        assert whole["securityContext"]["runAsNonRoot"] and whole["securityContext"]["runAsUser"] > 0, name
        assert whole["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, name  # fmt: skip
        assert whole["automountServiceAccountToken"] is False and whole["enableServiceLinks"] is False, name
        assert 10 < whole["terminationGracePeriodSeconds"] <= 30, name
        assert not any(key in whole for key in ("volumes", "initContainers", "hostNetwork")), name
        memory = {only["resources"][of]["memory"] for of in ("requests", "limits")}
        assert len(memory) == 1, name
        if only["args"][0] == "serve":
            told = {variable["name"]: variable.get("value") for variable in only["env"]}
            needs = infra.mib(told["STRANDLINE_CACHE_BYTES"]) + 96 + 64 + 256
            probes = {probe: only[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")}
            assert {probe: get["path"] for probe, get in probes.items()} == {
                "startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz",
            }, name  # fmt: skip
            assert {get["port"] for get in probes.values()} == {"http"}, name
        else:
            [given] = [argument for argument in only["args"] if argument.startswith("--memory=")]
            needs = infra.mib(given.removeprefix("--memory=")) + 64 + 128
            assert not any(key.endswith("Probe") or key == "ports" for key in only), name
        assert infra.mib(memory.pop()) >= needs, name


def test_metrics_that_scale_nodes_are_in_the_sources(all_of_them):
    sources = "".join(path.read_text() for path in bed.ROOT.glob("*/src/metrics.rs"))
    gauges = set(re.findall(r'IntGauge::new\("(strandline_\w+)"', sources))
    named = {metric for documents in all_of_them.values() for _, metric in own_metrics(documents)}
    # A figure that only grows would need a rate, which the name does not say.
    assert len(named) == 2 and named <= gauges


@contextlib.contextmanager
def pods(documents, folder, zone):
    """The nodes of these manifests, one of each deployment, as a kubelet would start them, but on loopback and in a folder."""
    running = []
    url = f"file://{folder}/store"
    fields = {"status.podIP": "127.0.0.1", "metadata.labels['topology.kubernetes.io/zone']": zone}
    try:
        for deployment in nodes(documents):
            node = bed.Process(role(deployment), folder / f"{role(deployment)}.log")
            node.ports = {port["name"]: bed.free_port() for port in container(deployment)["ports"]}
            env = infra.environment(documents, deployment, fields)
            for port in container(deployment)["ports"]:
                env = {key: value.replace(f":{port['containerPort']}", f":{node.ports[port['name']]}") for key, value in env.items()}
            env = {key: value.replace("0.0.0.0:", "127.0.0.1:") for key, value in env.items()}
            node.deployment, node.env = deployment, bed.clean_environment({**env, "STRANDLINE_STORE": url})
            node.spawn([bed.BINARY, *container(deployment)["args"]], node.env)
            running.append(node)
        for node in running:
            for probe in ("startup", "liveness", "readiness"):
                path = container(node.deployment)[f"{probe}Probe"]["httpGet"]["path"]
                node.wait_for(f"http://127.0.0.1:{node.ports['http']}{path}", 20)
        yield running
    finally:
        for node in running:
            node.kill9()


@pytest.mark.parametrize("zone", ["eu-1a", ""], ids=["a zone", "no zones"])
def test_pods_serve_and_clients_find_their_role(plain_own, tmp_path, zone):
    """Nodes start on what pods are told, clients are sent to the role that they ask for, metrics are there, the end is in time."""
    with pods(plain_own, tmp_path, zone) as running:
        told = running[0].env["STRANDLINE_ADVERTISE"]
        assert told == f"127.0.0.1:{running[0].ports['kafka']}"
        bootstrap = {"bootstrap.servers": told}
        ports = {node.ports["kafka"]: node for node in running}
        everybody = AdminClient(bootstrap)
        bed.wait_until(lambda: {b.port for b in everybody.list_topics(timeout=10).brokers.values()} == set(ports), 30, "nodes to meet")
        everybody.create_topics([NewTopic("orders", 12)])["orders"].result(20)
        for node in running:
            client = AdminClient({**bootstrap, "client.id": f"app,strandline_az={node.env['STRANDLINE_RACK']}"})
            seen = client.list_topics("orders", timeout=10)
            leaders = {seen.brokers[partition.leader].port for partition in seen.topics["orders"].partitions.values()}
            assert [ports[port].name for port in leaders] == [node.name]
        annotations = running[0].deployment["spec"]["template"]["metadata"]["annotations"]
        for deployment, metric in own_metrics(plain_own):
            [node] = [node for node in running if node.deployment["metadata"]["name"] == deployment]
            text = bed.http_get(f"http://127.0.0.1:{node.ports['http']}{annotations['prometheus.io/path']}")[1]
            assert f"\n{metric} " in text
        for node in running:
            assert node.signal_and_wait(signal.SIGTERM, pod(node.deployment)["terminationGracePeriodSeconds"]) == 0


def first_process(argv, env, log):
    """Starts it as the first process of a namespace, which is what a container is: signals that it does not know go unheard."""
    alone = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--kill-child"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody make a namespace of processes")
    process = bed.Process(argv[0], log)
    process.spawn([*alone, bed.BINARY, *argv], env)

    def children():
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    return process, bed.wait_until(children, 10, "the namespace")[0]


def test_containers_end_when_they_are_asked_to(plain, tmp_path):
    """The compactor's pod, and a node's, in a namespace of their own: both end by themselves, and in time."""
    with pods(plain, tmp_path, "eu-1a") as running:
        store = running[0].env["STRANDLINE_STORE"]
        running[0].terminate(15)
        for deployment in of_kind(plain, "Deployment"):
            env = {"STRANDLINE_STORE": store, "STRANDLINE_HTTP": "off", "STRANDLINE_KAFKA": f"127.0.0.1:{bed.free_port()}"}
            process, pid = first_process(container(deployment)["args"], bed.clean_environment(env), tmp_path / "first.log")
            try:
                bed.wait_until(lambda: "strandline " in bed.tail(process.log), 20, "it to start")
                os.kill(pid, signal.SIGTERM)
                assert process.child.wait(pod(deployment)["terminationGracePeriodSeconds"]) == 0, bed.tail(process.log)
            finally:
                process.kill9()
            process.log.unlink()


# --- the image ---


def test_the_dockerfile_is_linted(tmp_path):
    infra.run(infra.TOOLS / "hadolint", infra.INFRA / "Dockerfile")
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text("FROM debian\nRUN cd /tmp && apt-get install curl\n")
    assert infra.run(infra.TOOLS / "hadolint", spoilt, check=False).returncode != 0


def test_the_image_is_what_manifests_and_sources_say(plain, help_of):
    instructions = infra.dockerfile()
    last = dict(instructions)
    user = container(nodes(plain)[0]), pod(nodes(plain)[0])["securityContext"]
    assert last["USER"] == f"{user[1]['runAsUser']}:{user[1]['runAsGroup']}"
    assert sorted(last["EXPOSE"].split()) == sorted(str(port["containerPort"]) for port in user[0]["ports"])

    # Bases: a version each, and Rust's is the one that the sources are built with everywhere else.
    bases = dict(rest.split("=", 1) for word, rest in instructions if word == "ARG")
    stages = [rest.split()[0] for word, rest in instructions if word == "FROM"]
    assert stages == [f"${{{name}}}" for name in bases] == ["${RUST}", "${RUNTIME}"]
    toolchain = re.search(r'channel = "([\d.]+)"', (bed.ROOT / "rust-toolchain.toml").read_text())[1]
    assert re.fullmatch(rf"rust:{re.escape(toolchain)}-slim-[a-z]+", bases["RUST"])
    assert re.fullmatch(r"gcr\.io/distroless/cc-debian\d+:nonroot(@sha256:[0-9a-f]{64})?", bases["RUNTIME"])

    # The program: the package that is built has a binary of that name, which is copied to where the container starts.
    package = re.search(r'^\[package\]\nname = "(.+)"', (bed.ROOT / "cli/Cargo.toml").read_text(), re.M)[1]
    [build] = [rest for word, rest in instructions if word == "RUN"]
    assert f"--locked -p {package} " in build and f"target/release/{bed.BINARY.name} " in build
    [start] = json.loads(last["ENTRYPOINT"])
    assert any(word == "COPY" and rest.split()[-1] == start for word, rest in instructions) and start.endswith(f"/{bed.BINARY.name}")
    assert json.loads(last["CMD"]) == ["serve"]
    assert {setting.split("=")[0] for setting in last["ENV"].split()} <= help_of("serve")[0]


def test_versions_agree(plain):
    version = re.search(r'^version = "(.+)"', (bed.ROOT / "Cargo.toml").read_text(), re.M)[1]
    [chart] = infra.parse((infra.CHART / "Chart.yaml").read_text())
    images = {container(each)["image"] for each in of_kind(plain, "Deployment")}
    assert chart["appVersion"] == version and images == {f"strandline:{version}"}


def test_the_build_context_is_a_workspace_and_little_else(tmp_path):
    """cargo finds every member in what `.dockerignore` leaves; what only this machine has is not sent."""
    files, stays = infra.build_context()
    for path in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bed.ROOT / path, tmp_path / path)
    toolchain = re.search(r'channel = "(.+)"', (bed.ROOT / "rust-toolchain.toml").read_text())[1]
    env = {**os.environ, "RUSTUP_TOOLCHAIN": toolchain}
    told = infra.run("cargo", "metadata", "--no-deps", "--offline", "--locked", "--format-version", "1", env=env, cwd=tmp_path)
    packages = {package["name"]: package for package in json.loads(told.stdout)["packages"]}
    assert {target["name"] for target in packages["strandline"]["targets"] if target["kind"] == ["bin"]} == {bed.BINARY.name}
    assert all(os.path.exists(target["src_path"]) for package in packages.values() for target in package["targets"])
    assert ".cargo/config.toml" in files and "Cargo.lock" in files
    for path in ("target/release/strandline", ".git/HEAD", ".testbed/minio", "strandline-data/x", "tests/clients/bed.py"):
        assert not stays(path), path


@pytest.mark.timeout(3600)
def test_the_image_is_built():
    """Where there is a Docker that reaches the registries of the base images."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        pytest.skip("no Docker daemon runs on this machine")
    for base in dict(rest.split("=", 1) for word, rest in infra.dockerfile() if word == "ARG").values():
        if subprocess.run(["docker", "pull", "--quiet", base], capture_output=True).returncode != 0:
            pytest.skip(f"{base} is not within reach")
    build = ["docker", "build", "--quiet", "--file", infra.INFRA / "Dockerfile", bed.ROOT]
    image = subprocess.run(build, env={**os.environ, "DOCKER_BUILDKIT": "1"}, capture_output=True, text=True)
    assert image.returncode == 0, image.stderr
    try:
        said = infra.run("docker", "run", "--rm", "--read-only", "--cap-drop", "ALL", image.stdout.strip(), "--version").stdout
        assert said.startswith("strandline ")
    finally:
        subprocess.run(["docker", "rmi", "--force", image.stdout.strip()], capture_output=True)
