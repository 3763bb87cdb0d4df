"""A coordinator's folder and small commands: what they make, show and refuse."""

import ssl
import stat
import subprocess

import httpx
import pytest
from cryptography import x509

from clients.deploy import __main__ as site
from fl.messages.invitation import Invitation
from fl.util.errors import ConfigError
from server.deploy import __main__ as deploy
from server.deploy.admission import read_site
from server.deploy.federation_store import FederationFolder, make_certificate


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "federation"
    assert deploy.main(["init", str(path), "--host", "ecg.example.org,10.0.0.1"]) == 0
    return FederationFolder(path)


@pytest.fixture
def invitation(folder):
    assert deploy.main(["invite", str(folder.path), "a"]) == 0
    return folder.invitation("a")


def names_of(path):
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in found]


def test_the_certificate_is_the_authoritys_and_names_every_host(folder):
    assert names_of(folder.certificate) == [
        *("ecg.example.org", "10.0.0.1", "localhost", "127.0.0.1", "::1")
    ]
    verified = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", folder.ca, folder.certificate],
        capture_output=True,
        text=True,
    )
    assert verified.stdout.strip().endswith("OK"), verified.stderr
    ssl.create_default_context(cafile=str(folder.ca))


def test_private_keys_are_their_owners_alone(folder):
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_a_new_certificate_is_of_the_same_authority(folder):
    before = folder.certificate.read_bytes()
    make_certificate(folder)
    after = x509.load_pem_x509_certificate(folder.certificate.read_bytes())
    assert folder.certificate.read_bytes() != before
    after.verify_directly_issued_by(x509.load_pem_x509_certificate(folder.ca.read_bytes()))


def test_an_invitation_comes_out_as_it_went_in(folder, invitation):
    found = Invitation.read(invitation)
    assert (found.site, found.address, found.task) == ("a", "ecg.example.org:8443", "rhythm")
    assert found.ca.strip() == folder.ca.read_text().strip()


def test_a_site_makes_a_key_that_the_coordinator_reads(invitation, tmp_path, capsys):
    flags = ["key", str(invitation), "--site", "a", "--home", str(tmp_path / "home")]
    assert site.main(flags) == 0
    assert read_site(tmp_path / "home" / "a.pub") == "a"
    assert "To compare by telephone: SHA256:" in capsys.readouterr().out


ADDRESSES = {
    "[::1]": ("::1", "[::1]:8443"),
    "2001:DB8::7": ("2001:db8::7", "[2001:db8::7]:8443"),
    "10.0.0.1": ("10.0.0.1", "10.0.0.1:8443"),
    "ecg.example.org": ("ecg.example.org", "ecg.example.org:8443"),
}


@pytest.mark.parametrize("given", ADDRESSES)
def test_an_address_stands_in_an_invitation_as_urls_have_it(tmp_path, given):
    host, address = ADDRESSES[given]
    path = tmp_path / "federation"
    assert deploy.main(["init", str(path), "--host", f"{given},other.example.org"]) == 0
    folder = FederationFolder(path)
    assert deploy.main(["invite", str(path), "a"]) == 0
    assert folder.settings().hosts == (host, "other.example.org")
    assert Invitation.read(folder.invitation("a")).address == address
    assert host in names_of(folder.certificate)
    assert str(httpx.URL(f"https://{address}/health").port) == "8443"


@pytest.mark.parametrize(
    ("listen", "own", "in_certificate"),
    [
        ("0.0.0.0", "127.0.0.1:8443", False),
        ("::", "[::1]:8443", False),
        ("::1", "[::1]:8443", True),
        ("[fd00::5]", "[fd00::5]:8443", True),
        ("10.9.8.7", "10.9.8.7:8443", True),
    ],
)
def test_the_coordinator_finds_itself_where_it_listens(tmp_path, listen, own, in_certificate):
    path = tmp_path / "federation"
    assert deploy.main(["init", str(path), "--host", "x.example.org", "--listen", listen]) == 0
    folder = FederationFolder(path)
    assert folder.settings().own_address == own
    assert (listen.strip("[]") in names_of(folder.certificate)) == in_certificate


