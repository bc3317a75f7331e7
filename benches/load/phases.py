"""First how much the server can take, then more than that."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benches.database.server import Server
from benches.load.client import Client, NoAnswer
from benches.load.mix import Mix, Request
from benches.load.tally import Tally

MOST_CLIENTS = 256
# A step with this much more than the best so far is progress.
PROGRESS = 1.05
TIMES = 2.0
MINUTE = 60.0


@dataclass
class Load:
    server: Server
    mix: Mix
    client: Client
    say: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)

    async def one(self, request: Request) -> None:
        """A request, with its wait from now on: what it waits for a connection counts."""
        began = time.perf_counter()
        try:
            answer = await self.client.ask("POST", request.path, request.body)
        except NoAnswer as error:
            self.tally.errors[f"{request.kind}: {error}"] += 1
            return
        if request.is_good(answer.status, answer.body):
            self.tally.good[request.kind] += 1
            self.tally.waits[request.kind].append(time.perf_counter() - began)
        elif answer.status == 429 and answer.headers.get("retry-after", "").isdigit():
            self.tally.refused[request.kind] += 1
        else:
            self.tally.errors[f"{request.kind}: {answer.status} {answer.body[-200:].decode(errors='replace')}"] += 1

    def take(self, seconds: float) -> Tally:
        """What was counted since the last time."""
        taken, self.tally = self.tally, Tally()
        taken.seconds = seconds
        return taken

    async def closed(self, clients: int, seconds: float, warm: float) -> Tally:
        """So many clients, each of which asks again when it is answered."""
        ends = asyncio.Event()

        async def go_on() -> None:
            while not ends.is_set():
                request = self.mix.request()
                self.tally.offered[request.kind] += 1
                await self.one(request)

        tasks = [asyncio.create_task(go_on()) for _ in range(clients)]
        await asyncio.sleep(warm)
        self.take(warm)
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        measured = self.take(time.perf_counter() - began)
        ends.set()
        await asyncio.gather(*tasks)
        self.take(1.0)
        return measured

    async def capacity(self, seconds: float) -> dict:
        """Steps of ever more clients until that brings no more or some are refused, and then what the best number of them brings in a step of
        its own: the best of several measurements is a lucky one. Of refusals come cheap requests: whoever is refused asks again at once,
        until it has one that is taken, and the answers are no longer those of the mix."""
        steps, best, clients, idle = [], (0.0, 1), 1, 0
        while clients <= MOST_CLIENTS and idle < 2:
            measured = await self.closed(clients, seconds, seconds / 4)
            goodput = measured.goodput()
            self.say(f"  {clients} clients: {goodput:.1f} good answers/s")
            steps.append({"clients": clients} | measured.summary())
            if measured.refused.total():
                self.say("  it refuses some")
                break
            idle = 0 if goodput > PROGRESS * best[0] else idle + 1
            if goodput > best[0]:
                best = (goodput, clients)
            clients *= 2
        again = await self.closed(best[1], 2 * seconds, seconds / 4)
        self.say(f"capacity: {again.goodput():.1f} good answers/s with {best[1]} clients")
        return {"goodput": again.goodput(), "clients": best[1], "steps": steps, "measured": again.summary()}

    async def overload(self, rate: float, seconds: float, seed: int) -> dict:
        """Requests at random moments (Poisson), so many a second, whatever becomes of them."""
        chance, tasks, memory = random.Random(seed), set(), []
        whole, minutes, health = Tally(), [], []
        looks = [asyncio.create_task(self.watch_memory(memory)), asyncio.create_task(self.watch_health(health))]
        began = time.perf_counter()
        due, cut = began, began

        def close_minute() -> None:
            nonlocal cut
            now = time.perf_counter()
            minute = self.take(now - cut)
            cut = now
            minutes.append(minute.summary() | {"resident_bytes": memory[-1][1] if memory else None})
            whole.add(minute)
            self.say(f"  minute {len(minutes)}: {line(minutes[-1])}")

        while (due := due + chance.expovariate(rate)) < began + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if time.perf_counter() - cut >= MINUTE:
                close_minute()
            request = self.mix.request()
            self.tally.offered[request.kind] += 1
            task = asyncio.create_task(self.one(request))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.sleep(max(0.0, began + seconds - time.perf_counter()))
        close_minute()
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        # Their errors count, their goodput does not: nothing is offered beside them any more.
        if tasks:
            await asyncio.gather(*tasks)
        whole.errors.update(self.take(1.0).errors)
        return {
            "rate": rate,
            "overall": whole.summary(),
            "minutes": minutes,
            "memory": [[seconds - began, size] for seconds, size in memory],
            "health": {"p50_seconds": middle(health), "longest_seconds": max(health, default=None), "asked": len(health)},
        }

    async def watch_memory(self, memory: list) -> None:
        while True:
            memory.append((time.perf_counter(), self.server.memory()["resident_bytes"]))
            await asyncio.sleep(1)

    async def watch_health(self, health: list) -> None:
        while True:
            began = time.perf_counter()
            try:
                answer = await self.client.ask("GET", "/livez")
            except NoAnswer as error:
                self.tally.errors[f"livez: {error}"] += 1
            else:
                health.append(time.perf_counter() - began)
                if answer.status != 200:
                    self.tally.errors[f"livez: {answer.status}"] += 1
            await asyncio.sleep(1)


def middle(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def line(minute: dict) -> str:
    def of(kind: str) -> str:
        figures = minute["kinds"][kind]
        slowest = f", p99 {figures['p99_seconds']:.2f} s" if figures["p99_seconds"] is not None else ""
        return f"{kind} {figures['good_per_second']:.1f}/s ({100 * figures['refused_share']:.0f} % refused{slowest})"

    resident = minute["resident_bytes"]
    memory = f"; {resident / 2**20:.0f} MiB" if resident else ""
    errors = f"; errors: {minute['errors']}" if minute["errors"] else ""
    return f"{minute['goodput']:.1f} good answers/s: " + ", ".join(map(of, minute["kinds"])) + memory + errors
