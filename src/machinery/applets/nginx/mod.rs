//! A small web server that listens, logs and stops like nginx: static files from the directories
//! its configuration names.

mod config;
mod serve;
mod text;

use super::daemon;
use config::Config;
use http::{Method, Request, header};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use linux::tcp;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

const DIRECTORY: &str = "/etc/nginx";
/// Where `nginx -s` finds the server, as with nginx.
const PID_FILE: &str = "/run/nginx.pid";
/// How long a client may go on to send a body behind the answer: all in all, and without a byte.
///
/// Source: the defaults of `lingering_time` and `lingering_timeout`.
const LINGERING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    Serve,
    /// `-t`, and `-T` with the files' texts.
    Test,
    Dump,
    Version,
    Signal(Signal),
}

fn parse(args: &[String]) -> Result<Call, String> {
    let mut call = Call::Serve;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix('-').filter(|o| !o.is_empty()) else {
            return Err(format!("invalid option: \"{word}\""));
        };
        let value = |words: &mut std::slice::Iter<String>| {
            let beside = Some(option[1..].to_string()).filter(|v| !v.is_empty());
            beside
                .or_else(|| words.next().cloned())
                .ok_or(format!("option \"-{}\" requires parameter", &option[..1]))
        };
        match &option[..option.chars().next().map_or(0, char::len_utf8)] {
            "t" => call = Call::Test,
            "T" => call = Call::Dump,
            "v" | "V" => call = Call::Version,
            "q" => {}
            "g" => check_directives(&value(&mut words)?)?,
            "s" => {
                call = Call::Signal(match value(&mut words)?.as_str() {
                    "stop" => Signal::SIGTERM,
                    "quit" => Signal::SIGQUIT,
                    "reload" => Signal::SIGHUP,
                    "reopen" => Signal::SIGUSR1,
                    other => return Err(format!("invalid option: \"-s {other}\"")),
                });
            }
            _ => return Err(format!("option \"{word}\" is not implemented by Ropewalk's nginx")),
        }
    }
    Ok(call)
}

/// `-g`: this server stays in the foreground, and its one process does all.
fn check_directives(text: &str) -> Result<(), String> {
    for directive in text.split(';').map(str::trim).filter(|d| !d.is_empty()) {
        match directive.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["daemon", "off"] | ["worker_processes", _] | ["master_process", _] => {}
            _ => return Err(format!("\"-g {directive};\" is not implemented by Ropewalk's nginx")),
        }
    }
    Ok(())
}

/// `nginx [-g DIRECTIVES] [-t | -T | -v | -s SIGNAL]`. Exit code 1 for a configuration that nginx
/// would refuse.
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let args = crate::arguments_as_text(args);
    let call = match parse(&args) {
        Ok(call) => call,
        Err(e) => {
            super::write_stderr(&format!("nginx: {e}\n"));
            return 1;
        }
    };
    match call {
        Call::Version => {
            super::write_stderr(concat!(
                "nginx version: nginx (Ropewalk's own, ",
                env!("CARGO_PKG_VERSION"),
                ")\n"
            ));
            return 0;
        }
        Call::Signal(signal) => return send_signal(signal),
        Call::Serve | Call::Test | Call::Dump => {}
    }
    let config = match config::load(Path::new(DIRECTORY)) {
        Ok(config) => config,
        Err(e) => {
            super::write_stderr(&format!("nginx: [emerg] {e}\n"));
            return 1;
        }
    };
    if call == Call::Serve {
        return daemon::serve("nginx: [emerg]", run(config));
    }
    super::write_stderr(&format!("nginx: configuration of {DIRECTORY} test is successful\n"));
    if call == Call::Dump {
        for (path, text) in config.files {
            super::write_stdout(&format!("# configuration file {}:\n{text}\n", path.display()));
        }
    }
    0
}

