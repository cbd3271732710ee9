//! The room: who is in it, and what is sent to whom.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use callsoon::stream::{StreamReader, StreamWriter};

#[derive(Default)]
pub(crate) struct Room {
    writers: RefCell<BTreeMap<String, StreamWriter>>,
}

impl Room {
    /// Serves one member, from the name to the end of the connection.
    pub(crate) async fn serve(
        &self,
        mut reader: StreamReader,
        writer: StreamWriter,
    ) -> io::Result<()> {
        let Some(name) = read_text(&mut reader).await? else {
            return Ok(());
        };
        self.send_to_others(&name, &format!("{name} joins"));
        self.writers.borrow_mut().insert(name.clone(), writer);
        while let Some(line) = read_text(&mut reader).await? {
            self.send_to_others(&name, &format!("{name}: {line}"));
        }
        self.writers.borrow_mut().remove(&name);
        self.send_to_others(&name, &format!("{name} leaves"));
        Ok(())
    }

    fn send_to_others(&self, from: &str, line: &str) {
        for (name, writer) in &*self.writers.borrow() {
            if name != from {
                writer.write(format!("{line}\n").as_bytes());
            }
        }
    }
}

/// Reads the next line, without its end; `None` at the end of the connection.
pub(crate) async fn read_text(reader: &mut StreamReader) -> io::Result<Option<String>> {
    let line = reader.next_line().await?;
    let text = line.map(|line| String::from_utf8_lossy(&line).trim_end().to_owned());
    Ok(text)
}
