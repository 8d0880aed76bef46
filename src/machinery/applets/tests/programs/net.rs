//! Clients whose standard streams matter.

use crate::{Room, outcome};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

/// `nc -z` tries the ports from the lower to the higher one, in whatever order they are given. No
/// program listens on these.
pub(crate) fn ports_may_be_given_from_the_last_to_the_first(room: &Room) {
    for ports in ["1-2", "2-1"] {
        assert_eq!(outcome(room.program("nc").args(["-z", "127.0.0.1", ports])).code, 1, "{ports}");
    }
}

/// The server is overloaded, so `--retry` would send the upload again.
pub(crate) fn a_retry_sends_no_rest_of_standard_input(room: &Room) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
        while !request.ends_with(b"\r\n0\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0);
            request.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap();
        request
    });
    std::fs::write(room.work.join("upload"), "content").unwrap();
    let input = std::fs::File::open(room.work.join("upload")).unwrap();
    let mut curl = room.program("curl");
    curl.args(["-sS", "-T", "-", "--retry", "1", "-w", "%{http_code}", &url]).stdin(input);
    let outcome = outcome(&mut curl);
    assert_eq!((outcome.out.as_str(), outcome.code), ("503", 65), "{}", outcome.err);
    assert!(String::from_utf8_lossy(&server.join().unwrap()).contains("\r\n7\r\ncontent\r\n"));
}

/// A pattern of some bytes stands for 2^63 URLs. The program handles no signal, so each ends it:
/// Ctrl-C at a prompt (130 there), SIGTERM here, which no parent process has ignored for it.
pub(crate) fn a_pattern_without_end_takes_no_memory_and_ends_at_a_signal(room: &Room) {
    let mut command = room.program("curl");
    let url = "http://127.0.0.1:1/[0-9223372036854775807]";
    let mut curl = command.args(["-sS", url]).stderr(Stdio::piped()).spawn().unwrap();
    let mut faults = BufReader::new(curl.stderr.take().unwrap()).lines();
    let pid = curl.id();
    let mut held_after = |urls: usize| {
        for _ in 0..urls {
            let line = faults.next().unwrap().unwrap();
            assert!(line.starts_with("curl: (7) "), "{line}");
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let (first, later) = (held_after(100), held_after(2000));
    assert!(later < first + 1024, "{first} kB, and {later} kB after 2000 more URLs");
    use nix::sys::signal::{Signal, kill};
    kill(nix::unistd::Pid::from_raw(pid as i32), Signal::SIGTERM).unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(curl.wait().unwrap().signal(), Some(15));
}
