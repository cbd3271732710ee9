//! Servers that are bound before they listen, whose path another process may take meanwhile.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};

use callsoon::get_running_loop;
use callsoon::net::UnixListener;
use callsoon::transport::{Protocol, ServeError, Server, Transport};

use crate::support::{at_a_new_path, settling, until};

struct Echo;

impl Protocol for Echo {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// A path at which nothing is left behind.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let (path, ()) = at_a_new_path("taken", |path| std::fs::create_dir(path));
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn bound(path: &Path, cleanup: bool) -> Server {
    let server = get_running_loop().create_unix_server(|| Echo, path);
    let server = server.start_serving(false).cleanup_socket(cleanup);
    server.await.unwrap()
}

#[track_caller]
fn refused(server: &Server) -> ErrorKind {
    match server.start_serving().unwrap_err() {
        ServeError::Io(error) => error.kind(),
        other => panic!("{other}"),
    }
}

async fn is_answered(path: &Path) -> bool {
    let Ok(mut client) = StdStream::connect(path) else {
        return false;
    };
    client.set_nonblocking(true).unwrap();
    client.write_all(b"?").unwrap();
    until(|| (&client).read(&mut [0; 1]).is_ok()).await;
    true
}

#[test]
fn a_server_whose_path_another_has_taken_does_not_say_that_it_serves() {
    settling(async |_, _| {
        for cleanup in [true, false] {
            let place = Place::new();
            let path = place.path();
            let server = bound(&path, cleanup).await;
            // It refuses every client, as the socket of a process that has ended does.
            let event_loop = get_running_loop();
            let other = event_loop.create_unix_server(|| Echo, &path).await.unwrap();
            assert_eq!(refused(&server), ErrorKind::AddrInUse);
            assert!(!server.is_serving());
            assert!(matches!(server.start_serving(), Err(ServeError::Closed)));
            drop(server);
            // The other one has lost nothing by that.
            assert!(is_answered(&path).await);
            other.close();
            other.wait_closed().await;
            assert!(!path.exists());
        }
    });
}

#[test]
fn a_server_whose_file_is_gone_does_not_say_that_it_serves() {
    settling(async |_, _| {
        let place = Place::new();
        let path = place.path();
        let server = bound(&path, true).await;
        std::fs::remove_file(&path).unwrap();
        assert_eq!(refused(&server), ErrorKind::NotFound);
        assert!(!server.is_serving());
    });
}

#[test]
fn a_server_that_is_still_at_its_path_starts_serving_later() {
    settling(async |_, _| {
        for cleanup in [true, false] {
            let place = Place::new();
            let path = place.path();
            let server = bound(&path, cleanup).await;
            assert!(StdStream::connect(&path).is_err());
            server.start_serving().unwrap();
            assert!(is_answered(&path).await);
            // Now it answers, and its path is in use.
            let error = UnixListener::bind(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            server.close();
            server.wait_closed().await;
            assert_eq!(path.exists(), !cleanup);
        }
    });
}

#[test]
fn an_abstract_name_is_not_taken_from_a_server_that_does_not_listen_yet() {
    settling(async |_, _| {
        let name = format!("\0callsoon-taken-{}", std::process::id());
        let server = bound(Path::new(&name), true).await;
        let error = UnixListener::bind(&name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        server.start_serving().unwrap();
        server.close();
        server.wait_closed().await;
    });
}
