use super::*;

/// Ends the listening, though a process that another test is just making still has a copy of
/// the socket.
fn close(listener: TcpListener) {
    use nix::sys::socket::{Shutdown, shutdown};
    shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
}

#[test]
fn telnet_options_are_declined() {
    let received = [b'h', 255, 253, 1, 255, 251, 3, b'i'];
    assert_eq!(decline_telnet_options(&received), [255, 252, 1, 255, 254, 3]);
    assert!(decline_telnet_options(b"plain").is_empty());
}

#[test]
fn options_may_stand_together() {
    let words = |line: &str| line.split(' ').map(str::to_string).collect::<Vec<_>>();
    let call = parse(&words("-zvw2 web 80")).unwrap();
    assert!(call.zero && call.verbose && call.wait == Some(Duration::from_secs(2)));
    assert_eq!(call.words, ["web", "80"]);
    let call = parse(&words("-lk -p 8080 -e echo -n hi")).unwrap();
    assert_eq!((call.port, &call.program[..]), (Some(8080), &["echo".into(), "-n".into(), "hi".into()][..]));
}

#[test]
fn two_sides_that_only_write_do_not_wait_for_each_other() {
    const MUCH: usize = 8 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    let mut input = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut input, &vec![b'x'; MUCH]).unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    let mut got = 0;
    let received = std::thread::scope(|scope| {
        let received = scope.spawn(move || {
            std::io::Write::write_all(&mut other, &vec![b'y'; MUCH]).unwrap();
            let mut all = Vec::new();
            other.read_to_end(&mut all).unwrap();
            all.len()
        });
        let print = |bytes: &[u8]| {
            got += bytes.len();
            Ok(())
        };
        copy_between(input.as_fd(), stream.into(), None, false, print).unwrap();
        received.join().unwrap()
    });
    assert_eq!((got, received), (MUCH, MUCH));
}

/// The other side has closed its half before the first byte is sent, and still reads.
#[test]
fn a_side_that_sends_nothing_gets_what_the_other_one_sends() {
    const MUCH: usize = 4 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    other.shutdown(std::net::Shutdown::Write).unwrap();
    let mut input = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut input, &vec![b'x'; MUCH]).unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    let received = std::thread::spawn(move || {
        let mut all = Vec::new();
        other.read_to_end(&mut all).unwrap();
        all.len()
    });
    copy_between(input.as_fd(), stream.into(), None, false, |_| Ok(())).unwrap();
    assert_eq!(received.join().unwrap(), MUCH);
}

/// `sleep 60 | nc` ends when the other side is gone.
#[test]
fn an_input_that_says_nothing_holds_no_ended_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    drop(listener.accept().unwrap());
    let (silent, _writer) = io::pipe().unwrap();
    copy_between(silent.as_fd(), stream.into(), None, false, |_| Ok(())).unwrap();
}

/// The kernel resets the connection: the other side has not read what it was sent.
#[test]
fn a_side_that_closes_without_reading_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut stream, b"unread").unwrap();
    other.peek(&mut [0]).unwrap();
    drop(other);
    let (silent, _writer) = io::pipe().unwrap();
    let error = copy_between(silent.as_fd(), stream.into(), None, false, |_| Ok(())).unwrap_err();
    assert!(is_of_gone_peer(&error), "{error}");
}

#[test]
fn a_listener_is_at_the_address_that_was_named() {
    let own = |line: &str| {
        own_address(&parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>()).unwrap())
            .map(|address| address.to_string())
    };
    for (line, address) in [
        ("-l 80", "0.0.0.0:80"),
        ("-l -p 80", "0.0.0.0:80"),
        ("-l 127.0.0.1 80", "127.0.0.1:80"),
        ("-l 127.0.0.1 -p 80", "127.0.0.1:80"),
        ("-l -s 127.0.0.1 -p 80", "127.0.0.1:80"),
        ("-ls ::1 80", "[::1]:80"),
    ] {
        assert_eq!(own(line).as_deref(), Ok(address), "{line}");
    }
    assert_eq!(own("-l 127.0.0.1 x"), Err("bad port 'x'".into()));
    assert_eq!(own("-l"), Err(String::new()));
    assert_eq!(own("-l -s 127.0.0.1 127.0.0.2 80"), Err(String::new()));
}

