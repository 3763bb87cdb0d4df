"""Certificates: until when they are valid, what is warned of, and how they are renewed."""

import ssl

import pytest
from cryptography import x509

from clients.deploy import __main__ as site
from fl.messages.invitation import Invitation
from fl.util.network.certificate_dates import WARN_DAYS
from server.deploy import __main__ as deploy
from server.deploy import certificates
from server.deploy.federation_store import FederationFolder, make_certificate, renew_authority

EXPIRED = -0.02  # days: half an hour ago; a certificate begins an hour ago
KEYS = ("ca.key", "server.key")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "federation"
    assert deploy.main(["init", str(path), "--host", "x.example.org"]) == 0
    text = (path / "federation.toml").read_text()  # nothing listens at port 1
    (path / "federation.toml").write_text(text.replace("8443", "2").replace("8000", "1"))
    return FederationFolder(path)


@pytest.fixture
def server_expired(folder, monkeypatch):
    with monkeypatch.context() as now:
        now.setattr(certificates, "SERVER_DAYS", EXPIRED)
        make_certificate(folder)
    return folder


def keys(folder):
    return [(folder.path / name).read_bytes() for name in KEYS]


def loaded(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_renewed_certificates_are_of_the_same_keys(folder, capsys):
    before, known = keys(folder), [loaded(folder.ca), loaded(folder.certificate)]
    assert deploy.main(["renew", str(folder.path)]) == 0
    assert keys(folder) == before
    assert loaded(folder.ca) == known[0]
    assert loaded(folder.certificate) != known[1]
    assert loaded(folder.certificate).public_key() == known[1].public_key()
    output = capsys.readouterr().out
    assert "valid until" in output
    assert "new invitation" not in output
    assert deploy.main(["renew", str(folder.path), "--authority"]) == 0
    assert keys(folder) == before
    assert loaded(folder.ca) != known[0]
    assert loaded(folder.ca).public_key() == known[0].public_key()
    # Whoever has only the earlier certificate of the authority trusts the new server's too.
    loaded(folder.certificate).verify_directly_issued_by(known[0])
    assert "Send each hospital its new invitation" in capsys.readouterr().out


def test_tls_trusts_the_renewed_server_by_the_earlier_authority_and_by_the_later(folder, tmp_path):
    earlier = tmp_path / "earlier.pem"
    earlier.write_bytes(folder.ca.read_bytes())
    renew_authority(folder)
    make_certificate(folder)
    for ca in (earlier, folder.ca):
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(folder.certificate, folder.key)
        asking = ssl.create_default_context(cafile=str(ca))
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = asking.wrap_bio(to_client, to_server, server_hostname="x.example.org")
        server = serving.wrap_bio(to_server, to_client, server_side=True)
        for end in (client, server, client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
        assert client.version() == "TLSv1.3"


def test_an_authority_that_would_end_before_the_server_is_renewed_with_it(folder, monkeypatch):
    assert deploy.main(["invite", str(folder.path), "a"]) == 0
    with monkeypatch.context() as now:
        now.setattr(certificates, "CA_DAYS", 100)
        renew_authority(folder)
    make_certificate(folder)
    assert loaded(folder.certificate).not_valid_after_utc == loaded(folder.ca).not_valid_after_utc
    short = folder.ca.read_text()
    assert Invitation.read(folder.invitation("a")).ca.strip() == short.strip()
    assert deploy.main(["renew", str(folder.path)]) == 0
    assert folder.ca.read_text() != short
    assert Invitation.read(folder.invitation("a")).ca.strip() == folder.ca.read_text().strip()
    assert loaded(folder.ca).not_valid_after_utc > loaded(folder.certificate).not_valid_after_utc


def test_without_the_authoritys_key_nothing_is_renewed(folder, capsys):
    certificate = folder.certificate.read_bytes()
    folder.ca_key.unlink()
    assert deploy.main(["renew", str(folder.path)]) == 2
    assert "ca.key: is not there" in capsys.readouterr().err
    assert folder.certificate.read_bytes() == certificate
    folder.ca_key.write_text("x")
    assert deploy.main(["renew", str(folder.path)]) == 2
    assert "is no private key" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "status", "approve"])
