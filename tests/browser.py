"""A real browser for tests: Debian's Chromium without a window, on `arangopipe serve`; whatever goes wrong is kept."""

import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from test_web_access import served

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

CHROMIUM = shutil.which("chromium")
TOKEN = "the token of the tests"
SIZES = {"wide": {"width": 1280, "height": 800}, "narrow": {"width": 390, "height": 800}}
PICTURE = {"width": 1120, "height": 720}

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


class Site:
    """`arangopipe serve` on a database, as a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        environment = {"ARANGOPIPE_TOKEN": TOKEN, "ARANGOPIPE_EMBEDDED_CLUSTER": "1"}
        self.process, api = served("--url", url, **environment)
        self.address = api.removesuffix("/api/v1")
        self.link = self.process.line("open ").split()[1]

    def stop(self) -> None:
        said = self.process.stop()
        assert "Traceback" not in said, said[said.index("Traceback") :]


@contextmanager
def serving(url: str) -> Iterator[Site]:
    """The pages of a database, for as long as the tests need them. Fails if anything broke in them."""
    site = Site(url)
    yield site
    site.stop()


class Visit:
    """Somebody at a site with a browser: a page, and what was wrong while they looked at it.

    `refused` are the answers that are meant to be errors; any other is a complaint, as are errors of scripts, breaches
    of the content security policy, and requests to another origin.
    """

    def __init__(self, browser: Any, address: str, **settings: Any) -> None:
        self.address = address
        self.complaints: list[str] = []
        self.refused: set[int] = set()
        settings = {"viewport": SIZES["wide"], "timezone_id": "Asia/Kolkata", "locale": "en-GB"} | settings
        self.context = browser.new_context(base_url=address, **settings)
        self.page = self.context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", self._on_script_error)
        self.page.on("request", self._on_request)
        self.page.on("response", self._on_response)

    def _on_console(self, message: Any) -> None:
        refusal = message.text.startswith("Failed to load resource")  # _on_response knows more of it
        if message.type in ("error", "warning") and not refusal:
            self.complaints.append(f"console: {message.text}")

    def _on_script_error(self, error: Any) -> None:
        self.complaints.append(f"script: {error}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.complaints.append(f"request to {request.url}")

    def _on_response(self, response: Any) -> None:
        if response.status >= 400 and response.status not in self.refused:
            self.complaints.append(f"{response.status} of {response.url}")

    def enter(self, **credentials: str) -> "Visit":
        """Sign in, with the token of the file or what the form of a server asks for."""
        self.go("/sign-in")
        for label, value in (credentials or {"Token": TOKEN}).items():
            self.page.get_by_label(label.replace("_", " ")).fill(value)
        self.click(self.page.get_by_role("button", name="Sign in"))
        return self

    def go(self, address: str) -> None:
        """Go to an address, and wait until its page is there, which may say first that it is being made."""
        self.page.goto(address)
        self._settle()

    def click(self, target: Any) -> None:
        """Click at what leads to another page, and wait until that is there."""
        with self.page.expect_navigation():
            target.click()
        self._settle()

    def _settle(self) -> None:
        self.page.locator(".waiting").wait_for(state="detached")
        self.page.wait_for_load_state()

    def close(self) -> None:
        """End the visit. Fails if anything was wrong in it."""
        self.context.close()
        assert self.complaints == []

    def barriers(self) -> list[str]:
        """Return what axe finds wrong with the page for people who see or use it otherwise."""
        found = axe.Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {node['html']} {node['failureSummary']}" for each in found for node in each["nodes"]]

    def picture(self) -> bytes:
        """Return what is seen, as WebP, which is small enough to be kept with the documentation."""
        session = self.context.new_cdp_session(self.page)
        shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": 40})
        return b64decode(shot["data"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser, for as long as the tests of a file need it."""
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
