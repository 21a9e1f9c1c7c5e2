"""The progress display of commands."""

from io import StringIO

from service.cli.progress import Progress


class Terminal(StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Return true."""
        return True


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def test_a_terminal_gets_a_bar_that_is_redrawn_and_erased() -> None:
    """With share, number, rate and remaining time."""
    stream, clock = Terminal(), Clock()
    progress = Progress("Replay 7", stream=stream, clock=clock)
    clock.now += 2
    progress.show(1_000, 4_000)
    progress.show(4_000, 4_000)
    progress.end()
    _, first, last, blank, end = stream.getvalue().split("\r")
    assert first == "Replay 7 [#######.......................] 25%, 1,000 of 4,000, 500/s, 6 s left"
    assert last.startswith("Replay 7 [##############################] 100%")
    assert (blank.strip(), end) == ("", "")
    assert len(blank) >= len(first)


def test_other_streams_get_a_line_every_ten_seconds() -> None:
    """Not one for each call."""
    stream, clock = StringIO(), Clock()
    progress = Progress("Topic", stream=stream, clock=clock)
    for done in range(0, 2_500, 100):
        progress.show(done, 10_000)
        clock.now += 1
    progress.end()
    assert stream.getvalue() == (
        "Topic: 10%, 1,000 of 10,000, 100/s, 90 s left\nTopic: 20%, 2,000 of 10,000, 100/s, 80 s left\n"
    )


def test_an_unknown_total_has_no_share() -> None:
    """Nor has a total of 0."""
    for total in (None, 0):
        stream, clock = Terminal(), Clock()
        progress = Progress("Topic", stream=stream, clock=clock)
        clock.now += 1
        progress.show(12, total)
        assert stream.getvalue() == "\rTopic: 12, 12/s"


def test_more_than_the_total_is_100_percent() -> None:
    """Keys that were created in the meantime."""
    stream, clock = Terminal(), Clock()
    progress = Progress("Replay 7", stream=stream, clock=clock)
    clock.now += 1
    progress.show(11, 10)
    assert "100%, 11 of 10, 11/s, 0 s left" in stream.getvalue()
