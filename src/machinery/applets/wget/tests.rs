//! Calls with servers on the loopback.

use super::*;

#[test]
fn a_page_is_saved_and_errors_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page").to_str().unwrap().to_string();
    let moved = "HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n";
    let (port, server) = http::tests::server(vec![moved, "HTTP/1.1 200 OK\r\n\r\nhello"]);
    let call = Call { quiet: true, output: Some(path.clone()), ..Call::default() };
    fetch(&call, &format!("http://127.0.0.1:{port}/here")).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello");
    let again = |call: &Call, body: &'static str| {
        let (port, server) = http::tests::server(vec![body]);
        let done = fetch(call, &format!("http://127.0.0.1:{port}/here"));
        server.join().unwrap();
        done
    };
    again(&call, "HTTP/1.1 200 OK\r\n\r\n, again").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello, again", "the second URL of one call");
    let here = Call { quiet: true, directory: Some(dir.path().display().to_string()), ..Call::default() };
    again(&here, "HTTP/1.1 200 OK\r\n\r\nfirst").unwrap();
    let error = again(&here, "HTTP/1.1 200 OK\r\n\r\nsecond").unwrap_err();
    assert!(error.ends_with("here': File exists"), "{error}");
    assert_eq!(std::fs::read_to_string(dir.path().join("here")).unwrap(), "first");
    let requests = server.join().unwrap();
    assert!(
        requests[1].starts_with("GET /there HTTP/1.1\r\n") && requests[1].contains("User-Agent: Wget\r\n")
    );
    let (port, server) = http::tests::server(vec!["HTTP/1.1 404 Not Found\r\n\r\n"]);
    let error = fetch(&call, &format!("127.0.0.1:{port}")).unwrap_err();
    assert_eq!(error, "server returned error: HTTP/1.1 404 Not Found");
    server.join().unwrap();
    let error = fetch(&call, &format!("127.0.0.1:{port}")).unwrap_err();
    assert_eq!(error, "can't connect to remote host (127.0.0.1): Connection refused");
    assert!(fetch(&call, "ftp://web").unwrap_err().starts_with("ftp is not implemented"));
}

#[test]
fn the_users_url_names_the_file_and_the_servers_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let call = Call { quiet: true, directory: Some(dir.path().display().to_string()), ..Call::default() };
    for (path, name) in [("/a/page?q=1", "page?q=1"), ("/a/", "index.html"), ("/a?b=c/d", "d")] {
        let moved = "HTTP/1.1 302 Found\r\nLocation: /.bashrc\r\n\r\n";
        let (port, server) = http::tests::server(vec![moved, "HTTP/1.1 200 OK\r\n\r\nhello"]);
        fetch(&call, &format!("http://127.0.0.1:{port}{path}")).unwrap();
        server.join().unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), "hello", "{path}");
    }
    assert!(!dir.path().join(".bashrc").exists());
}

#[test]
fn another_server_does_not_learn_who_the_user_is() {
    let (port, other) = http::tests::server(vec!["HTTP/1.1 200 OK\r\n\r\n"]);
    let moved = format!("HTTP/1.1 302 Found\r\nLocation: http://localhost:{port}/b\r\n\r\n");
    let moved: &'static str = Box::leak(moved.into_boxed_str());
    let again = "HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n";
    let (first_port, first) = http::tests::server(vec![again, moved]);
    let headers = ["Authorization: Bearer x", "cookie : c=1", "Host: web", "Keep: 1"];
    let headers = headers.map(String::from).to_vec();
    let call = Call { quiet: true, output: Some("/dev/null".into()), headers, ..Call::default() };
    fetch(&call, &format!("http://127.0.0.1:{first_port}/a")).unwrap();
    for request in first.join().unwrap() {
        let all = ["Authorization: Bearer x", "cookie : c=1", "Host: web", "Keep: 1"];
        assert!(all.iter().all(|header| request.contains(header)), "{request}");
    }
    let other = other.join().unwrap().remove(0);
    assert!(other.contains("Keep: 1\r\n"), "{other}");
    assert!(other.contains(&format!("Host: localhost:{port}\r\n")), "{other}");
    assert!(!other.contains("Bearer") && !other.contains("c=1") && !other.contains("web"), "{other}");
}

