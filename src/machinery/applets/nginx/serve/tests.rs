use super::*;
use http::Version;

const ENDS: Ends = Ends {
    peer: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4000),
    local: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80),
};

fn serving(dir: &tempfile::TempDir) -> Server {
    Server { root: dir.path().into(), ..Server::default() }
}

fn status(server: &Server, path: &str) -> u16 {
    answer(server, &Request::get(path).body(()).unwrap(), ENDS).status().as_u16()
}

#[test]
fn a_detour_leads_past_no_location() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["private", "x"] {
        std::fs::create_dir(dir.path().join(path)).unwrap();
    }
    std::fs::write(dir.path().join("private/f"), "secret").unwrap();
    let refused =
        Location { answer: Some((403, super::super::text::Text::parse("").unwrap())), ..Location::default() };
    let server = Server { locations: vec![("/private".into(), refused)], ..serving(&dir) };
    for path in [
        "/private/f",
        "/x/../private/f",
        "//private/f",
        "/./private/f",
        "/x/%2e%2e/private//f",
        "/%70rivate/f",
    ] {
        assert_eq!(status(&server, path), 403, "{path}");
    }
    assert_eq!(status(&server, "/x/../nothing"), 404);
}

#[test]
fn what_is_no_plain_file_is_not_found_at_once() {
    let dir = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(status(&serving(&dir), "/fifo"), 404);
}

#[test]
fn a_server_has_its_own_error_pages_log_and_charset() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lost.html"), "lost").unwrap();
    let server = Server {
        error_pages: vec![(404, "/lost.html".into())],
        access_log: false,
        charset: Some("utf-8".into()),
        ..serving(&dir)
    };
    let response = answer(&server, &Request::get("/nope").body(()).unwrap(), ENDS);
    assert_eq!((response.status().as_u16(), response.body().left), (404, 4));
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    // As nginx, which says these of an answer 200 only.
    for (name, is_said) in
        [(header::ETAG, true), (header::LAST_MODIFIED, false), (header::ACCEPT_RANGES, false)]
    {
        assert_eq!(response.headers().contains_key(&name), is_said, "{name}");
    }
    assert!(response.extensions().get::<Unlogged>().is_some());
}

#[test]
fn a_body_has_at_most_one_mebibyte() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("long.html"), "long").unwrap();
    let text = || Some((200, super::super::text::Text::parse("here").unwrap()));
    let location = Location { answer: text(), ..Location::default() };
    let own = Server { locations: vec![("/".into(), location)], ..serving(&dir) };
    let paged = Server { error_pages: vec![(413, "/long.html".into())], ..serving(&dir) };
    let first = Server { answer: text(), ..serving(&dir) };
    let ask = |server: &Server, length: &str| {
        let request = Request::post("/x").header(header::HOST, "web").header(header::CONTENT_LENGTH, length);
        let response = answer_or_refuse(server, &request.body(()).unwrap(), ENDS);
        let closes = response.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
        (response.status().as_u16(), closes)
    };
    assert_eq!((ask(&own, "1048576"), ask(&own, "1048577")), ((200, false), (413, true)));
    assert_eq!(ask(&paged, "99999999999"), (413, true));
    assert_eq!(ask(&first, "1048577"), (200, false), "it is answered before a location is chosen");
}

#[test]
fn a_refusal_is_in_the_charset_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server { charset: Some("utf-8".into()), ..serving(&dir) };
    for (path, host) in [("/%zz", Some("web")), ("/", None)] {
        let request = Request::get(path);
        let request = host.into_iter().fold(request, |request, host| request.header(header::HOST, host));
        let response = answer_or_refuse(&server, &request.body(()).unwrap(), ENDS);
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
    }
}

