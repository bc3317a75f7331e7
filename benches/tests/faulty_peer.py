import os
import sys


class Peer:
    about = {}

    def __init__(self, threads: int):
        print("what a peer prints is no answer")

    def measure(self, what: str) -> dict:
        if what == "end":
            print("about to end", file=sys.stderr, flush=True)
            os._exit(7)
        if what == "fail":
            raise ValueError("so it is")
        return {"it": "answers"}
