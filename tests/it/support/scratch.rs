//! Files for tests that send files.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes a file or a socket at a free path, and returns it with the path. What an aborted process of the same number
/// has left, or one of another container, is passed over.
pub(crate) fn at_a_new_path<T>(name: &str, make: impl Fn(&Path) -> io::Result<T>) -> (PathBuf, T) {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    loop {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let file = format!("callsoon-{name}-{}-{serial}", std::process::id());
        let path = std::env::temp_dir().join(file);
        match make(&path) {
            Ok(made) => return (path, made),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::AlreadyExists),
        }
    }
}

/// A file that is removed with the test.
pub(crate) struct Scratch {
    path: PathBuf,
    pub(crate) file: File,
}

impl Scratch {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut options = File::options();
        let options = options.read(true).write(true).create_new(true);
        let (path, mut file) = at_a_new_path("test", |path| options.open(path));
        file.write_all(bytes).unwrap();
        Self { path, file }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub(crate) fn position(&self) -> u64 {
        (&self.file).stream_position().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