#[test]
fn a_path_of_the_configuration_is_not_decoded() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("100%.html"), "whole").unwrap();
    let server = Server {
        error_pages: vec![(404, "/100%.html?x=%zz".into())],
        index: vec!["/100%.html".into()],
        ..serving(&dir)
    };
    for (path, status) in [("/nope", 404), ("/", 200)] {
        let response = answer(&server, &Request::get(path).body(()).unwrap(), ENDS);
        assert_eq!((response.status().as_u16(), response.body().left), (status, 5), "{path}");
    }
}

#[test]
fn an_error_page_is_sent_as_a_whole_and_by_any_method() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lost.html"), "lost").unwrap();
    let server =
        Server { error_pages: vec![(404, "/lost.html".into()), (405, "/lost.html".into())], ..serving(&dir) };
    let ask = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header(header::RANGE, "bytes=0-1");
        let response = answer(&server, &request.body(()).unwrap(), ENDS);
        assert!(!response.headers().contains_key(header::CONTENT_RANGE));
        (response.status().as_u16(), response.body().left)
    };
    assert_eq!(ask("GET", "/nope"), (404, 4));
    assert_eq!(ask("POST", "/nope"), (404, 4));
    assert_eq!(ask("POST", "/lost.html"), (405, 4));
    assert_eq!(ask("PUT", "/nope"), (405, 4));
}

#[test]
fn the_text_of_a_return_is_no_error_that_has_a_page() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lost.html"), "lost").unwrap();
    let returning = |code, text: &str| Location {
        answer: Some((code, super::super::text::Text::parse(text).unwrap())),
        ..Location::default()
    };
    let pages = [(404, "/lost.html"), (403, "/gone.html"), (410, "/said")];
    let server = Server {
        error_pages: pages.map(|(code, page)| (code, page.to_string())).into(),
        locations: vec![
            ("/api".into(), returning(404, "no such api")),
            ("/asked".into(), returning(404, "$arg_x")),
            ("/bare".into(), returning(404, "")),
            ("/closed".into(), returning(403, "")),
            ("/old".into(), returning(410, "")),
            ("/said".into(), returning(404, "it was here")),
        ],
        ..serving(&dir)
    };
    for (path, status, length) in [
        ("/api", 404, Some(11)),
        ("/asked?x=1", 404, Some(1)),
        ("/asked", 404, Some(0)),
        ("/bare", 404, Some(4)),
        ("/closed", 404, None),
        ("/old", 410, Some(11)),
    ] {
        let response = answer(&server, &Request::get(path).body(()).unwrap(), ENDS);
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(length.is_none_or(|length| response.body().left == length), "{path}");
    }
}

#[test]
fn return_answers_as_nginx_does() {
    let returning = |code, text: &str, path: &str| {
        let answered = Location {
            answer: Some((code, super::super::text::Text::parse(text).unwrap())),
            ..Location::default()
        };
        let server = Server { locations: vec![("/".into(), answered)], ..Server::default() };
        answer(&server, &Request::get(path).header(header::HOST, "Web:8080").body(()).unwrap(), ENDS)
    };
    for (code, length) in [(200, 0), (204, 0), (202, 0), (304, 0)] {
        assert_eq!(returning(code, "", "/healthz").body().left, length, "{code}");
    }
    assert_eq!(returning(404, "$arg_x", "/").body().left, 0);
    assert!(returning(404, "", "/").body().left > 0 && returning(301, "/x", "/").body().left > 0);
    assert!(returning(444, "", "/").extensions().get::<Closes>().is_some());
    for (path, kind) in [("/a.json", "application/json"), ("/", "application/octet-stream")] {
        assert_eq!(returning(200, "{}", path).headers()[header::CONTENT_TYPE], kind);
    }
    assert!(!returning(204, "", "/").headers().contains_key(header::CONTENT_TYPE));
    assert!(!returning(418, "", "/").headers().contains_key(header::CONTENT_TYPE));
    assert_eq!(returning(302, "/new", "/").headers()[header::LOCATION], "http://web/new");
}

