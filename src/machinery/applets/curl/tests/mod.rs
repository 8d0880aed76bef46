//! Transfers with servers on the loopback.

mod connection;

use super::super::http;
use super::super::http::{Deadline, Url};
use super::faults::{Fault, fault};
use super::options::Options;
use super::pattern::Expanded;
use super::report::Report;
use super::transfer::{first_request, transfer};
use super::*;
use connection::keeping_server;
use std::io::Write;
use std::time::Duration;

pub(super) fn fetch(line: &str, url: &str) -> (Result<(), Fault>, Report) {
    let words: Vec<String> = line.split(' ').filter(|w| !w.is_empty()).map(str::to_string).collect();
    let options = arguments::parse(&words, |_| Ok(Vec::new())).unwrap();
    let mut report = Report::new(url);
    let result = transfer(&mut Client::new(&options), &wanted(&plain(url), &options), &mut report);
    (result, report)
}

/// Returns the transfer of the first URL of a call.
fn wanted<'a>(url: &'a Expanded, options: &'a Options) -> Transfer<'a> {
    Transfer { url, upload: options.upload_of(0), nth: 0 }
}

/// Calls curl with words. Returns its exit code.
pub(super) fn call(words: &[&str]) -> i32 {
    main(["curl"].iter().chain(words).map(OsString::from).collect())
}

fn plain(url: &str) -> Expanded {
    Expanded { url: url.to_string(), chosen: Vec::new() }
}

#[test]
fn redirects_are_followed_and_counted() {
    let (port, server) = http::tests::server(vec![
        "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ]);
    let (result, report) = fetch("-L -o /dev/null -d x=1 -H A:1", &format!("http://127.0.0.1:{port}/a"));
    assert_eq!(result, Ok(()));
    assert_eq!(
        write_out::write_out(&report, "%{http_code} %{size_download} %{num_redirects}\\n").out,
        "200 2 1\n"
    );
    let requests = server.join().unwrap();
    assert!(requests[0].starts_with("POST /a HTTP/1.1\r\n") && requests[0].ends_with("\r\n\r\nx=1"));
    assert!(requests[1].starts_with("GET /b HTTP/1.1\r\n") && requests[1].contains("\r\nA:1\r\n"));
}

#[test]
fn a_redirection_drops_the_body_whatever_the_word_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, "abc").unwrap();
    let upload = format!("-T {}", file.display());
    let put = format!("-X PUT {upload}");
    for (line, status, second, keeps) in [
        ("-X POST -d x=1", 302, "POST", false),
        ("-X POST -d x=1", 301, "POST", false),
        ("-X PATCH -d x=1", 303, "PATCH", false),
        ("-X POST -d x=1", 307, "POST", true),
        ("-d x=1", 308, "POST", true),
        (put.as_str(), 303, "PUT", false),
        (put.as_str(), 302, "PUT", true),
        (upload.as_str(), 303, "GET", false),
    ] {
        let moved = format!("HTTP/1.1 {status} Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n");
        let moved: &'static str = Box::leak(moved.into_boxed_str());
        let (port, server) = http::tests::server(vec![moved, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
        let url = format!("http://127.0.0.1:{port}/a");
        assert_eq!(fetch(&format!("-L -o /dev/null {line}"), &url).0, Ok(()), "{line}");
        let request = server.join().unwrap().remove(1);
        assert!(request.starts_with(&format!("{second} /b HTTP/1.1\r\n")), "{line} {status}: {request}");
        assert_eq!(request.contains("Content-Length: 3\r\n"), keeps, "{line} {status}: {request}");
    }
}

#[test]
fn the_heads_of_redirections_go_where_the_answer_goes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    let moved = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    // With `-I` no body is read, whatever the word is.
    for (line, body) in [("-i", "ok"), ("-I -X GET", "")] {
        let (port, server) = http::tests::server(vec![moved, ok]);
        let line = format!("-L {line} -o {}", file.display());
        assert_eq!(fetch(&line, &format!("http://127.0.0.1:{port}/a")).0, Ok(()));
        server.join().unwrap();
        let head = ok.strip_suffix("ok").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{moved}{head}{body}"), "{line}");
    }
}

#[test]
fn the_same_server_gets_the_user_of_the_url_again() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let moved = format!("HTTP/1.1 302 Found\r\nLocation: http://{place}/b\r\nContent-Length: 0\r\n\r\n");
        [moved.as_str(), ok].map(|answer| {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut buffer).unwrap();
                assert_ne!(count, 0);
                request.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request).into_owned()
        })
    });
    assert_eq!(fetch("-L", &format!("http://me:secret@{place}/a")).0, Ok(()));
    for request in server.join().unwrap() {
        assert!(request.contains("\r\nAuthorization: Basic "), "{request}");
    }
}