#[test]
fn a_client_comes_from_the_address_that_was_named() {
    // Both sockets may have the port, and no other process gets it meanwhile.
    let held = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::setsockopt(&held, sockopt::ReuseAddr, &true).unwrap();
    socket::bind(held.as_raw_fd(), &SockaddrStorage::from("127.0.0.2:0".parse::<SocketAddr>().unwrap()))
        .unwrap();
    let own = socket::getsockname::<socket::SockaddrIn>(held.as_raw_fd()).unwrap().port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let words = |options: &str, port: u16| {
        let line = format!("{options} 127.0.0.1 {port}");
        parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(connect_and_converse(&words(&format!("-z -w 60 -s 127.0.0.2 -p {own}"), port)), Ok(()));
    assert_eq!(listener.accept().unwrap().1.to_string(), format!("127.0.0.2:{own}"));
    assert_eq!(connect_and_converse(&words("-z -s ::1", port)), Err("bad address '::1'".into()));
    close(listener);
    let refused = Err(format!("127.0.0.1 (127.0.0.1:{port}): Connection refused"));
    assert_eq!(connect_and_converse(&words("-z -w 60 -s 127.0.0.2", port)), refused);
    // A datagram's port belongs to one socket, so that of another one is refused.
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port();
    let refused = Err("127.0.0.1 (127.0.0.1:9): Address already in use".into());
    assert_eq!(connect_and_converse(&words(&format!("-u -z -s 127.0.0.1 -p {taken}"), 9)), refused);
    assert_eq!(connect_and_converse(&words("-u -z -s 127.0.0.1", 9)), Ok(()));
}

#[test]
fn a_listener_waits_no_longer_than_its_limit() {
    let wait = Some(Duration::from_millis(1));
    for udp in [false, true] {
        let call = Call { listen: true, udp, wait, port: Some(0), ..Call::default() };
        assert_eq!(listen(&call), Err("timed out".into()));
    }
}

#[test]
fn a_client_that_is_gone_before_it_is_accepted_does_not_end_a_listener_that_stays() {
    let call = |keep: bool| Call { listen: true, keep, ..Call::default() };
    for (code, goes_on) in [(libc::ECONNABORTED, true), (libc::ENETDOWN, true), (libc::EMFILE, false)] {
        let error = io::Error::from_raw_os_error(code);
        assert_eq!(
            (keeps_listening_after(&call(true), &error), keeps_listening_after(&call(false), &error)),
            (goes_on, false)
        );
    }
}

#[test]
fn an_open_port_differs_from_a_closed_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let try_port = |port: u16| {
        connect_and_converse(&Call {
            zero: true,
            words: vec!["127.0.0.1".into(), port.to_string()],
            ..Call::default()
        })
    };
    assert_eq!(try_port(port), Ok(()));
    close(listener);
    assert_eq!(try_port(port), Err(format!("127.0.0.1 (127.0.0.1:{port}): Connection refused")));
}

/// The range is at an address of its own, so that it has no port of another test.
#[test]
fn a_range_of_ports_succeeds_if_one_is_open() {
    let listener = TcpListener::bind("127.77.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let try_range = || {
        connect_and_converse(&Call {
            zero: true,
            words: vec!["127.77.0.1".into(), format!("{}-{port}", port - 1)],
            ..Call::default()
        })
    };
    assert_eq!(try_range(), Ok(()));
    close(listener);
    assert_eq!(try_range(), Err(format!("127.77.0.1 (127.77.0.1:{port}): Connection refused")));
}
