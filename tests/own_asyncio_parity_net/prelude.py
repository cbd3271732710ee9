# What the programs of both sides have in common.
import asyncio, os, socket, struct, warnings
# A socket that nobody holds any more is closed, as in Rust.
warnings.simplefilter("ignore", ResourceWarning)
lines = []
def say(*words): lines.append(" ".join(map(str, words)))
def text(data): return data.decode()

def std_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
    for end in ours, peer:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.settimeout(60)
    return ours, peer

def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()

# A port where nobody listens, and which nobody gets from the system: it is taken.
taken = []
def free_port():
    taken.append(socket.socket())
    taken[-1].bind(("127.0.0.1", 0))
    return taken[-1].getsockname()[1]

def read_all(peer):
    data = b""
    while more := peer.recv(1 << 20): data += more
    return data

async def until(is_so):
    while not is_so(): await asyncio.sleep(0.0002)

def kind(error):
    for of, name in ((ConnectionRefusedError, "ConnectionRefused"), (ConnectionResetError, "ConnectionReset"),
                     (BrokenPipeError, "BrokenPipe")):
        if isinstance(error, of): return name
    return "Other"

class Recorder(asyncio.Protocol):
    def __init__(self, keep_open=False, quiet=False, **hooks):
        self.keep_open, self.quiet, self.hooks, self.lost, self.received = keep_open, quiet, hooks, False, 0
    def note(self, call, line):
        say(line)
        self.hooks.get(call, lambda t: None)(self.transport)
    def connection_made(self, transport):
        self.transport = transport
        self.note("made", "made")
    def data_received(self, data):
        self.received += len(data)
        if not self.quiet: say("data " + text(data))
        self.hooks.get("data", lambda t: None)(self.transport)
    def eof_received(self):
        self.note("eof", "eof")
        return self.keep_open
    def connection_lost(self, error):
        self.lost = True
        self.note("lost", "lost" if error is None else "lost: " + kind(error))
    def pause_writing(self): self.note("pause", "pause")
    def resume_writing(self): self.note("resume", "resume")

async def connected(recorder):
    ours, peer = std_pair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_accepted_socket(lambda: recorder, ours)
    return transport, recorder, peer

async def streams(limit=2 ** 16):
    ours, peer = std_pair()
    return *await asyncio.open_connection(sock=ours, limit=limit), peer

async def tell(read):
    try: say("got", text(await read))
    except asyncio.IncompleteReadError as error: say("incomplete", text(error.partial), error.expected)
    except asyncio.LimitOverrunError as error: say("overrun", error.consumed)
    except OSError as error: say("failed", kind(error))

def run(program):
    async def main():
        global loop
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: say("report"))
        await asyncio.wait_for(program(), 60)
    asyncio.run(main())
    for line in lines: print(line)
    lines.clear()