#[test]
fn a_request_of_http_1_1_names_a_host() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("page"), "hello").unwrap();
    let server = serving(&dir);
    let ask = |version, host: Option<&str>| {
        let mut request = Request::get("/page").version(version);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        answer_or_refuse(&server, &request.body(()).unwrap(), ENDS)
    };
    for (version, host, status) in
        [(Version::HTTP_11, Some("web"), 200), (Version::HTTP_11, None, 400), (Version::HTTP_10, None, 200)]
    {
        let response = ask(version, host);
        assert_eq!(response.status(), status, "{version:?} {host:?}");
        assert_eq!(response.headers().contains_key(header::CONNECTION), status == 400);
    }
    std::fs::write(dir.path().join("empty"), "").unwrap();
    let head = |path: &str| {
        let request = Request::head(path).header(header::HOST, "web").body(()).unwrap();
        answer_or_refuse(&server, &request, ENDS).headers().get(header::CONTENT_LENGTH).cloned()
    };
    assert_eq!(
        (head("/empty"), head("/page")),
        (Some(HeaderValue::from_static("0")), None),
        "hyper says others"
    );
}

#[test]
fn a_status_has_the_words_of_nginx() {
    let returning = |code| Location {
        answer: Some((code, super::super::text::Text::parse("").unwrap())),
        ..Location::default()
    };
    let codes = [200, 302, 401, 404, 405, 503, 418, 599];
    let locations = codes.map(|code| (format!("/{code}"), returning(code)));
    let server = Server { locations: locations.into(), ..Server::default() };
    for (path, line, title) in [
        ("/200", "OK", ""),
        ("/302", "Moved Temporarily", "<title>302 Found</title>"),
        ("/401", "Unauthorized", "<title>401 Authorization Required</title>"),
        ("/404", "Not Found", "<title>404 Not Found</title>"),
        ("/405", "Not Allowed", "<title>405 Not Allowed</title>"),
        ("/503", "Service Temporarily Unavailable", "<h1>503 Service Temporarily Unavailable</h1>"),
        ("/418", "", ""),
        ("/599", "", ""),
    ] {
        let request = Request::get(path).header(header::HOST, "web").body(()).unwrap();
        let response = answer_or_refuse(&server, &request, ENDS);
        let reason = response.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(reason.as_bytes(), line.as_bytes());
        let text = response.body().first_text();
        assert!(text.contains(title) && text.is_empty() == title.is_empty(), "{text}");
    }
    let refused = Request::trace("/").header(header::HOST, "web").body(()).unwrap();
    let refused = answer_or_refuse(&server, &refused, ENDS);
    assert_eq!(refused.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Not Allowed");
}

#[test]
fn no_request_gets_out_of_the_root() {
    assert_eq!(safe_path("/a/%2e%2e/b").map(|(_, p)| p), Some("b".into()));
    assert_eq!(safe_path("/../etc/passwd"), None);
    assert_eq!(safe_path("/%00"), None);
}

#[test]
fn a_path_has_whole_escapes_and_any_bytes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(OsStr::from_bytes(b"caf\xe9")), "latin").unwrap();
    let server = serving(&dir);
    for (path, expected) in
        [("/caf%E9", 200), ("/caf%C3%A9", 404), ("/%", 400), ("/a%2", 400), ("/%zz", 400), ("/%252", 404)]
    {
        assert_eq!(status(&server, path), expected, "{path}");
    }
    assert_eq!(status(&server, &format!("/{}", "a".repeat(300))), 404, "no file has such a name");
}

