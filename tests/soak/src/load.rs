//! The process of the load: it starts the server, holds the crowd, makes the new connections, and judges at the end.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::process::{PIPE, Process};
use callsoon::stream::StreamReader;
use callsoon::{
    Event, TaskGroup, create_subprocess_exec, create_task, interval, sleep, task_group, timeout,
};

use crate::clients::Clients;
use crate::counts::{Count, Figures};
use crate::options::Options;
use crate::server::warm_up;
use crate::system::end_with_parent;
use crate::table;
use crate::watch::{Watch, pause};

/// How many clients read slowly, and how many write slowly.
const SLOW: u64 = 50;
/// How many short connections there may be at once. More than that are not made, and counted as held back.
pub(crate) const MOST_SHORT: u64 = 1500;
/// How many connections of the crowd are opened in a tick.
const CROWD_A_TICK: u64 = 20;
const TICK: Duration = Duration::from_millis(10);
/// How long the crowd may take to come, and everything to end.
const PATIENCE: Duration = Duration::from_secs(90);
/// After how long a signal is lost, and how often one is sent.
const SIGNAL_LIMIT: Duration = Duration::from_secs(20);
const SIGNAL_EVERY: Duration = Duration::from_secs(1);
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What the tasks of the load share.
#[derive(Debug)]
struct Load {
    options: Options,
    clients: Rc<Clients>,
    watch: Rc<Watch>,
    /// The server's last line of figures.
    latest: RefCell<Figures>,
    /// The server's summary.
    summary: RefCell<Option<Figures>>,
    /// Set when the server has told of a signal.
    signalled: Event,
    /// Set when the server's output has ended.
    server_ended: Event,
    /// Set when all idle connections have had an answer.
    crowd_is_there: Event,
    crowd: Cell<u64>,
    /// Short connections at this moment.
    short: Cell<u64>,
}

impl Load {
    /// Reads what the server tells.
    async fn listen(self: Rc<Self>, mut output: StreamReader) {
        while let Ok(Some(line)) = output.next_line().await {
            let line = String::from_utf8_lossy(&line);
            let (what, rest) = line
                .trim_end()
                .split_once(' ')
                .unwrap_or((line.trim_end(), ""));
            match what {
                "signal" => {
                    self.clients.counts.one(Count::SignalsSeen);
                    self.signalled.set();
                }
                "figures" => *self.latest.borrow_mut() = Figures::read(rest),
                "summary" => *self.summary.borrow_mut() = Some(Figures::read(rest)),
                _ => self
                    .clients
                    .counts
                    .unexpected(format_args!("the server says {line:?}")),
            }
        }
        self.server_ended.set();
    }

    /// Opens the crowd, some connections a tick.
    async fn open_crowd(&self, group: &TaskGroup, this: &Rc<Self>) -> Result<(), String> {
        let mut ticks = interval(TICK);
        for number in 0..self.options.idle {
            if number % CROWD_A_TICK == 0 {
                ticks.tick().await;
            }
            let load = Rc::clone(this);
            let is_there = move || {
                load.crowd.set(load.crowd.get() + 1);
                if load.crowd.get() == load.options.idle {
                    load.crowd_is_there.set();
                }
            };
            let client = Rc::clone(&self.clients).idle(1 << 40 | number, is_there);
            group.create_task(client).detach();
        }
        if self.options.idle == 0 {
            self.crowd_is_there.set();
        }
        let there = timeout(PATIENCE, self.crowd_is_there.wait()).await;
        there.map_err(|_| format!("of the crowd, only {} have come", self.crowd.get()))
    }

    /// Makes new connections at the rate, until the event comes.
    async fn make_short(self: Rc<Self>) {
        let (mut made, began) = (0, Instant::now());
        let mut ticks = interval(TICK);
        let group = task_group(async |group| {
            while !self.clients.stopping.is_set() && !self.server_ended.is_set() {
                ticks.tick().await;
                let due = (began.elapsed().as_secs_f64() * self.options.rate as f64) as u64;
                while made < due {
                    made += 1;
                    if self.short.get() >= MOST_SHORT {
                        self.clients.counts.one(Count::HeldBack);
                        continue;
                    }
                    self.short.set(self.short.get() + 1);
                    let load = Rc::clone(&self);
                    group
                        .create_task(async move {
                            Rc::clone(&load.clients).short(made).await;
                            load.short.set(load.short.get() - 1);
                        })
                        .detach();
                }
            }
        });
        if let Err(error) = group.await {
            self.clients.counts.unexpected(error);
        }
    }

    /// Sends a signal a second; the next one only when the last one was seen, since two that are pending are one.
    async fn send_signals(self: Rc<Self>, server: Rc<Process>) {
        let counts = &self.clients.counts;
        while !pause(SIGNAL_EVERY, &self.clients.stopping).await {
            self.signalled.clear();
            if let Err(error) = server.send_signal(libc::SIGUSR1) {
                return counts.unexpected(format_args!("a signal: {error}"));
            }
            counts.one(Count::SignalsSent);
            if timeout(SIGNAL_LIMIT, self.signalled.wait()).await.is_err() {
                counts.unexpected("a signal was not seen");
            }
        }
    }

