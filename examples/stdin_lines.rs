//! Standard input by lines, while a task goes on beside it: from a terminal, a pipe or a file.
//!
//! ```text
//! $ (echo one; sleep 1; echo two) | cargo run --example stdin_lines
//! 1: one
//! 2: two
//! the input has ended after 2 lines; meanwhile the loop has ticked 9 times
//! $ cargo run --example stdin_lines < Cargo.toml
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::stream::open_read_pipe;
use callsoon::{create_task, sleep, transport};

#[path = "common/command_line.rs"]
mod command_line;

async fn tick(ticks: Rc<Cell<u32>>) {
    loop {
        sleep(Duration::from_millis(100)).await;
        ticks.set(ticks.get() + 1);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let ticks = Rc::new(Cell::new(0));
        let ticker = create_task(tick(Rc::clone(&ticks)));

        // A line is waited for while others run. A file is always ready: it is read at once.
        let mut reader = open_read_pipe(transport::stdin()?).await?;
        let (mut lines, mut count) = (reader.lines(), 0);
        while let Some(line) = lines.next_line().await? {
            count += 1;
            println!("{count}: {}", String::from_utf8_lossy(&line).trim_end());
        }

        ticker.cancel();
        let ticks = ticks.get();
        println!(
            "the input has ended after {count} lines; meanwhile the loop has ticked {ticks} times"
        );
        Ok(())
    })?
}
