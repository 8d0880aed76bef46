//! UDP sockets that keep their port while they take nothing.

use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// Undoes connect(2): the socket keeps the address and the port that it was bound to, and takes
/// datagrams of every sender again. A port that the kernel chose (bind to port 0) is given up.
///
/// # Errors
/// The kernel refuses.
pub fn disconnect(socket: impl AsFd) -> io::Result<()> {
    let none = nix::libc::sockaddr { sa_family: nix::libc::AF_UNSPEC as u16, sa_data: [0; 14] };
    let length = size_of::<nix::libc::sockaddr>() as nix::libc::socklen_t;
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and `none` is an initialized
    // address of this length.
    let done = unsafe { nix::libc::connect(socket.as_fd().as_raw_fd(), &raw const none, length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Throws away the datagrams that a socket has received and that were not read.
pub fn drain(socket: impl AsFd) {
    let mut buffer = [0; 1]; // the rest of a datagram goes with its first byte
    loop {
        match recv(socket.as_fd().as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            // A refusal that an earlier datagram met is read like one.
            Ok(_) | Err(nix::Error::ECONNREFUSED | nix::Error::EINTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn a_socket_that_is_connected_to_itself_refuses_and_keeps_its_port() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(free) = UdpSocket::bind(loopback) else { continue }; // a machine without IPv6
            let own = free.local_addr().unwrap();
            drop(free);
            let socket = UdpSocket::bind(own).unwrap();
            let client = UdpSocket::bind(loopback).unwrap();
            client.connect(own).unwrap();
            client.send(b"early").unwrap();
            socket.connect(own).unwrap();
            client.send(b"refused").unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let answer = client.recv(&mut [0; 8]).unwrap_err();
            assert_eq!(answer.kind(), io::ErrorKind::ConnectionRefused);
            assert!(UdpSocket::bind(own).is_err(), "the port is kept");
            drain(&socket);
            disconnect(&socket).unwrap();
            assert!(UdpSocket::bind(own).is_err(), "still");
            client.send(b"late").unwrap();
            let mut buffer = [0; 8];
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let (length, _) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"late", "what came before is not delivered");
        }
    }
}
