//! `nc`: bytes between a socket and the standard streams.

use super::http::{Deadline, connect};
use super::resolve;
use linux::trap;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, SockaddrStorage, send, shutdown, sockopt,
};
use std::ffi::OsString;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

const USAGE: &str = "Usage: nc [-tuvz] [-w SEC] [-s ADDR] [-p PORT] HOST PORT\n       nc -l [-kuv] [-w SEC] [[-s] ADDR] [-p] PORT [-e PROG ARGS]";

#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    listen: bool,
    keep: bool,
    udp: bool,
    verbose: bool,
    zero: bool,
    /// `-t`: what a telnet server asks for is declined.
    telnet: bool,
    wait: Option<Duration>,
    port: Option<u16>,
    /// `-s`: the address of this side.
    address: Option<String>,
    words: Vec<String>,
    program: Vec<String>,
}

fn parse(args: &[String]) -> Result<Call, String> {
    let mut call = Call::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|l| !l.is_empty()) else {
            call.words.push(word.clone());
            continue;
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            match letter {
                'l' => call.listen = true,
                'k' => call.keep = true,
                'u' => call.udp = true,
                'v' => call.verbose = true,
                'z' => call.zero = true,
                't' => call.telnet = true,
                'n' | '4' => {}
                'e' => call.program = words.by_ref().cloned().collect(),
                'p' | 's' | 'w' => {
                    let rest: String = letters.by_ref().collect();
                    let value =
                        if rest.is_empty() { words.next().cloned().unwrap_or_default() } else { rest };
                    let bad = || format!("invalid number '{value}'");
                    match letter {
                        'p' => call.port = Some(value.parse().map_err(|_| bad())?),
                        's' => call.address = Some(value),
                        _ => call.wait = Some(Duration::from_secs(value.parse().map_err(|_| bad())?)),
                    }
                }
                other => return Err(format!("unrecognized option: {other}")),
            }
        }
    }
    Ok(call)
}

pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let args = crate::arguments_as_text(args);
    let result =
        parse(&args).and_then(|call| if call.listen { listen(&call) } else { connect_and_converse(&call) });
    match result {
        Ok(()) => 0,
        Err(what) => {
            super::write_stderr(&if what.is_empty() {
                format!("{USAGE}\n")
            } else {
                format!("nc: {what}\n")
            });
            1
        }
    }
}

/// Returns the reason of an error in the C library's words.
fn reason_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "Connection timed out".to_string(),
        _ => super::reason(error),
    }
}

/// Talks to the first port of the range that is open. With `-z` it tries all ports and succeeds if
/// one of them is open, as OpenBSD's nc does; `-v` reports the closed ones.
fn connect_and_converse(call: &Call) -> Result<(), String> {
    let [host, port] = &call.words[..] else { return Err(String::new()) };
    let (first, last) = port.split_once('-').unwrap_or((port, port));
    let bad = |_| format!("bad port '{port}'");
    let (first, last): (u16, u16) = (first.parse().map_err(bad)?, last.parse().map_err(bad)?);
    let addresses = resolve::addresses(host, None).map_err(|_| format!("bad address '{host}'"))?;
    let report = |failure: Option<String>| {
        if let Some(failure) = failure.filter(|_| call.verbose) {
            super::write_stderr(&format!("nc: {failure}\n"));
        }
    };
    let mut is_one_open = false;
    let mut failure: Option<String> = None;
    for port in first.min(last)..=first.max(last) {
        report(failure.take());
        match converse_at_port(call, host, &addresses, port) {
            Ok(()) if !call.zero => return Ok(()),
            Ok(()) => is_one_open = true,
            Err(e) => failure = Some(e),
        }
    }
    if is_one_open {
        report(failure);
        return Ok(());
    }
    failure.map_or(Ok(()), Err)
}

