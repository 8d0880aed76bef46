//! A network namespace with a thread of its own in it. A socket belongs to the namespace of the
//! thread that makes it, and a thread that entered one must not come back (rootless it cannot): so
//! this thread makes all sockets of its namespace.

use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use linux::descriptors::is_reserved;
use linux::namespace;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Clones are the same namespace; it ends with the last one (and the last process in it).
#[derive(Clone)]
pub struct Namespace {
    fd: Arc<OwnedFd>,
    jobs: mpsc::Sender<Job>,
}

impl Namespace {
    /// Makes a network namespace and starts its thread.
    ///
    /// # Errors
    /// As [`namespace::new_network`]; or the thread cannot be started.
    pub fn new() -> io::Result<Namespace> {
        Namespace::enter(Arc::new(namespace::new_network()?))
    }

    /// Starts a thread in an existing namespace, e.g. a pod's, to make sockets there.
    ///
    /// # Errors
    /// The namespace cannot be entered ([`namespace::in_network`]), or the thread cannot be
    /// started.
    pub fn enter(fd: Arc<OwnedFd>) -> io::Result<Namespace> {
        let (jobs, work) = mpsc::channel::<Job>();
        let inside = fd.clone();
        let (entered, outcome) = mpsc::channel();
        std::thread::Builder::new().name("netns".into()).spawn(move || {
            let ended = namespace::in_network(inside.as_fd(), || {
                let _ = entered.send(Ok(()));
                work.into_iter().for_each(|job| job()); // until the last handle is gone
            });
            if let Err(e) = ended {
                let _ = entered.send(Err(e));
            }
        })?;
        outcome.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))??;
        Ok(Namespace { fd, jobs })
    }

    /// The namespace of this process, for tests without root.
    #[cfg(test)]
    pub fn own() -> Namespace {
        let (jobs, work) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name("netns".into());
        thread.spawn(move || work.into_iter().for_each(|job| job())).expect("a thread");
        let fd = std::fs::File::open("/proc/self/ns/net").expect("a network namespace");
        Namespace { fd: Arc::new(fd.into()), jobs }
    }

    /// The descriptor of the namespace. A copy of it keeps the namespace, but not its thread.
    pub fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Runs short work in the namespace.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, outcome) = oneshot::channel();
        let job = Box::new(move || drop(done.send(work()))); // the caller may have gone
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.jobs.send(job).map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// Connects to an address.
    ///
    /// # Errors
    /// `EMFILE`: only descriptors of the reserve are left, which is not for connections. Pods have
    /// as many probes as they like.
    pub fn dial(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(async move {
            let make = move || if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            let socket = self.run(make).await?;
            if is_reserved(&socket) {
                return Err(io::Error::from_raw_os_error(nix::libc::EMFILE)); // closed here
            }
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }

    /// Makes a TCP listener with a backlog of 1024 connections.
    ///
    /// # Errors
    /// `EADDRINUSE`: another socket has the address. `EADDRNOTAVAIL`: the namespace does not have
    /// it.
    pub fn listen(&self, on: SocketAddr) -> BoxFuture<'_, io::Result<TcpListener>> {
        Box::pin(async move {
            let make = move || {
                let socket = if on.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.set_reuseaddr(true)?;
                socket.bind(on)?;
                Ok(socket)
            };
            self.run(make).await?.listen(1024)
        })
    }

    /// Makes a UDP socket.
    ///
    /// # Errors
    /// As [`Namespace::listen`].
    pub fn bind_udp(&self, on: SocketAddr) -> BoxFuture<'_, io::Result<UdpSocket>> {
        Box::pin(async move {
            let make = move || {
                let socket = std::net::UdpSocket::bind(on)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            };
            UdpSocket::from_std(self.run(make).await?)
        })
    }
}
