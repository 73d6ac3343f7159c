"""The image, as far as it goes without an engine: its steps are run in a folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
HOME = "/opt/voicestatus"


@dataclass
class Stage:
    """What follows one FROM."""

    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [text for step, text in self.steps if step == name]

    def last(self, name: str) -> str:
        return self.all(name)[-1]

    def env(self) -> dict[str, str]:
        return dict(re.findall(r"(\w+)=(\S+)", " ".join(self.all("ENV"))))


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    text = (CHECKOUT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: list[Stage] = []
    for line in filter(None, text.splitlines()):
        step, _, rest = line.partition(" ")
        if step == "FROM":
            found.append(Stage())
        found[-1].steps.append((step, rest.strip()))
    return found


@pytest.fixture(scope="module")
def image(stages: list[Stage], folder: Path) -> Iterator[Path]:
    """Do what the builder does; return what stands for /."""
    root = folder / "image"
    source = root / "source"
    source.mkdir(parents=True)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PIP_NO_DEPS": "1",  # they take half a minute; tests/test_packaging.py has them
    }
    for step, text in stages[0].steps:
        if step == "COPY":
            *names, into = text.split()
            for name in names:
                if (CHECKOUT / name).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
                    shutil.copytree(CHECKOUT / name, source / into, ignore=ignored)
                else:
                    shutil.copy(CHECKOUT / name, source / into)
        elif step == "RUN":
            command = text.replace(HOME, f"{root}{HOME}")
            command = re.sub(r"^python ", f"{sys.executable} ", command)
            done = subprocess.run(
                command, shell=True, cwd=source, env=env, timeout=300, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout
            if "-m venv" in command:
                lend_dependencies(root / HOME[1:])
    yield root
    shutil.rmtree(root)


def lend_dependencies(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    twistd = environment / "bin" / "twistd"
    twistd.write_text(
        f"#!{environment}/bin/python\nfrom twisted.scripts.twistd import run\nrun()\n"
    )
    twistd.chmod(0o755)


def plugins_in(image: Path) -> Path:
    (found,) = (image / HOME[1:]).glob("lib/python*/site-packages/twisted/plugins")
    return found


def test_the_list_of_plugins_is_made_at_build_and_never_again(
    image: Path, tmp_path: Path
):
    plugins = plugins_in(image)
    cache = plugins / "dropin.cache"
    assert b"voicestatus" in cache.read_bytes()
    for path in plugins.iterdir():
        # As a layer of the image keeps it.
        os.utime(path, (int(path.stat().st_mtime),) * 2)
    newest = max(path.stat().st_mtime for path in plugins.glob("*.py"))
    assert cache.stat().st_mtime > newest
    before = cache.stat()
    ran = subprocess.run(
        [image / HOME[1:] / "bin/twistd", "voicestatus", "--help"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "--listen" in ran.stdout
    after = cache.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_the_container_is_healthy_while_it_lives_even_without_discord(
    stages: list[Stage], image: Path, deployed: Any, tmp_path: Path
):
    bin_ = image / HOME[1:] / "bin"
    port = deployed.free_port()
    env = stages[1].env() | {
        "PATH": f"{bin_}:/usr/bin:/bin",
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "STORAGE_URL": stages[1].env()["STORAGE_URL"].replace("/data", str(tmp_path)),
        "DISCORD_TOKEN": "a",
        "ESP_AUTH_TOKEN": "b",
        "DISCORD_API_URL": "http://127.0.0.1:9/api",
    }
    name, *arguments = json.loads(stages[1].last("CMD"))
    _, _, check = stages[1].last("HEALTHCHECK").partition("CMD ")

    def healthy() -> bool:
        python, *rest = json.loads(check)
        done = subprocess.run(
            [bin_ / python, *rest],
            env=env,
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.returncode == 0

    assert not healthy()
    server = deployed.Process(tmp_path, env, bin_ / name, *arguments)
    server.said(r"(out of reach)")
    assert deployed.get(port, "/health").status == 503
    assert healthy()
    server.end()
    assert "Server Shut Down" in server.text()
    assert (tmp_path / "voicestatus.db").is_file()


def test_only_what_the_image_is_made_of_is_sent_to_the_builder(stages: list[Stage]):
    copied = {n for text in stages[0].all("COPY") for n in text.split()[:-1]}
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_the_container_runs_as_nobody_special_and_keeps_its_data(stages: list[Stage]):
    last = stages[-1]
    user, _, group = last.last("USER").partition(":")
    assert user.isdecimal()
    assert int(user) > 0
    assert f"--uid {user} " in last.last("RUN")
    assert f"--owner={user} --group={group} --mode=0700 /data" in last.last("RUN")
    assert last.last("VOLUME") == "/data"
    assert last.env()["STORAGE_URL"] == "sqlite:/data/voicestatus.db"
    assert last.last("STOPSIGNAL") == "SIGTERM"
    assert last.last("EXPOSE") == last.env()["PORT"]
    assert last.last("COPY") == f"--from=builder {HOME} {HOME}"


def test_only_the_tunnel_is_believed_in_compose(deployed: Any):
    compose = yaml.safe_load((deployed.DEPLOY / "compose.yaml").read_text())
    server, tunnel = (
        compose["services"]["voicestatus"],
        compose["services"]["cloudflared"],
    )
    address = tunnel["networks"]["default"]["ipv4_address"]
    assert server["environment"]["TRUSTED_PROXIES"] == address
    assert tunnel["environment"] == {"TUNNEL_TOKEN": "${CLOUDFLARE_TUNNEL_TOKEN-}"}
    assert tunnel["profiles"] == ["tunnel"]
    for service in (server, tunnel):
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True


def test_traefik_sends_to_https_all_but_what_signs_call(deployed: Any):
    http = yaml.safe_load((deployed.DEPLOY / "traefik.yaml").read_text())["http"]
    routers = http["routers"]
    assert "Path(`/ws`) || PathPrefix(`/ota/`)" in routers["signs"]["rule"]
    for router in routers.values():
        assert set(router["middlewares"]) <= set(http["middlewares"])
        assert router["service"] in http["services"]
    for name in ("signs", "pages"):
        assert routers[name]["middlewares"] == ["addresses"]
    added = http["middlewares"]["addresses"]["headers"]["customRequestHeaders"]
    assert added == {"CF-Connecting-IP": ""}