/// Carries `-s` out: sends a signal to the server that runs in this container. Returns the exit
/// code.
fn send_signal(signal: Signal) -> i32 {
    let failed = |why: String| {
        super::write_stderr(&format!("nginx: [error] {why}\n"));
        1
    };
    let text = match std::fs::read_to_string(PID_FILE) {
        Ok(text) => text,
        Err(e) => return failed(format!("open() \"{PID_FILE}\" failed ({e})")),
    };
    let Some(pid) = text.trim().parse::<i32>().ok().filter(|pid| *pid > 0) else {
        return failed(format!("invalid PID number \"{}\" in \"{PID_FILE}\"", text.trim()));
    };
    match nix::sys::signal::kill(Pid::from_raw(pid), signal) {
        Ok(()) => 0,
        Err(e) => failed(format!("kill({pid}, {signal}) failed ({})", e.desc())),
    }
}

/// Takes the file away with the server.
struct PidFile;

impl PidFile {
    fn write() -> PidFile {
        // A container's file system may be read-only; then `-s` cannot be used, and the server
        // works all the same.
        let _ = std::fs::write(PID_FILE, format!("{}\n", std::process::id()));
        PidFile
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let own = std::fs::read_to_string(PID_FILE).is_ok_and(|t| t.trim() == std::process::id().to_string());
        if own {
            let _ = std::fs::remove_file(PID_FILE);
        }
    }
}

/// A new connection, and the address of the socket that it came to.
type Arrival = (SocketAddr, TcpStream, SocketAddr);

/// The addresses that are listened on, each by a task.
struct Listening {
    tasks: BTreeMap<SocketAddr, AbortHandle>,
    accepting: JoinSet<()>,
    arrived: mpsc::Sender<Arrival>,
}

impl Listening {
    /// Listens on these addresses and no others. If one cannot be had, all stays as it was.
    async fn listen_on(&mut self, addresses: &[SocketAddr]) -> Result<(), String> {
        let mut new = Vec::new();
        for address in addresses.iter().filter(|address| !self.tasks.contains_key(address)) {
            let listener =
                TcpListener::bind(address).await.map_err(|e| format!("bind() to {address} failed ({e})"))?;
            new.push((*address, listener));
        }
        self.tasks.retain(|address, task| {
            let stays = addresses.contains(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for (address, listener) in new {
            let arrived = self.arrived.clone();
            let task = self.accepting.spawn_local(async move {
                loop {
                    let (stream, peer) = tcp::accept_always(&listener).await;
                    if arrived.send((address, stream, peer)).await.is_err() {
                        return;
                    }
                }
            });
            self.tasks.insert(address, task);
        }
        Ok(())
    }
}

/// Serves until a signal: QUIT lets running answers finish, TERM and INT do not. HUP reads the
/// configuration again.
async fn run(config: Config) -> Result<(), String> {
    let caught = |kind| signal(kind).map_err(|e| format!("cannot catch signals: {e}"));
    let (mut term, mut int, mut quit) =
        (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?, caught(SignalKind::quit())?);
    let (mut hup, mut reopen) = (caught(SignalKind::hangup())?, caught(SignalKind::user_defined1())?);
    // The container runtime blocks these signals until the program can handle them.
    linux::signal::unblock_all().map_err(|e| format!("cannot unblock signals: {e}"))?;
    let mut config = Rc::new(config);
    let (stop, stopping) = watch::channel(false);
    let mut serving = JoinSet::new();
    let (arrived, mut arrivals) = mpsc::channel(64);
    let mut listening = Listening { tasks: BTreeMap::new(), accepting: JoinSet::new(), arrived };
    listening.listen_on(&config.sockets()).await?;
    let pid_file = PidFile::write();
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = int.recv() => return Ok(()),
            _ = quit.recv() => break,
            _ = reopen.recv() => {} // the log is standard output
            _ = hup.recv() => {
                let read = config::load(Path::new(DIRECTORY));
                let taken = match &read {
                    Ok(new) => listening.listen_on(&new.sockets()).await,
                    Err(why) => Err(why.clone()),
                };
                match (read, taken) {
                    // Connections that there are go on as they began.
                    (Ok(new), Ok(())) => config = Rc::new(new),
                    (_, Err(why)) | (Err(why), _) => {
                        super::write_stderr(&format!("nginx: [emerg] {why}; the old configuration stays\n"));
                    }
                }
            }
            Some((address, stream, peer)) = arrivals.recv() => {
                while serving.try_join_next().is_some() {} // forget those that ended
                serving.spawn_local(serve_connection(config.clone(), address, stream, peer, stopping.clone()));
            }
        }
    }
    drop(pid_file);
    listening.accepting.shutdown().await;
    let _ = stop.send(true); // it has no receiver if no client is connected
    tokio::select! {
        _ = term.recv() => {}
        () = async { while serving.join_next().await.is_some() {} } => {}
    }
    Ok(())
}

async fn serve_connection(
    config: Rc<Config>,
    address: SocketAddr,
    mut stream: TcpStream,
    peer: SocketAddr,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or(address);
    let ends = serve::Ends { peer, local };
    let address = config.address(local, address);
    let has_body = Cell::new(false); // says whether the last request has a body
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        has_body.set(!request.body().is_end_stream());
        let host = text::requested_host(request.headers(), request.uri());
        let answered = match config.server(address, &host) {
            Some(server) => {
                let response = serve::answer_or_refuse(server, &request, ends);
                if response.extensions().get::<serve::Unlogged>().is_none() {
                    let length = response.body().size_hint().exact().unwrap_or(0);
                    log_request(peer, &request, response.status().as_u16(), length);
                }
                match response.extensions().get::<serve::Closes>().is_some() {
                    true => Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted)),
                    false => Ok(response),
                }
            }
            // Its server is gone since the configuration was read again.
            None => Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted)),
        };
        std::future::ready(answered)
    });
    // As nginx writes them, `Server` and not `server`; only its `ETag` becomes `Etag`.
    let ended = {
        let mut http = daemon::http1_builder();
        let connection = http.title_case_headers(true).serve_connection(TokioIo::new(&mut stream), service);
        tokio::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopping.wait_for(|stop| *stop) => {
                connection.as_mut().graceful_shutdown();
                // Between two requests it ends at once: then the last body was read to its end.
                let polled = poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx))).await;
                match polled {
                    Poll::Ready(ended) => {
                        has_body.set(false);
                        ended
                    }
                    Poll::Pending => connection.await,
                }
            }
        }
    };
    // An error is the client's, or closes the connection without an answer.
    if ended.is_ok() && has_body.get() {
        discard_input(&mut stream).await;
    }
}

