use super::logs::{refusal, tail_of};
use super::remote_command::Opening;
use super::upgrade::{Talk, upgrade};
use super::*;
use ::cri::Runtime;
use futures::{SinkExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

#[test]
fn a_log_begins_with_its_last_lines_or_as_a_whole() {
    for (asked, lines) in [
        (&[("tailLines", "2")][..], Some(2)),
        (&[("tailLines", "2"), ("tail", "3")], Some(3)),
        (&[("tailLines", "2"), ("tail", "all")], None),
        (&[("tailLines", "2"), ("tail", "")], Some(2)),
        (&[], None),
    ] {
        let query = asked.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(tail_of(&Query(query.collect())), lines, "{asked:?}");
    }
}

#[test]
fn the_log_of_a_container_that_is_not_there_yet_says_what_it_waits_for() {
    let one = |name: &str, reason: &str| {
        serde_json::json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason}}})
    };
    let mut lost = one("l", "");
    lost["state"] = serde_json::json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}});
    let status = serde_json::json!({
        "initContainerStatuses": [one("i", "PodInitializing"), lost],
        "containerStatuses": [one("a", "ErrImagePull"), one("b", "ImagePullBackOff"), one("c", "InvalidImageName")],
        "ephemeralContainerStatuses": [one("d", "ContainerCreating")],
    });
    let all = |names: &[&str]| names.iter().map(|name| serde_json::json!({"name": name})).collect::<Vec<_>>();
    let spec = serde_json::json!({"initContainers": all(&["i", "l"]), "containers": all(&["a", "b", "c", "e"]),
        "ephemeralContainers": all(&["d"])});
    let pod: Pod = serde_json::from_value(serde_json::json!({"spec": spec, "status": status})).unwrap();
    for (container, want) in [
        ("i", "waiting to start: PodInitializing"),
        ("a", "waiting to start: image can't be pulled"),
        ("b", "waiting to start: trying and failing to pull image"),
        ("c", "waiting to start: InvalidImageName"),
        ("d", "waiting to start: ContainerCreating"),
        ("l", "terminated"),
        ("e", "not available"),
    ] {
        let (code, why) = refusal(Some(&pod), "p", container, false);
        assert_eq!(code, StatusCode::BAD_REQUEST);
        assert_eq!(why, format!("container {container:?} in pod \"p\" is {want}"));
        let (code, why) = refusal(Some(&pod), "p", container, true);
        assert_eq!(code, StatusCode::BAD_REQUEST);
        assert_eq!(why, format!("previous terminated container {container:?} in pod \"p\" not found"));
    }
    for previous in [false, true] {
        let (code, why) = refusal(Some(&pod), "p", "x", previous);
        assert_eq!((code.as_u16(), &*why), (404, r#"container "x" not found in pod "p""#));
        let (code, why) = refusal(None, "q", "x", previous);
        assert_eq!((code.as_u16(), &*why), (404, r#"pod "q" does not exist"#));
    }
}

const MANY: usize = 100_000;

#[test]
fn one_address_cannot_take_every_connection() {
    let connections = Connections::new(CONNECTIONS_OF_ONE + 10);
    let (pod, server) = (IpAddr::from([10, 244, 1, 2]), IpAddr::from([172, 30, 0, 11]));
    let open =
        |held: &[Connection]| held.iter().filter(|connection| !connection.caller.end.is_cancelled()).count();
    let mut calling = Connection::begin(&connections, server);
    let flood: Vec<Connection> = (0..1000).map(|_| Connection::begin(&connections, pod)).collect();
    assert_eq!(open(&flood), STRANGERS.of_one);
    assert!(!flood.last().expect("the newest").caller.end.is_cancelled(), "the oldest make room");
    assert!(
        !calling.caller.end.is_cancelled() && calling.mark_known(),
        "a handshake of another address goes on"
    );
    // However many addresses there are, an API server finds a place and keeps it.
    let others: Vec<Connection> = (0..4096_u32)
        .map(|n| Connection::begin(&connections, IpAddr::from((0x0af4_0000 + n).to_be_bytes())))
        .collect();
    assert_eq!(open(&flood) + open(&others), STRANGERS.most);
    let mut known = vec![calling];
    for _ in 1..CONNECTIONS_OF_ONE {
        let mut connection = Connection::begin(&connections, server);
        assert!(connection.mark_known(), "a place that no stranger takes");
        known.push(connection);
    }
    let mut beyond = Connection::begin(&connections, server);
    assert!(!beyond.mark_known());
    // Another API server has places of its own, up to what the process may have.
    let second = IpAddr::from([172, 30, 0, 12]);
    let more: Vec<Connection> = (0..20)
        .map(|_| Connection::begin(&connections, second))
        .map_while(|mut connection| connection.mark_known().then_some(connection))
        .collect();
    assert_eq!((open(&known), more.len()), (CONNECTIONS_OF_ONE, 10));
    drop((flood, others, known, beyond, more));
    assert_eq!((connections.known().len(), connections.strangers.strangers()), (0, 0));
}

/// Bytes that a program does not read lie before the client's end: nothing that reads the
/// connection meets it.
#[tokio::test(start_paused = true)]
async fn a_session_ends_soon_after_its_client_also_while_nothing_is_read() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, peer) = listener.accept().await.unwrap();
    let mut connection = Connection::begin(&Connections::new(MANY), peer.ip());
    connection.socket = Some(socket.as_fd().try_clone_to_owned().unwrap());
    client.write_all(b"unread").await.unwrap();
    let waited = tokio::time::timeout(4 * GONE_MAX, connection.abandoned()).await;
    assert!(waited.is_err(), "the client is still there");
    drop(client);
    let waited = tokio::time::timeout(4 * GONE_MAX, connection.abandoned()).await;
    assert!(waited.is_ok(), "the client is gone");
}

/// The end of an API server may not arrive: over a link that is cut nothing does.
#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_probed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let before = tcp::options(&socket).unwrap();
    prepare(&socket);
    let after = tcp::options(&socket).unwrap();
    assert!(!before.is_probed && after.is_probed && socket.nodelay().unwrap());
}

