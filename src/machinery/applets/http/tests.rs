//! Exchanges with servers on the loopback.

use super::error::BadChunk;
use super::*;
use clock::Instant;
use std::io::{Read, Write};
use std::net::TcpListener;

/// Starts a server that gives these answers, one a connection, and leave to send a body that asks
/// for it; returns its port, and the requests when it ends.
pub(crate) fn server(answers: Vec<&'static str>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let serve = |answer: &str| {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut has_leave) = (Vec::new(), false);
            let mut buffer = [0; 4096];
            loop {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&request).into_owned();
                if !has_leave && text.ends_with("\r\n\r\n") && text.contains("Expect: 100-continue\r\n") {
                    has_leave = true;
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
                }
                let length = text
                    .to_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|l| l.split("\r\n").next().and_then(|l| l.parse::<usize>().ok()));
                let end = text.find("\r\n\r\n").map(|at| at + 4 + length.unwrap_or(0));
                let is_whole = match text.contains("Transfer-Encoding: chunked\r\n") {
                    true => text.ends_with("0\r\n\r\n"),
                    false => end.is_some_and(|end| text.len() >= end),
                };
                if count == 0 || is_whole {
                    stream.write_all(answer.as_bytes()).unwrap();
                    return text;
                }
            }
        };
        answers.into_iter().map(serve).collect()
    });
    (port, thread)
}

#[test]
fn a_limit_beyond_the_clock_is_none() {
    let end = Deadline::new(Some(Duration::from_secs(u64::MAX)));
    assert_eq!(end.at(), None);
    assert!(end.left().unwrap() > Some(Duration::from_secs(1)));
    assert!(Deadline::new(Some(Duration::from_secs(5))).at() > Some(Instant::now()));
}

#[test]
fn urls_are_taken_apart() {
    let url = Url::parse("http://user:pw@web:8080/a/b?x=1#there").unwrap();
    assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("web", 8080, "/a/b?x=1"));
    assert_eq!(url.user.as_deref(), Some("user:pw"));
    assert_eq!(Url::parse("http://user:p%40ss@host").unwrap().user.as_deref(), Some("user:p@ss"));
    assert_eq!(url.join("/a b/é%20").unwrap().path, "/a%20b/%c3%a9%20");
    assert_eq!(Url::parse("web").unwrap().path, "/");
    assert_eq!(Url::parse("[::1]:80").unwrap().host, "[::1]");
    assert_eq!(Url::parse("ftp://web/"), Err(BadUrl::Scheme("ftp".into())));
    let locked = Url::parse("HTTPS://web/").unwrap();
    assert_eq!((locked.secure, locked.port, locked.full().as_str()), (true, 443, "https://web/"));
    assert_eq!(locked.join("//other/x").unwrap().full(), "https://other/x");
    assert_eq!(Url::parse("https://web:80/").unwrap().authority(), "web:80");
    assert_eq!(Url::parse("http://"), Err(BadUrl::NoHost));
    assert_eq!(Url::parse("http://[::1"), Err(BadUrl::Malformed));
    assert_eq!(Url::parse("http://web:x/"), Err(BadUrl::Port));
    assert_eq!(url.join("../c").unwrap().path, "/c");
    for (path, meant) in [
        ("/a/../index.html", "/index.html"),
        ("/a/./b/..", "/a/"),
        ("/../a/?x=/../y", "/a/?x=/../y"),
        ("//a/...", "//a/..."),
        ("", "/"),
    ] {
        assert_eq!(Url::parse(&format!("web{path}")).unwrap().path, meant, "{path}");
    }
    assert_eq!(url.join("/login?next=http://h/x").unwrap().full(), "http://web:8080/login?next=http://h/x");
    let part = url.join("/c#part").unwrap();
    assert_eq!(part.path, "/c", "a fragment is not sent");
    assert_eq!(part.effective(), "http://user:pw@web:8080/c#part");
    assert_eq!(url.join("mailto:a@b").unwrap_err(), BadUrl::Scheme("mailto".into()));
    assert_eq!(url.join("/c").unwrap().full(), "http://web:8080/c");
    assert_eq!(url.join("http://other/d").unwrap().authority(), "other");
}