PRINTED = {
    "serve": ([], "flower-superlink --host 127.0.0.1 --port 8000"),
    "run": ([], "flwr run "),
    "renew": ([], "server.pem"),
    "invite": (["b"], "invitations/b.toml"),
}


@pytest.mark.parametrize("command", PRINTED)
def test_what_would_be_run_is_shown_and_not_run(folder, capsys, command):
    more, wanted = PRINTED[command]
    folder.note_site("a", node=7, approved="now", revoked="")
    before = sorted(folder.path.rglob("*"))
    assert deploy.main([command, str(folder.path), *more, "--print"]) == 0
    assert wanted in capsys.readouterr().out
    assert sorted(folder.path.rglob("*")) == before


def test_a_site_shows_its_supernode(invitation, tmp_path, capsys):
    flags = ["--site", "a", "--home", str(tmp_path / "home"), "--data-dir", str(tmp_path)]
    assert site.main(["join", str(invitation), *flags, "--print"]) == 0
    output = capsys.readouterr().out
    assert "-m clients.deploy.supernode_internals --superlink ecg.example.org:8443 --root" in output
    assert "--isolation process" in output


MISTAKES = {
    "no folder": (["status", "{none}"], "is no federation's folder"),
    "folder there": (["init", "{folder}", "--host", "x"], "cannot be made"),
    "host": (["init", "{none}", "--host", "a b"], "--host is 'a b'"),
    "port": (["init", "{none}", "--host", "x:8443"], "--host is 'x:8443'"),
    "no host": (["init", "{none}", "--host", ","], "--host is empty"),
    "site": (["invite", "{folder}", "a/b"], "SITE is 'a/b'"),
    "no key": (["approve", "{folder}", "{none}"], "cannot be read"),
    "not a key": (["approve", "{folder}", "{folder}/ca.pem"], "is no site's public key"),
    "revoke": (["revoke", "{folder}", "a"], "takes no part"),
    "clients": (["run", "{folder}", "--clients", "3"], "--clients is 3, but 0 sites are approved"),
    "model": (["run", "{folder}", "--model", "nope"], "--model is 'nope'"),
    "data": (["run", "{folder}", "--data-dir", "{none}"], "is no folder"),
    "filter": (
        ["run", "{folder}", "--filter", "wavelet"],
        "--filter is 'wavelet', but the federation's task is 'rhythm'",
    ),
    "features": (
        ["run", "{folder}", "--rhythm-features", "none"],
        "--rhythm-features is 'none', but the federation's task is 'rhythm'",
    ),
    "remedy": (["run", "{folder}", "--imbalance", "smote"], "which is for beats alone"),
    "simulated": (["run", "{folder}", "--config", "{toml}"], "skew is for simulations"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_in_one_line(folder, tmp_path, capsys, name):
    arguments, wanted = MISTAKES[name]
    toml = tmp_path / "run.toml"
    toml.write_text('skew = "noise"\n')
    if name == "data":
        folder.note_site("a", node=7, approved="now", revoked="")
    paths = {"folder": folder.path, "none": tmp_path / "none", "toml": toml}
    assert deploy.main([word.format(**paths) for word in arguments]) == 2
    output = capsys.readouterr().err
    assert output.startswith("server.deploy: error: ")
    assert wanted in output
    assert output.count("\n") == 1


def test_a_superlink_that_is_away_is_reported_in_one_line(folder, capsys):
    text = (folder.path / "federation.toml").read_text()
    (folder.path / "federation.toml").write_text(text.replace("8000", "1"))
    assert deploy.main(["status", str(folder.path)]) == 1
    assert "the SuperLink does not answer" in capsys.readouterr().err


def test_an_invitation_for_another_site_or_none_is_refused(invitation, tmp_path, capsys):
    rest = ["--home", str(tmp_path / "home"), "--data-dir", str(tmp_path)]
    assert site.main(["join", str(invitation), "--site", "b", *rest]) == 2
    assert "invites 'a'" in capsys.readouterr().err
    (tmp_path / "x.toml").write_text("site = 3")
    with pytest.raises(ConfigError, match="is no invitation"):
        Invitation.read(tmp_path / "x.toml")
