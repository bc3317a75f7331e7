#!/usr/bin/env python3
"""Looks the packaging through without running any of it: files by the schemas and linters of their formats, and what they say of each other
and of the server's settings by rules of our own.

    python3 packaging/check.py      with the packages of packaging/requirements.txt

What a machine lacks (systemd-analyze, kubectl) is named and left out.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILES = ["docker/Dockerfile", "docker/Dockerfile.cuda"]
# Files that are used together.
MONITORING = "docker/compose.monitoring.yaml"
COMPOSE = [["docker/compose.yaml", MONITORING], ["docker/compose.scale.yaml", MONITORING]]
MANIFESTS = ["statefulset", "service", "networkpolicy"]
UNIT = "packaging/systemd/retro-server.service"
ENVIRONMENT = "packaging/systemd/retro-server.env.example"
# The oldest that are looked at and the newest that kubernetes-validate has.
KUBERNETES = ["1.30", "1.37"]
# What a server may take beyond `shutdown_seconds` to end: cut answers and idle connections two seconds each, then the write at hand.
BEYOND_SHUTDOWN = 10
# systemd's own figure: 0 is confined, 10 is not at all.
EXPOSURE = 2.0

problems: list[str] = []


def expect(holds: bool, text: str) -> None:
    if not holds:
        problems.append(text)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def documents(path: str) -> list[dict]:
    return [document for document in yaml.safe_load_all(read(path)) if document]


def run(name: str, *command: str) -> None:
    program = shutil.which(command[0], path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        print(f"check: {name}: left out, {command[0]} is not here")
        return
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"{name}: {(done.stdout + done.stderr).strip()}")
    print(f"check: {name}: {'passed' if done.returncode == 0 else 'failed'}")


def settings() -> dict[str, str]:
    """Names and defaults, as retro.toml.example has them, which a test of the server compares with the settings."""
    return dict(re.findall(r"^# ([a-z_]+) = (.*)$", read("retro.toml.example"), re.MULTILINE))


def variables_are_settings(known: dict[str, str]) -> None:
    # What the build takes, and not the server.
    others = {"RETRO_COMMIT", "RETRO_PORT", "RETRO_MEMORY", "RETRO_CPUS", "RETRO_CONFIG"}
    files = [*DOCKERFILES, *{path for files in COMPOSE for path in files}, UNIT, ENVIRONMENT, "packaging/kubernetes/statefulset.yaml"]
    files += [str(path.relative_to(ROOT)) for path in (ROOT / "docker").glob("*.sh")]
    for path in files:
        for name in sorted(set(re.findall(r"\bRETRO_[A-Z_]+", read(path))) - others):
            expect(name.removeprefix("RETRO_").lower() in known, f"{path}: {name} is no setting of retro.toml.example")


def seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+)s?", str(text))
    return int(match[1]) if match else 0


def images() -> str:
    """Checks the Dockerfiles, and gives the user that the server runs as."""
    for path in DOCKERFILES:
        run(path, "hadolint", path)
        for stage in re.findall(r"^FROM (\S+)", read(path), re.MULTILINE):
            expect(":" in stage or stage.startswith("${"), f"{path}: {stage} has no tag")
        for source in re.findall(r"^COPY (?!--from)(.*) \S+$", read(path), re.MULTILINE):
            for name in source.split():
                expect((ROOT / name).exists(), f"{path}: there is no {name}")
    user = re.search(r"^USER (\d+):(\d+)$", read("docker/Dockerfile"), re.MULTILINE)
    expect(user is not None and user[1] != "0", "docker/Dockerfile: the user is no number, or is root")
    return user[1] if user else ""


def compose(known: dict[str, str], files: list[str]) -> None:
    run(" and ".join(files), "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)
    parts = [documents(path)[0] for path in files]
    whole = {key: {name: part for file in parts for name, part in file.get(key, {}).items()} for key in ("services", "volumes", "secrets")}
    for name, service in whole["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                expect((ROOT / "docker" / source).exists(), f"compose: {name} mounts {source}, which is not there")
            else:
                expect(source in whole["volumes"], f"compose: {name} mounts the volume {source}, which is none")
        for before in service.get("depends_on", []):
            expect(before in whole["services"], f"compose: {name} depends on {before}, which is no service")
        for secret in service.get("secrets", []):
            expect(secret in whole["secrets"], f"compose: {name} has the secret {secret}, which is none")
        for wanted in ("read_only", "cap_drop", "security_opt", "mem_limit"):
            expect(bool(service.get(wanted)), f"compose: {name} has no {wanted}")
        for port in service.get("ports", []):
            expect(port.startswith("127.0.0.1:"), f"compose: {name} publishes {port} to everyone")
    server = whole["services"]["retro"]
    least = int(known["shutdown_seconds"]) + BEYOND_SHUTDOWN
    expect(seconds(server["stop_grace_period"]) >= least, f"compose: stop_grace_period is less than {least} s")
    (job,) = documents("docker/prometheus/prometheus.yml")[0]["scrape_configs"]
    for target in (name for group in job["dns_sd_configs"] for name in group["names"]):
        expect(target in whole["services"], f"prometheus: {target} is no service")
    credentials = job["authorization"]["credentials_file"]
    expect(Path(credentials).name in whole["services"]["prometheus"]["secrets"], f"prometheus: {credentials} is no secret of it")
    for source in documents("docker/grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"]:
        expect(source["url"].split("/")[2].split(":")[0] in whole["services"], f"grafana: {source['url']} is no service")


def kubernetes(known: dict[str, str], uid: str) -> None:
    manifests = {name: documents(f"packaging/kubernetes/{name}.yaml")[0] for name in MANIFESTS}
    for name, manifest in manifests.items():
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"kubernetes {version}: {name}: {error.message} at {'.'.join(map(str, error.path))}")
    resources = documents("packaging/kubernetes/kustomization.yaml")[0]["resources"]
    expect(sorted(resources) == sorted(f"{name}.yaml" for name in MANIFESTS), "kustomization.yaml does not list the manifests")
    stateful = manifests["statefulset"]["spec"]
    pod, labels = stateful["template"]["spec"], stateful["template"]["metadata"]["labels"]
    expect(stateful["replicas"] == 1, "kubernetes: more than one replica would write to one folder")
    expect(stateful["selector"]["matchLabels"] == labels, "kubernetes: the StatefulSet does not select its pods")
    expect(manifests["service"]["spec"]["selector"] == labels, "kubernetes: the Service does not select the pods")
    expect(manifests["networkpolicy"]["spec"]["podSelector"]["matchLabels"] == labels, "kubernetes: the policy is for other pods")
    expect(str(pod["securityContext"]["runAsUser"]) == uid, f"kubernetes: runAsUser is not {uid}, as in docker/Dockerfile")
    volumes = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in stateful["volumeClaimTemplates"]}
    for container in [*pod["initContainers"], *pod["containers"]]:
        confined, name = container["securityContext"], container["name"]
        expect(confined["readOnlyRootFilesystem"] and not confined["allowPrivilegeEscalation"], f"kubernetes: {name} is not confined")
        for mount in container["volumeMounts"]:
            expect(mount["name"] in volumes, f"kubernetes: {name} mounts {mount['name']}, which is none")
    (server,) = pod["containers"]
    ports = {port["name"] for port in server["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        expect(server[probe]["httpGet"]["port"] in ports, f"kubernetes: {probe} asks a port that there is not")
    for port in manifests["service"]["spec"]["ports"]:
        expect(port["targetPort"] in ports, "kubernetes: the Service leads to a port that there is not")
    pause = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    least = pause + int(known["shutdown_seconds"]) + BEYOND_SHUTDOWN
    expect(pod["terminationGracePeriodSeconds"] >= least, f"kubernetes: terminationGracePeriodSeconds is less than {least}")
    paths = json.loads(read("openapi/openapi.json"))["paths"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        path = server[probe]["httpGet"]["path"]
        expect(path in paths, f"kubernetes: {probe} asks {path}, which is no route")
    run("kustomization", "kubectl", "kustomize", "packaging/kubernetes")


def systemd(known: dict[str, str]) -> None:
    unit = read(UNIT)
    stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    least = int(known["shutdown_seconds"]) + BEYOND_SHUTDOWN
    expect(stop is not None and int(stop[1]) >= least, f"{UNIT}: TimeoutStopSec is less than {least}")
    # verify looks whether the program and its folder are there.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "retro-server.service"
        path.write_text(unit.replace("/usr/local/bin/retro serve", "/bin/true").replace("/opt/retro", "/"), encoding="utf-8")
        run(UNIT, "systemd-analyze", "verify", "--man=no", str(path))
        run(f"{UNIT}, exposure", "systemd-analyze", "security", "--offline=true", f"--threshold={round(EXPOSURE * 10)}", "--no-pager", str(path))


def main() -> int:
    known = settings()
    variables_are_settings(known)
    uid = images()
    for files in COMPOSE:
        compose(known, files)
    kubernetes(known, uid)
    systemd(known)
    scripts = [*ROOT.glob("docker/**/*.sh"), *ROOT.glob("packaging/*.sh")]
    run("scripts", "shellcheck", *(str(script) for script in scripts))
    for problem in problems:
        print(f"check: {problem}", file=sys.stderr)
    print(f"check: {len(problems)} problems" if problems else "check: passed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
