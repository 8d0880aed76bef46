//! A small web server that listens, logs and stops like nginx: static files from the directories its configuration names.

mod config;
mod serve;

use super::daemon;
use config::Config;
use http::{Method, Request, header};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

const MAIN_FILE: &str = "/etc/nginx/conf.d/default.conf";

/// `nginx [-g DIRECTIVES] [-t]`. Exit code 1 for a configuration that nginx would refuse.
pub fn main(args: Vec<OsString>) -> i32 {
    let config = match config::load(Path::new(MAIN_FILE)) {
        Ok(config) => config,
        Err(e) => {
            eprintln!("nginx: [emerg] {e}");
            return 1;
        }
    };
    if args.iter().any(|a| a == "-t") {
        eprintln!("nginx: configuration file {MAIN_FILE} test is successful");
        return 0;
    }
    daemon::serve("nginx: [emerg]", run(config))
}

/// Serves until a signal: QUIT lets running answers finish, TERM and INT do not.
async fn run(config: Config) -> Result<(), String> {
    let caught = |kind| signal(kind).map_err(|e| format!("cannot catch signals: {e}"));
    let (mut term, mut int, mut quit) =
        (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?, caught(SignalKind::quit())?);
    // The runtime holds these signals back until somebody listens.
    crate::linux::signal::unblock_all().map_err(|e| format!("cannot unblock signals: {e}"))?;
    let config = Rc::new(config);
    let (stop, stopping) = watch::channel(false);
    let mut accepting = JoinSet::new();
    let mut serving = JoinSet::new();
    let (new_connections, mut arrived) = tokio::sync::mpsc::channel(64);
    for server in 0..config.servers.len() {
        let port = config.servers[server].port;
        let address = SocketAddr::from(([0, 0, 0, 0], port));
        let listener =
            TcpListener::bind(address).await.map_err(|e| format!("bind() to {address} failed ({e})"))?;
        let new_connections = new_connections.clone();
        accepting.spawn_local(async move {
            loop {
                if let Ok(connection) = listener.accept().await
                    && new_connections.send((server, connection)).await.is_err()
                {
                    return;
                }
            }
        });
    }
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = int.recv() => return Ok(()),
            _ = quit.recv() => break,
            Some((server, (stream, peer))) = arrived.recv() => {
                while serving.try_join_next().is_some() {} // forget those that ended
                serving.spawn_local(connection(config.clone(), server, stream, peer, stopping.clone()));
            }
        }
    }
    accepting.shutdown().await;
    let _ = stop.send(true); // nobody listens if nobody is connected
    tokio::select! {
        _ = term.recv() => {}
        () = async { while serving.join_next().await.is_some() {} } => {}
    }
    Ok(())
}

async fn connection(
    config: Rc<Config>,
    server: usize,
    stream: TcpStream,
    peer: SocketAddr,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let response = serve::answer(&config.servers[server], &request);
        log(peer, &request, response.status().as_u16(), response.body().size_hint().exact().unwrap_or(0));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {} // an error is the client's
        _ = stopping.wait_for(|stop| *stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// One line of nginx' combined format.
fn log(peer: SocketAddr, request: &Request<Incoming>, status: u16, length: u64) {
    let text = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("-");
    let length = if request.method() == Method::HEAD { 0 } else { length };
    let line = format!(
        "{} - - [{}] \"{} {} {:?}\" {status} {length} \"{}\" \"{}\"\n",
        peer.ip(),
        jiff::Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000"),
        request.method(),
        request.uri(),
        request.version(),
        text(header::REFERER),
        text(header::USER_AGENT),
    );
    let _ = std::io::stdout().write_all(line.as_bytes()); // a log that nobody takes must not stop the server
}
