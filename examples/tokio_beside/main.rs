//! Tokio's ecosystem beside the loop: reqwest runs on a tokio runtime in a thread of its own, and tasks of the loop await
//! its requests. To drop such an await cancels the request.
//!
//! ```text
//! $ cargo run --example tokio_beside
//! http://127.0.0.1:34567/page/1: 6 bytes
//! http://127.0.0.1:34567/page/2: 6 bytes
//! /slow: timed out, and its connection has ended
//! ```

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use callsoon::stream::start_server;
use callsoon::sync::Event;
use callsoon::{gather, timeout};

mod beside;
#[path = "../common/command_line.rs"]
mod command_line;
mod own_pages;
mod there;

fn main() -> Result<(), Box<dyn Error>> {
    command_line::arguments!("");
    let beside = beside::Beside::start()?;
    callsoon::run(async {
        let gone = Rc::new(Event::new());
        let noting = Rc::clone(&gone);
        let serve = move |reader, writer| own_pages::answer(reader, writer, Rc::clone(&noting));
        let server = start_server(serve, ("127.0.0.1", 0)).await?;
        let address = server.local_addr().ok_or("no address")?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let get = |path: &str| {
            let (url, client) = (format!("http://{address}{path}"), client.clone());
            beside.spawn(async move {
                let text = client.get(&url).send().await?.text().await?;
                Ok::<_, reqwest::Error>(format!("{url}: {} bytes", text.len()))
            })
        };
        for answer in gather([get("/page/1"), get("/page/2")]).await? {
            println!("{}", answer??);
        }
        if let Err(late) = timeout(Duration::from_millis(200), get("/slow")).await {
            gone.wait().await;
            println!("/slow: {late}, and its connection has ended");
        }
        server.close();
        Ok(())
    })?
}
