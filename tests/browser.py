"""A page in a real browser: headless Chromium loads it in a frame of a given width and answers questions about it."""

from __future__ import annotations

import html
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium")
# What every report must answer: its width, the frame's, its pictures, the broken ones among them.
LAYOUT = (
    "[page.scrollWidth, page.clientWidth, document.images.length,"
    "[...document.images].filter(image => !image.naturalWidth).length]"
)


def ask(report: Path, folder: Path, width: int, script: str = LAYOUT, shot: Path | None = None) -> Any:
    """The value of ``script`` inside the report; ``shot`` is a screenshot of it.

    A frame is used because a window of 400 pixels is narrower than Chromium allows.
    """
    outer = folder / "frame.html"
    function = f"new frame.contentWindow.Function('page', 'return ' + {json.dumps(script)})"
    outer.write_text(
        f"<body style='margin:0'><iframe src='{report.as_uri()}' onload='answer(this)' "
        f"style='border:0;width:{width}px;height:1500px'></iframe><script>function answer(frame) {{"
        f"const value = ({function})(frame.contentDocument.documentElement);"
        "document.title = JSON.stringify(value); }</script>",
        encoding="utf-8",
    )
    common = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--hide-scrollbars"]
    common += [f"--user-data-dir={folder / 'profile'}", "--window-size=1300,1500", "--virtual-time-budget=5000"]
    environment = {**os.environ, "HOME": str(folder)}

    def chromium(*options: str) -> str:
        call = [str(CHROMIUM), *common, *options, outer.as_uri()]
        return subprocess.run(call, capture_output=True, text=True, timeout=120, env=environment, check=False).stdout

    dump = chromium("--dump-dom")
    if "<title>" not in dump:
        pytest.skip("Chromium does not start here")
    if shot is not None:
        chromium(f"--screenshot={shot}")
    return json.loads(html.unescape(dump.split("<title>")[1].split("</title>")[0]))