/// The connection keeps the socket open after the session has closed it.
#[tokio::test]
async fn a_session_that_goes_on_can_end_its_connection() {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, peer) = listener.accept().await.unwrap();
    let mut connection = Connection::begin(&Connections::new(MANY), peer.ip());
    connection.socket = Some(socket.as_fd().try_clone_to_owned().unwrap());
    drop(socket);
    connection.hang_up();
    let end = tokio::time::timeout(Duration::from_secs(20), client.read(&mut [0; 1])).await;
    assert_eq!(end.expect("an end").unwrap(), 0);
}

/// What made room does not become known afterwards: it counts no more.
#[test]
fn a_connection_that_made_room_is_closed() {
    let connections = Connections::new(MANY);
    let pod = IpAddr::from([10, 244, 1, 2]);
    let mut first = Connection::begin(&connections, pod);
    let _flood: Vec<Connection> =
        (0..STRANGERS.of_one).map(|_| Connection::begin(&connections, pod)).collect();
    assert!(first.caller.end.is_cancelled() && !first.mark_known());
    drop(first);
    assert_eq!((connections.known().len(), connections.strangers.strangers()), (0, STRANGERS.of_one));
}

#[test]
fn a_session_has_at_least_one_stream() {
    let of = |text: &str| {
        remote_command::streams(&Query(form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
    };
    assert_eq!(of("stdin=true&stdout=true&stderr=true"), Ok([true, true, true]));
    assert_eq!(of("stdout=1&stderr=1&tty=1"), Ok([false, true, false]), "a terminal has one output");
    for none in ["", "command=sh", "tty=true", "stdout=false&stdin=0", "stderr=true&tty=true"] {
        assert_eq!(of(none), Err("you must specify at least 1 of stdin, stdout, stderr"), "{none}");
    }
}

#[test]
fn ports_are_numbers_and_not_more_than_channels() {
    let of =
        |text: &str| forwarded_ports(&Query(form_urlencoded::parse(text.as_bytes()).into_owned().collect()));
    assert_eq!(of("ports=80,81&ports=82"), Ok(vec![80, 81, 82]));
    assert_eq!(of(""), Ok(vec![]));
    for wrong in ["ports=0", "ports=65536", "ports=80,http"] {
        assert!(of(wrong).unwrap_err().contains("1 to 65535"), "{wrong}");
    }
    let many = |n: usize| format!("ports={}", vec!["80"; n].join(","));
    assert_eq!(of(&many(128)).map(|ports| ports.len()), Ok(128));
    assert!(of(&many(129)).unwrap_err().contains("at most 128"));
}

/// The connection has changed protocols and is served no more; its place is the session's until
/// that ends.
#[tokio::test]
async fn a_session_keeps_its_place_until_it_ends() {
    use tokio::io::AsyncReadExt;
    let (connections, crew) = (Connections::new(MANY), Crew::new("kubelet"));
    let protocols = [
        "Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io",
    ];
    for headers in protocols {
        let mut connection = Connection::begin(&connections, IpAddr::from([172, 30, 0, 11]));
        assert!(connection.mark_known());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (once, own) = (Mutex::new(Some((Arc::new(connection), ended))), crew.clone());
        let service = service_fn(move |request| {
            let (connection, ended) = once.lock().take().expect("one request");
            let options = StreamOptions {
                stdin: true,
                stdout: false,
                stderr: false,
                tty: false,
                is_exec: true,
                record: None,
                left: LeftPlaces::default(),
            };
            let open: Opening = Box::pin(async move {
                let _ = ended.await;
                Err(cri::Error::NotFound("the container".into()))
            });
            let answer = upgrade(own.clone(), connection, request, Talk::Process { options, open });
            async move { Ok::<_, Infallible>(answer.unwrap_or_else(|refused| refused)) }
        });
        let (mut client, server) = tokio::io::duplex(4096);
        let http = hyper::server::conn::http1::Builder::new();
        let serving = tokio::spawn(http.serve_connection(TokioIo::new(server), service).with_upgrades());
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{headers}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 101", "{headers}");
        serving.await.unwrap().unwrap();
        assert_eq!(connections.known().len(), 1, "{headers}: the session goes on");
        let _ = end.send(());
        drop(client);
        let given_back = async {
            while !connections.known().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), given_back).await.expect(headers);
    }
}

/// Makes a pod in a fake runtime, which gives these connections to its ports. Returns the id of its
/// sandbox, too.
pub(super) async fn forwarding(
    connections: impl IntoIterator<Item = tokio::io::DuplexStream>,
) -> (cri::fake::FakeRuntime, String) {
    let (ip, pods) = (std::net::Ipv4Addr::LOCALHOST, std::net::Ipv4Addr::new(10, 244, 9, 0));
    let runtime = cri::fake::FakeRuntime::new(ip, pods, rng::Rng::seeded(1));
    let sandbox = runtime.run_pod_sandbox(cri::SandboxConfig::default()).await.unwrap();
    connections.into_iter().for_each(|connection| runtime.give_connection(connection));
    (runtime, sandbox.id)
}

const OUTPUT: usize = 1 << 20;
/// What a pipe without a reader holds.
const PIPE: usize = 64 << 10;

/// The port has ended long before.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_late_gets_all_that_its_port_answered() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let (connection, mut pod) = tokio::io::duplex(OUTPUT);
    let (runtime, sandbox) = forwarding([connection]).await;
    let served = tokio::spawn(websocket::ports(near, Arc::new(runtime), sandbox, vec![80]));
    pod.write_all(&vec![b'x'; OUTPUT]).await.unwrap();
    drop(pod);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    let mut bytes = 0;
    while let Some(Ok(next)) = client.next().await {
        if let Message::Binary(data) = next
            && data[0] == 0
        {
            bytes += data.len() - 1;
        }
    }
    assert_eq!(bytes, 2 + OUTPUT, "with the number of the port");
    served.await.unwrap();
}

