"""Filters of the templates."""

import pytest

from backstay.watch.web.rendering import remedy


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("backstay check controller", "<code>backstay check controller</code>"),
        (
            "power it on; where it is gone: backstay replace controller --with spare1",
            "power it on; where it is gone: <code>backstay replace controller --with spare1</code>",
        ),
        (
            "make room: journalctl --vacuum-size=500M, or more",
            "make room: <code>journalctl --vacuum-size=500M</code>, or more",
        ),
        ("is it <up>?", "is it &lt;up&gt;?"),
        ("backstay check <x>", "<code>backstay check &lt;x&gt;</code>"),
        ("", ""),
    ],
)
def test_commands_in_a_remedy_are_marked(text: str, html: str) -> None:
    assert str(remedy(text)) == html