def test_an_expired_certificate_is_called_expired_with_what_to_do(
    server_expired, capsys, tmp_path, command
):
    folder, more = server_expired, []
    if command == "approve":
        assert deploy.main(["invite", str(folder.path), "a"]) == 0
        given = [str(folder.invitation("a")), "--site", "a", "--home", str(tmp_path / "home")]
        assert site.main(["key", *given]) == 0
        more = [str(tmp_path / "home" / "a.pub")]
    assert deploy.main([command, str(folder.path), *more]) == 2
    errors = capsys.readouterr().err
    assert "server.pem expired on 20" in errors
    assert f"`python -m server.deploy renew {folder.path}`" in errors


def test_a_coordinator_with_an_expired_certificate_is_not_at_work(server_expired, capsys):
    assert deploy.main(["health", str(server_expired.path)]) == 1
    assert "not at work: server certificate" in capsys.readouterr().out


def test_status_shows_until_when_certificates_are_valid(folder, capsys):
    assert deploy.main(["status", str(folder.path)]) == 1  # no SuperLink answers
    output = capsys.readouterr()
    assert output.out.count("valid until 20") == 2
    assert "WARNING" not in output.err


@pytest.mark.parametrize(("days", "warned"), [(WARN_DAYS - 1, 1), (WARN_DAYS + 2, 0)])
def test_a_certificate_that_ends_soon_is_warned_of(folder, monkeypatch, capsys, days, warned):
    monkeypatch.setattr(certificates, "SERVER_DAYS", days)
    make_certificate(folder)
    deploy.main(["status", str(folder.path)])
    errors = capsys.readouterr().err
    assert errors.count("WARNING: server certificate") == warned
    assert errors.count("makes a new one with the same key") == warned


@pytest.fixture
def member(folder, tmp_path):
    """A site that has the authority's certificate, and its folder."""
    assert deploy.main(["invite", str(folder.path), "a"]) == 0
    home = tmp_path / "home"
    flags = ["--site", "a", "--home", str(home)]
    assert site.main(["key", str(folder.invitation("a")), *flags]) == 0
    (home / "ca.pem").write_bytes(folder.ca.read_bytes())
    return home, ["renew", str(folder.invitation("a")), *flags]


def test_a_site_takes_the_authoritys_new_certificate_and_keeps_its_key(folder, member, capsys):
    home, renew = member
    key, before = (home / "site.key").read_bytes(), folder.ca.read_bytes()
    renew_authority(folder)
    assert site.main(renew) == 0
    assert (home / "ca.pem").read_text().strip() == folder.ca.read_text().strip()
    assert (home / "ca.pem").read_bytes() != before
    assert (home / "site.key").read_bytes() == key
    assert "valid until" in capsys.readouterr().out


def test_a_site_does_not_take_another_authority_for_the_renewed_one(member, tmp_path, capsys):
    home, renew = member
    before = (home / "ca.pem").read_bytes()
    other = tmp_path / "other"
    assert deploy.main(["init", str(other), "--host", "x.example.org"]) == 0
    assert deploy.main(["invite", str(other), "a"]) == 0
    renew[1] = str(FederationFolder(other).invitation("a"))
    assert site.main(renew) == 2
    assert "is of another authority" in capsys.readouterr().err
    assert (home / "ca.pem").read_bytes() == before


def test_an_earlier_invitation_does_not_bring_the_earlier_certificate_back(
    folder, member, tmp_path, monkeypatch
):
    home, renew = member
    earlier = tmp_path / "earlier.toml"
    earlier.write_bytes(folder.invitation("a").read_bytes())
    monkeypatch.setattr(certificates, "CA_DAYS", certificates.CA_DAYS + 5)
    renew_authority(folder)
    assert site.main(renew) == 0
    after = (home / "ca.pem").read_bytes()
    join = ["join", str(earlier), *renew[2:], "--data-dir", str(tmp_path), "--print"]
    assert site.main(join) == 0
    assert (home / "ca.pem").read_bytes() == after
