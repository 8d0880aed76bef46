//! What the ways into a cluster cost: a NodePort's rules beside a direct connection, localhost's
//! way in beside loopback.

use super::figure::{Aim, Figure};
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

/// Who dials, and where to.
enum Way<'a> {
    /// From the first node's namespace.
    Node(&'a World, SocketAddr),
    /// From the machine itself.
    Host(SocketAddr),
}

impl Way<'_> {
    async fn dial(&self) -> std::io::Result<TcpStream> {
        match self {
            Way::Node(world, to) => world.nodes[0].network.dial(*to).await,
            Way::Host(to) => TcpStream::connect(to).await,
        }
    }

    /// Bytes that came after the question.
    async fn ask(&self, path: &str, buffer: &mut [u8]) -> anyhow::Result<usize> {
        let mut stream = self.dial().await?;
        let question = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).await?;
        let mut came = 0;
        loop {
            match stream.read(buffer).await? {
                0 => return Ok(came),
                n => came += n,
            }
        }
    }

    /// Megabytes a second of one long answer.
    async fn bulk(&self) -> anyhow::Result<f64> {
        let mut buffer = vec![0; CHUNK];
        let start = Instant::now();
        let came = self.ask("/long", &mut buffer).await?;
        ensure!(came >= LONG, "an answer broke off after {came} bytes");
        Ok(came as f64 / 1e6 / start.elapsed().as_secs_f64())
    }

    /// Requests a second, one after the other.
    async fn short(&self) -> anyhow::Result<f64> {
        let mut buffer = vec![0; CHUNK];
        let start = Instant::now();
        for _ in 0..REQUESTS {
            ensure!(self.ask("/", &mut buffer).await? > 0, "an empty answer");
        }
        Ok(REQUESTS as f64 / start.elapsed().as_secs_f64())
    }

    /// Waits until the server answers, for [`PATIENCE`] at most.
    ///
    /// # Errors
    /// It does not: the last reason.
    async fn open(&self) -> anyhow::Result<()> {
        let until = clock::deadline(PATIENCE);
        let mut why = anyhow!("it says nothing");
        while let Some(left) = until.checked_duration_since(clock::Instant::now()) {
            // A server that takes the connection and stays silent has no limit of its own.
            match clock::limit(left, self.ask("/", &mut [0; 512])).await {
                Some(Ok(0)) => why = anyhow!("an empty answer"),
                Some(Ok(_)) => return Ok(()),
                Some(Err(error)) => why = error,
                None => break,
            }
            clock::pause(Duration::from_millis(10)).await;
        }
        Err(why.context(format!("{} does not answer", self.address())))
    }

    fn address(&self) -> SocketAddr {
        match self {
            Way::Node(_, to) | Way::Host(to) => *to,
        }
    }
}

/// The same work on both ways, in turns. Each way has given a long answer before: the first one of
/// a server reads its file into memory, and whichever way came first would pay for that.
async fn side_by_side(
    what: &str,
    (way, peer, name): (&Way<'_>, &Way<'_>, &str),
    runs: usize,
    aim: f64,
) -> anyhow::Result<[Figure; 2]> {
    way.open().await?;
    peer.open().await?;
    for cold in [way, peer] {
        cold.bulk().await?;
    }
    let (mut bulk, mut short) = ((vec![], vec![]), (vec![], vec![]));
    for _ in 0..runs {
        bulk.0.push(way.bulk().await?);
        bulk.1.push(peer.bulk().await?);
        short.0.push(way.short().await?);
        short.1.push(peer.short().await?);
    }
    Ok([
        Figure::new(format!("{what}, a long answer"), "MB/s", bulk.0, Aim::OfPeer(aim)).beside(name, bulk.1),
        Figure::new(format!("{what}, requests"), "req/s", short.0, Aim::None).beside(name, short.1),
    ])
}

