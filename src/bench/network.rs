//! What the ways into a cluster cost: a NodePort's rules beside a direct connection, localhost's
//! way in beside loopback.

use super::figure::{Aim, Figure, PeerName};
use super::world::World;
use anyhow::{Context, anyhow, bail, ensure};
use cni::{HostPort, Protocol, ServiceRule};
use cri::{ContainerConfig, Mount};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Bytes of one long answer.
const LONG: usize = 256 << 20;
const CHUNK: usize = 256 << 10;
/// Requests of one round, each on a connection of its own.
const REQUESTS: usize = 300;
const NODE_PORT: u16 = 30080;
const PATIENCE: Duration = Duration::from_secs(5);

/// A route to a server: from where a client connects, and to which address.
enum Route<'a> {
    /// From the first node's namespace.
    FromNode(&'a World, SocketAddr),
    /// From the machine itself.
    FromHost(SocketAddr),
}

impl Route<'_> {
    async fn dial(&self) -> std::io::Result<TcpStream> {
        match self {
            Route::FromNode(world, to) => world.nodes[0].network.dial(*to).await,
            Route::FromHost(to) => TcpStream::connect(to).await,
        }
    }

    /// Sends a request on a connection of its own; returns how many bytes the answer had.
    async fn request(&self, path: &str, buffer: &mut [u8]) -> anyhow::Result<usize> {
        let mut stream = self.dial().await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = 0;
        loop {
            match stream.read(buffer).await? {
                0 => return Ok(bytes),
                n => bytes += n,
            }
        }
    }

    /// Measures one long answer: megabytes a second.
    async fn long_answer_rate(&self) -> anyhow::Result<f64> {
        let mut buffer = vec![0; CHUNK];
        let start = Instant::now();
        let bytes = self.request("/long", &mut buffer).await?;
        ensure!(bytes >= LONG, "an answer broke off after {bytes} bytes");
        Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
    }

    /// Measures short answers, one after the other: requests a second.
    async fn request_rate(&self) -> anyhow::Result<f64> {
        let mut buffer = vec![0; CHUNK];
        let start = Instant::now();
        for _ in 0..REQUESTS {
            ensure!(self.request("/", &mut buffer).await? > 0, "an empty answer");
        }
        Ok(REQUESTS as f64 / start.elapsed().as_secs_f64())
    }

    /// Waits until the server answers, for [`PATIENCE`] at most.
    ///
    /// # Errors
    /// It does not: the last reason.
    async fn wait_until_answering(&self) -> anyhow::Result<()> {
        let until = clock::deadline(PATIENCE);
        let mut reason = anyhow!("it says nothing");
        while let Some(left) = until.checked_duration_since(clock::Instant::now()) {
            // A server that takes the connection and stays silent has no limit of its own.
            match clock::limit(left, self.request("/", &mut [0; 512])).await {
                Some(Ok(0)) => reason = anyhow!("an empty answer"),
                Some(Ok(_)) => return Ok(()),
                Some(Err(error)) => reason = error,
                None => break,
            }
            clock::pause(Duration::from_millis(10)).await;
        }
        Err(reason.context(format!("{} does not answer", self.address())))
    }

    fn address(&self) -> SocketAddr {
        match self {
            Route::FromNode(_, to) | Route::FromHost(to) => *to,
        }
    }
}

/// Does the same work on a route and on its peer, in turns. Each has given a long answer before:
/// the first one of a server reads its file into memory, and the route that comes first would pay
/// for that.
async fn measure_routes(
    what: &str,
    (route, peer, peer_name): (&Route<'_>, &Route<'_>, &str),
    runs: usize,
    aim: f64,
) -> anyhow::Result<[Figure; 2]> {
    for server in [route, peer] {
        server.wait_until_answering().await?;
    }
    for cold in [route, peer] {
        cold.long_answer_rate().await?;
    }
    let (mut own, mut of_peer) = (Rates::default(), Rates::default());
    for _ in 0..runs {
        own.long.push(route.long_answer_rate().await?);
        of_peer.long.push(peer.long_answer_rate().await?);
        own.requests.push(route.request_rate().await?);
        of_peer.requests.push(peer.request_rate().await?);
    }
    let name = PeerName::route(peer_name);
    let long = Figure::new(format!("{what}, a long answer"), "MB/s", own.long, Aim::OfPeer(aim));
    let requests = Figure::new(format!("{what}, requests"), "req/s", own.requests, Aim::None);
    Ok([long.with_peer(name.clone(), of_peer.long), requests.with_peer(name, of_peer.requests)])
}

/// What several runs on a route gave.
#[derive(Default)]
struct Rates {
    /// Megabytes a second of a long answer.
    long: Vec<f64>,
    /// Requests a second.
    requests: Vec<f64>,
}

/// Measures the routes of this world.
pub(crate) async fn measure_in(world: &World) -> anyhow::Result<Vec<Figure>> {
    let runs = world.runs.unwrap_or(7).max(1);
    let mut figures = Vec::from(measure_node_port(world, runs).await?);
    figures.extend(measure_localhost(world, runs).await?);
    Ok(figures)
}

/// Writes what the server of a pod answers with. The long file takes no place on the disk.
fn write_content(content: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(content)?;
    std::fs::write(content.join("index.html"), "bench\n")?;
    std::fs::File::create(content.join("long"))?.set_len(LONG as u64)
}

