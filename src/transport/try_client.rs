//! Connections whose factory may fail: the counterparts of `try_create_server` for the side that connects.

use std::error::Error;
use std::future::{Future, IntoFuture};
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;

use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::connect_to::{AcceptedSocket, ConnectTo};
use crate::transport::client::{Connected, CreateConnection};
use crate::transport::pipe::ConnectPipe;
use crate::transport::protocol::Protocol;
use crate::transport::try_factory::TryFactory;

impl<F> TryFactory<F> {
    fn connect_pipe(
        self,
        event_loop: &LoopHandle,
        pipe: OwnedFd,
        direction: Direction,
        location: &'static Location<'static>,
    ) -> ConnectPipe<Self> {
        ConnectPipe::new(event_loop.clone(), self, pipe, direction, location)
    }
}

impl LoopHandle {
    /// Connects as [`create_connection`](Self::create_connection) does. The factory may fail: then the connection is closed,
    /// and awaiting gives the error.
    ///
    /// # Errors
    /// Those of [`create_connection`](Self::create_connection), and that of the factory. An `io::Error` comes as it is;
    /// another error is inside one of kind `Other`.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let error = callsoon::run(async move {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let factory = || Err::<Idle, _>("no licence");
    ///     event_loop.try_create_connection(factory, address).await.map(drop).unwrap_err()
    /// }).unwrap();
    /// assert_eq!(error.to_string(), "no licence");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn try_create_connection<F, P, E>(
        &self,
        factory: F,
        to: impl Into<ConnectTo>,
    ) -> CreateConnection<TryFactory<F>>
    where
        F: FnOnce() -> Result<P, E> + 'static,
        P: Protocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let location = Location::caller();
        CreateConnection::new(self.clone(), TryFactory(factory), to.into(), location)
    }

    /// Does the same as [`connect_accepted_socket`](Self::connect_accepted_socket) with a factory that may fail.
    ///
    /// # Errors
    /// Those of [`connect_accepted_socket`](Self::connect_accepted_socket), and that of the factory.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// let factory = || Ok::<_, std::io::Error>(Idle);
    /// let (transport, _) = event_loop.try_connect_accepted_socket(factory, here).await?;
    /// transport.close();
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_connect_accepted_socket<F, P, E>(
        &self,
        factory: F,
        socket: impl Into<AcceptedSocket>,
    ) -> CreateConnection<TryFactory<F>>
    where
        F: FnOnce() -> Result<P, E> + 'static,
        P: Protocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.try_create_connection(factory, socket.into())
    }

    /// Does the same as [`create_unix_connection`](Self::create_unix_connection) with a factory that may fail.
    ///
    /// # Errors
    /// Those of [`create_unix_connection`](Self::create_unix_connection), and that of the factory.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let factory = || -> std::io::Result<Idle> { unreachable!("nobody listens") };
    /// let refused = event_loop.try_create_unix_connection(factory, "/nobody/is/here").await;
    /// assert_eq!(refused.map(drop).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_create_unix_connection<F, P, E>(
        &self,
        factory: F,
        path: impl AsRef<Path>,
    ) -> CreateConnection<TryFactory<F>>
    where
        F: FnOnce() -> Result<P, E> + 'static,
        P: Protocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let path = path.as_ref().to_owned();
        self.try_create_connection(factory, ConnectTo::path(path))
    }

    /// Does the same as [`connect_read_pipe`](Self::connect_read_pipe) with a factory that may fail.
    ///
    /// # Errors
    /// Those of [`connect_read_pipe`](Self::connect_read_pipe), and that of the factory.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let pipe = std::fs::File::open("/dev/null")?;
    /// let factory = || Ok::<_, std::io::Error>(Idle);
    /// let (transport, _) = event_loop.try_connect_read_pipe(factory, pipe).await?;
    /// # drop(transport);
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_connect_read_pipe<F, P, E>(
        &self,
        factory: F,
        pipe: impl Into<OwnedFd>,
    ) -> ConnectPipe<TryFactory<F>>
    where
        F: FnOnce() -> Result<P, E> + 'static,
        P: Protocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        TryFactory(factory).connect_pipe(self, pipe.into(), Direction::Read, Location::caller())
    }

    /// Does the same as [`connect_write_pipe`](Self::connect_write_pipe) with a factory that may fail.
    ///
    /// # Errors
    /// Those of [`connect_write_pipe`](Self::connect_write_pipe), and that of the factory.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let pipe = std::fs::File::options().write(true).open("/dev/null")?;
    /// let factory = || Err::<Idle, _>("no licence");
    /// let failed = event_loop.try_connect_write_pipe(factory, pipe).await.map(drop);
    /// assert_eq!(failed.unwrap_err().to_string(), "no licence");
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_connect_write_pipe<F, P, E>(
        &self,
        factory: F,
        pipe: impl Into<OwnedFd>,
    ) -> ConnectPipe<TryFactory<F>>
    where
        F: FnOnce() -> Result<P, E> + 'static,
        P: Protocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        TryFactory(factory).connect_pipe(self, pipe.into(), Direction::Write, Location::caller())
    }
}

impl<F, P, E> IntoFuture for CreateConnection<TryFactory<F>>
where
    F: FnOnce() -> Result<P, E> + 'static,
    P: Protocol,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Connected<P>;
    type IntoFuture = Pin<Box<dyn Future<Output = Connected<P>>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let connected = self
                .connect(|_, factory| factory.make().map(Rc::new))
                .await?;
            connected.0.begin_reading_soon();
            Ok(connected)
        })
    }
}

impl<F, P, E> IntoFuture for ConnectPipe<TryFactory<F>>
where
    F: FnOnce() -> Result<P, E> + 'static,
    P: Protocol,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Connected<P>;
    type IntoFuture = <CreateConnection<TryFactory<F>> as IntoFuture>::IntoFuture;

    fn into_future(self) -> Self::IntoFuture {
        self.0.into_future()
    }
}
