//! Ports that close, fail or go while clients use them.

use super::{free, letter};
use crate::host::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client downloads while the Service is deleted, or gets another node port.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_its_port_which_can_be_had_again() {
    let host = Host::new(Namespace::own());
    let served = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = HostPort { to: vec![served.local_addr().unwrap()], ready: true, ..free(Protocol::Tcp) };
    assert!(!host.has_port(port.port).await);
    assert!(host.sync_ports(std::slice::from_ref(&port)).await.is_empty());
    assert!(host.has_port(port.port).await);
    let connect = async || TcpStream::connect(("127.0.0.1", port.port)).await;
    let mut client = connect().await.unwrap();
    let (mut inside, _) = served.accept().await.unwrap();
    assert!(host.sync_ports(&[]).await.is_empty());
    assert!(!host.has_port(port.port).await, "another program may have it now");
    assert_eq!(connect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let mut byte = [0];
    inside.write_all(b"x").await.unwrap();
    client.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"x");
    assert!(host.sync_ports(std::slice::from_ref(&port)).await.is_empty());
    connect().await.unwrap();
    drop(host);
    assert!(matches!(client.read(&mut byte).await, Ok(0) | Err(_)), "it does not outlive the cluster");
}

#[tokio::test]
async fn a_port_whose_change_failed_is_closed_and_changed_by_the_next_call() {
    let (fabric, places) = (Namespace::own(), Places::new(8));
    let visits = watch::Sender::default();
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = vec![target.local_addr().unwrap()];
    let wanted = HostPort { to, ready: true, ..free(Protocol::Tcp) };
    let mut port = Port::bind(&wanted, Crew::new("t")).unwrap();
    let closed = HostPort { ready: false, ..wanted.clone() };
    port.become_like(&wanted, &fabric, &places, &visits).unwrap();
    let connect = async || TcpStream::connect(("127.0.0.1", wanted.port)).await.map(drop);
    connect().await.unwrap();
    port.become_like(&closed, &fabric, &places, &visits).unwrap();
    // A socket that cannot listen.
    let udp = OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let Door::Tcp(sockets) = &mut port.door else { panic!("TCP") };
    sockets.push(udp);
    assert!(port.become_like(&wanted, &fabric, &places, &visits).is_err());
    assert_eq!(connect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let Door::Tcp(sockets) = &mut port.door else { panic!("TCP") };
    sockets.pop();
    port.become_like(&wanted, &fabric, &places, &visits).unwrap();
    connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_affinity_does_not_lead_to_a_target_that_refuses() {
    let host = Host::new(Namespace::own());
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = vec![closed, letter(b'a').await];
    let port = HostPort { to, ready: true, affinity_seconds: Some(60), ..free(Protocol::Udp) };
    assert!(host.sync_ports(std::slice::from_ref(&port)).await.is_empty());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", port.port)).await.unwrap();
    let mut buffer = [0; 16];
    let answered = async {
        // What the refusing target gets is lost, so it is sent again.
        loop {
            client.send(b"who").await.unwrap();
            if let Some(Ok(1)) = clock::timeout(Duration::from_millis(50), client.recv(&mut buffer)).await {
                return buffer[0];
            }
        }
    };
    assert_eq!(clock::timeout(Duration::from_secs(20), answered).await, Some(b'a'));
}
