# What the programs about threads, processes and signals have in common.
import asyncio, contextvars, os, signal, sys, threading
from asyncio import CancelledError, create_subprocess_exec, create_subprocess_shell, create_task, get_running_loop
from asyncio import run_coroutine_threadsafe, sleep, to_thread, wrap_future
from asyncio.subprocess import PIPE, STDOUT
from concurrent.futures import CancelledError as OtherCancelled, ThreadPoolExecutor

signal.alarm(100)

def say(*words):
    print(*words, flush=True)

async def until(is_so):
    while not is_so():
        await sleep(0.001)

async def tell(awaitable):
    try:
        say("value", await awaitable)
    except CancelledError:
        say("cancelled")
    except ValueError as error:
        say("error", error)
    except RuntimeError:
        say("refused")

def fail():
    raise ValueError("on purpose: no")

async def failing():
    fail()

def outcome(future, timeout=None):
    try:
        say("value", future.result(timeout))
    except (CancelledError, OtherCancelled):
        say("cancelled")
    except TimeoutError:
        say("timed out")
    except ValueError as error:
        say("error", error)

def attempt(f):
    try:
        f()
        say("done")
    except ProcessLookupError:
        say("no such process")

var = contextvars.ContextVar("var", default="-")

class Gated:
    def __init__(self):
        self.pool, self.begun, self.gate = ThreadPoolExecutor(1), threading.Event(), threading.Event()
    def first(self):
        self.begun.set()
        self.gate.wait()
        say("the first ends")
        return 1

class Told(asyncio.SubprocessProtocol):
    def __init__(self):
        self.events, self.over = {}, get_running_loop().create_future()
    def tell(self, of, event):
        self.events.setdefault(of, []).append(event)
        self.events.setdefault("all", []).append(event)
    def connection_made(self, transport):
        self.transport = transport
        self.tell("child", "made")
    def pipe_data_received(self, fd, data):
        self.tell(fd, data.decode().strip())
    def pipe_connection_lost(self, fd, error):
        self.tell(fd, f"lost {fd}")
    def process_exited(self):
        self.tell("child", f"exited {self.transport.get_returncode()}")
    def connection_lost(self, error):
        self.tell("child", f"lost {error}")
        self.over.set_result(None)

def run(program):
    asyncio.run(program())
