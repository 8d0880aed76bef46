use super::*;
use crate::request::handshake::HANDSHAKE_TIMEOUT;
use crate::testing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A local user opens as many connections as there may be, and says nothing on them. The
/// learner's client is served at once all the same, and keeps its connection while the flood
/// goes on.
#[tokio::test]
async fn a_flood_of_silent_connections_does_not_delay_those_who_say_who_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap(), fixture.server.clone());
    let serving =
        tokio::spawn(async move { server.serve_at_most(16, listener, CancellationToken::new()).await });
    let flood = || async move { TcpStream::connect(address).await.unwrap() };
    let mut silent = vec![];
    for _ in 0..40 {
        silent.push(flood().await);
    }
    let admin = fixture.ca.issue(&pki::Subject::client("kubernetes-admin", "system:masters")).unwrap();
    let tls = pki::client_config(Some(&admin), fixture.ca.pem(), &["http/1.1"]).unwrap();
    let connect = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let from = tcp.local_addr().unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        (from, tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap())
    };
    let connected = tokio::time::timeout(HANDSHAKE_TIMEOUT / 2, connect).await;
    let (from, mut stream) = connected.expect("it waits for the silent ones");
    async fn ask(stream: &mut tokio_rustls::client::TlsStream<TcpStream>) -> String {
        stream.write_all(b"GET /api/v1/namespaces/default HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 64 << 10];
        let read = tokio::time::timeout(HANDSHAKE_TIMEOUT / 2, stream.read(&mut answer)).await;
        String::from_utf8_lossy(&answer[..read.unwrap().unwrap()]).into_owned()
    }
    assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert!(fixture.server.is_known(from));
    for _ in 0..40 {
        silent.push(flood().await);
    }
    assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"), "the flood took its connection");
    serving.abort();
}

/// What the kernel keeps for a client that does not read is bounded, and a client whose machine
/// is gone is found.
#[tokio::test]
async fn the_socket_of_a_client_is_bounded_and_probed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let before = tcp::options(&accepted).unwrap();
    prepare(&accepted);
    let after = tcp::options(&accepted).unwrap();
    assert!(!before.is_probed && after.is_probed && accepted.nodelay().unwrap());
    assert!(after.unread < before.unread && after.unread <= 1 << 20, "{before:?} {after:?}");
}

/// A connection that was accepted elsewhere is served like one of the server's own, and comes
/// back when no listener is served.
#[tokio::test]
async fn a_connection_that_is_handed_in_is_served_until_the_server_stops() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pair = async || {
        let client = TcpStream::connect(elsewhere.local_addr().unwrap()).await.unwrap();
        let (accepted, from) = elsewhere.accept().await.unwrap();
        (client, accepted, from)
    };
    let own = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (server, stop) = (fixture.server.clone(), CancellationToken::new());
    let serving = tokio::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        async move { server.serve(own, stop).await }
    });
    tokio::task::yield_now().await;
    let (client, accepted, from) = pair().await;
    server.adopt(accepted, from).await.unwrap();
    let tls = pki::client_config(None, fixture.ca.pem(), &["http/1.1"]).unwrap();
    let name = pki::server_name("127.0.0.1").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, client).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    stop.cancel();
    serving.await.unwrap().unwrap();
    let ended = tokio::time::timeout(HANDSHAKE_TIMEOUT, stream.read_to_end(&mut vec![])).await;
    assert!(ended.is_ok(), "it outlives the server");
    let (_client, accepted, from) = pair().await;
    assert!(server.adopt(accepted, from).await.is_err());
}

/// `curl` in a pod says the same words as at the keyboard, but no person has typed them.
#[tokio::test]
async fn a_request_of_a_pod_is_recorded_as_one_from_inside() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (from, is_inside) in [(testing::INSIDE, true), (std::net::IpAddr::from([127, 0, 0, 1]), false)] {
        let client = TcpStream::connect(elsewhere.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = elsewhere.accept().await.unwrap();
        fixture.server.adopt(accepted, SocketAddr::new(from, 40_000)).await.unwrap();
        let tls = pki::client_config(None, fixture.ca.pem(), &["http/1.1"]).unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, client).await.unwrap();
        let before = fixture.tap.last();
        let ask = b"GET /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.5.0\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 403");
        let records = fixture.tap.since(before);
        let mut requests = records.iter().filter_map(|record| record.request.as_ref());
        let curl = requests.find(|request| request.user_agent == "curl/8.5.0");
        let curl = curl.expect("its answer is recorded");
        assert_eq!((curl.inside, curl.by_hand().is_some()), (is_inside, !is_inside));
    }
}

/// A client that watches gets the end of its answer, so that it does not take a stop of the
/// server for a broken connection; whether the listener stops or the whole server.
#[tokio::test]
async fn a_watch_ends_well_when_the_server_stops() {
    for crew in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, server) = (listener.local_addr().unwrap(), fixture.server.clone());
        let stop = CancellationToken::new();
        let listener_stop = stop.clone();
        let serving = tokio::spawn(async move { server.serve(listener, listener_stop).await });
        let admin = fixture.ca.issue(&pki::Subject::client("kubernetes-admin", "system:masters")).unwrap();
        let tls = pki::client_config(Some(&admin), fixture.ca.pem(), &["http/1.1"]).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap();
        let ask = b"GET /api/v1/namespaces?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut answer = vec![0; 64 << 10];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
        match crew {
            true => drop(tokio::spawn(async move { fixture.server.crew().stop().await })),
            false => stop.cancel(),
        }
        let mut rest = vec![];
        let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(matches!(end, Ok(Ok(_))), "crew {crew}: {end:?}");
        assert!(rest.ends_with(b"0\r\n\r\n"), "crew {crew}: the answer was cut off");
        serving.await.unwrap().unwrap();
    }
}

