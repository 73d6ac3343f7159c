"""What the first look at the dashboard costs, in Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.plan import Plan
from benchmarks.program import place

CHROMIUM = "/usr/bin/chromium"
TOKEN = "benchmark-admin"
PATIENCE_MS = 20_000
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
COSTS = """
() => new Promise((tell) => new PerformanceObserver((seen) => {
  const loads = [
    ...performance.getEntriesByType("navigation"),
    ...performance.getEntriesByType("resource"),
  ];
  const sum = (key) => loads.reduce((all, load) => all + load[key], 0);
  tell({
    requests: loads.length,
    bytes: sum("transferSize"),
    unpacked_bytes: sum("decodedBodySize"),
    first_paint_ms: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    largest_paint_ms: seen.getEntries().at(-1).startTime,
  });
}).observe({type: "largest-contentful-paint", buffered: true}))
"""

Measured = dict[str, float]


def measure(_plan: Plan) -> Measured:
    """Look at the page to sign in, then at the overview, for the first and again."""
    with place() as at, at.program(ADMIN_TOKEN=TOKEN), _chromium() as browser:
        at.wait_until_ready()
        url = f"http://localhost:{at.port}"
        # Whatever is done for the first time only: by the server, and by the browser.
        with _visitor(browser, url) as visitor:
            _look(visitor.new_page(), "Admin token")
        with _visitor(browser, url) as visitor:
            looks = {"sign_in": _look(visitor.new_page(), "Admin token")}
        with _visitor(browser, url) as visitor:
            visitor.request.post("/auth/token", data={"token": TOKEN})
            page = visitor.new_page()
            looks["first"] = _look(page, "Recent messages")
            looks["again"] = _look(page, "Recent messages")
    return {
        f"{name}_{key}": cost
        for name, costs in looks.items()
        for key, cost in costs.items()
    }


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(OPTIONS)
        )
        yield browser
        browser.close()


@contextmanager
def _visitor(browser: Browser, url: str) -> Iterator[BrowserContext]:
    """Somebody whose browser keeps nothing from before."""
    context = browser.new_context(base_url=url)
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


def _look(page: Page, awaited: str) -> Measured:
    """Open the page and wait until that is there."""
    page.goto("/")
    page.get_by_text(awaited).first.wait_for()
    costs: Measured = page.evaluate(COSTS)
    return costs
