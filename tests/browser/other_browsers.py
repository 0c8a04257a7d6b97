"""Firefox and WebKit as they come from a distribution, driven by what they speak themselves.

Firefox speaks WebDriver BiDi over a web socket, WebKitGTK's driver the older WebDriver over HTTP. Playwright drives
neither: it wants browsers of its own making.
"""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

KEYS = {"ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015"}
KEYS |= {"Enter": "\ue007", "Shift": "\ue008", "Tab": "\ue004", "Space": " ", "Home": "\ue011", "End": "\ue010"}
SIZE = {"width": 1400, "height": 900}
PATIENCE = 120  # seconds: for a start and for an answer, on a machine that is busy with other tests
# Nothing but the page: a Firefox just started otherwise asks its maker for updates.
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
# Must come first in a page whose errors are asked for: WebKit's driver keeps no log of them.
LISTENER = """<script>
window.failures = [];
addEventListener("error", ({ message, target }) => failures.push(message || `no ${target.src || target.href}`), true);
addEventListener("unhandledrejection", ({ reason }) => failures.push(String(reason)));
console.error = ((say) => (...said) => failures.push(said.join(" ")) && say(...said))(console.error);
</script>"""


class Missing(Exception):
    """A browser is not here; the message says what installs it."""


class Failed(Exception):
    """A browser said that it could not do what it was told."""