    /// Prints a line every few seconds until the time is over. Fails if the server ends.
    async fn progress(&self) -> Result<(), String> {
        let ends = Instant::now() + Duration::from_secs(self.options.seconds);
        loop {
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if pause(left.min(PROGRESS_EVERY), &self.server_ended).await {
                return Err("the server has ended".to_owned());
            }
            let mut own = Figures::default();
            self.clients.counts.put_into(&mut own);
            self.watch.put_progress(&mut own);
            let left = ends.saturating_duration_since(Instant::now());
            table::progress(left, &self.latest.borrow(), &own, self.short.get());
        }
    }

    /// Everything that has clients, until the time is over and all of them have ended.
    async fn work(self: &Rc<Self>, server: &Rc<Process>) -> Result<(), String> {
        let worked = task_group(async |group| -> Result<(), String> {
            let working = async {
                self.open_crowd(group, self).await?;
                say(server, "begin");
                self.watch.begin();
                group.create_task(Rc::clone(self).make_short()).detach();
                let signals = Rc::clone(self).send_signals(Rc::clone(server));
                group.create_task(signals).detach();
                for number in 0..SLOW {
                    let (clients, first) = (&self.clients, (2 << 40) | (number << 24));
                    group
                        .create_task(Rc::clone(clients).slow_reader(first))
                        .detach();
                    let first = (3 << 40) | (number << 24);
                    group
                        .create_task(Rc::clone(clients).slow_writer(first))
                        .detach();
                }
                self.progress().await
            };
            let worked = working.await;
            self.watch.end();
            say(server, "end");
            self.clients.stopping.set();
            worked
        });
        worked.await.map_err(|error| error.to_string())
    }
}

/// Tells the server something. If it has ended, its output tells that.
fn say(server: &Process, what: &str) {
    if let Some(input) = &server.stdin {
        input.write(format!("{what}\n"));
    }
}

/// Starts the server: this program, which ends when this process does.
async fn start_server(options: &Options) -> Result<Process, Box<dyn Error>> {
    let mut command = create_subprocess_exec(std::env::current_exe()?, ["--server"])
        .stdin(PIPE)
        .stdout(PIPE)
        .kill_on_drop(true);
    if let Some(fault) = &options.fault {
        command = command.args(["--fault", fault]);
    }
    end_with_parent(command.as_std_mut());
    Ok(command.await?)
}

/// Reads where the server listens.
async fn addresses(output: &mut StreamReader) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let line = timeout(PATIENCE, output.next_line()).await??;
    let line = String::from_utf8(line.ok_or("the server has ended at once")?)?;
    let rest = line
        .strip_prefix("ready ")
        .ok_or_else(|| format!("the server says {line:?}"))?;
    Ok(rest
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?)
}

/// Runs the whole soak. Returns the figures of the server and of the load.
pub(crate) async fn load(options: Options) -> Result<(Figures, Figures), Box<dyn Error>> {
    warm_up().await?;
    let watch = Rc::new(Watch::new());
    let mut server = start_server(&options).await?;
    let mut output = server.stdout.take().ok_or("the server has no output")?;
    let servers = addresses(&mut output).await?;
    // A port that nobody has after this, on an address that nobody else uses.
    let nobody = TcpListener::bind("127.0.1.9:0")?.local_addr()?;
    let stopping = Rc::new(Event::new());
    let load = Rc::new(Load {
        clients: Rc::new(Clients::new(servers, nobody, Rc::clone(&stopping))),
        watch: Rc::clone(&watch),
        options,
        latest: RefCell::default(),
        summary: RefCell::default(),
        signalled: Event::new(),
        server_ended: Event::new(),
        crowd_is_there: Event::new(),
        crowd: Cell::new(0),
        short: Cell::new(0),
    });
    let tasks = [
        create_task(Rc::clone(&load).listen(output)),
        create_task(Rc::clone(&watch).observe(Rc::clone(&stopping))),
        create_task(Rc::clone(&watch).time(Rc::clone(&stopping))),
    ];
    let server = Rc::new(server);
    let worked = load.work(&server).await;
    say(&server, "stop");
    let status = match timeout(PATIENCE, server.wait()).await {
        Ok(status) => status?,
        Err(_) => return Err("the server does not stop".into()),
    };
    for task in tasks {
        task.await?;
    }
    if let Some(input) = &server.stdin {
        input.close();
        // An error says that the server has ended with its end of the pipe, which is known.
        _ = input.wait_closed().await;
    }
    drop(server);
    // The last callbacks of what has closed run.
    sleep(Duration::from_millis(50)).await;
    worked?;
    if !status.success() {
        return Err(format!("the server ended with {status}").into());
    }
    let of_server = load.summary.take().ok_or("the server gave no summary")?;
    let mut own = Figures::default();
    load.clients.counts.put_into(&mut own);
    watch.put_summary(&mut own);
    Ok((of_server, own))
}
