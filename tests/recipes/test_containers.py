"""The recipes for containers: the image as far as it can be made without Docker, and what is said of it to others."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from comet.commands.asking import DEFAULT_URL
from comet.sources import Sources
from tests.daemons import ROOT
from tests.e2e.held import asked, asked_json
from tests.e2e.tools import redis_cli
from tests.e2e.waiting import until
from tests.recipes.dockerfile import Image, instructions
from tests.recipes.documented import listens
from tests.recipes.proxies import free_port

DOCKERFILE = ROOT / "recipes/docker/Dockerfile"
COMPOSE = ROOT / "recipes/docker/compose.yaml"
KUBERNETES = ROOT / "recipes/kubernetes/comet.yaml"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, built; nobody can write in it."""
    # Not in a directory of pytest, into which only its owner can look.
    with tempfile.TemporaryDirectory(prefix="comet-image-") as name:
        root = Path(name)
        root.chmod(0o755)
        image = Image(root, ROOT)
        try:
            image.build(DOCKERFILE.read_text())
            image.as_layers()
            yield image
        finally:
            image.writable()


def test_image(image: Image) -> None:
    """The container starts as another user than root where nothing can be written, is healthy, and stops at once."""
    with container(image, image.settings["CMD"].words(), COMET_ANONYMOUS="publish:** subscribe:**") as running:
        health = [*image.settings["HEALTHCHECK"].words(), "--url", f"http://{running.http}/"]
        with image.begin(health) as healthy:
            assert healthy.wait(20) == 0
        assert status(running.process.pid)["Uid"].split()[0] != "0"
        assert int(status(running.process.pid)["CapEff"], 16) == 0
        assert redis_cli(running.tcp, "PUBLISH", "news", "hello").out == "0\n"
        assert asked_json(running.http, "/stats")["published"] == 1
        code, log = running.stopped(image.settings["STOPSIGNAL"].text)
    with image.begin(health) as healthy:
        assert healthy.wait(20) == 1
    assert code == 0, log
    assert "Traceback" not in log, log


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs, and where it listens."""

    process: subprocess.Popen[str]
    http: str
    tcp: str

    def stopped(self, name: str) -> tuple[int, str]:
        """Send the signal ``name``; returns the exit code and all the output."""
        self.process.send_signal(getattr(signal, name))
        log = self.process.communicate(timeout=20)[0]
        return self.process.returncode, log


@contextmanager
def container(image: Image, words: Sequence[str], **environ: str) -> Iterator[Container]:
    """``words`` in a container, with ports of the machine that are free; it is ended with the block."""
    http, tcp = free_port(), free_port()
    environ |= {"COMET_HTTP": f"tcp:{http}", "COMET_TCP": f"tcp:{tcp}"}
    with image.begin(words, **environ) as process:
        try:
            found = Container(process, f"127.0.0.1:{http}", f"127.0.0.1:{tcp}")
            until(lambda: listens(found.http) and listens(found.tcp), "the container listens")
            yield found
        finally:
            process.kill()


def status(pid: int) -> dict[str, str]:
    """What Linux says of a process (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_unguarded(image: Image) -> None:
    """A container that nobody has told who may do what does not start, and says how to go on."""
    with image.begin(image.settings["CMD"].words()) as process:
        said = process.communicate(timeout=20)[0]
    assert process.returncode == 1
    assert "--key" in said
    assert "Traceback" not in said


def test_plugins_are_listed(image: Image) -> None:
    """The list of plugins is newer than each of them: otherwise every start would load them all, to list them anew."""
    (plugins,) = image.plugins()
    times = [path.stat().st_mtime for path in plugins.glob("*.py")]
    assert (plugins / "dropin.cache").stat().st_mtime > max(times)


def test_ports() -> None:
    """The image listens everywhere, on the ports that it exposes, of which one is where its health is asked."""
    image = {line.name: line for line in instructions(DOCKERFILE.read_text())}
    assert image["EXPOSE"].text.split() == ["7080", "7081"]
    assert {"COMET_HTTP=tcp:7080", "COMET_TCP=tcp:7081"} <= set(image["ENV"].text.split())
    assert urlsplit(DEFAULT_URL).port == 7080
    assert image["USER"].text == "65532:65532"
    for name in ("HEALTHCHECK", "CMD"):
        assert image[name].words()[0] == "comet"


def test_compose() -> None:
    """The compose file builds this image, and starts it read-only, with sockets enough, on the loopback of the host."""
    (service,) = yaml.safe_load(COMPOSE.read_text())["services"].values()
    context = COMPOSE.parent / service["build"]["context"]
    assert (context / service["build"]["dockerfile"]).samefile(DOCKERFILE)
    assert service["read_only"] is True
    assert service["ulimits"]["nofile"]["hard"] >= 100_000
    assert service["cap_drop"] == ["ALL"]
    assert service["ports"] == ["127.0.0.1:7080:7080", "127.0.0.1:7081:7081"]
    image = {line.name: line for line in instructions(DOCKERFILE.read_text())}
    check = service["healthcheck"]
    assert check["test"] == ["CMD", *image["HEALTHCHECK"].words()]
    for option in ("interval", "timeout", "start_period", "retries"):
        assert f"--{option.replace('_', '-')}={check[option]}" in image["HEALTHCHECK"].text
    (secret,) = service["secrets"]
    assert service["environment"]["COMET_KEY"] == f"/run/secrets/{secret}"
    assert secret in yaml.safe_load(COMPOSE.read_text())["secrets"]
    config = Sources({}, service["environment"]).settle().config
    assert float(service["stop_grace_period"].removesuffix("s")) > 2 * config.drain


def test_ignored() -> None:
    """What the image is built from is sent to Docker, and what is not needed is not."""
    ignored = (ROOT / "recipes/docker/Dockerfile.dockerignore").read_text().split()
    copied = [
        word for line in instructions(DOCKERFILE.read_text()) if line.name == "COPY" for word in line.text.split()[:-1]
    ]
    assert ignored[0] == "*"
    assert sorted(line.removeprefix("!") for line in ignored if line.startswith("!")) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)


