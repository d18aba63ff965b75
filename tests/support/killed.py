from training.progress import Report


class Killed(Report):
    """Ends the work when a line that begins so is reported; an epoch is reported before it is saved."""

    def __init__(self, beginning: str) -> None:
        super().__init__(quiet=True)
        self._beginning = beginning

    def line(self, text: str) -> None:
        if text.startswith(self._beginning):
            raise KeyboardInterrupt
