//! The counters and histograms of a loop as Prometheus text, served for one request to itself.
//!
//! ```text
//! loop_task_steps_total 12
//! loop_step_seconds_bucket{le="0.001"} 11
//! loop_step_seconds_bucket{le="+Inf"} 12
//! ...
//! ```

use std::time::Duration;

use callsoon::stream::{StreamReader, StreamWriter};
use callsoon::{CallKind, EventLoop, Histogram, get_running_loop};

#[path = "common/command_line.rs"]
mod command_line;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn histogram(name: &str, times: &Histogram) -> String {
    let mut text = format!("# TYPE loop_{name}_seconds histogram\n");
    for end in [0.000_01, 0.000_1, 0.001, 0.01] {
        let within = times.count_within(Duration::from_secs_f64(end));
        text += &format!("loop_{name}_seconds_bucket{{le=\"{end}\"}} {within}\n");
    }
    let (count, sum) = (times.count(), times.sum().as_secs_f64());
    text += &format!("loop_{name}_seconds_bucket{{le=\"+Inf\"}} {count}\n");
    text + &format!("loop_{name}_seconds_sum {sum}\nloop_{name}_seconds_count {count}\n")
}

async fn serve(mut reader: StreamReader, writer: StreamWriter) -> Result<(), Failure> {
    reader.readuntil(b"\r\n\r\n").await?;
    let event_loop = get_running_loop();
    let latencies = event_loop.latencies().ok_or("metrics are off")?;
    let steps = event_loop.metrics().task_steps;
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n");
    let total = format!("# TYPE loop_task_steps_total counter\nloop_task_steps_total {steps}\n");
    writer.write(total.as_bytes());
    writer.write(histogram("step", latencies.run_time(CallKind::Step)).as_bytes());
    writer.write(histogram("poll", latencies.polls()).as_bytes());
    writer.drain().await?;
    Ok(())
}

async fn scrape() -> Result<(), Failure> {
    let server = callsoon::start_server(serve, ("127.0.0.1", 0)).await?;
    callsoon::create_task(async { std::thread::sleep(Duration::from_millis(2)) }).await?;
    let address = server.local_addr().ok_or("no address")?;
    let (mut reader, writer) = callsoon::open_connection(address).await?;
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n");
    print!("{}", String::from_utf8(reader.read_to_end().await?)?);
    server.close();
    Ok(())
}

fn main() -> Result<(), Failure> {
    command_line::arguments!("");
    let event_loop = EventLoop::builder().metrics(true).build()?;
    event_loop.run_until_complete(scrape())?
}