#[tokio::test]
async fn several_parts_are_sent_between_boundaries() {
    use http_body_util::BodyExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("page.html"), "0123456789").unwrap();
    let server = Server { charset: Some("utf-8".into()), ..serving(&dir) };
    let request = Request::get("/page.html").header(header::RANGE, "bytes=7-8, 0-2").body(()).unwrap();
    let response = answer(&server, &request, ENDS);
    assert_eq!(response.status(), 206);
    assert!(!response.headers().contains_key(header::CONTENT_RANGE));
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_string();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert!(boundary.len() == 20 && boundary.bytes().all(|b| b.is_ascii_digit()), "{kind}");
    let length = response.body().left;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let head = format!("\r\n--{boundary}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Range: bytes");
    let want = format!("{head} 7-8/10\r\n\r\n78{head} 0-2/10\r\n\r\n012\r\n--{boundary}--\r\n");
    assert_eq!((String::from_utf8_lossy(&body).as_ref(), length), (want.as_str(), want.len() as u64));
}

#[test]
fn a_directory_answers_with_its_index() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    std::fs::write(dir.path().join("sub/index.html"), "hello").unwrap();
    let server = serving(&dir);
    let ask = |path: &str| {
        let response = answer(&server, &Request::get(path).body(()).unwrap(), ENDS);
        (response.status().as_u16(), response.body().left)
    };
    assert_eq!(ask("/sub/"), (200, 5));
    assert_eq!(ask("/sub").0, 301);
    assert_eq!(ask("/sub/index.html"), (200, 5));
    assert_eq!(ask("/sub/index.html/").0, 404);
    let moved = answer(&server, &Request::get("/sub?a=%20b").body(()).unwrap(), ENDS);
    assert_eq!(moved.headers()[header::LOCATION], "http://127.0.0.1/sub/?a=%20b");
    assert_eq!(ask("/").0, 403);
    assert_eq!(ask("/nope").0, 404);
}

#[test]
fn an_index_may_be_a_path_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    std::fs::write(dir.path().join("start.html"), "hello").unwrap();
    let index =
        |names: &[&str]| Server { index: names.iter().map(|n| n.to_string()).collect(), ..serving(&dir) };
    assert_eq!(status(&index(&["no.html", "/start.html"]), "/sub/"), 200);
    assert_eq!(status(&index(&["/start.html"]), "/sub/?a=b"), 200);
    assert_eq!(status(&index(&["/no.html"]), "/sub/"), 404);
    // It is below the root as all paths, and leads into no circle.
    assert_eq!(status(&index(&["/etc/passwd"]), "/"), 404);
    assert_eq!(status(&index(&["/sub/"]), "/"), 403);
    let refused =
        Location { answer: Some((410, super::super::text::Text::parse("").unwrap())), ..Location::default() };
    let guarded = Server { locations: vec![("/start".into(), refused)], ..index(&["/start.html"]) };
    assert_eq!(status(&guarded, "/sub/"), 410);
}

#[test]
fn an_exact_location_is_of_one_path() {
    let returning = |code, exact| {
        let answer = Some((code, super::super::text::Text::parse("").unwrap()));
        Location { answer, exact, ..Location::default() }
    };
    let locations = vec![("/a".into(), returning(201, true)), ("/a".into(), returning(202, false))];
    let server = Server { locations, ..Server::default() };
    assert_eq!((status(&server, "/a"), status(&server, "/a/"), status(&server, "/ab")), (201, 202, 202));
}

/// As nginx has it: `location = /` chooses the index of its own root, and the file behind it is one
/// of `location /`.
#[test]
fn the_file_of_an_index_is_of_its_own_location() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("own")).unwrap();
    std::fs::write(dir.path().join("own/index.html"), "own").unwrap();
    let own = Location { exact: true, root: Some(dir.path().join("own")), ..Location::default() };
    let server = Server { locations: vec![("/".into(), own)], ..serving(&dir) };
    assert_eq!(status(&server, "/"), 404);
    std::fs::write(dir.path().join("index.html"), "for all").unwrap();
    let response = answer(&server, &Request::get("/").body(()).unwrap(), ENDS);
    assert_eq!((response.status().as_u16(), response.body().left), (200, 7));
}

