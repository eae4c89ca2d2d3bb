"""Reads what is in infra/ for its tests: Kubernetes' objects out of manifests and of the chart, and the Dockerfile.

Knows the tools that tests/setup/infra.sh installs, and nothing of what the files should say.
"""

import fnmatch
import json
import pathlib
import re
import shutil
import subprocess

import bed

INFRA = bed.ROOT / "infra"
CHART = INFRA / "helm/strandline"
HELM = bed.TESTBED / "helm"
TOOLS = bed.TESTBED / "infra/bin"
# The oldest and the newest that the plain manifests are for.
KUBERNETES = ["1.35", "1.37"]
URL = "s3://YOUR-BUCKET/strandline"

# The test's own Python has no YAML. A key that comes twice is an error, which Helm and YAML libraries let pass.
READ_YAML = """
import json, sys, yaml

class Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key comes twice in {node.start_mark}: {keys}"
        return super().construct_mapping(node, deep)

print(json.dumps([document for document in yaml.load_all(sys.stdin, Strict) if document is not None]))
"""


def run(*argv, input=None, check=True, env=None, cwd=None):
    done = subprocess.run([str(a) for a in argv], input=input, capture_output=True, text=True, timeout=110, env=env, cwd=cwd)
    assert done.returncode == 0 or not check, f"{' '.join(map(str, argv))}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def parse(text):
    return json.loads(run(TOOLS / "python", "-c", READ_YAML, input=text).stdout)


def validate(documents, version):
    """What the schemas of that Kubernetes have against these; empty: nothing. Kinds that others bring have no schema there."""
    own = [document for document in documents if "monitoring.coreos.com" not in document["apiVersion"]]
    text = "\n---\n".join(json.dumps(document) for document in own)
    done = run(TOOLS / "kubernetes-validate", "-k", version, "--strict", "-", input=text, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def kustomize(folder=INFRA / "kubernetes"):
    return parse(run(TOOLS / "kubectl", "kustomize", folder).stdout)


def kustomize_with(component, folder):
    """The same with a component, as somebody would add it."""
    shutil.copytree(INFRA / "kubernetes", folder)
    with open(folder / "kustomization.yaml", "a") as file:
        file.write(f"components: [{component}]\n")
    return kustomize(folder)


def helm(values=None, name="strandline", version=KUBERNETES[-1], check=True):
    """`helm template` with these values; the raw process if it may fail."""
    done = run(
        HELM, "template", name, CHART, "--namespace", "strandline", "--kube-version", version, "--values", "-",
        input=json.dumps(values or {}), check=check,
    )  # fmt: skip
    return parse(done.stdout) if check else done


def merged(one, other):
    """A tree of values on top of another."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: merged(one[key], other[key]) if key in one and key in other else other.get(key, one.get(key)) for key in one | other}
    return other


# --- Kubernetes' objects ---


def of_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]


def pod(deployment):
    return deployment["spec"]["template"]["spec"]


def container(deployment):
    [only] = pod(deployment)["containers"]
    return only


def nodes(documents):
    """The deployments that run `strandline serve`."""
    return [each for each in of_kind(documents, "Deployment") if container(each)["args"][0] == "serve"]


def role(deployment):
    return deployment["metadata"]["labels"]["app.kubernetes.io/component"]


def mib(quantity):
    number, unit = re.fullmatch(r"(\d+)(MiB|Mi|GiB|Gi)", quantity).groups()
    return int(number) * (1024 if unit.startswith("G") else 1)


def environment(documents, deployment, fields):
    """What a container finds in its environment: its ConfigMaps, then its own variables, `$(NAME)` taken from those before."""
    found = {}
    for source in container(deployment)["envFrom"]:
        if "configMapRef" in source:
            [settings] = [c for c in of_kind(documents, "ConfigMap") if c["metadata"]["name"] == source["configMapRef"]["name"]]
            found |= settings["data"]
    for variable in container(deployment).get("env", []):
        value = variable["value"] if "value" in variable else fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found[name[1]], value)
    return found


def own_metrics(documents):
    """The metrics that autoscalers name, with the deployments that they scale."""
    for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "Pods":
                yield scaler["spec"]["scaleTargetRef"]["name"], metric["pods"]["metric"]["name"]


# --- the Dockerfile ---


def dockerfile():
    """Its instructions, in order: word and rest."""
    text = re.sub(r"^\s*#.*\n", "", (INFRA / "Dockerfile").read_text(), flags=re.M)
    return [tuple(line.split(None, 1)) for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]


def build_context():
    """The files of the repository that `.dockerignore` leaves: of its lines the last one that fits decides, for a file as for a folder."""
    lines = (bed.ROOT / ".dockerignore").read_text().splitlines()
    rules = [(line.lstrip("!"), line.startswith("!")) for line in lines if line and not line.startswith("#")]

    def stays(path):
        here = True
        whole = [path, *(str(parent) for parent in pathlib.PurePath(path).parents if str(parent) != ".")]
        for pattern, keep in rules:
            # A star does not go over a slash.
            if any(fnmatch.fnmatchcase(part, pattern) and part.count("/") == pattern.count("/") for part in whole):
                here = keep
        return here

    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=bed.ROOT).stdout.splitlines()
    return [path for path in listed if stays(path)], stays
