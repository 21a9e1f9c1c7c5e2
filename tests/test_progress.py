"""How far a command has come, as people see it."""

from io import StringIO

from service.cli.progress import Progress


class Terminal(StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


def test_on_a_terminal_a_bar_is_drawn_in_its_place() -> None:
    """Share, number, pace and the time that is left; nothing of it stays."""
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


def test_elsewhere_a_plain_line_comes_now_and_then() -> None:
    """Not each time: a log is no place for bars."""
    stream, clock = StringIO(), Clock()
    progress = Progress("Topic", stream=stream, clock=clock)
    for done in range(0, 2_500, 100):
        progress.show(done, 10_000)
        clock.now += 1
    progress.end()
    assert stream.getvalue() == (
        "Topic: 10%, 1,000 of 10,000, 100/s, 90 s left\nTopic: 20%, 2,000 of 10,000, 100/s, 80 s left\n"
    )


def test_what_nobody_has_counted_has_no_share() -> None:
    """Nor has nothing."""
    for total in (None, 0):
        stream, clock = Terminal(), Clock()
        progress = Progress("Topic", stream=stream, clock=clock)
        clock.now += 1
        progress.show(12, total)
        assert stream.getvalue() == "\rTopic: 12, 12/s"


def test_more_than_was_counted_is_all_of_it() -> None:
    """Keys that came meanwhile."""
    stream, clock = Terminal(), Clock()
    progress = Progress("Replay 7", stream=stream, clock=clock)
    clock.now += 1
    progress.show(11, 10)
    assert "100%, 11 of 10, 11/s, 0 s left" in stream.getvalue()
