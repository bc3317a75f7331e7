"""How far a long step has come, with its speed and the time left."""

import time

EVERY_SECONDS = 10


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


class Progress:
    """Lines such as `embedding: 12,288 of 40,044 chunks, 310 a second, 1 min 30 s left`, one in EVERY_SECONDS."""

    def __init__(self, what: str, unit: str, total: int | None, done: int = 0):
        self.what, self.unit, self.total, self.before = what, unit, total, done
        self.begun = self.shown = time.monotonic()
        if done:
            print(f"{what}: {done:,} {unit} were there already", flush=True)

    def show(self, done: int) -> None:
        now = time.monotonic()
        if now - self.shown < EVERY_SECONDS:
            return
        self.shown = now
        speed = (done - self.before) / (now - self.begun)
        line = f"{self.what}: {done:,}" + (f" of {self.total:,}" if self.total else "") + f" {self.unit}, {speed:,.0f} a second"
        if self.total and speed:
            line += f", {duration((self.total - done) / speed)} left"
        print(line, flush=True)
