//! What the clients have measured, in two lines.

use std::time::Duration;

use crate::clients::SECONDS;

/// Prints the rate, and the latency at three percentiles.
pub(crate) fn print(mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let rate = latencies.len() / SECONDS as usize;
    println!("{rate} messages/s, every byte checked");

    let percentile = |percent: usize| {
        let place = (latencies.len() - 1) * percent / 100;
        latencies[place].as_micros()
    };
    println!(
        "latency in µs: p50 {}, p99 {}, max {}",
        percentile(50),
        percentile(99),
        percentile(100)
    );
}
