//! callsoon's server by callbacks: one `Protocol` for all connections, no task.

use callsoon::transport::{Protocol, Transport};

use super::Work;
use crate::support::rounds::Failure;

struct Echo;

impl Protocol for Echo {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

struct Sink;

impl Protocol for Sink {}

pub(crate) fn serve(work: Work) -> Result<(), Failure> {
    callsoon::run(async {
        let event_loop = callsoon::get_running_loop();
        let server = match work {
            Work::Echo | Work::Lines => event_loop.create_server(|| Echo, super::ANYWHERE).await?,
            Work::Sink => event_loop.create_server(|| Sink, super::ANYWHERE).await?,
        };
        super::announce(server.local_addr().ok_or("no address")?);
        Ok(server.serve_forever().await?)
    })?
}
