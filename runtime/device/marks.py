"""Events between the parts of some work, which tell how long the GPU took for each."""

from __future__ import annotations

from arnet.runtime.device.driver import Driver, Event, Stream


class Marks:
    """The marks of one stream. They are for work that is not captured: a graph's have no times."""

    def __init__(self, driver: Driver, stream: Stream) -> None:
        """Without marks yet; the first time that a part is done, its event is made."""
        self._driver = driver
        self._stream = stream
        self._events: dict[str, Event] = {}

    def after(self, part: str) -> None:
        """Say that the work of a part has been put in; again if there was more of it.

        Args:
            part: its name; parts come in the same order each time.
        """
        if part not in self._events:
            self._events[part] = self._driver.event(timed=True)
        self._stream.record(self._events[part])

    def seconds(self, begun: Event) -> dict[str, float]:
        """Seconds of every part, all of which the GPU has done.

        Args:
            begun: stands before the first.
        """
        found = {}
        for part, event in self._events.items():
            found[part] = self._driver.milliseconds(begun, event) / 1000
            begun = event
        return found