/// As `nc -l -p 9000 > file` does, whose own input has ended.
#[tokio::test(start_paused = true)]
async fn a_port_that_answers_nothing_still_reads() {
    use tokio::io::AsyncReadExt;
    let (near, far) = tokio::io::duplex(64 << 10);
    let (connection, mut pod) = tokio::io::duplex(64 << 10);
    let (runtime, sandbox) = forwarding([connection]).await;
    pod.shutdown().await.unwrap();
    let served = tokio::spawn(websocket::ports(near, Arc::new(runtime), sandbox, vec![80]));
    let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.send(Message::Binary([vec![0], vec![b'x'; 10_000]].concat().into())).await.unwrap();
    let mut all = Vec::new();
    let (read, ()) = tokio::join!(pod.read_to_end(&mut all), async {
        while let Some(Ok(_)) = client.next().await {} // its end comes soon
    });
    assert_eq!((read.unwrap(), all.len()), (10_000, 10_000));
    served.await.unwrap();
}

/// As with the Python client, which writes to a program and then closes the connection.
#[tokio::test(start_paused = true)]
async fn a_command_takes_what_its_client_sent_before_it_left() {
    use tokio::io::AsyncReadExt;
    let (near, far) = tokio::io::duplex(64 << 10);
    let (stdin, mut input) = tokio::io::duplex(64 << 10);
    let (mut program, stdout) = tokio::io::duplex(64);
    let (ends, exit) = tokio::sync::oneshot::channel();
    let (stdin, stdout): (cri::Writer, cri::Reader) = (Box::pin(stdin), Box::pin(stdout));
    let session = cri::Session { stdin: Some(stdin), stdout, stderr: None, resize: None, exit };
    let open: Opening = Box::pin(async move { Ok(session) });
    let options = StreamOptions {
        stdin: true,
        stdout: true,
        stderr: false,
        tty: false,
        is_exec: true,
        record: None,
        left: LeftPlaces::default(),
    };
    let served = tokio::spawn(websocket::process(near, "v4.channel.k8s.io", options, open, || ()));
    let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    client.send(Message::Binary([vec![0], vec![b'x'; 10_000]].concat().into())).await.unwrap();
    client.close(None).await.unwrap();
    let closed = tokio::time::timeout(remote_command::LAST_INPUT / 2, async {
        while let Some(Ok(_)) = client.next().await {}
    });
    closed.await.expect("the connection does not wait for the command");
    tokio::time::sleep(remote_command::LAST_INPUT / 2).await;
    let mut all = Vec::new();
    input.read_to_end(&mut all).await.unwrap();
    assert_eq!((all.len(), ends.is_closed()), (10_000, false), "it is not killed yet");
    program.write_all(&vec![b'x'; OUTPUT]).await.expect("nor does it wait for its client");
    drop(program);
    ends.send(0).expect("its end is awaited");
    served.await.unwrap();
}