#[test]
fn a_known_page_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("page"), "hello").unwrap();
    let server = serving(&dir);
    let ask = |name: header::HeaderName, value: &str| {
        answer(&server, &Request::get("/page").header(name, value).body(()).unwrap(), ENDS)
    };
    let first = ask(header::ACCEPT, "*/*");
    let get = |name| first.headers()[name].to_str().unwrap().to_string();
    let (tag, date) = (get("etag"), get("last-modified"));
    assert_eq!(ask(header::IF_NONE_MATCH, &format!("\"other\", W/{tag}")).status(), 304);
    assert_eq!(ask(header::IF_NONE_MATCH, "\"other\"").status(), 200);
    let unchanged = ask(header::IF_NONE_MATCH, &tag);
    for name in [header::CONTENT_TYPE, header::ACCEPT_RANGES] {
        assert!(first.headers().contains_key(&name) && !unchanged.headers().contains_key(&name), "{name}");
    }
    assert_eq!(ask(header::IF_MODIFIED_SINCE, &date).status(), 304);
    assert_eq!(ask(header::IF_MODIFIED_SINCE, "Thu, 01 Jan 1970 00:00:00 GMT").status(), 200);
    assert_eq!(ask(header::RANGE, "bytes=1-2").status(), 206);
    for (version, status) in [
        (tag.as_str(), 206),
        (date.as_str(), 206),
        ("\"other\"", 200),
        (&format!("W/{tag}"), 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
    ] {
        let part = Request::get("/page").header(header::RANGE, "bytes=1-2");
        let part = part.header(header::IF_RANGE, version).body(()).unwrap();
        assert_eq!(answer(&server, &part, ENDS).status(), status, "{version}");
    }
}

#[test]
fn a_file_that_is_another_than_the_client_asks_for_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("page"), "hello").unwrap();
    std::fs::write(dir.path().join("other.html"), "it has changed").unwrap();
    let server = serving(&dir);
    let ask = |server: &Server, headers: &[(&str, &str)]| {
        let mut request = Request::get("/page");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(server, &request.body(()).unwrap(), ENDS)
    };
    let first = ask(&server, &[]);
    let get = |name| first.headers()[name].to_str().unwrap().to_string();
    let (tag, date) = (get("etag"), get("last-modified"));
    let (weak, both) = (format!("W/{tag}"), format!("\"other\", {tag}"));
    let (later, early) = ("Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT");
    for (headers, status) in [
        (&[("if-match", tag.as_str())][..], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", both.as_str())], 200),
        (&[("if-match", weak.as_str())], 412),
        (&[("if-match", "\"other\"")], 412),
        (&[("if-unmodified-since", date.as_str())], 200),
        (&[("if-unmodified-since", later)], 200),
        (&[("if-unmodified-since", early)], 412),
        (&[("if-unmodified-since", "yesterday")], 412),
        (&[("if-match", "*"), ("if-unmodified-since", early)], 412),
        (&[("if-match", "\"other\""), ("range", "bytes=9-")], 412),
        (&[("if-match", tag.as_str()), ("range", "bytes=1-2")], 206),
        (&[("if-match", tag.as_str()), ("if-none-match", tag.as_str())], 304),
        (&[("if-none-match", tag.as_str()), ("if-modified-since", date.as_str())], 304),
        (&[("if-none-match", tag.as_str()), ("if-modified-since", early)], 200),
        (&[("if-none-match", "\"other\""), ("if-modified-since", date.as_str())], 200),
    ] {
        assert_eq!(ask(&server, headers).status(), status, "{headers:?}");
    }
    let refused = ask(&server, &[("if-match", "\"other\"")]);
    assert!(refused.body().first_text().contains("<h1>412 Precondition Failed</h1>"));
    let own = Server { error_pages: vec![(412, "/other.html".into())], ..server };
    let refused = ask(&own, &[("if-match", "\"other\"")]);
    assert_eq!((refused.status().as_u16(), refused.body().left), (412, 14), "its own page is no other file");
}
