//! Which connections are kept, and which answers are waited for, with servers on the loopback.

use super::super::*;
use super::{call, fetch};
use crate::http;
use std::io::{BufRead, Write};
use std::thread::JoinHandle;
use std::time::Duration;

/// Starts a server that answers each request on a connection until it has answered `each` of them;
/// what is asked for as `/dir…` has moved to `/dir…/`. Returns how many requests each connection
/// carried.
pub(super) fn keeping_server(
    answer: &'static str,
    each: usize,
    connections: usize,
) -> (u16, JoinHandle<Vec<usize>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move |_| {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = io::BufReader::new(stream);
        let (mut answered, mut moved) = (0, None);
        while answered < each {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap() == 0 {
                break;
            }
            if let Some(path) = line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()) {
                moved = (path.starts_with("/dir") && !path.ends_with('/')).then(|| format!("{path}/"));
            }
            if line == "\r\n" {
                let text = moved.take().map_or(answer.to_string(), |path| {
                    format!("HTTP/1.1 301 Moved\r\nLocation: {path}\r\nContent-Length: 4\r\n\r\ngone")
                });
                lines.get_mut().write_all(text.as_bytes()).unwrap();
                answered += 1;
            }
        }
        answered
    };
    (port, std::thread::spawn(move || (0..connections).map(serve).collect()))
}

#[test]
fn a_connection_is_kept_for_the_next_url() {
    let kept = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    let closed = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let old_kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
    for (answer, line, each, carried) in [
        (kept, "", 9, vec![3]),
        (chunked, "", 9, vec![3]),
        // The server hangs up after two without a word.
        (kept, "", 2, vec![2, 1]),
        // It is the server that closes then, and this one does not.
        (kept, "-H Connection:close", 9, vec![3]),
        (closed, "", 9, vec![1, 1, 1]),
        (old, "", 9, vec![1, 1, 1]),
        (old_kept, "", 9, vec![3]),
        (kept, "-f", 9, vec![3]),
        (kept, "-L", 9, vec![6]),
    ] {
        let (port, server) = keeping_server(answer, each, carried.len());
        let path = if line == "-L" { "dir" } else { "" };
        let line = format!("-s -o /dev/null {line} http://127.0.0.1:{port}/{path}[1-3]");
        assert_eq!(
            main(["curl"].into_iter().chain(line.split_whitespace()).map(OsString::from).collect()),
            0
        );
        assert_eq!(server.join().unwrap(), carried, "{line} {answer}");
    }
}

#[test]
fn connections_to_several_servers_are_kept() {
    let kept = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (first, second) = (keeping_server(kept, 9, 1), keeping_server(kept, 9, 1));
    let url = |port: u16| format!("http://127.0.0.1:{port}/");
    let (a, b) = (url(first.0), url(second.0));
    assert_eq!(
        call(&[
            "-s",
            "-o",
            "/dev/null",
            "-o",
            "/dev/null",
            "-o",
            "/dev/null",
            "-o",
            "/dev/null",
            &a,
            &b,
            &a,
            &b
        ]),
        0
    );
    assert_eq!((first.1.join().unwrap(), second.1.join().unwrap()), (vec![2], vec![2]));
    // Six servers are one too many: the oldest connection is closed, and a second one is made.
    let servers: Vec<_> = (0..6).map(|nth| keeping_server(kept, 9, if nth == 0 { 2 } else { 1 })).collect();
    let mut words = vec!["-s".to_string()];
    for port in servers.iter().map(|server| server.0).chain([servers[0].0]) {
        words.extend(["-o".into(), "/dev/null".into(), url(port)]);
    }
    assert_eq!(call(&words.iter().map(String::as_str).collect::<Vec<_>>()), 0);
    let carried: Vec<usize> = servers.into_iter().flat_map(|server| server.1.join().unwrap()).collect();
    assert_eq!(carried, [1; 7]);
}

/// Sends two requests to a server that answers the second one with `second` and hangs up. Returns
/// curl's exit code, and whether a third request came.
fn second_answer(second: &'static str) -> (i32, bool) {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/[1-2]", listener.local_addr().unwrap());
    let answer = move |lines: &mut io::BufReader<std::net::TcpStream>, answer: &str| {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0);
        }
        lines.get_mut().write_all(answer.as_bytes()).unwrap();
    };
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        let mut lines = io::BufReader::new(listener.accept().unwrap().0);
        answer(&mut lines, ok);
        answer(&mut lines, second);
        drop(lines);
        listener.set_nonblocking(true).unwrap();
        loop {
            // Asked first: once curl is done, its last connection is there.
            let is_done = is_done.try_recv().is_err_and(|e| e == std::sync::mpsc::TryRecvError::Disconnected);
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    answer(&mut io::BufReader::new(stream), ok);
                    return true;
                }
                Err(_) if is_done => return false,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    });
    let code = call(&["-s", "-o", "/dev/null", "-X", "POST", &url]);
    drop(done);
    (code, server.join().unwrap())
}

#[test]
fn only_a_whole_line_of_an_answer_keeps_a_request_from_being_sent_again() {
    assert_eq!(second_answer(""), (0, true));
    assert_eq!(second_answer("HTTP/1.1 2"), (0, true));
    assert_eq!(second_answer("HTTP/1.1 200 OK\r\n"), (0, false));
    assert_eq!(second_answer("HTTP/1.1 200 OK\r\nX:"), (0, false));
    assert_eq!(second_answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2"), (52, false));
    assert_eq!(second_answer("SSH-2.0"), (1, false));
}

/// Starts a server that answers one connection after the other, and keeps all open until what is
/// returned beside its address is dropped.
fn open_server(answers: &'static [&'static str]) -> (String, std::sync::mpsc::Sender<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let streams: Vec<_> = answers
            .iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0; 20]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                stream
            })
            .collect();
        let _ = wait.recv();
        drop(streams);
    });
    (place, done)
}