/// As curl 7.88.1 sends them.
#[test]
fn heads_of_requests_are_those_of_curl() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (line, user, path, lines) in [
        ("--json {}", "", "/", &["Content-Type: application/json", "Accept: application/json"][..]),
        (
            "--json {} --json {} -H content-type:application/merge-patch+json",
            "",
            "/",
            &["content-type:application/merge-patch+json", "Accept: application/json"],
        ),
        ("-d x", "", "/", &["Content-Type: application/x-www-form-urlencoded", "Accept: */*"]),
        ("", "u@", "/", &["Authorization: Basic dTo="]),
        ("-u u:p", "", "/", &["Authorization: Basic dTpw"]),
        ("-G -d a=b", "", "/p?", &["GET /p?a=b HTTP/1.1"]),
        ("-G -d a=b", "", "/p?c", &["GET /p?c&a=b HTTP/1.1"]),
    ] {
        let (port, server) = http::tests::server(vec![ok]);
        let url = format!("http://{user}127.0.0.1:{port}{path}");
        assert_eq!(fetch(line, &url).0, Ok(()), "{line}");
        let request = server.join().unwrap().concat();
        let head: Vec<&str> = request.lines().collect();
        for wanted in lines {
            let squeezed = |text: &str| text.replacen(": ", ":", 1);
            assert!(head.iter().any(|line| squeezed(line) == squeezed(wanted)), "{line}: {request}");
        }
        let types = head.iter().filter(|line| line.to_ascii_lowercase().starts_with("content-type:"));
        assert!(types.count() <= 1, "{line}: {request}");
    }
}

#[test]
fn data_in_a_url_begins_no_other_line() {
    let options = Options { get: true, data: Some(b"x\r\nA: b".to_vec()), ..Options::default() };
    let expanded = plain("http://127.0.0.1:1/");
    let first = first_request(&options, &Transfer { url: &expanded, upload: None, nth: 0 });
    assert_eq!(first.map(|_| ()).unwrap_err().code, 3);
}

#[test]
fn an_empty_location_is_no_redirection() {
    let (port, server) =
        http::tests::server(vec!["HTTP/1.1 302 Found\r\nLocation:\r\nContent-Length: 0\r\n\r\n"]);
    let (result, report) = fetch("-L", &format!("http://127.0.0.1:{port}/"));
    assert_eq!((result, report.status, report.redirects), (Ok(()), 302, 0));
    server.join().unwrap();
}

#[test]
fn the_wrong_kind_of_address_is_refused() {
    let (port, server) = http::tests::server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(fetch("-6", &url).0, Err(fault(7, "Couldn't connect to server")));
    assert_eq!(fetch("-6 -4", &url).0, Ok(()));
    server.join().unwrap();
}

#[test]
fn a_file_is_named_after_its_url() {
    let dir = tempfile::tempdir().unwrap();
    let (port, server) = keeping_server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 9, 1);
    let output = dir.path().join("#1-#2");
    let words = ["curl", "-s", "-o", output.to_str().unwrap(), &format!("127.0.0.1:{port}/{{a,b}}[08-09]")];
    assert_eq!(main(words.map(OsString::from).into()), 0);
    assert_eq!(server.join().unwrap(), [4]);
    for name in ["a-08", "a-09", "b-08", "b-09"] {
        assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), "ok", "{name}");
    }
    assert_eq!(
        main(["curl", "-s", "http://127.0.0.1:1/[", "http://127.0.0.1:1/"].map(OsString::from).into()),
        3
    );
}

#[test]
fn another_server_does_not_learn_who_the_user_is() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (port, other) = http::tests::server(vec![ok]);
    let moved =
        format!("HTTP/1.1 302 Found\r\nLocation: http://localhost:{port}/b\r\nContent-Length: 0\r\n\r\n");
    let moved: &'static str = Box::leak(moved.into_boxed_str());
    let (first_port, first) = http::tests::server(vec![moved]);
    let line = "-L -u me:secret -H Authorization:x -H Cookie:c=1 -H Keep:1";
    let (result, _) = fetch(line, &format!("http://127.0.0.1:{first_port}/a"));
    assert_eq!(result, Ok(()));
    let (first, other) = (first.join().unwrap().remove(0), other.join().unwrap().remove(0));
    assert!(first.contains("Authorization:x") && first.contains("Cookie:c=1"), "{first}");
    assert!(other.contains("Keep:1"), "{other}");
    assert!(!other.contains("Authorization") && !other.contains("Cookie"), "{other}");
    let same = |a: &str, b: &str| Url::parse(a).unwrap().is_same_server(&Url::parse(b).unwrap());
    assert!(
        same("http://h/", "http://H:80/x")
            && !same("http://h/", "http://h:81/")
            && !same("http://h/", "https://h/")
    );
}