/// Reads what a client still sends, and drops it. A connection that is closed with unread bytes is
/// reset, and a client that reads nothing before it has sent all would lose its answer.
async fn discard_input(stream: &mut TcpStream) {
    let (whole, pause) = LINGERING;
    let mut dropped = [0; 4096];
    let all =
        async { while let Ok(Ok(1..)) = tokio::time::timeout(pause, stream.read(&mut dropped)).await {} };
    let _ = tokio::time::timeout(whole, all).await; // either way the connection ends now
}

/// Writes a request into the access log.
fn log_request(peer: SocketAddr, request: &Request<Incoming>, status: u16, length: u64) {
    let line = log_line(peer, request, status, length);
    let _ = std::io::stdout().write_all(line.as_bytes()); // a closed log must not stop the server
}

/// Returns one line of nginx' combined format.
fn log_line<B>(peer: SocketAddr, request: &Request<B>, status: u16, length: u64) -> String {
    let text = |name| request.headers().get(name).map_or("-".to_string(), |v| escape_for_log(v.as_bytes()));
    let length = if request.method() == Method::HEAD { 0 } else { length };
    let line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
    format!(
        "{} - - [{}] \"{}\" {status} {length} \"{}\" \"{}\"\n",
        peer.ip(),
        jiff::Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000"),
        escape_for_log(line.as_bytes()),
        text(header::REFERER),
        text(header::USER_AGENT),
    )
}

