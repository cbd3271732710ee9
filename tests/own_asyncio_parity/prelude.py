# What the programs have in common on Python's side.
import asyncio, contextlib, sys
from asyncio import CancelledError, TaskGroup, create_task, current_task, gather, shield, sleep, timeout, wait_for

class Jumping(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__()
        self.now = 0.0
        self._clock_resolution = 1e-9
        select = self._selector.select
        def jump(wait):
            if wait:
                self.now += wait
            return select(0)
        self._selector.select = jump
    def time(self):
        return self.now

def say(line):
    now = f"{asyncio.get_running_loop().time():.3f}".rstrip("0").rstrip(".")
    print(f"{now}: {line}")

async def worker(name, work, clean=0.0):
    try:
        await sleep(work)
        say(f"{name} done")
        return name
    except CancelledError:
        say(f"{name} cancelled")
        await sleep(clean)
        say(f"{name} clean")
        raise

async def stubborn(name, work, more):
    try:
        await sleep(work)
    except CancelledError:
        say(f"{name} keeps on")
        await sleep(more)
    return name

async def bad(after, text):
    await sleep(after)
    raise ValueError(text)

def texts(group):
    return ", ".join(f"[{texts(e)}]" if isinstance(e, BaseExceptionGroup) else str(e) for e in group.exceptions)

async def tell(awaitable):
    try:
        say(f"value {await awaitable}")
    except BaseExceptionGroup as group:
        say(f"group {texts(group)}")
    except CancelledError as error:
        say(" ".join(["cancelled", *error.args]))
    except TimeoutError:
        say("timed out")
    except ValueError as error:
        say(f"error {error}")

async def nested(outer, inner, clean, late):
    async with timeout(outer):
        try:
            async with timeout(inner):
                await worker("a", 9, clean)
        except TimeoutError:
            say(late)

async def cancelled(coroutine, *message):
    task = create_task(coroutine)
    await sleep(1)
    task.cancel(*message)
    await tell(task)

async def holder(settled):
    await gather(worker("a", 9, 0.5), worker("b", 9, 1), return_exceptions=settled)

async def stopped():
    current_task().cancel()
    await sleep(1)

def run(program):
    loop = Jumping()
    loop.set_exception_handler(lambda loop, context: None)
    loop.run_until_complete(program())
    for task in asyncio.all_tasks(loop):
        say_left = f"left over: {task.get_name()}"
        print(say_left)
    loop.close()