class Browser:
    """One window. A subclass says how it is told: `open`, `value`, `perform`, `screenshot`, `close`."""

    def evaluate(self, expression: str):
        """The value of an expression of JavaScript, awaited, as JSON carries it."""
        return json.loads(self.value(f"(async () => JSON.stringify((await ({expression})) ?? null))()"))

    def wait(self, expression: str, seconds: float = PATIENCE):
        """The value of an expression once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f"not true after {seconds} s: {expression}")
            time.sleep(0.1)
        return value

    def errors(self) -> list[str]:
        """What has failed on a page that begins with `LISTENER`."""
        return self.evaluate("failures")

    def press(self, *keys: str) -> None:
        """Press keys one after the other; "Shift+ArrowLeft" are two at once."""
        steps = []
        for key in keys:
            together = [KEYS.get(one, one) for one in key.split("+")]
            steps += [{"type": "keyDown", "value": one} for one in together]
            steps += [{"type": "keyUp", "value": one} for one in reversed(together)]
        self.perform([{"type": "key", "id": "keyboard", "actions": steps}])

    def click(self, element: str, across: float = 0.5, down: float = 0.5) -> None:
        """Click an element, given as an expression, at a share of its width and height."""
        self.drag(element, (across, down))

    def drag(self, element: str, *places: tuple[float, float]) -> None:
        """Press the mouse at the first place of an element, move it over the others and let it go."""
        box = self.evaluate(
            f"(e => (e.scrollIntoView({{block: 'center', behavior: 'instant'}}), e.getBoundingClientRect()))({element})"
        )
        points = [(box["x"] + across * box["width"], box["y"] + down * box["height"]) for across, down in places]
        moves = [{"type": "pointerMove", "x": int(x), "y": int(y), "duration": 20} for x, y in points]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self.perform([{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}])


class Firefox(Browser):
    """A Firefox without a window on any screen, told in WebDriver BiDi."""

    def __init__(self, folder: Path):
        from websocket import create_connection

        program = find_firefox()
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in PREFERENCES.items()]
        (folder / "user.js").write_text("".join(lines), "utf-8")
        command = [program, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port=0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.asked = 0
        try:
            where = folder / "WebDriverBiDiServer.json"
            port = started(self.process, lambda: json.loads(where.read_text("utf-8"))["ws_port"])
            self.socket = create_connection(f"ws://127.0.0.1:{port}/session", timeout=PATIENCE, suppress_origin=True)
            self.ask("session.new", capabilities={})
            # The first window never has the focus, without which a key chooses no radio button.
            self.tab = self.ask("browsingContext.create", type="window")["context"]
            self.ask("browsingContext.setViewport", context=self.tab, viewport=SIZE)
        except BaseException:
            self.close()
            raise

    def ask(self, method: str, **parameters):
        self.asked += 1
        self.socket.send(json.dumps({"id": self.asked, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.asked:
            pass
        if answer["type"] == "error":
            raise Failed(f"{method}: {answer['message']}")
        return answer["result"]

    def open(self, page: Path) -> None:
        self.ask("browsingContext.navigate", context=self.tab, url=page.as_uri(), wait="complete")

    def value(self, expression):
        target = {"context": self.tab}
        answer = self.ask("script.evaluate", expression=expression, target=target, awaitPromise=True)
        if answer["type"] == "exception":
            raise Failed(answer["exceptionDetails"]["text"])
        return answer["result"]["value"]

    def perform(self, actions: list) -> None:
        self.ask("input.performActions", context=self.tab, actions=actions)

    def screenshot(self) -> bytes:
        return base64.b64decode(self.ask("browsingContext.captureScreenshot", context=self.tab)["data"])

    def close(self) -> None:
        stop(self.process)


class WebKit(Browser):
    """A WebKitGTK on a screen that nobody sees, told in WebDriver."""

    def __init__(self, folder: Path):
        driver, browser, xvfb = find_webkit()
        self.processes, self.session = [], None
        try:
            self.start(driver, browser, xvfb)
        except BaseException:
            self.close()
            raise

    def start(self, driver: str, browser: str, xvfb: str) -> None:
        read, write = os.pipe()
        screen = "{width}x{height}x24".format(**SIZE)
        command = [xvfb, "-displayfd", str(write), "-screen", "0", screen, "-nolisten", "tcp"]
        self.processes.append(subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL))
        os.close(write)
        with open(read) as number:
            display = f":{number.readline().strip()}"
        port = free_port()
        surroundings = os.environ | {"DISPLAY": display, "GDK_BACKEND": "x11", "LC_ALL": "C.UTF-8"}
        process = subprocess.Popen([driver, f"--port={port}"], env=surroundings, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        self.address = f"http://127.0.0.1:{port}"
        started(process, lambda: self.ask("GET", "/status"))
        wanted = {"webkitgtk:browserOptions": {"binary": browser, "args": ["--automation"]}}
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{answer['sessionId']}"
        self.ask("POST", f"{self.session}/window/rect", SIZE)
        self.ask("POST", f"{self.session}/timeouts", {"script": 1000 * PATIENCE, "pageLoad": 1000 * PATIENCE})

    def ask(self, method: str, path: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Failed(f"{path}: {json.load(error)['value']}") from None

    def open(self, page: Path) -> None:
        self.ask("POST", f"{self.session}/url", {"url": page.as_uri()})

    def value(self, expression: str) -> str:
        script = f"const done = arguments[0]; {expression}.then(text => done([text]), error => done(String(error)));"
        answer = self.ask("POST", f"{self.session}/execute/async", {"script": script, "args": []})
        if isinstance(answer, str):
            raise Failed(answer)
        return answer[0]

    def perform(self, actions: list) -> None:
        self.ask("POST", f"{self.session}/actions", {"actions": actions})

    def screenshot(self) -> bytes:
        return base64.b64decode(self.ask("GET", f"{self.session}/screenshot"))

    def close(self) -> None:
        try:
            if self.session:
                self.ask("DELETE", self.session)
        finally:
            for process in reversed(self.processes):
                stop(process)


def find_firefox() -> str:
    """A Firefox that may read the files of a test: one from a snap sees neither these nor a profile beside them."""
    on_a_mac = "/Applications/Firefox.app/Contents/MacOS/firefox"
    for path in filter(None, map(shutil.which, ("firefox-esr", "firefox", on_a_mac))):
        if b"/snap/" not in Path(path).resolve().read_bytes()[:4096] and "snap" not in Path(path).resolve().parts:
            return path
    raise Missing("no Firefox (apt-get install firefox-esr)")


def find_webkit() -> tuple[str, str, str]:
    """WebKitGTK's driver and browser, and Xvfb, the screen that nobody sees."""
    driver, xvfb = map(shutil.which, ("WebKitWebDriver", "Xvfb"))
    # The driver belongs to the newest of those that are installed.
    browsers = sorted(str(path) for path in Path("/usr").glob("lib*/**/webkit*gtk-*/MiniBrowser"))
    if driver and xvfb and browsers:
        return driver, browsers[-1], xvfb
    raise Missing("no WebKitGTK with a driver and a screen (apt-get install webkit2gtk-driver xvfb)")


def started(process: subprocess.Popen, answer):
    """What `answer` gives once the process is there."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return answer()
        except (OSError, ValueError, KeyError):
            if process.poll() is not None or time.monotonic() > end:
                raise Failed(f"{process.args[0]} did not start") from None
            time.sleep(0.1)


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