/// Fetches a URL from a server that gives these answers, to a file. Returns what was saved, and the
/// requests.
fn saved(call: Call, user: &str, answers: Vec<&'static str>) -> (Result<String, String>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let call = Call { quiet: true, output: Some(path.display().to_string()), ..call };
    let (port, server) = http::tests::server(answers);
    let fetched = fetch(&call, &format!("http://{user}127.0.0.1:{port}/a"));
    (fetched.map(|()| std::fs::read_to_string(&path).unwrap()), server.join().unwrap())
}

/// What is here comes from busybox 1.35.
#[test]
fn only_some_statuses_are_followed_or_saved() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for answer in [
        "HTTP/1.1 300 X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 307 X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 308 X\r\nLocation:\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (got, requests) = saved(Call::default(), "", vec![answer, OK]);
        assert_eq!((got.as_deref(), requests.len()), (Ok("ok"), 2), "{answer}");
        assert!(requests[1].starts_with("GET /b "), "{answer}");
    }
    for (answer, result) in [
        ("HTTP/1.1 201 X\r\nLocation: /b\r\nContent-Length: 2\r\n\r\nhi", Ok("hi")),
        ("HTTP/1.1 302 X\r\nContent-Length: 2\r\n\r\nhi", Ok("hi")),
        ("HTTP/1.1 206 X\r\nContent-Length: 2\r\n\r\nhi", Err("HTTP/1.1 206 X")),
        ("HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n", Err("HTTP/1.1 205 X")),
        ("HTTP/1.1 304 X\r\nLocation: /b\r\n\r\n", Err("HTTP/1.1 304 X")),
        ("HTTP/1.1 305 X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", Err("HTTP/1.1 305 X")),
    ] {
        let (got, requests) = saved(Call::default(), "", vec![answer]);
        let result = result.map(str::to_string).map_err(|line| format!("server returned error: {line}"));
        assert_eq!((got, requests.len()), (result, 1), "{answer}");
    }
}

/// As busybox 1.35: the answer to the sixteenth request is not followed.
#[test]
fn redirections_are_followed_fifteen_times() {
    const MOVED: &str = "HTTP/1.1 302 X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (got, requests) = saved(Call::default(), "", vec![MOVED; 16]);
    assert_eq!((got, requests.len()), (Err("too many redirections".into()), 16));
    let answers = [vec![MOVED; 15], vec![OK]].concat();
    assert_eq!(saved(Call::default(), "", answers).0, Ok("ok".into()));
}

#[test]
fn what_a_server_says_does_not_steer_the_terminal() {
    let refused = vec!["HTTP/1.1 404 No\x1b[31mt\r\nContent-Length: 0\r\n\r\n"];
    let result = saved(Call::default(), "", refused).0;
    assert_eq!(result, Err("server returned error: HTTP/1.1 404 No".into()));
    let moved = vec!["HTTP/1.1 302 X\r\nLocation: http://a\x1b[31mb/\r\nContent-Length: 0\r\n\r\n"];
    assert_eq!(saved(Call::default(), "", moved).0, Err("bad URL: http://a".into()));
    let head = "HTTP/1.1 200 OK\r\nX: a\x1b[31mb\r\nY: 1\u{9b}2J\r\n";
    assert_eq!(shown_head(head), "  HTTP/1.1 200 OK\n  X: a\n  Y: 1\n  \n");
}

#[test]
fn a_file_is_posted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, "a=1\n").unwrap();
    let post = |name: String| Call { post: Some(Post::File(name)), ..Call::default() };
    let answers = vec!["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    let (got, requests) = saved(post(file.display().to_string()), "", answers);
    assert_eq!(got, Ok("ok".into()));
    let end = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 4\r\n\r\na=1\n";
    assert!(requests[0].starts_with("POST /a ") && requests[0].ends_with(end), "{}", requests[0]);
    let result = fetch(&post("/nowhere/f".into()), "http://127.0.0.1:1/");
    assert_eq!(result, Err("can't open '/nowhere/f': No such file or directory".into()));
}

#[test]
fn the_users_header_takes_the_place_of_the_user_in_the_url() {
    for (headers, authorization) in
        [(vec![], "Authorization: Basic dTpw"), (vec!["authorization: x".to_string()], "authorization: x")]
    {
        let call = Call { headers, ..Call::default() };
        let answers = vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"];
        let request = saved(call, "u:p@", answers).1.remove(0);
        let is_it = |line: &&str| line.to_ascii_lowercase().starts_with("authorization:");
        assert_eq!(request.lines().filter(is_it).collect::<Vec<_>>(), [authorization]);
    }
}