/// Measures a NodePort of the second node, from the first one.
async fn measure_node_port(world: &World, runs: usize) -> anyhow::Result<[Figure; 2]> {
    let content = world.dir.join("www");
    write_content(&content).with_context(|| format!("cannot write {}", content.display()))?;
    let sandbox = world.run_sandbox(1, "web").await?;
    let mount = Mount {
        host_root: None,
        host_path: content.clone(),
        sub_path: "".into(),
        container_path: "/usr/share/nginx/html".into(),
        read_only: true,
    };
    let nginx = ContainerConfig {
        name: "web".into(),
        image: "nginx".into(),
        mounts: vec![mount],
        log_path: "web.log".into(),
        ..ContainerConfig::default()
    };
    world.start_container(1, &sandbox, nginx).await?;
    let rule = ServiceRule {
        key: "bench/web:".into(),
        protocol: Protocol::Tcp,
        addresses: vec![Ipv4Addr::new(10, 96, 0, 80)],
        port: 80,
        node_port: Some(NODE_PORT),
        endpoints: vec![(sandbox.ip, 80)],
        all_endpoints: None,
        local_endpoints: None,
        affinity_seconds: None,
        draining: Vec::new(),
    };
    for node in &world.nodes {
        node.network.sync_services(std::slice::from_ref(&rule)).await?;
    }
    let node_port = Route::FromNode(world, (world.nodes[1].network.node_ip(), NODE_PORT).into());
    let direct = Route::FromNode(world, (sandbox.ip, 80).into());
    measure_routes("NodePort", (&node_port, &direct, "the pod's address"), runs, 0.9).await
}

/// Measures a port of localhost that leads into a node, beside one of the machine itself.
async fn measure_localhost(world: &World, runs: usize) -> anyhow::Result<[Figure; 2]> {
    let node = &world.nodes[1].network;
    let in_node = node.listen((node.node_ip(), 9000).into()).await?;
    let on_host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port();
    let port = HostPort {
        port: free,
        protocol: Protocol::Tcp,
        to: vec![(node.node_ip(), 9000).into()],
        ready: true,
        affinity_seconds: None,
    };
    if let Some((_, error)) = world.host.sync_ports(&[port]).await.pop() {
        return Err(error).context("localhost");
    }
    let localhost = Route::FromHost((Ipv4Addr::LOCALHOST, free).into());
    let loopback = Route::FromHost(on_host.local_addr()?);
    tokio::select! {
        figures = measure_routes("localhost", (&localhost, &loopback, "loopback"), runs, 0.7) => figures,
        () = serve(in_node) => bail!("the server ended"),
        () = serve(on_host) => bail!("the server ended"),
    }
}

/// Serves long and short answers, each on a connection of its own.
async fn serve(listener: TcpListener) {
    let mut answers: JoinSet<bool> = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            clock::pause(Duration::from_millis(10)).await; // no descriptor is left, say
            continue;
        };
        while answers.try_join_next().is_some() {} // those that have ended
        answers.spawn(answer(stream));
    }
}

/// Answers one request, and closes the connection. Returns whether the answer was the long one.
async fn answer(mut stream: TcpStream) -> bool {
    let mut request = [0; 1024];
    let bytes = stream.read(&mut request).await.unwrap_or(0);
    let is_long = request[..bytes].starts_with(b"GET /long");
    let chunk = vec![b'.'; if is_long { CHUNK } else { 128 }];
    for _ in 0..if is_long { LONG / CHUNK } else { 1 } {
        if stream.write_all(&chunk).await.is_err() {
            break; // the client has gone
        }
    }
    is_long
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener that never takes a connection: the kernel greets the client all the same.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_silent_is_given_up() {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = silent.local_addr().unwrap();
        let route = Route::FromHost(address);
        let answered = clock::limit(2 * PATIENCE, route.wait_until_answering()).await.expect("an end");
        let reason = format!("{:#}", answered.unwrap_err());
        assert_eq!(reason, format!("{address} does not answer: it says nothing"));
    }

    #[tokio::test]
    async fn a_server_that_closes_without_an_answer_is_asked_again() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let route = Route::FromHost(server.local_addr().unwrap());
        let third = async {
            for _ in 0..2 {
                let (mut stream, _) = server.accept().await.unwrap();
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            }
            answer(server.accept().await.unwrap().0).await
        };
        let both = async { tokio::join!(route.wait_until_answering(), third).0 };
        clock::limit(2 * PATIENCE, both).await.expect("it is asked again").unwrap();
    }

    /// Answers requests, and counts those for a long answer.
    async fn answer_and_count(server: &TcpListener, long: &std::cell::Cell<u32>) {
        loop {
            let (stream, _) = server.accept().await.unwrap();
            long.set(long.get() + u32::from(answer(stream).await));
        }
    }

    #[tokio::test]
    async fn the_first_long_answer_of_each_route_is_no_run() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (route, long) = (Route::FromHost(server.local_addr().unwrap()), std::cell::Cell::new(0));
        let figures = tokio::select! {
            figures = measure_routes("route", (&route, &route, "peer"), 1, 1.0) => figures.unwrap(),
            () = answer_and_count(&server, &long) => panic!("the server ended"),
        };
        assert_eq!((long.get(), figures[0].json()["runs"].as_u64()), (4, Some(1)));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(write_content(&file.path().join("www")).is_err());
    }
}