/// Escapes what a client sent, as nginx does in its log: `"`, `\` and all bytes below 32 or above
/// 126 become `\xXX`. Otherwise a client could end a quoted field and write the next one itself.
///
/// Source: `ngx_http_log_escape`, the default `escape=default` of `log_format`.
fn escape_for_log(sent: &[u8]) -> String {
    let mut text = String::with_capacity(sent.len());
    for byte in sent {
        match byte {
            b'"' | b'\\' | 0..=31 | 127..=255 => text.push_str(&format!("\\x{byte:02X}")),
            plain => text.push(char::from(*plain)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// Returns a client, what ends the server, and the server's side of the connection.
    async fn connected() -> (TcpStream, watch::Sender<bool>, impl Future<Output = ()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let nowhere = config::Server { root: "/nowhere".into(), ..config::Server::default() };
        let server = config::Server { listens: vec![(address, false)], ..nowhere };
        let config = Rc::new(Config { servers: vec![server], files: Vec::new() });
        let (stop, stopping) = watch::channel(false);
        (client, stop, serve_connection(config, address, stream, peer, stopping))
    }

    /// Python's client reads nothing before it has sent all.
    #[tokio::test]
    async fn a_client_that_sends_all_of_a_refused_body_reads_why() {
        let (mut client, _stop, serving) = connected().await;
        let asking = async move {
            let body = vec![b'a'; 16 * 1024 * 1024];
            let head = format!("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: {}\r\n\r\n", body.len());
            client.write_all(head.as_bytes()).await.unwrap();
            client.write_all(&body).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(serving, asking);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }

    /// The pod would end so much later.
    #[tokio::test]
    async fn a_client_between_two_requests_does_not_hold_up_the_end() {
        let (mut client, stop, serving) = connected().await;
        let asking = async move {
            let request = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nhi";
            client.write_all(request).await.unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).await.unwrap();
            stop.send(true).unwrap();
            (client, answer) // it stays connected
        };
        let ending = tokio::time::timeout(LINGERING.1 / 2, serving);
        let (ended, (_client, answer)) = tokio::join!(ending, asking);
        assert_eq!((ended, &answer), (Ok(()), b"HTTP/1.1 404"));
    }

    /// `curl -sI web | grep ^Server` finds it.
    #[tokio::test]
    async fn headers_begin_with_large_letters() {
        let (mut client, _stop, serving) = connected().await;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        serving.await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        for line in ["Server: nginx", "Content-Type: text/html", "Content-Length: 146"] {
            assert!(answer.lines().any(|found| found == line), "{answer}");
        }
        assert!(answer.lines().any(|found| found.starts_with("Date: ")), "{answer}");
    }

    #[test]
    fn a_client_cannot_write_a_field_of_the_log_itself() {
        let line = |agent: &[u8]| {
            let agent = http::HeaderValue::from_bytes(agent).unwrap();
            let request = Request::get("/menu\"x").header(header::USER_AGENT, agent).body(()).unwrap();
            log_line("172.20.0.1:4000".parse().unwrap(), &request, 404, 153)
        };
        let logged = line(b"\"GET / HTTP/1.1\" 200 \\ \t \xc3\xa9");
        assert!(logged.starts_with("172.20.0.1 - - ["), "{logged}");
        let fields =
            r#"] "GET /menu\x22x HTTP/1.1" 404 153 "-" "\x22GET / HTTP/1.1\x22 200 \x5C \x09 \xC3\xA9""#;
        assert!(logged.ends_with(&format!("{fields}\n")), "{logged}");
        assert!(line(b"Mozilla/5.0 (X11)").ends_with("\"Mozilla/5.0 (X11)\"\n"));
    }

    #[test]
    fn options_are_carried_out_or_refused() {
        let parsed = |line: &str| {
            parse(&line.split('|').filter(|w| !w.is_empty()).map(String::from).collect::<Vec<_>>())
        };
        assert_eq!(parsed("-g|daemon off;"), Ok(Call::Serve));
        assert_eq!(parsed("-s|reload"), Ok(Call::Signal(Signal::SIGHUP)));
        assert_eq!(parsed("-squit"), Ok(Call::Signal(Signal::SIGQUIT)));
        assert_eq!(
            (parsed("-t|-q"), parsed("-T"), parsed("-v")),
            (Ok(Call::Test), Ok(Call::Dump), Ok(Call::Version))
        );
        for wrong in ["-c|/x", "-s|restart", "-s", "-g|daemon on;", "-g|user nobody;", "x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