/// As curl 7.88.1 reads them.
#[test]
fn urls_may_be_written_carelessly() {
    for (text, full) in [
        ("http://h:/", "http://h/"),
        ("http:/h/x", "http://h/x"),
        ("http:///h/x", "http://h/x"),
        ("h:0", "http://h:0/"),
        ("h:", "http://h/"),
        ("[::1]:/", "http://[::1]/"),
        ("h/ü?ü", "http://h/%c3%bc?ü"),
        ("u%20v@h", "http://h/"),
        ("a%2db", "http://a-b/"),
    ] {
        assert_eq!(Url::parse(text).map(|url| url.full()), Ok(full.to_string()), "{text}");
    }
    let malformed = [
        "://x",
        "http:////h/",
        "//h",
        "/h",
        "",
        "http:h",
        "h:65536",
        "h:+80",
        "h:-1",
        "h!/",
        "a%20b",
        "a@b@h",
        "u%00@h",
        "http://u:p@",
        "h/a b",
        "h/a\tb",
        "h/a\u{7f}",
        "a+b",
        "127.0.0.1+",
    ];
    for text in malformed {
        let bad = Url::parse(text).unwrap_err();
        assert!(matches!(bad, BadUrl::Malformed | BadUrl::NoHost | BadUrl::Port), "{text}: {bad:?}");
    }
    for text in ["[]", "[1]:80", "http://[web]/", "http://[1::2::3]/", "[127.0.0.1]"] {
        assert_eq!(Url::parse(text), Err(BadUrl::Ipv6), "{text}");
    }
    for (text, scheme) in [("1x://y", "1x"), ("A+b://y", "a+b")] {
        assert_eq!(Url::parse(text), Err(BadUrl::Scheme(scheme.into())), "{text}");
    }
    let base = Url::parse("http://u:p@h/a#f").unwrap();
    assert_eq!(base.effective(), "http://u:p@h/a#f");
    for (location, effective) in [
        ("/b?x y#z", "http://u:p@h/b?x+y#z"),
        ("/\u{fc} b", "http://u:p@h/%c3%bc%20b"),
        ("http:/other/%2F", "http://other/%2F"),
        ("//other", "http://other/"),
    ] {
        assert_eq!(base.join(location).map(|url| url.effective()), Ok(effective.to_string()), "{location}");
    }
    assert_eq!(base.join("x:/y"), Err(BadUrl::Scheme("x".into())));
}

