"""Whose certificate is believed on wss://."""

import warnings
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.testing import MemoryReactorClock

from voicestatus.core.errors import ProtocolError
from voicestatus.discord.gateway.connection import endpoint_to

LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))


def certificate(*names, days=1):
    """Make a certificate that signs itself; return the server's and the client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = datetime.now(UTC) - timedelta(days=10)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(datetime.now(UTC) + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    options = PrivateCertificate.loadPEM(private + pem).options()
    with warnings.catch_warnings():
        # Twisted still hands pyOpenSSL its own kind of certificate.
        warnings.simplefilter("ignore", DeprecationWarning)
        options.getContext()
    return options, Certificate.loadPEM(pem)


class Listening(Protocol):
    def dataReceived(self, data):
        self.factory.heard.append(data)
        self.transport.loseConnection()


class Speaking(Protocol):
    def connectionMade(self):
        self.gone = Deferred()
        self.transport.write(b"the token")

    def connectionLost(self, reason):
        self.gone.callback(None)


async def heard_by(server_certificate, trusted):
    """Say something on wss://; return what the server heard."""
    from twisted.internet import reactor

    factory = Factory.forProtocol(Listening)
    factory.noisy, factory.heard = False, []
    port = await SSL4ServerEndpoint(
        reactor, 0, server_certificate, interface="127.0.0.1"
    ).listen(factory)
    try:
        url = f"wss://127.0.0.1:{port.getHost().port}/?v=10"
        client = Factory.forProtocol(Speaking)
        client.noisy = False
        endpoint = endpoint_to(url, reactor, trust_root=trusted)
        protocol = await endpoint.connect(client)
        await protocol.gone
        return factory.heard
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_trusted_certificate_for_this_host_is_spoken_to():
    server, authority = certificate(LOOPBACK)
    heard = await heard_by(server, authority)
    assert heard == [b"the token"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("names", "days", "trusted"),
    [
        ((LOOPBACK,), 1, False),
        ((x509.DNSName("gateway.discord.gg"),), 1, True),
        ((x509.IPAddress(ip_address("127.0.0.2")),), 1, True),
        ((LOOPBACK,), -1, True),
    ],
    ids=["unknown authority", "another name", "another address", "expired"],
)
async def test_any_other_certificate_is_told_nothing(names, days, trusted):
    server, authority = certificate(*names, days=days)
    heard = await heard_by(server, authority if trusted else None)
    assert heard == []


def test_a_plain_address_is_refused_where_tls_is_wanted():
    with pytest.raises(ProtocolError, match="wss"):
        endpoint_to("ws://gateway.discord.gg/", None)


@pytest.mark.parametrize(
    "host", ["a b", "a..b", "-a.example", "xn--", "*", "a" * 300, "\x00", "\udc80"]
)
def test_an_address_without_a_possible_host_is_refused(host):
    with pytest.raises(ProtocolError, match="host"):
        endpoint_to(f"wss://{host}/", MemoryReactorClock())
