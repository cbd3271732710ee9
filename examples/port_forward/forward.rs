//! The protocol of a new client: it connects to the target, and then joins the two connections.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use callsoon::transport::{Protocol, Transport};

use crate::side::Side;

pub(crate) struct Forward {
    target: SocketAddr,
}

impl Forward {
    pub(crate) fn new(target: SocketAddr) -> Self {
        Self { target }
    }
}

impl Protocol for Forward {
    fn connection_made(&self, client: &Transport) {
        // Nothing is read from the client before the target is connected.
        client.pause_reading();
        callsoon::create_task(join(client.clone(), self.target));
    }
}

async fn join(client: Transport, target: SocketAddr) {
    let half_closed = Rc::new(Cell::new(false));
    let server_side = Side::new(&client, &half_closed);
    let event_loop = callsoon::get_running_loop();
    match event_loop.create_connection(|| server_side, target).await {
        Ok((server, _)) => {
            let client_side = Side::new(&server, &half_closed);
            client.set_protocol(Rc::new(client_side));
            client.resume_reading();
        }
        Err(error) => {
            println!("the target cannot be reached: {error}");
            client.close();
        }
    }
}