/// As curl 7.88.1 reads them.
#[test]
fn hosts_that_are_numbers_are_addresses() {
    for (host, address) in [
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("127.0X1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("1.65535", "1.0.255.255"),
        ("1.2.3.4", "1.2.3.4"),
    ] {
        assert_eq!(Url::parse(host).unwrap().host, address, "{host}");
    }
    for name in
        ["127.0.0.1.", "4294967296", "1.2.3.4.5", "127.0.0.256", "256.1", "08", "0x", "1.2.65536", "1a"]
    {
        assert_eq!(Url::parse(name).unwrap().host, name);
    }
}

#[test]
fn a_location_need_not_be_text() {
    let base = Url::parse("http://h/a").unwrap();
    let moved = base.join(b"/\xe9\xc3\xa9?\xe9 x#\xe9").unwrap();
    assert_eq!(moved.full(), "http://h/%e9%c3%a9?%e9+x");
    let head = b"HTTP/1.1 302 Found\r\nLocation: \r\nlocation:  /\xe9 \r\nLocation: /b\r\n\r\n";
    let head = head::read_head(&mut &head[..], &mut Vec::new()).unwrap();
    assert_eq!(head.location.as_deref(), Some(&b"/\xe9"[..]));
}

#[test]
fn a_file_name_has_no_slash_of_either_kind() {
    for (url, name) in
        [("h/a/b?c/d", "b"), ("h/a\\b", "b"), ("h/a\\b\\", ""), ("h/a\\b/c", "c"), ("h/a/", "")]
    {
        assert_eq!(Url::parse(url).unwrap().file_name(), name, "{url}");
    }
}

#[test]
fn a_query_is_joined() {
    let joined = |url: &str, more: &str| Url::parse(url).unwrap().with_query(more).map(|url| url.path);
    assert_eq!(joined("h", "a=b"), Ok("/?a=b".into()));
    assert_eq!(joined("h/p?", "a=b"), Ok("/p?a=b".into()));
    assert_eq!(joined("h/p?c", "a=b"), Ok("/p?c&a=b".into()));
    assert_eq!(joined("h/p", ""), Ok("/p".into()));
    assert_eq!(joined("h/p", "a#b"), Ok("/p?a".into()));
    for more in ["c d", "x\r\nA: b"] {
        assert_eq!(joined("h/p", more), Err(BadUrl::Malformed), "{more}");
    }
}

/// Returns the answer that a server gives, and the lines of its heads.
fn ask(answer: &'static str) -> (Result<Answer, Error>, String) {
    let (port, server) = server(vec![answer]);
    let deadline = Deadline::new(Some(Duration::from_secs(10)));
    let stream = connect(&["127.0.0.1".parse().unwrap()], port, &deadline, |_| {}).unwrap();
    let (request, mut heads) = (b"GET / HTTP/1.1\r\n\r\n", Vec::new());
    let answer = exchange(Stream::Plain(stream), request, None, false, deadline, None, &mut heads);
    server.join().unwrap();
    (answer, String::from_utf8(heads).unwrap())
}

fn fetch(answer: &'static str) -> Result<(u16, String), Error> {
    let mut answer = ask(answer).0?;
    let body = answer.read_to_end(usize::MAX)?;
    Ok((answer.head.status, String::from_utf8(body).unwrap()))
}

#[test]
fn bodies_end_where_their_head_says() {
    let length = fetch("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore");
    assert_eq!(length.unwrap(), (200, "hello".into()));
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: 1\r\n\r\n";
    assert_eq!(fetch(chunked).unwrap(), (200, "abcde".into()));
    assert_eq!(fetch("HTTP/1.0 404 Not Found\r\n\r\nuntil the end").unwrap(), (404, "until the end".into()));
    let hint = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(fetch(hint).unwrap(), (204, String::new()));
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhello";
    assert_eq!(fetch(switched).unwrap(), (101, "hello".into()));
}

#[test]
fn broken_answers_are_errors() {
    let fail = |answer| fetch(answer).unwrap_err();
    let cut = fail("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
    assert!(matches!(cut, Error::Cut { missing: Some(45) }));
    let cut = fail("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    assert!(matches!(cut, Error::Cut { missing: None }));
    assert!(matches!(fail("SSH-2.0-x\r\n"), Error::NotHttp));
    assert!(matches!(fail(""), Error::NoAnswer));
    assert!(matches!(fail("HTTP/1.1 2"), Error::NoAnswer));
}

#[test]
fn a_body_ends_as_the_last_length_says() {
    for (headers, body) in [
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "abc"),
        ("Content-Length: +2x\r\n", "ab"),
        ("Content-Length: 99999999999999999999\r\n", "abcd"),
        ("Content-Length: 2\r\nTransfer-Encoding: identity\r\n", "abcd"),
    ] {
        let answer: &'static str =
            Box::leak(format!("HTTP/1.1 200 OK\r\n{headers}\r\nabcd").into_boxed_str());
        assert_eq!(fetch(answer).unwrap().1, body, "{headers}");
    }
    // What never has a body may say what it likes.
    assert_eq!(fetch("HTTP/1.1 204 No Content\r\nContent-Length: -2\r\n\r\n").unwrap().0, 204);
}

#[test]
fn codings_of_the_transfer_are_taken_off() {
    use flate2::{Compression, write::GzEncoder};
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"hello").unwrap();
    let packed = encoder.finish().unwrap();
    let chunked = [format!("{:x}\r\n", packed.len()).as_bytes(), &packed, b"\r\n0\r\n\r\n"].concat();
    for (headers, body) in [
        ("Transfer-Encoding: gzip, chunked", &chunked),
        ("Transfer-Encoding: chunked, gzip", &chunked),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", &chunked),
        ("Transfer-Encoding: gzip", &packed),
    ] {
        let answer = [format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").as_bytes(), body.as_slice()].concat();
        assert_eq!(read_from(answer).unwrap(), b"hello", "{headers}");
    }
    for coding in ["xchunked", "x, chunked"] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        assert!(matches!(read_from(answer.into_bytes()), Err(Error::Coding)), "{coding}");
    }
}

/// Returns the body of an answer that need not be text.
fn read_from(answer: Vec<u8>) -> Result<Vec<u8>, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 18]).unwrap();
        stream.write_all(&answer).unwrap();
    });
    let deadline = Deadline::new(Some(Duration::from_secs(10)));
    let stream = connect_to(&[place], &deadline, |_| {}).unwrap();
    let request = b"GET / HTTP/1.1\r\n\r\n";
    let answer = exchange(Stream::Plain(stream), request, None, false, deadline, None, &mut Vec::new());
    server.join().unwrap();
    answer?.read_to_end(usize::MAX)
}

#[test]
fn chunks_have_a_size_and_an_end() {
    let chunks = |chunks: &str| -> Result<String, Error> {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        fetch(Box::leak(answer.into_boxed_str())).map(|(_, body)| body)
    };
    for good in ["2\nok\n0\n\n", "2xyz\r\nok\r\n0\r\n\r\n", "0000000000000002\r\nok\r\n0\r\nT: 1\r\n\r\n"] {
        assert_eq!(chunks(good).unwrap(), "ok", "{good}");
    }
    for (bad, why) in [
        ("zz\r\n", BadChunk::Size),
        ("\r\n", BadChunk::Size),
        ("ffffffffffffffff\r\n", BadChunk::Size),
        ("2\r\nok\r\n 0\r\n\r\n", BadChunk::Size),
        ("00000000000000002\r\nok", BadChunk::LongSize),
        ("2\r\nokxx", BadChunk::End),
    ] {
        assert!(matches!(chunks(bad), Err(Error::Chunk(found)) if found == why), "{bad}");
    }
}