/// Silent after the handshake, or in the middle of HTTP/2's preface or of a head: none of them
/// stays.
#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let address = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let cases: [(&[&str], &str); 4] =
        [(&["h2"], ""), (&["h2"], "PRI * HT"), (&[], ""), (&[], "GET /healthz HTTP/1.1\r\nHost: ")];
    let mut streams = vec![];
    for (alpn, sent) in cases {
        let tls = pki::client_config(None, fixture.ca.pem(), alpn).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(tls);
        let mut stream = connector.connect(pki::server_name("127.0.0.1").unwrap(), tcp).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
        assert!(early.is_err(), "{sent:?}: it is not sent away at once");
        streams.push((sent, stream));
    }
    tokio::time::pause();
    for _ in 0..9 {
        tokio::time::advance(Duration::from_secs(5)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::resume();
    for (sent, mut stream) in streams {
        let mut rest = vec![];
        let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "{sent:?}: the connection stays");
    }
}

/// Local users who have shown nothing send the beginnings of long heads: at their bound a
/// connection is closed, and one that shows who it is gets its long head answered.
#[tokio::test]
async fn beginnings_of_long_heads_are_closed_at_their_bound() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap(), fixture.server.clone());
    let serving =
        tokio::spawn(async move { server.serve_at_most(512, listener, CancellationToken::new()).await });
    let connect = async |identity: Option<&pki::Identity>| {
        let tls = pki::client_config(identity, fixture.ca.pem(), &["http/1.1"]).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap()
    };
    let long = format!("GET /version HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(60 << 10));
    let mut open = vec![];
    for _ in 0..120 {
        let mut stream = connect(None).await;
        let _ = stream.write_all(long.as_bytes()).await; // it may be closed already
        open.push(stream);
    }
    let closed = async {
        loop {
            for stream in &mut open {
                if tokio::time::timeout(Duration::from_millis(5), stream.read_u8()).await.is_ok() {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(FIRST_REQUEST / 2, closed).await.expect("half of a head holds any memory");
    let bob = fixture.ca.issue(&pki::Subject::client("bob", "")).unwrap();
    let mut stream = connect(Some(&bob)).await;
    stream.write_all(format!("{long}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    serving.abort();
}

/// A pod's token sends reviews of 2.9 MB, whose answers repeat them, and reads none: its share
/// of the memory is used up, others are served, and its connections are closed.
#[tokio::test]
async fn answers_that_nobody_reads_take_a_bounded_memory_and_lose_their_connections() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let address = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let ask = async |user: &str, name: &str| {
        let client = fixture.ca.issue(&pki::Subject::client(user, "")).unwrap();
        let tls = pki::client_config(Some(&client), fixture.ca.pem(), &["http/1.1"]).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(tls);
        let stream = connector.connect(pki::server_name("127.0.0.1").unwrap(), tcp).await.unwrap();
        let review = serde_json::json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "name": name}}});
        let review = review.to_string();
        let head = format!(
            "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews HTTP/1.1\r\nHost: x\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            review.len()
        );
        let (mut read, mut write) = tokio::io::split(stream);
        let mut begin = [0; 12];
        let sent = async { write.write_all(format!("{head}{review}").as_bytes()).await };
        // A refusal may come before the end of the body, and the end of the connection with it.
        let (_, answered) = tokio::join!(sent, read.read_exact(&mut begin));
        let code = answered.ok().map(|_| String::from_utf8_lossy(&begin[9..]).into_owned());
        (code.unwrap_or("429".into()), read, write)
    };
    let long = "x".repeat(2_900_000);
    let mut unread = vec![];
    for _ in 0..24 {
        unread.push(ask("eve", &long).await);
    }
    let taken = unread.iter().take_while(|(code, ..)| code == "201").count();
    assert!((8..16).contains(&taken), "{:?}", unread.iter().map(|(code, ..)| code).collect::<Vec<_>>());
    assert!(unread[taken..].iter().all(|(code, ..)| code == "429"));
    let in_flight = || {
        let metrics = fixture.server.state.bounds.metrics();
        let line = metrics.lines().find(|line| line.contains("\"mutating\"} ")).unwrap().to_string();
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(in_flight(), taken);
    assert_eq!(ask("bob", "web").await.0, "201");
    tokio::time::pause();
    for _ in 0..30 {
        tokio::time::advance(Duration::from_secs(5)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::resume();
    assert_eq!(in_flight(), 0);
    let mut rest = vec![];
    let (_, mut read, _write) = unread.swap_remove(0);
    let end = tokio::time::timeout(Duration::from_secs(5), read.read_to_end(&mut rest)).await;
    assert!(end.is_ok() && rest.len() < long.len(), "the connection stays");
}