# -- Kubernetes -------------------------------------------------------------------------------------------------------


def manifests(kind: str) -> list[Any]:
    """What the file has of ``kind``."""
    return [each for each in yaml.safe_load_all(KUBERNETES.read_text()) if each["kind"] == kind]


@pytest.fixture
def pod() -> Any:
    """The pod of the deployment."""
    (deployment,) = manifests("Deployment")
    return deployment["spec"]["template"]["spec"]


def variables(pod: Any) -> dict[str, str]:
    """The environment of the container, and what Kubernetes adds to it for each service unless it is told not to."""
    found = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
    for service in manifests("Service"):
        name = service["metadata"]["name"].upper().replace("-", "_")
        (port,) = service["spec"]["ports"]
        tcp = f"{name}_PORT_{port['port']}_TCP"
        found |= {f"{name}_SERVICE_HOST": "10.0.0.1", f"{name}_SERVICE_PORT": str(port["port"])}
        found |= {f"{name}_SERVICE_PORT_{port['name'].upper()}": str(port["port"])}
        found |= {f"{name}_PORT": f"tcp://10.0.0.1:{port['port']}", tcp: f"tcp://10.0.0.1:{port['port']}"}
        found |= {f"{tcp}_PROTO": "tcp", f"{tcp}_PORT": str(port["port"]), f"{tcp}_ADDR": "10.0.0.1"}
    return found


def test_probes(image: Image, pod: Any) -> None:
    """Each probe is answered by the image with the pod's arguments and variables, those of Kubernetes included."""
    (spec,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in spec["ports"]}
    environ = variables(pod)
    assert (environ["COMET_HTTP"], environ["COMET_TCP"]) == (f"tcp:{ports['http']}", f"tcp:{ports['resp']}")
    environ["COMET_KEY"] = str(mounted(image, pod))
    with container(image, spec["args"], **environ) as running:
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = spec[name]["httpGet"]
            assert probe["port"] == "http"
            assert asked(running.http, "GET", probe["path"])[0] == 200
        code, log = running.stopped("SIGTERM")
    assert (code, "Traceback" in log) == (0, False), log
    assert spec["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert spec["livenessProbe"]["httpGet"]["path"] == "/healthz"


def mounted(image: Image, pod: Any) -> Path:
    """The key of tokens, which the pod mounts from a secret, in a place where the image's user can read it."""
    (spec,) = pod["containers"]
    (mount,) = spec["volumeMounts"]
    assert variables(pod)["COMET_KEY"].startswith(mount["mountPath"] + "/")
    assert mount["name"] in {volume["name"] for volume in pod["volumes"] if "secret" in volume}
    key = image.root / "key"
    image.root.chmod(0o755)
    key.write_text("a secret of these tests, which is long enough")
    return key


def test_grace(pod: Any) -> None:
    """Kubernetes waits longer than the daemon drains, and no second pod runs beside the one that has the log."""
    config = Sources({}, variables(pod)).settle().config
    assert pod["terminationGracePeriodSeconds"] > 2 * config.drain
    (deployment,) = manifests("Deployment")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    (limit,) = re.findall(r"(\d+)Mi", pod["containers"][0]["resources"]["limits"]["memory"])
    assert config.retain_bytes * 2 <= int(limit) * 1024**2


def test_unprivileged(pod: Any) -> None:
    """The container is as the image wants it: the same user, nothing to write, no privilege."""
    (user,) = (line.text for line in instructions(DOCKERFILE.read_text()) if line.name == "USER")
    context = pod["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    assert context["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_selectors(pod: Any) -> None:
    """Each service finds the pod, at a port that it has."""
    (deployment,) = manifests("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    names = {port["name"] for port in pod["containers"][0]["ports"]}
    targets = [service["spec"]["ports"][0]["targetPort"] for service in manifests("Service")]
    assert sorted(targets) == sorted(names)
    assert all(service["spec"]["selector"].items() <= labels.items() for service in manifests("Service"))
