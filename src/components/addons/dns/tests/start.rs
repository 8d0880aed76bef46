//! The start and the end of the name server, with an API server that answers or does not.

use crate::dns::*;
use client::testing::{Scripted, refusal};
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where a started server is asked.
struct Started {
    crew: Crew,
    udp: SocketAddr,
    health: SocketAddr,
    ready: SocketAddr,
    /// The resolver outside.
    outside: UdpSocket,
}

async fn started(client: &Client) -> Started {
    let crew = Crew::new("t");
    let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let [tcp, health, ready] = [(); 3].map(|()| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        TcpListener::from_std(listener).unwrap()
    });
    let started = Started {
        crew: crew.clone(),
        udp: udp.local_addr().unwrap(),
        health: health.local_addr().unwrap(),
        ready: ready.local_addr().unwrap(),
        outside,
    };
    let upstream = vec![started.outside.local_addr().unwrap()];
    let (client, domain) = (client.clone(), "cluster.local".to_string());
    let (rng, tap) = (Rng::seeded(1), Tap::new());
    start(&crew, Config { client, domain, udp, tcp, health, ready, upstream, rng, tap });
    started
}

/// Asks for the address of a name and returns the code and the number of answers.
async fn ask(server: SocketAddr, name: &str) -> (ResponseCode, usize) {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question.to_vec().unwrap(), server).await.unwrap();
    let mut buffer = vec![0; EDNS_MAX];
    let received = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buffer)).await;
    let reply = Message::from_vec(&buffer[..received.expect("an answer").unwrap()]).unwrap();
    (reply.metadata.response_code, reply.answers.len())
}

/// The status line's code.
async fn get(server: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said.split(' ').nth(1).unwrap().to_string()
}

async fn silent_api() -> Scripted {
    Scripted::new(|_| refusal(503, "ServiceUnavailable")).await
}

/// Otherwise the stop of a pod without an API server waits for the kill.
#[tokio::test]
async fn a_stop_before_the_lists_are_complete_is_heard() {
    let api = silent_api().await;
    let server = started(&api.client).await;
    let stopped = tokio::time::timeout(SYNC_TIMEOUT, server.crew.stop()).await;
    assert!(stopped.is_ok(), "it waits for the lists");
}

/// As CoreDNS after five seconds.
#[tokio::test(start_paused = true)]
async fn without_an_api_server_names_outside_are_answered_and_it_is_not_ready() {
    let api = silent_api().await;
    let server = started(&api.client).await;
    for name in ["web.default.svc.cluster.local.", "9.0.96.10.in-addr.arpa."] {
        assert_eq!(ask(server.udp, name).await, (ResponseCode::ServFail, 0), "{name}");
    }
    let outside = server.outside;
    server.crew.spawn(async move {
        let mut buffer = vec![0; 512];
        while let Ok((count, from)) = outside.recv_from(&mut buffer).await {
            buffer[2] |= 0x80;
            let _ = outside.send_to(&buffer[..count], from).await; // it may have asked again meanwhile
        }
    });
    for name in ["example.org.", "7.2.0.192.in-addr.arpa."] {
        assert_eq!(ask(server.udp, name).await, (ResponseCode::NoError, 0), "{name}");
    }
    assert_eq!(
        (get(server.ready, "/ready").await, get(server.health, "/health").await),
        ("503".into(), "200".into())
    );
    server.crew.kill();
}

#[tokio::test]
async fn it_is_ready_when_the_lists_are_complete() {
    let empty = || serde_json::json!({"metadata": {"resourceVersion": "1"}, "items": []});
    let api = Scripted::new(move |_| Some((200, empty()))).await;
    let server = started(&api.client).await;
    let ready = async { while get(server.ready, "/ready").await != "200" {} };
    tokio::time::timeout(Duration::from_secs(20), ready).await.expect("it is ready");
    assert_eq!(ask(server.udp, "web.default.svc.cluster.local.").await, (ResponseCode::NXDomain, 0));
    server.crew.kill();
}

/// The kube-proxies lead questions here until they have heard of the pod's end.
#[tokio::test(start_paused = true)]
async fn questions_are_answered_for_a_while_after_a_request_to_stop() {
    let api = silent_api().await;
    let server = started(&api.client).await;
    let name = "web.default.svc.cluster.local.";
    assert_eq!(ask(server.udp, name).await.0, ResponseCode::ServFail);
    let (crew, begun) = (server.crew.clone(), tokio::time::Instant::now());
    let stopping = tokio::spawn(async move { crew.stop().await });
    server.crew.token().cancelled().await;
    for _ in 0..100 {
        tokio::task::yield_now().await; // a task that the request ends is gone by now
    }
    assert_eq!(ask(server.udp, name).await.0, ResponseCode::ServFail);
    let client = server.udp;
    let asked = tokio::spawn(async move { ask(client, "example.org.").await });
    let mut buffer = vec![0; 512];
    let (count, from) = server.outside.recv_from(&mut buffer).await.unwrap();
    buffer[2] |= 0x80;
    server.outside.send_to(&buffer[..count], from).await.unwrap();
    assert_eq!(asked.await.unwrap().0, ResponseCode::NoError, "names outside, too");
    stopping.await.unwrap();
    assert!(begun.elapsed() >= LAME_DUCK);
    assert_eq!(server.crew.wait().await, task::End::Stopped);
}