fn converse_at_port(call: &Call, host: &str, addresses: &[IpAddr], port: u16) -> Result<(), String> {
    let ip = addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let place = format!("{host} ({ip}:{port})");
    let note = |what: &str| {
        if call.verbose {
            super::write_stderr(&format!("{place} {what}\n"));
        }
    };
    if call.udp {
        let own = own_side(call, ip)?;
        let socket = UdpSocket::bind(own).and_then(|socket| socket.connect((ip, port)).map(|()| socket));
        let socket = socket.map_err(|e| format!("{place}: {}", reason_of(&e)))?;
        note("open");
        return if call.zero {
            Ok(())
        } else {
            copy_both_ways(socket.into(), call.wait, false).map_err(|e| reason_of(&e))
        };
    }
    let deadline = Deadline::new(call.wait);
    let stream = match (call.port, &call.address) {
        (None, None) => connect(addresses, port, &deadline, |_| {}),
        _ => connect_from(own_side(call, ip)?, SocketAddr::new(ip, port), &deadline),
    };
    let stream = stream.map_err(|e| format!("{place}: {}", reason_of(&e)))?;
    note("open");
    if call.zero {
        return Ok(());
    }
    if call.program.is_empty() { converse(stream, call) } else { serve(stream, &call.program) }
}

/// Returns the address and port of this side that `-s` and `-p` name, to talk to `peer` with; the
/// kernel chooses what they do not name.
fn own_side(call: &Call, peer: IpAddr) -> Result<SocketAddr, String> {
    let any: IpAddr =
        if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let ip = match &call.address {
        None => any,
        Some(name) => {
            let found = resolve::addresses(name, None).unwrap_or_default().into_iter();
            let mut fitting = found.filter(|ip| ip.is_ipv4() == peer.is_ipv4());
            fitting.next().ok_or_else(|| format!("bad address '{name}'"))?
        }
    };
    Ok(SocketAddr::new(ip, call.port.unwrap_or(0)))
}