#[test]
fn failures_have_curls_codes_and_words() {
    let (port, server) = http::tests::server(vec![
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        "HTTP/1.2 200 OK\r\n\r\n",
        "hello\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ]);
    let url = format!("127.0.0.1:{port}");
    let fault_of = |line| fetch(line, &url).0.unwrap_err();
    assert_eq!(fault_of("-f"), fault(22, "The requested URL returned error: 503"));
    assert_eq!(fault_of(""), fault(52, "Empty reply from server"));
    assert_eq!(fault_of("-o /dev/null"), fault(18, "transfer closed with 4 bytes remaining to read"));
    let chunk = "Illegal or missing hexadecimal sequence in chunked-encoding";
    assert_eq!(fault_of("-o /dev/null"), fault(56, chunk));
    assert_eq!(fault_of(""), fault(8, "Invalid Content-Length: value"));
    assert_eq!(fault_of(""), fault(1, "Unsupported HTTP version (1.2) in response"));
    assert_eq!(fault_of(""), fault(1, "Received HTTP/0.9 when not allowed"));
    assert_eq!(fault_of("-s -o /nowhere/f"), fault(23, "Failure writing output to destination"));
    server.join().unwrap();
    // Bound and not listening: the port refuses, and no other process can take it.
    use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};
    use std::os::fd::AsRawFd;
    let deaf = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::bind(deaf.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let port = socket::getsockname::<SockaddrIn>(deaf.as_raw_fd()).unwrap().port();
    let refused = fetch("", &format!("127.0.0.1:{port}")).0.unwrap_err();
    assert_eq!(refused.code, 7);
    assert!(refused.text.starts_with(&format!("Failed to connect to 127.0.0.1 port {port} after ")));
    assert!(refused.text.ends_with(" ms: Couldn't connect to server"));
    let scheme = fault(1, "Protocol \"ftp\" not supported or disabled in libcurl");
    assert_eq!(fetch("", "ftp://web").0, Err(scheme));
    assert_eq!(fetch("", "http://").0, Err(fault(3, "URL using bad/illegal format or missing URL")));
}

#[test]
fn a_file_is_put_under_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a b.txt");
    std::fs::write(&file, "content").unwrap();
    let ok = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    let moved = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n";
    let (port, server) = http::tests::server(vec![moved, ok, ok]);
    let mut options = arguments::parse(&["-L".into()], |_| Ok(Vec::new())).unwrap();
    let put = |options: &Options, path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        let (url, mut report) = (plain(&url), Report::new(&url));
        (
            transfer(&mut Client::new(options), &wanted(&url, options), &mut report),
            write_out::write_out(&report, "%{http_code} %{size_upload}").out,
        )
    };
    options.uploads = vec![file.display().to_string()];
    assert_eq!(put(&options, "/up/?q=1"), (Ok(()), "201 7".into()));
    options.uploads = vec!["/dev/null".into()];
    assert_eq!(put(&options, "/f"), (Ok(()), "201 0".into()));
    let requests = server.join().unwrap();
    for (request, start) in requests.iter().zip(["PUT /up/a%20b.txt?q=1 HTTP", "PUT /to HTTP", "PUT /f HTTP"])
    {
        assert!(request.starts_with(start), "{request}");
    }
    assert!(requests[1].contains("Content-Length: 7\r\n") && requests[1].ends_with("\r\ncontent"));
    assert!(requests[2].contains("Transfer-Encoding: chunked\r\n"), "{}", requests[2]);
    options.uploads = vec![dir.path().join("missing").display().to_string()];
    assert_eq!(put(&options, "/").0.unwrap_err().code, 26);
}

/// Returns the largest body that no socket buffer holds, and a server that reads its head only,
/// answers and keeps the connection.
fn send_much(line: &str, answer: &'static [u8]) -> (Result<(), Fault>, Report) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (done, wait) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 20]).unwrap();
            stream.write_all(answer).unwrap();
            let _ = wait.recv();
        });
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        let mut options = arguments::parse(&words, |_| Ok(Vec::new())).unwrap();
        options.data = Some(vec![b'x'; 32 << 20]);
        let mut report = Report::new(&url);
        let called = plain(&url);
        let result = transfer(&mut Client::new(&options), &wanted(&called, &options), &mut report);
        drop(done);
        (result, report)
    })
}

