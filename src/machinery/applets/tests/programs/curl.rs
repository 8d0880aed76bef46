//! Calls of curl, compared with what curl 7.88.1 did.

use crate::Room;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Calls, a line each. A line was made by a script that does what [`replay`] does, with Debian 12's
/// curl 7.88.1 in place of the room's: it makes an empty folder with `files`, begins a server on
/// the loopback that gives `answers`, calls curl with `args` (`{port}` is the server's port) and
/// `stdin`, and writes down the `requests` that came, the output, the exit code, and the files that
/// were `made`. Characters of all of these stand for bytes, except in `args`. Times to connect and
/// places in memory are written as `N`. With `kept` the server keeps its connections, and a request
/// may come over any of them.
const CALLS: &str = include_str!("curl.jsonl");

/// Calls that are replayed at the same time: some wait before they retry.
const THREADS: usize = 4;

/// What came of a call.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    requests: Vec<String>,
    out: String,
    err: String,
    code: i64,
    made: Vec<(String, String)>,
}

pub(crate) fn curl_does_what_curl_7_88_1_does(room: &Room) {
    let calls: Vec<Value> = CALLS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let differing: Vec<String> = std::thread::scope(|scope| {
        let compare = |first: usize| {
            calls
                .iter()
                .skip(first)
                .step_by(THREADS)
                .filter_map(|call| differs(room, call))
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || compare(first))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(differing.is_empty(), "{} of {} calls:\n{}", differing.len(), calls.len(), differing.join("\n"));
}

/// Returns what is different about a call, if anything is.
fn differs(room: &Room, call: &Value) -> Option<String> {
    let made = call["made"].as_object().into_iter().flatten();
    let wanted = Seen {
        requests: texts(&call["requests"]),
        out: text(&call["out"]),
        // Without a manual, curl itself says this.
        err: text(&call["err"]).replace(" or 'curl --manual'", ""),
        code: call["code"].as_i64().unwrap(),
        made: made.map(|(name, content)| (name.clone(), text(content))).collect(),
    };
    let seen = replay(room, call);
    (seen != wanted).then(|| format!("{}\n  here {seen:?}\n  curl {wanted:?}", call["args"]))
}

/// Makes a call as [`CALLS`] tells it.
fn replay(room: &Room, call: &Value) -> Seen {
    let dir = tempfile::tempdir().unwrap();
    let files = call["files"].as_object();
    for (name, content) in files.into_iter().flatten() {
        std::fs::write(dir.path().join(name), bytes(&text(content))).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let answers: Vec<String> =
        texts(&call["answers"]).iter().map(|answer| answer.replace("{port}", &port)).collect();
    let is_done = AtomicBool::new(false);
    let is_kept = call["kept"].as_bool() == Some(true);
    let (requests, output) = std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, &answers, is_kept, &is_done));
        let mut command = room.program("curl");
        command.args(texts(&call["args"]).iter().map(|word| word.replace("{port}", &port)));
        command.current_dir(dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A call that does not read it may have ended already.
        let _ = child.stdin.take().unwrap().write_all(&bytes(&text(&call["stdin"])));
        let output = child.wait_with_output().unwrap();
        is_done.store(true, Ordering::Relaxed);
        (server.join().unwrap(), output)
    });
    // The agent names the room, too.
    let agent = concat!(" (ropewalk ", env!("CARGO_PKG_VERSION"), ")");
    let clean = |bytes: &[u8]| latin(bytes).replace(&port, "{port}").replace(agent, "");
    let mut made = Vec::new();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !files.is_some_and(|files| files.contains_key(&name)) {
            made.push((name.clone(), clean(&std::fs::read(dir.path().join(&name)).unwrap())));
        }
    }
    made.sort();
    Seen {
        requests: requests.iter().map(|request| clean(request)).collect(),
        out: clean(&output.stdout),
        err: without_places(&without_times(&clean(&output.stderr))),
        code: i64::from(output.status.code().unwrap_or(-1)),
        made,
    }
}

/// Answers one connection after the other, until all answers are given and, if it keeps its
/// connections, curl `is_done`. Returns the requests.
fn serve(listener: &TcpListener, answers: &[String], is_kept: bool, is_done: &AtomicBool) -> Vec<Vec<u8>> {
    let (mut requests, mut kept) = (Vec::new(), Vec::<TcpStream>::new());
    while requests.len() < answers.len() || is_kept {
        // Asked first: once curl is done, its last connection is there.
        let was_done = is_done.load(Ordering::Relaxed);
        let ready = kept.iter().position(|stream| stream.peek(&mut [0]).is_ok());
        let next =
            ready.map(|at| kept.remove(at)).or_else(|| listener.accept().ok().map(|(stream, _)| stream));
        match (next, answers.get(requests.len())) {
            (Some(stream), Some(text)) => {
                let again = is_kept.then(|| stream.try_clone().unwrap());
                let request = answer(stream, text);
                // A kept connection that the client closes says nothing.
                if !is_kept || !request.is_empty() {
                    requests.push(request);
                    kept.extend(again.inspect(|stream| stream.set_nonblocking(true).unwrap()));
                }
            }
            (None, _) if was_done => break,
            (None, _) => std::thread::sleep(Duration::from_millis(1)),
            // No answer is left: the connection is closed.
            (Some(_), None) => {}
        }
    }
    requests
}

/// Reads a request and answers it; an answer that begins with `!` comes before the body is read.
fn answer(mut stream: TcpStream, answer: &str) -> Vec<u8> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut request = Vec::new();
    let head_of = |request: &[u8]| request.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
    while head_of(&request).is_none() && more(&mut stream, &mut request) {}
    let length = head_of(&request).unwrap_or(request.len());
    let head = latin(&request[..length]).to_ascii_lowercase();
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.strip_prefix(':')).map(|value| value.trim().to_string())
    };
    let (answer, is_early) = match answer.strip_prefix('!') {
        Some(answer) => (answer, true),
        None => (answer, false),
    };
    if is_early {
        stream.write_all(&bytes(answer)).unwrap();
        return request;
    }
    if header("expect").is_some_and(|value| value == "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    }
    let body = header("content-length").and_then(|value| value.parse::<usize>().ok());
    if header("transfer-encoding").is_some_and(|value| value == "chunked") {
        while !request.ends_with(b"0\r\n\r\n") && more(&mut stream, &mut request) {}
    } else {
        while request.len() < length + body.unwrap_or(0) && more(&mut stream, &mut request) {}
    }
    // A client that has closed is no failure of the server's.
    let _ = stream.write_all(&bytes(answer));
    request
}

/// Reads more of a request. Returns false at its end.
fn more(stream: &mut TcpStream, request: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).unwrap_or(0);
    request.extend_from_slice(&buffer[..count]);
    count > 0
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// Returns the bytes as characters, one each.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Returns the bytes that characters stand for.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// Returns the place in memory of a bundle of connections as `N`.
fn without_places(text: &str) -> String {
    const BUNDLE: &str = "Found bundle for host: ";
    let line = |line: &str| match line.split_once(BUNDLE).and_then(|(_, rest)| rest.split_once(' ')) {
        Some((_, rest)) => format!("* {BUNDLE}N {rest}"),
        None => line.to_string(),
    };
    text.split_inclusive('\n').map(line).collect()
}

/// `after 3 ms` as `after N ms`.
fn without_times(text: &str) -> String {
    let mut parts = text.split("after ");
    let mut clean = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let is_time = digits > 0 && part[digits..].starts_with(" ms");
        clean += &format!("after {}{}", if is_time { "N" } else { &part[..digits] }, &part[digits..]);
    }
    clean
}
