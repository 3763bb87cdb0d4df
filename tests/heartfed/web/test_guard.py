"""Only this machine's own pages reach the application, and a browser lets them do little."""

import html5lib
import pytest
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route
from support.web_client import WebClient

from heartfed.web import application as web_application
from heartfed.web.application import application
from heartfed.web.settings import OneTimeToken, Settings, TokenUsed

PAGES = ("/", "/monitor", "/runs", "/nothing", "/answer/x", "/answer/x/0.csv", "/static/style.css")


def ask(settings=None, path="/", method="get", **headers):
    web = WebClient(application(settings or Settings()))
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return getattr(web, method)(path, headers=sent)
    finally:
        web.close()


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_has_a_strict_policy(path):
    answer = ask(path=path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.status_code in (200, 404, 410)


@pytest.mark.parametrize("path", PAGES[:-1])
def test_every_page_is_correct_html_without_inline_scripts_and_says_what_it_is(path):
    answer = ask(path=path)
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(answer.text)
    assert "Research software, not a medical device" in answer.text
    assert [a.get("href") for a in tree.findall(".//nav[@aria-label='Pages']//a")] == [
        "/",
        "/monitor",
        "/runs",
    ]
    for element in tree.iter():
        assert not any(name.startswith("on") or name == "style" for name in element.attrib)
        assert element.tag != "style"
        assert element.tag != "script" or element.get("src", "").startswith("/static/")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost:8765", 200), ("127.0.0.1", 200), ("[::1]:8765", 200), ("LOCALHOST.", 200)),
        *(("evil.example", 421), ("localhost.evil.example", 421), ("", 421), ("10.0.0.7", 421)),
        *(("127.0.0.1.nip.io", 421), ("[::2]", 421), ("[", 421), ("ä".encode(), 421)),
    ],
)
def test_a_host_that_is_not_this_machine_gets_no_page(host, status):
    assert ask(host=host).status_code == status


def test_beyond_loopback_addresses_and_own_names_are_accepted():
    settings = Settings(beyond_loopback=True, host_names=frozenset({"ward-pc"}))
    assert ask(settings, host="10.0.0.7:8765").status_code == 200
    assert ask(settings, host="ward-pc").status_code == 200
    assert ask(settings, host="evil.example").status_code == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 409),  # no browser sent it, and it came as far as the page: there is no model
        ({"origin": "http://localhost:8765", "sec_fetch_site": "same-origin"}, 409),
        ({"origin": "http://localhost:1234"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
def test_only_own_pages_may_send_something(headers, status):
    assert ask(path="/answer", method="post", **headers).status_code == status


def test_a_token_opens_the_pages_once_and_the_next_is_printed(capsys):
    token = OneTimeToken()
    first = token.value
    web = WebClient(
        application(
            Settings(token=token, token_used=TokenUsed("http://h:1/"), beyond_loopback=True)
        )
    )
    assert web.get("/").status_code == 403
    assert web.get("/static/style.css").status_code == 403
    assert web.get("/?token=wrong").status_code == 403
    opened = web.get(f"/?token={first}")
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert web.get("/").status_code == 200
    assert f"http://h:1/?token={token.value}" in capsys.readouterr().out
    web.cookies.clear()
    assert web.get(f"/?token={first}").status_code == 403
    assert web.get(f"/?token={token.value}").status_code == 303
    web.close()


def test_a_bug_is_answered_in_words_and_its_text_is_not_printed(monkeypatch, capsys):
    async def broken(request):
        raise RuntimeError("patient Quixwind")

    async def own_policy(request):
        return HTMLResponse("x", headers={"content-security-policy": "default-src 'self'"})

    async def headers(request):
        return PlainTextResponse("x", headers={"cache-control": "max-age=5"})

    def parts(settings, *kept):
        return [Route("/bug", broken), Route("/own", own_policy), Route("/kept", headers)]

    monkeypatch.setattr(web_application.upload_pages, "routes", parts)
    answer = ask(path="/bug")
    printed = capsys.readouterr()
    assert answer.status_code == 500
    assert "HeartFed has a bug here (RuntimeError)" in answer.text
    assert "bug: RuntimeError in " in printed.err
    assert "Quixwind" not in answer.text + printed.err + printed.out
    assert ask(path="/own").headers["content-security-policy"] == "default-src 'self'"
    assert ask(path="/kept").headers["cache-control"] == "max-age=5"
    assert ask(path="/bug", method="post").status_code == 405
