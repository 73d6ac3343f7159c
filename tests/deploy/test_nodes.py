"""Several nodes behind HAProxy, with the shipped files."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow


@pytest.fixture
def nodes(folder: Path, discord: Any, deployed: Any, tmp_path: Path) -> Iterator[Any]:
    """Two nodes and their ports: enough to see one go."""
    ports = [deployed.free_port() for _ in range(2)]
    servers = [
        deployed.Server(
            tmp_path / f"node{port}", discord, f"tcp:{port}:interface=127.0.0.1"
        )
        for port in ports
    ]
    for server, port in zip(servers, ports, strict=True):
        server.until(lambda port=port: deployed.listens(port))
    yield ports, servers
    for server in servers:
        if server in deployed.running:
            server.end()


@pytest.fixture
def balancer(nodes: Any, deployed: Any, folder: Path) -> Iterator[int]:
    """The port of a HAProxy before them."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    assert shutil.which("haproxy", path=path), "apt-get install -y haproxy"
    text = (deployed.DEPLOY / "haproxy-nodes.cfg").read_text()
    port = deployed.free_port()
    for old, new in (
        ("bind :8080\n", f"bind 127.0.0.1:{port}\n"),
        ("maxconn 60000\n", "maxconn 1000\n"),  # who builds may open few files
        ("    server node3 node3:8080\n", ""),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    text, resolvers = re.subn(r" resolvers docker init-addr \S+", "", text)
    assert resolvers == 1
    for number, upstream in enumerate(nodes[0], 1):
        text, found = re.subn(rf"node{number}:8080", f"127.0.0.1:{upstream}", text)
        assert found == 1
    own = folder / f"nodes-{port}"
    own.mkdir(mode=0o755)
    (own / "haproxy.cfg").write_text(text)
    process = deployed.Process(
        own, {"PATH": path}, "haproxy", "-db", "-f", "haproxy.cfg"
    )
    process.until(lambda: deployed.listens(port))
    yield port
    process.end()


def signs_at(deployed: Any, port: int) -> int:
    found = re.search(rb'"espClients":(\d+)', deployed.get(port, "/health").body)
    assert found
    return int(found[1])


def test_signs_are_spread_and_come_to_the_others_when_a_node_ends(
    balancer: int, nodes: Any, deployed: Any
):
    ports, servers = nodes
    deployed.eventually(
        lambda: deployed.get(balancer, "/livez").status == 200, lambda: "no node lives"
    )
    signs = [deployed.Sign(balancer) for _ in range(4)]
    assert [sign.texts(1) for sign in signs] == [["OK"]] * 4
    assert [signs_at(deployed, port) for port in ports] == [2, 2]
    servers[0].end()
    again = [deployed.Sign(balancer) for _ in range(2)]
    assert [sign.texts(1) for sign in again] == [["OK"]] * 2
    assert signs_at(deployed, ports[1]) == 4
    for sign in (*signs, *again):
        sign.end()


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/metrics?a=b"])
def test_metrics_are_asked_of_each_node_alone(balancer: int, deployed: Any, path: str):
    assert deployed.get(balancer, path).status == 404


def test_the_profile_of_compose_has_what_the_balancer_looks_for(deployed: Any):
    services = yaml.safe_load((deployed.DEPLOY / "compose.yaml").read_text())[
        "services"
    ]
    text = (deployed.DEPLOY / "haproxy-nodes.cfg").read_text()
    names = re.findall(r"server (\w+) (\w+):8080", text)
    balancer = services["balancer"]
    assert [name for name, _ in names] == balancer["depends_on"]
    address = balancer["networks"]["default"]["ipv4_address"]
    for name, host in names:
        assert name == host
        node = services[name]
        assert node["environment"]["TRUSTED_PROXIES"] == address
        assert node["environment"]["STORAGE_URL"].startswith("redis://redis:")
        assert (node["ports"], node["volumes"]) == ([], [])
        assert node["cap_drop"] == ["ALL"]
        assert "redis" in node["depends_on"]
    addresses = [
        service["networks"]["default"]["ipv4_address"]
        for service in services.values()
        if "networks" in service
    ]
    assert len(set(addresses)) == len(addresses)
    for name in ("redis", "balancer", *(name for name, _ in names)):
        assert services[name]["profiles"] == ["nodes"]
    assert "./haproxy-nodes.cfg" in balancer["volumes"][0]
