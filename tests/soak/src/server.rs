//! The process that serves. Its standard input says when to begin to measure, when to end that, and when to stop; on its
//! standard output are its addresses, a line of figures a second, a line for each signal, and a summary.
//!
//! It ends with the process of the load: the end of its standard input stops it, and the system kills it in any case.

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsoon::stream::{open_read_pipe, start_server};
use callsoon::transport::{Server, stdin};
use callsoon::{Event, create_task, get_running_loop, signal, sleep, to_thread};

use crate::background::{Posted, Posters, children, signals};
use crate::counts::Figures;
use crate::serve_protocol::Client;
use crate::serve_streams::converse;
use crate::served::{Fault, Served};
use crate::watch::{Watch, pause};

/// How many clients may wait for their acceptance: thousands come at once.
const BACKLOG: i32 = 4096;
/// How long clients may take to end after the load has ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// Does once what makes a process keep something for ever: a thread, a child, a signal.
pub(crate) async fn warm_up() -> Result<(), Box<dyn Error>> {
    to_thread(|| {}).await?;
    let _usr1 = signal(libc::SIGUSR1)?;
    let no_arguments: [&str; 0] = [];
    callsoon::create_subprocess_exec("true", no_arguments)
        .await?
        .wait()
        .await?;
    callsoon::yield_now().await;
    Ok(())
}

/// Two servers by streams and two by protocols, each on an address of its own.
async fn serve(served: &Rc<Served>) -> std::io::Result<Vec<Server>> {
    let mut servers = Vec::new();
    for number in 1..=4 {
        let address = SocketAddr::from(([127, 0, 1, number], 0));
        let served = Rc::clone(served);
        servers.push(if number % 2 == 1 {
            let client = async move |reader, writer| converse(&served, reader, writer).await;
            let server = start_server(client, address);
            server.options(|options| options.backlog(BACKLOG)).await?
        } else {
            let client = move || Client::new(Rc::clone(&served));
            let server = get_running_loop().create_server(client, address);
            server.backlog(BACKLOG).await?
        });
    }
    Ok(servers)
}

fn put_posts(posted: &Posted, figures: &mut Figures) {
    // What has run is read first: it must not exceed what was sent.
    let run = posted.run.load(Ordering::Acquire);
    figures.put("posts_run", run as f64);
    figures.put("posts_sent", posted.sent.load(Ordering::Acquire) as f64);
    figures.put("posts_failed", posted.failed.load(Ordering::Acquire) as f64);
}

/// Prints a line of figures a second.
async fn report(served: Rc<Served>, watch: Rc<Watch>, stopping: Rc<Event>) {
    while !pause(Duration::from_secs(1), &stopping).await {
        let mut figures = Figures::default();
        served.counts.put_into(&mut figures);
        watch.put_progress(&mut figures);
        println!("figures {}", figures.line());
    }
}

/// Serves until the standard input says that it is enough.
pub(crate) async fn server(fault: Option<Fault>) -> Result<(), Box<dyn Error>> {
    let mut commands = open_read_pipe(stdin()?).await?;
    warm_up().await?;
    let watch = Rc::new(Watch::new());
    let served = Rc::new(Served::new(fault));
    let servers = serve(&served).await?;
    // Before the load knows that the process is ready, since the signal would end it.
    let arrivals = signal(libc::SIGUSR1)?;
    let addresses: Option<Vec<String>> = servers
        .iter()
        .map(|server| Some(server.local_addr()?.to_string()))
        .collect();
    println!("ready {}", addresses.ok_or("no address")?.join(" "));

    let stopping = Rc::new(Event::new());
    let posters = Posters::start(&get_running_loop().remote());
    let signals = create_task(signals(Rc::clone(&served), arrivals));
    let tasks = [
        create_task(children(Rc::clone(&served), Rc::clone(&stopping))),
        create_task(Rc::clone(&watch).observe(Rc::clone(&stopping))),
        create_task(Rc::clone(&watch).time(Rc::clone(&stopping))),
        create_task(report(
            Rc::clone(&served),
            Rc::clone(&watch),
            Rc::clone(&stopping),
        )),
    ];
    if fault == Some(Fault::Task) {
        create_task(std::future::pending::<()>()).detach();
    }
    loop {
        match commands
            .next_line()
            .await?
            .as_deref()
            .map(<[u8]>::trim_ascii)
        {
            Some(b"begin") => watch.begin(),
            Some(b"end") => watch.end(),
            Some(b"stop") => break,
            Some(other) => {
                return Err(format!("unknown command {}", String::from_utf8_lossy(other)).into());
            }
            None => return Err("the load has ended before it said so".into()),
        }
    }

    let mut clients_left = 0;
    for server in &servers {
        clients_left += server.shutdown(PATIENCE).await;
    }
    drop(servers);
    stopping.set();
    for task in tasks {
        task.await?;
    }
    let posted = posters.stop().await;
    signals.cancel();
    _ = signals.await;
    // The last callbacks of what has closed run.
    sleep(Duration::from_millis(50)).await;

    let mut figures = Figures::default();
    served.counts.put_into(&mut figures);
    put_posts(&posted, &mut figures);
    figures.put("clients_left", clients_left as f64);
    watch.put_summary(&mut figures);
    println!("summary {}", figures.line());
    Ok(())
}