#[test]
fn heads_are_reported_as_the_server_sent_them() {
    for heads in [
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nX: a\r\n  b\r\n\tc\r\nY:1\r\n\r\n",
        "HTTP/1.1 204 No Content\nX:y  \r\nZ : q\n\n",
        "HTTP/1.1 204\r\n\r\n",
        "HTTP/1.1  204 No Content\r\n\r\n",
        "HTTP/2 204 No Content\r\n\r\n",
    ] {
        let (answer, lines) = ask(heads);
        assert_eq!((answer.unwrap().head.status, lines.as_str()), (204, heads));
    }
    // The connection ends inside of the head: its whole lines are the answer.
    let (answer, lines) = ask("HTTP/1.1 200 OK\r\nX: 1\r\nY");
    let mut answer = answer.unwrap();
    assert_eq!((answer.read_to_end(9).unwrap(), lines.as_str()), (Vec::new(), "HTTP/1.1 200 OK\r\nX: 1\r\n"));
    assert!(answer.into_stream().is_none());
}

#[test]
fn a_bad_head_is_reported_up_to_what_is_wrong() {
    let start = "HTTP/1.1 200 OK\r\n";
    type Is = fn(&Error) -> bool;
    let bad: [(&'static str, &str, Is); 9] = [
        ("HTTP/1.1 abc\r\n", "", |e| matches!(e, Error::BadStart)),
        ("HTTP/3.1 200 OK\r\n", "", |e| matches!(e, Error::Version(version) if version == "3.1")),
        ("HTTP/1.1 20 OK\r\n", "", |e| matches!(e, Error::Status)),
        ("HTTP/1.1 2000 OK\r\n", "", |e| matches!(e, Error::Status)),
        ("HTTP/1.1 200 OK\r\nrubbish\r\n", start, |e| matches!(e, Error::NoColon)),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n", start, |e| matches!(e, Error::Nul)),
        ("HTTP/1.1 200 OK\r\n X: a\r\n", start, |e| matches!(e, Error::FoldedFirst)),
        ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n", start, |e| matches!(e, Error::ContentLength)),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n", start, |e| matches!(e, Error::ContentLength)),
    ];
    for (head, before, is_it) in bad {
        let (answer, lines) = ask(head);
        let Err(error) = answer else { panic!("{head} was taken") };
        assert!(is_it(&error), "{head}: {error:?}");
        assert_eq!(lines, before, "{head}");
    }
    let long = |headers: &str| {
        let text = format!("{start}{headers}\r\n");
        head::read_head(&mut text.as_bytes(), &mut Vec::new()).err()
    };
    assert!(matches!(long(&format!("X: {}\r\n", "y".repeat(200 << 10))), Some(Error::LongLine)));
    let many = format!("X: {}\r\n", "y".repeat(1000)).repeat(400);
    assert!(matches!(long(&many), Some(Error::LongHead(length)) if length > HEAD_MAX));
}

#[test]
fn the_server_says_whether_a_connection_is_kept() {
    for (start, headers, keeps) in [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: x, Close\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("HTTP/1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ("http/1.1", "", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: close, keep-alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive\r\nConnection: close\r\n", false),
    ] {
        let text = format!("{start} 200 OK\r\n{headers}Content-Length: 2\r\n\r\nok");
        let mut answer = ask(Box::leak(text.into_boxed_str())).0.unwrap();
        answer.skip_body().unwrap();
        assert_eq!(answer.into_stream().is_some(), keeps, "{start} {headers}");
    }
}

#[test]
fn the_zone_of_an_address_is_an_interface() {
    let lo = nix::net::if_::if_nametoindex("lo").unwrap();
    for (host, zone, scope) in [
        ("[fe80::1%25lo]", "lo", lo),
        ("[fe80::1%lo]", "lo", lo),
        ("[fe80::1%257]", "7", 7),
        ("[fe80::1%25]", "25", 25),
    ] {
        let url = Url::parse(&format!("http://{host}:81/")).unwrap();
        assert_eq!((url.host.as_str(), url.zone.as_deref()), ("[fe80::1]", Some(zone)), "{host}");
        assert_eq!(url.authority(), "[fe80::1]:81");
        assert_eq!(url.full(), format!("http://[fe80::1%25{zone}]:81/"));
        let places = look_up(&url, None, &Deadline::new(None)).unwrap();
        assert_eq!(places, [SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 81, 0, scope))]);
    }
    assert_eq!(Url::parse("http://[fe80::1%]/"), Err(BadUrl::Malformed));
    assert!(!Url::parse("[::1%1]").unwrap().is_same_server(&Url::parse("[::1%2]").unwrap()));
}