/// What answers its pings waits until it reads, up to a bound. Output that comes then waits, too.
#[tokio::test]
async fn a_client_that_pings_and_does_not_read_takes_little_memory_and_loses_no_output() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (mut program, stdout) = tokio::io::duplex(PIPE);
    let (ends, exit) = tokio::sync::oneshot::channel();
    let stdout: cri::Reader = Box::pin(stdout);
    let session = cri::Session { stdin: None, stdout, stderr: None, resize: None, exit };
    let options = StreamOptions {
        stdin: false,
        stdout: true,
        stderr: false,
        tty: false,
        is_exec: true,
        record: None,
        left: LeftPlaces::default(),
    };
    let open: Opening = Box::pin(async move { Ok(session) });
    tokio::spawn(websocket::process(near, "v5.channel.k8s.io", options, open, || ()));
    let (mut sink, mut source) = WebSocketStream::from_raw_socket(far, Role::Client, None).await.split();
    let (asked, output_may_come) = tokio::sync::oneshot::channel();
    let (came, output_has_come) = tokio::sync::oneshot::channel();
    let reads = async {
        for _ in 0..MANY {
            sink.send(Message::Ping(vec![0; 100].into())).await.expect("the session goes on");
        }
        asked.send(()).expect("the program writes");
        output_has_come.await.expect("the program writes");
        let (mut pongs, mut bytes) = (0, 0);
        while let Some(Ok(next)) = source.next().await {
            match next {
                Message::Pong(_) => pongs += 1,
                Message::Binary(output) if output[0] == 1 => bytes += output.len() - 1,
                _ => {}
            }
        }
        (pongs, bytes)
    };
    let writes = async {
        // The answers to the pings fill all that they may.
        output_may_come.await.expect("the client pings");
        let output = vec![b'x'; OUTPUT];
        let (first, rest) = output.split_at(PIPE);
        program.write_all(first).await.unwrap();
        came.send(()).expect("the client reads");
        program.write_all(rest).await.unwrap();
        drop(program);
        let _ = ends.send(0); // the session may be gone, which the output tells
    };
    let ((pongs, bytes), ()) = tokio::join!(reads, writes);
    assert_eq!(bytes, OUTPUT);
    assert!((1..5_000).contains(&pongs), "{pongs} answers were kept");
}

/// `curl -k https://NODE:10250/pods` offers HTTP/2 first, and is to read a 401.
#[test]
fn the_kubelet_offers_the_protocol_that_it_speaks() {
    let dir = tempfile::tempdir().unwrap();
    let ca = pki::Ca::load_or_create(dir.path(), "kubernetes").unwrap();
    let own = ca.issue(&pki::Subject::server("kubelet", &["127.0.0.1"])).unwrap();
    let tls = only_http_1(pki::server_config(&own, ca.pem()).unwrap());
    assert_eq!(tls.alpn_protocols, [b"http/1.1".to_vec()]);
}

#[test]
fn a_certificate_of_another_authority_is_no_api_servers() {
    use rustls::pki_types::pem::PemObject;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [ca, stranger] = dirs.map(|dir| pki::Ca::load_or_create(dir.path(), "kubernetes").unwrap());
    let own = ca.issue(&pki::Subject::server("kubelet", &["127.0.0.1"])).unwrap();
    let (_, clients) = pki::asking_server_config(&own, ca.pem()).unwrap();
    let is_let_in = |ca: &pki::Ca, group: &str| {
        let identity = ca.issue(&pki::Subject::client("kube-apiserver-kubelet-client", group)).unwrap();
        let shown = CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).unwrap();
        is_api_server(&clients, &[shown])
    };
    assert!(is_let_in(&ca, "system:masters"));
    assert!(!is_let_in(&ca, "dev") && !is_let_in(&stranger, "system:masters"));
    assert!(!is_api_server(&clients, &[]));
}