/// Connects from an address and port of its own. The port may have been used a moment ago.
///
/// # Errors
/// `TimedOut` if the other side does not answer by the deadline, or what the kernel says.
fn connect_from(own: SocketAddr, peer: SocketAddr, deadline: &Deadline) -> io::Result<TcpStream> {
    let family = if peer.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(family, SockType::Stream, flags, None)?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(own))?;
    match socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(peer)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(e) => return Err(e.into()),
    }
    loop {
        let left = deadline.left()?.and_then(|left| PollTimeout::try_from(left).ok());
        let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut polled, left.unwrap_or(PollTimeout::NONE)) {
            Ok(0) | Err(Errno::EINTR) => {} // the deadline says whether it goes on
            Err(e) => return Err(e.into()),
            Ok(_) => break,
        }
    }
    match socket::getsockopt(&socket, sockopt::SocketError)? {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Returns where `-l` listens: on all addresses only if none was named.
fn own_address(call: &Call) -> Result<SocketAddr, String> {
    let number = |port: &String| port.parse::<u16>().map_err(|_| format!("bad port '{port}'"));
    let (address, port) = match (&call.words[..], call.port, &call.address) {
        ([], Some(port), address) => (address.as_ref(), port),
        ([port], None, address) => (address.as_ref(), number(port)?),
        ([address], Some(port), None) => (Some(address), port),
        ([address, port], None, None) => (Some(address), number(port)?),
        _ => return Err(String::new()),
    };
    let ip = match address {
        None => Ipv4Addr::UNSPECIFIED.into(),
        Some(name) => {
            let found = resolve::addresses(name, None).unwrap_or_default();
            *found.first().ok_or_else(|| format!("bad address '{name}'"))?
        }
    };
    Ok(SocketAddr::new(ip, port))
}

/// Waits for the first bytes or the next client, but no longer than `-w` says.
fn await_peer(socket: BorrowedFd<'_>, wait: Option<Duration>) -> Result<(), String> {
    let timeout = wait.and_then(|w| PollTimeout::try_from(w).ok()).unwrap_or(PollTimeout::NONE);
    loop {
        match poll(&mut [PollFd::new(socket, PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err("timed out".into()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.desc().into()),
            Ok(_) => return Ok(()),
        }
    }
}

fn listen(call: &Call) -> Result<(), String> {
    let address = own_address(call)?;
    if call.udp {
        let socket = UdpSocket::bind(address).map_err(|e| format!("bind: {}", reason_of(&e)))?;
        await_peer(socket.as_fd(), call.wait)?;
        // The first sender is the one we talk to.
        let mut one = [0; 1];
        let (_, peer) = socket.peek_from(&mut one).map_err(|e| reason_of(&e))?;
        socket.connect(peer).map_err(|e| reason_of(&e))?;
        return copy_both_ways(socket.into(), call.wait, false).map_err(|e| reason_of(&e));
    }
    let listener = TcpListener::bind(address).map_err(|e| format!("bind: {}", reason_of(&e)))?;
    if call.verbose {
        super::write_stderr(&format!("listening on {address} ...\n"));
    }
    loop {
        await_peer(listener.as_fd(), call.wait)?;
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if keeps_listening_after(call, &error) => {
                super::write_stderr(&format!("nc: accept: {}\n", reason_of(&error)));
                continue;
            }
            Err(error) => return Err(format!("accept: {}", reason_of(&error))),
        };
        if call.verbose {
            super::write_stderr(&format!("connect to {address} from {peer}\n"));
        }
        let served =
            if call.program.is_empty() { converse(stream, call) } else { serve(stream, &call.program) };
        if !call.keep {
            return served;
        }
    }
}

/// Returns true if a listener goes on after this error of accept(2): with `-k`, if one client is
/// gone or its network has failed. Where the process has no room for a connection, the next try
/// would fail the same way at once.
fn keeps_listening_after(call: &Call, error: &io::Error) -> bool {
    let of_client = [
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::EPERM, // a rule of the firewall forbids the connection
        libc::ENETDOWN,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
        libc::ETIMEDOUT,
        libc::EAGAIN,
    ];
    call.keep && error.raw_os_error().is_some_and(|code| of_client.contains(&code))
}

/// Gives the connection to a program.
fn serve(stream: TcpStream, program: &[String]) -> Result<(), String> {
    let Some((name, args)) = program.split_first() else { return Err(String::new()) };
    let output = stream.try_clone().map_err(|e| reason_of(&e))?;
    let status = Command::new(name)
        .args(args)
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::from(OwnedFd::from(output)))
        .status();
    status.map(drop).map_err(|e| format!("can't execute '{name}': {}", reason_of(&e)))
}

fn converse(stream: TcpStream, call: &Call) -> Result<(), String> {
    match copy_both_ways(stream.into(), call.wait, call.telnet) {
        Err(e) if is_of_gone_peer(&e) => Ok(()),
        other => other.map_err(|e| reason_of(&e)),
    }
}

/// Returns true for the errors of a connection that the other side has closed, perhaps without
/// reading all that it was sent. That is an end as any other, as in busybox and OpenBSD's nc.
fn is_of_gone_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Bytes that wait for the other side, at most, before its further options get no answer.
const DECLINED_MAX: usize = 64 * 1024;

/// Copies both ways until the other side ends, or nothing came for `wait`. The end of standard
/// input is passed on. With `telnet`, options that the other side offers or asks for are declined.
fn copy_both_ways(socket: OwnedFd, wait: Option<Duration>, telnet: bool) -> io::Result<()> {
    copy_between(io::stdin().as_fd(), socket, wait, telnet, print)
}

/// How long input is waited for once the other side has ended: it may only have closed its sending
/// half, and still take what `echo hello | nc` is about to send.
const GRACE: Duration = Duration::from_millis(100);

/// Ends when the other side does, but not before it has what the input has ready. A listener
/// without input (`nc -l -p 7000 >file </dev/null`) ends its half of the connection at once:
///
/// ```text
/// listener: its input ends, so it sends no more
/// client:   reads the end, sends "hello", and only then ends
/// ```
///
/// Nothing is read from `input` before the socket has taken what was read last, and the socket is
/// read meanwhile: two programs that only write would wait for each other for ever.
fn copy_between(
    input: BorrowedFd<'_>,
    socket: OwnedFd,
    wait: Option<Duration>,
    telnet: bool,
    mut print: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let datagrams =
        socket::getsockopt(&socket, sockopt::SockType).is_ok_and(|kind| kind == SockType::Datagram);
    let mut socket = std::fs::File::from(socket);
    let mut input_open = true;
    let mut pending: Vec<u8> = Vec::new();
    let timeout = wait.and_then(|w| PollTimeout::try_from(w).ok()).unwrap_or(PollTimeout::NONE);
    let mut buffer = vec![0; 16 * 1024];
    let mut ended = false;
    let grace = PollTimeout::try_from(GRACE).unwrap_or(PollTimeout::ZERO);
    loop {
        if ended && pending.is_empty() && !input_open {
            return Ok(());
        }
        let timeout = if ended && pending.is_empty() { grace } else { timeout };
        let hearing = if ended { PollFlags::empty() } else { PollFlags::POLLIN };
        let writing = if pending.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let reading = if input_open && pending.is_empty() { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut polled = vec![PollFd::new(socket.as_fd(), hearing | writing)];
        if !reading.is_empty() {
            polled.push(PollFd::new(input, reading));
        }
        match poll(&mut polled, timeout) {
            Ok(0) => return Ok(()),
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(e.into()),
            Ok(_) => {}
        }
        let ready = polled[0].revents().unwrap_or(PollFlags::empty());
        let from_input = polled.get(1).is_some_and(|p| p.any().unwrap_or(true));
        drop(polled);
        if from_input {
            let count = nix::unistd::read(input, &mut buffer)?;
            pending.extend_from_slice(&buffer[..count]);
            if count == 0 {
                input_open = false;
                let _ = shutdown(socket.as_raw_fd(), Shutdown::Write); // the other side may be gone
            }
        }
        if ready.intersects(PollFlags::POLLOUT) {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(socket.as_raw_fd(), &pending, flags) {
                Ok(count) => drop(pending.drain(..count)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) if ended => return Ok(()), // it is gone altogether
                Err(e) => return Err(e.into()),
            }
        }
        if ready.intersects(!PollFlags::POLLOUT) {
            if ended {
                return Ok(());
            }
            match socket.read(&mut buffer)? {
                0 if !datagrams => ended = true,
                count => {
                    if telnet && pending.len() < DECLINED_MAX {
                        pending.extend(decline_telnet_options(&buffer[..count]));
                    }
                    print(&buffer[..count])?;
                }
            }
        }
    }
}

/// Writes to standard output. A reader that is gone ends the program, as it ends others: only the
/// other side of a connection may go and leave `nc -lk` alone.
fn print(bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(io::stdout(), rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EPIPE) => {
                trap::set(libc::SIGPIPE, trap::Action::Default)?; // the next write is the last
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Returns what RFC 854 answers to the options in `received`: WONT to each DO and DONT, DONT to
/// each WILL and WONT.
fn decline_telnet_options(received: &[u8]) -> Vec<u8> {
    const IAC: u8 = 255;
    let (will, wont, r#do, dont) = (251, 252, 253, 254);
    let mut answer = Vec::new();
    for three in received.windows(3).filter(|three| three[0] == IAC) {
        let verb = three[1];
        if verb == r#do || verb == dont {
            answer.extend([IAC, wont, three[2]]);
        } else if verb == will || verb == wont {
            answer.extend([IAC, dont, three[2]]);
        }
    }
    answer
}

#[cfg(test)]
mod tests;
