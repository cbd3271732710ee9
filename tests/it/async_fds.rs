//! `AsyncFd`: tasks wait for descriptors that the user owns.

#![allow(unsafe_code)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;

use callsoon::{AsyncFd, create_task, yield_now};

use crate::support::{complete, counted_fds, in_a_loop, on_real_time};

#[test]
fn async_fd_waits_and_believes_until_it_would_block() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let (near, mut far) = StdStream::pair().unwrap();
            // A blocking object is switched: a read of nothing would else hold up the loop.
            let near = Rc::new(AsyncFd::new(near).unwrap());
            let reader = create_task({
                let near = Rc::clone(&near);
                async move {
                    let mut buffer = [0; 8];
                    near.read_with(|mut near| near.read(&mut buffer)).await
                }
            });
            yield_now().await;
            assert!(!reader.done());
            far.write_all(b"ab").unwrap();
            assert_eq!(reader.await.unwrap().unwrap(), 2);
            far.write_all(b"cd").unwrap();
            let mut ready = near.readable().await.unwrap();
            let mut byte = [0];
            let mut read = || ready.try_io(|mut near| near.read(&mut byte));
            assert_eq!((read().unwrap(), read().unwrap()), (1, 1));
            assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
            let mut next = crate::support::Waiting::begun(near.readable());
            far.write_all(b"e").unwrap();
            while !next.is_woken() {
                yield_now().await;
            }
            assert!(next.poll().unwrap().is_ok());
            drop(next);
            let inner = Rc::into_inner(near).unwrap().into_inner();
            inner.set_nonblocking(false).unwrap();
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn d6_async_fd_closes_its_descriptor_once_and_gives_it_back_open() {
    in_a_loop(async || {
        let before = counted_fds();
        let (near, _far) = StdStream::pair().unwrap();
        let owned = OwnedFd::from(near);
        let fd = AsyncFd::new(owned).unwrap();
        let number = fd.as_raw_fd();
        let owned = fd.into_inner();
        assert_eq!(owned.as_raw_fd(), number);
        let fd = AsyncFd::new_readable(owned).unwrap();
        assert_eq!(counted_fds(), before + 2);
        drop(fd);
        assert_eq!(counted_fds(), before + 1);
        // A file that the poller refuses is closed with the refusal.
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let error = AsyncFd::new(file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(counted_fds(), before + 1);
    });
}

#[test]
fn async_fd_serves_what_is_no_socket() {
    in_a_loop(async || {
        // SAFETY: the call takes no pointers, and its descriptor has no other owner.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let event = Rc::new(AsyncFd::new(std::fs::File::from(event)).unwrap());
        let waiter = create_task({
            let event = Rc::clone(&event);
            async move {
                let mut count = [0; 8];
                event
                    .read_with(|mut event| event.read(&mut count))
                    .await
                    .unwrap();
                u64::from_ne_bytes(count)
            }
        });
        yield_now().await;
        event.get_ref().write_all(&7_u64.to_ne_bytes()).unwrap();
        assert_eq!(waiter.await.unwrap(), 7);
    });
}
