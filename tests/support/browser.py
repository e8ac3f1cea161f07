"""A real Chromium without a window, driven over its DevTools protocol on two pipes: nothing but the standard library.

https://chromedevtools.github.io/devtools-protocol/; each message is JSON, ended by a zero byte.
"""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--disable-extensions", "--disable-default-apps", "--hide-scrollbars",
         "--remote-debugging-pipe")
ANSWER_SECONDS = 30
NAMED = {"Enter": ("\r", 13), "Tab": ("", 9), "Escape": ("", 27), " ": (" ", 32)}


def program():
    """The browser's program; None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """A running browser with one page; a context manager. ``requests`` and ``complaints`` are what the page did since ``show``."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="browser-")
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        words = [program()] + list(FLAGS) + ["--user-data-dir=" + self.folder, "about:blank"]
        self._child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       pass_fds=(3, 4), preexec_fn=lambda: (os.dup2(theirs_in, 3), os.dup2(theirs_out, 4)))
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out, self._rest, self._number, self._session = ours_in, ours_out, b"", 0, None
        self.requests, self.complaints, self._events = [], [], []
        [target] = [each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(domain + ".enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._out)
        os.close(self._in)
        self._child.terminate()
        self._child.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, **parameters):
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _message(self):
        ends_at = time.monotonic() + ANSWER_SECONDS
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], max(0, ends_at - time.monotonic()))[0], "the browser does not answer"
            piece = os.read(self._in, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line.decode("utf-8"))
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event, values):
        if event:
            self._events.append(event)
        if event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif event == "Runtime.consoleAPICalled":
            self.complaints.append(str([each.get("value") for each in values["args"]]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(values["exceptionDetails"]))
        elif event == "Log.entryAdded":
            self.complaints.append(values["entry"]["text"])
        elif event == "Page.javascriptDialogOpening":
            self.complaints.append("dialog: " + values["message"])
            self._number += 1
            os.write(self._out, json.dumps({"id": self._number, "method": "Page.handleJavaScriptDialog", "params": {"accept": True},
                                            "sessionId": self._session}).encode() + b"\0")

    def show(self, path, width=1280, height=900, dark=False, media="screen", scripts=True):
        """Open a file and wait until it is loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self.call("Emulation.setEmulatedMedia", media=media, features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        del self.requests[:], self.complaints[:], self._events[:]
        self.call("Page.navigate", url="file://" + str(path))
        while "Page.loadEventFired" not in self._events:
            self._message()

    def value(self, expression):
        """Evaluate JavaScript and return its value; the page's policy does not concern it."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key, times=1):
        """Press a key as a person does: the page gets trusted events."""
        text, code = NAMED.get(key, (key, ord(key[0].upper())))
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key if len(key) > 1 else "", text=text if kind == "keyDown" else "",
                          windowsVirtualKeyCode=code)

    def type(self, text):
        """Type a text."""
        for letter in text:
            self.press(letter)

    def picture(self, path, whole=True):
        """Write a picture of the page and return its bytes."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])
        with open(str(path), "wb") as stream:
            stream.write(data)
        return data

    def printed(self, path):
        """Print to a PDF file and return its bytes."""
        data = base64.b64decode(self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)["data"])
        with open(str(path), "wb") as stream:
            stream.write(data)
        return data