#[test]
fn the_limit_holds_while_a_body_is_sent() {
    let (result, report) = send_much("-m 0.2 -H Expect:", b"");
    assert_eq!(result.unwrap_err().code, 28);
    assert!(report.sent < 32 << 20);
}

#[test]
fn a_server_that_refuses_gets_no_more() {
    let refused = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    // One that asks for leave first sends nothing.
    for (line, most) in [("-f -m 60 -H Expect:", 32 << 20), ("-f -m 60", 1)] {
        let (result, report) = send_much(line, refused);
        assert_eq!(result, Err(fault(22, "The requested URL returned error: 413")), "{line}");
        assert!(report.sent < most, "{line}: {}", report.sent);
    }
}

#[test]
fn the_name_of_a_file_is_the_users_and_not_the_servers() {
    let dir = tempfile::tempdir().unwrap();
    let moved = "HTTP/1.1 302 Found\r\nLocation: /.bashrc\r\nContent-Length: 0\r\n\r\n";
    let (port, server) = http::tests::server(vec![moved, "HTTP/1.1 200 OK\r\n\r\nhi"]);
    // `-O` writes into the working directory, which belongs to all tests.
    let name = format!("{}-{port}", dir.path().file_name().unwrap().to_string_lossy());
    assert_eq!(fetch("-L -O", &format!("http://127.0.0.1:{port}/{name}")).0, Ok(()));
    server.join().unwrap();
    let path = std::path::Path::new(&name);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "hi");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_limit_to_connect_begins_with_the_name() {
    let limit = |line: &str| {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        let options = arguments::parse(&words, |_| Ok(Vec::new())).unwrap();
        client::connect_limit(&options, Deadline::new(options.max_time)).limit
    };
    assert_eq!(limit("-m 5"), Some(Duration::from_secs(5)));
    assert_eq!(limit("-m 5 --connect-timeout 9"), Some(Duration::from_secs(5)));
    assert!(limit("--connect-timeout 2").is_some_and(|limit| limit.as_secs() == 2));
    let usual = limit("-s").unwrap();
    assert!(usual >= Duration::from_secs(300) && usual < Duration::from_secs(310), "{usual:?}");
}

#[test]
fn a_silent_server_is_left_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let late = fetch("-m 0.2", &url).0.unwrap_err();
    assert_eq!(late.code, 28);
    let took = late.text.strip_prefix("Operation timed out after ");
    let took = took.and_then(|rest| rest.strip_suffix(" milliseconds with 0 bytes received"));
    let took: u64 = took.and_then(|millis| millis.parse().ok()).unwrap_or_else(|| panic!("{late:?}"));
    assert!((200..20_000).contains(&took), "{took} ms");
}

#[test]
fn a_server_that_answers_before_it_reads_is_read() {
    let body = vec![b'y'; 8 << 20];
    let long =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body].concat();
    // The server writes all of its answer before it reads: it must not be left to wait.
    let (result, report) = send_much("-m 60 -H Expect: -o /dev/null", Box::leak(long.into_boxed_slice()));
    assert_eq!((result, report.status, report.size), (Ok(()), 200, 8 << 20));
    assert!(report.sent < 32 << 20, "{}", report.sent);
}

#[test]
fn a_kept_file_is_one_that_nothing_came_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    for (answer, left) in [
        ("", "old"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "old"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "old"),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 13\r\n\r\nbad data here", "old"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnew", "new"),
    ] {
        std::fs::write(&file, "old").unwrap();
        let (port, server) = http::tests::server(vec![answer]);
        let line = format!("--compressed -o {}", file.display());
        let _ = fetch(&line, &format!("127.0.0.1:{port}")).0;
        server.join().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), left, "{answer}");
    }
}

#[test]
fn a_retry_begins_with_an_empty_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nlong";
    let (port, server) = http::tests::server(vec![busy, ""]);
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(call(&["-s", "--retry", "1", "--retry-delay", "1", "-o", file.to_str().unwrap(), &url]), 52);
    server.join().unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
}

#[test]
fn a_port_that_says_nothing_ends_the_handshake() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let late = fetch("-k --connect-timeout 0.2", &url);
    assert_eq!(late.0, Err(fault(28, "SSL connection timeout")));
    let place = write_out::write_out(&late.1, "%{remote_ip}:%{remote_port} %{local_ip}").out;
    assert_eq!(place, format!("{} 127.0.0.1", listener.local_addr().unwrap()));
}