pub(crate) async fn measure(world: &World) -> anyhow::Result<Vec<Figure>> {
    let runs = world.runs.unwrap_or(7).max(1);
    let mut figures = Vec::from(node_port(world, runs).await?);
    figures.extend(localhost(world, runs).await?);
    Ok(figures)
}

/// Writes what the server of a pod answers with. The long file takes no place on the disk.
fn write_content(content: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(content)?;
    std::fs::write(content.join("index.html"), "bench\n")?;
    std::fs::File::create(content.join("long"))?.set_len(LONG as u64)
}

async fn node_port(world: &World, runs: usize) -> anyhow::Result<[Figure; 2]> {
    let content = world.dir.join("www");
    write_content(&content).with_context(|| format!("cannot write {}", content.display()))?;
    let sandbox = world.sandbox(1, "web").await?;
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
    world.start(1, &sandbox, nginx).await?;
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
    let through = Way::Node(world, (world.nodes[1].network.node_ip(), NODE_PORT).into());
    let direct = Way::Node(world, (sandbox.ip, 80).into());
    side_by_side("NodePort", (&through, &direct, "the pod's address"), runs, 0.9).await
}

async fn localhost(world: &World, runs: usize) -> anyhow::Result<[Figure; 2]> {
    let node = &world.nodes[1].network;
    let within = node.listen((node.node_ip(), 9000).into()).await?;
    let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
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
    let (carried, direct) = (Way::Host((Ipv4Addr::LOCALHOST, free).into()), Way::Host(plain.local_addr()?));
    tokio::select! {
        figures = side_by_side("localhost", (&carried, &direct, "loopback"), runs, 0.7) => figures,
        () = serve(within) => bail!("the server ended"),
        () = serve(plain) => bail!("the server ended"),
    }
}

/// A server that answers at length, or shortly.
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

/// Answers one question, and closes the connection. Returns whether the answer was the long one.
async fn answer(mut stream: TcpStream) -> bool {
    let mut question = [0; 1024];
    let asked = stream.read(&mut question).await.unwrap_or(0);
    let long = question[..asked].starts_with(b"GET /long");
    let chunk = vec![b'.'; if long { CHUNK } else { 128 }];
    for _ in 0..if long { LONG / CHUNK } else { 1 } {
        if stream.write_all(&chunk).await.is_err() {
            break; // the client has gone
        }
    }
    long
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener that never takes a connection: the kernel greets the client all the same.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_silent_is_given_up() {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = silent.local_addr().unwrap();
        let opened = clock::limit(2 * PATIENCE, Way::Host(address).open()).await.expect("an end");
        let told = format!("{:#}", opened.unwrap_err());
        assert_eq!(told, format!("{address} does not answer: it says nothing"));
    }

    #[tokio::test]
    async fn a_server_that_closes_without_an_answer_is_asked_again() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let way = Way::Host(server.local_addr().unwrap());
        let third = async {
            for _ in 0..2 {
                let (mut stream, _) = server.accept().await.unwrap();
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            }
            answer(server.accept().await.unwrap().0).await
        };
        let both = async { tokio::join!(way.open(), third).0 };
        clock::limit(2 * PATIENCE, both).await.expect("it is asked again").unwrap();
    }

    /// Answers questions, and counts those for a long answer.
    async fn count(server: &TcpListener, long: &std::cell::Cell<u32>) {
        loop {
            let (stream, _) = server.accept().await.unwrap();
            long.set(long.get() + u32::from(answer(stream).await));
        }
    }

    #[tokio::test]
    async fn the_first_long_answer_of_each_way_is_no_run() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (way, long) = (Way::Host(server.local_addr().unwrap()), std::cell::Cell::new(0));
        let figures = tokio::select! {
            figures = side_by_side("way", (&way, &way, "peer"), 1, 1.0) => figures.unwrap(),
            () = count(&server, &long) => panic!("the server ended"),
        };
        assert_eq!((long.get(), figures[0].json()["runs"].as_u64()), (4, Some(1)));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(write_content(&file.path().join("www")).is_err());
    }
}
