//! The server's side: everybody hears what anybody says.

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;

use async_tungstenite::accept_async;
use async_tungstenite::tungstenite::Message;
use callsoon::net::{TcpListener, TcpStream};
use callsoon::{Queue, create_task};
use futures_util::StreamExt;

/// How many messages a member may be behind. More are dropped for that member.
const MOST_BEHIND: usize = 100;

/// Everybody's unsent messages.
#[derive(Default)]
pub(crate) struct Room {
    members: RefCell<Vec<Rc<Queue<String>>>>,
}

impl Room {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.borrow().is_empty()
    }

    fn say(&self, text: &str) {
        for member in self.members.borrow().iter() {
            let _ = member.put_nowait(text.to_owned());
        }
    }
}

/// Serves one member until it leaves, or sends something else than text.
async fn member(stream: TcpStream, room: Rc<Room>) -> Result<(), Box<dyn Error>> {
    let (mut sink, mut source) = accept_async(stream).await?.split();
    let unsent = Rc::new(Queue::new(MOST_BEHIND));
    room.members.borrow_mut().push(Rc::clone(&unsent));
    let queue = Rc::clone(&unsent);
    let writer = create_task(async move {
        while let Ok(text) = queue.get().await {
            sink.send(Message::text(text)).await?;
        }
        Ok::<(), async_tungstenite::tungstenite::Error>(())
    });
    while let Some(Ok(Message::Text(text))) = source.next().await {
        room.say(&text);
    }
    let stays = |member: &Rc<_>| !Rc::ptr_eq(member, &unsent);
    room.members.borrow_mut().retain(stays);
    writer.cancel();
    Ok(())
}

pub(crate) async fn serve(listener: TcpListener, room: Rc<Room>) {
    while let Ok((stream, _)) = listener.accept().await {
        let room = Rc::clone(&room);
        create_task(member(stream, room)).report_errors().detach();
    }
}