#[test]
fn the_body_of_a_redirection_is_not_waited_for() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for answers in [
        &["HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\nmoved", OK],
        &["HTTP/1.1 302 Found\r\nLocation: /b\r\nConnection: close\r\nContent-Length: 9\r\n\r\nmoved", OK],
        &["HTTP/1.0 302 Found\r\nLocation: /b\r\nContent-Length: 9\r\n\r\nmoved", OK],
    ] {
        let (place, _done) = open_server(answers);
        let (result, report) = fetch("-L -m 30 -o /dev/null", &format!("http://{place}/a"));
        assert_eq!((result, report.status, report.size), (Ok(()), 200, 2), "{}", answers[0]);
    }
    let (place, _done) =
        open_server(&["HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 9\r\n\r\nmoved"]);
    let late = fetch("-L -m 0.3", &place).0.unwrap_err();
    assert!(late.code == 28 && late.text.ends_with("with 5 out of 9 bytes received"), "{late:?}");
}

#[test]
fn a_redirection_may_break_off() {
    let (port, server) = http::tests::server(vec![
        "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 9\r\n\r\nmoved",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ]);
    assert_eq!(fetch("-L", &format!("http://127.0.0.1:{port}/a")).0, Ok(()));
    server.join().unwrap();
}

#[test]
fn a_body_waits_for_leave_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, "abc").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
        while !request.ends_with(b"abc") {
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0);
            request.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    // The server gives no leave and does not answer before it has the body.
    let line = format!("-m 60 --expect100-timeout 0.2 -T {}", file.display());
    let (result, report) = fetch(&line, &format!("http://{place}/"));
    assert_eq!((result, report.status, report.sent), (Ok(()), 200, 3));
    assert!(report.first_byte >= Duration::from_millis(200), "{:?}", report.first_byte);
    server.join().unwrap();
}

#[test]
fn the_word_head_is_not_the_option() {
    let answer: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"];
    let (place, _done) = open_server(answer);
    let late = fetch("-X HEAD -m 0.3", &place).0.unwrap_err();
    assert!(late.code == 28 && late.text.ends_with("with 0 out of 2 bytes received"), "{late:?}");
    let (place, _done) = open_server(answer);
    assert_eq!(fetch("-I -m 30 -o /dev/null", &place).0, Ok(()));
}

#[test]
fn heads_are_shown_as_the_server_sent_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    for (answer, shown, code) in [
        (
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
             HTTP/1.1 200 OK\nX:  a\r\n  b\nContent-Length: 2\n\nok",
            None,
            0,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", Some("HTTP/1.1 200 OK\r\n"), 8),
        ("HTTP/1.1 200 OK\r\nX: 1\r\nY", Some("HTTP/1.1 200 OK\r\nX: 1\r\n"), 0),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n",
            Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nokT: 1\r\n"),
            0,
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n", None, 22),
    ] {
        let (port, server) = http::tests::server(vec![answer]);
        let line = format!("-f -i -o {}", file.display());
        let (result, report) = fetch(&line, &format!("127.0.0.1:{port}"));
        server.join().unwrap();
        assert_eq!(result.map_or_else(|fault| fault.code, |()| 0), code, "{answer}");
        let shown = shown.unwrap_or(answer);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), shown);
        let size = write_out::write_out(&report, "%{size_header} %{size_download}").out;
        let body: usize = if shown.contains("ok") { 2 } else { 0 };
        let trailer = if shown.ends_with("T: 1\r\n") { 6 } else { 0 };
        assert_eq!(size, format!("{} {body}", shown.len() - body - trailer));
    }
}

#[test]
fn an_address_with_a_zone_is_connected_to() {
    // Without IPv6 there is nothing to connect to; how a zone is read is tested beside the client.
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else { return };
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let count = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    let (result, report) = fetch("-m 30", &format!("http://[::1%25lo]:{port}/"));
    assert_eq!(result, Ok(()));
    assert_eq!(write_out::write_out(&report, "%{url_effective}").out, format!("http://[::1%25lo]:{port}/"));
    assert!(server.join().unwrap().contains(&format!("\r\nHost: [::1]:{port}\r\n")));
}

#[test]
fn a_pattern_of_files_is_sent_to_a_pattern_of_urls() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for name in ["f1", "f2"] {
        std::fs::write(path(name), name).unwrap();
    }
    let ok = "HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (port, server) = http::tests::server(vec![ok; 4]);
    let url = format!("http://127.0.0.1:{port}/{{a,b}}/");
    assert_eq!(call(&["-s", "-T", &path("f[1-2]"), &url]), 0);
    let requests = server.join().unwrap();
    for (request, (to, body)) in
        requests.iter().zip([("/a/f1", "f1"), ("/b/f1", "f1"), ("/a/f2", "f2"), ("/b/f2", "f2")])
    {
        assert!(request.starts_with(&format!("PUT {to} HTTP")) && request.ends_with(body), "{request}");
    }
    let closed = "http://127.0.0.1:1/";
    assert_eq!(call(&["-s", "-T", &path("f[1-"), closed]), 3);
    assert_eq!(call(&["-s", "-g", "-T", &path("f[1-2]"), closed]), 26);
    // A file that is not there ends the call.
    assert_eq!(call(&["-s", "-T", &path("{f3,f1}"), closed]), 26);
    assert_eq!(call(&["-s", "-T", &path("{f1,f2}"), closed]), 7);
}
