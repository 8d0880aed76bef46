//! Probes and hooks, with servers that answer what the test says.

use super::grpc::{Checked, answer, decoded, health};
use super::*;

#[test]
fn a_port_has_a_number_or_a_name() {
    let spec: Spec = serde_json::from_value(
        serde_json::json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}),
    )
    .unwrap();
    assert_eq!(port_number(&spec, &IntOrString::String("web".into())), Ok(8080));
    assert_eq!(port_number(&spec, &IntOrString::Int(81)), Ok(81));
    assert_eq!(port_number(&spec, &IntOrString::String("82".into())), Ok(82));
    assert!(port_number(&spec, &IntOrString::String("nope".into())).unwrap_err().contains("nope"));
    assert!(port_number(&spec, &IntOrString::Int(70_000)).is_err());
}

#[tokio::test]
async fn of_a_long_output_the_first_bytes_are_kept() {
    let output = [vec![b'x'; OUTPUT_MAX], vec![b'y'; 5000]].concat();
    let mut reader: cri::Reader = Box::pin(std::io::Cursor::new(output));
    let mut kept = Vec::new();
    drain(&mut reader, &mut kept).await.unwrap();
    assert_eq!(kept, vec![b'x'; OUTPUT_MAX]);
}

#[test]
fn a_failed_dial_has_the_message_of_go() {
    let to = "10.244.1.2:80".parse().unwrap();
    let text = |code: i32| dial_error(to, &std::io::Error::from_raw_os_error(code));
    for (code, why) in [
        (nix::libc::ECONNREFUSED, "connection refused"),
        (nix::libc::ECONNRESET, "connection reset by peer"),
        (nix::libc::EHOSTUNREACH, "no route to host"),
    ] {
        assert_eq!(text(code), format!("dial tcp 10.244.1.2:80: connect: {why}"));
    }
    assert_eq!(text(nix::libc::ETIMEDOUT), "dial tcp 10.244.1.2:80: i/o timeout");
}

/// The commands of all pods are started in turn: a pod that has many of them must not make
/// another one's probes fail.
#[tokio::test(start_paused = true)]
async fn the_time_of_an_exec_probe_counts_from_the_birth_of_its_process() {
    // A program does not answer faster where the cluster's clock does.
    let _scale = clock::pin_scale(20);
    let (ip, pods) = (std::net::Ipv4Addr::new(172, 30, 0, 11), std::net::Ipv4Addr::new(10, 244, 1, 0));
    let runtime = cri::fake::FakeRuntime::new(ip, pods, rng::Rng::seeded(1));
    let sandbox = runtime.run_pod_sandbox(cri::SandboxConfig::default()).await.unwrap();
    let config = cri::ContainerConfig { name: "c".into(), image: "busybox".into(), ..Default::default() };
    let container_id = runtime.create_container(&sandbox.id, config).await.unwrap();
    runtime.start_container(&container_id).await.unwrap();
    let network = cni::fake::FakeFabric::default().node(ip, pods);
    let spec = Spec { name: "c".into(), ..Spec::default() };
    let target = Target {
        spec: &spec,
        container_id: &container_id,
        pod_ip: None,
        runtime: &runtime,
        network: &*network,
        agent: "test",
    };
    let (action, timeout) = (Action::Exec(vec!["true".into()]), Duration::from_secs(1));
    let asked = async |start: u64, run: u64| {
        runtime.exec_takes(Duration::from_millis(start), Duration::from_millis(run));
        target.act(&action, timeout).await
    };
    assert_eq!(asked(0, 900).await, Ok(Answer::Well));
    assert_eq!(asked(9_000, 900).await, Ok(Answer::Well), "its turn came late");
    let late = |answer| matches!(answer, Ok(Answer::Ill(why)) if why.contains("timed out after 1s"));
    assert!(late(asked(0, 1_100).await) && late(asked(9_000, 1_100).await));
    let stuck = asked(11_000, 0).await;
    assert!(matches!(&stuck, Ok(Answer::Ill(why)) if why.contains("did not start within 10s")), "{stuck:?}");
    runtime.exit(&container_id, 0, "Completed");
    assert_eq!(asked(0, 0).await, Err(format!("container {container_id} is not running")));
    let start = clock::Instant::now();
    assert_eq!(target.act(&Action::Sleep(timeout), timeout).await, Ok(Answer::Well));
    assert_eq!(start.elapsed(), timeout, "a hook's sleep is part of the grace period");
}

#[test]
fn a_redirect_is_followed_only_at_home() {
    let from = HttpTarget {
        tls: false,
        to: "10.0.0.1:8080".parse().unwrap(),
        host: "web.example".into(),
        path: "/a/b?c".into(),
    };
    let to = |location: &str| {
        let place = redirected(&from, location)?;
        let scheme = if place.tls { "https" } else { "http" };
        Some(format!("{scheme}://{}{} for {}", place.to, place.path, place.host))
    };
    for (location, want) in [
        ("/healthz?full", "http://10.0.0.1:8080/healthz?full for web.example"),
        ("login", "http://10.0.0.1:8080/a/login for web.example"),
        ("../x/./y#there", "http://10.0.0.1:8080/x/y for web.example"),
        ("?next=http://other", "http://10.0.0.1:8080/a/b?next=http://other for web.example"),
        ("http://10.0.0.1:8080/x", "http://10.0.0.1:8080/x for 10.0.0.1:8080"),
        ("http://10.0.0.1/login", "http://10.0.0.1:80/login for 10.0.0.1"),
        ("https://10.0.0.1:8443", "https://10.0.0.1:8443/ for 10.0.0.1:8443"),
        ("HTTPS://10.0.0.1/x", "https://10.0.0.1:443/x for 10.0.0.1"),
        ("//10.0.0.1/x", "http://10.0.0.1:80/x for 10.0.0.1"),
    ] {
        assert_eq!(to(location).as_deref(), Some(want), "{location}");
    }
    for location in ["http://example.org/x", "http://web.example/x", "//10.0.0.2/", "ftp://10.0.0.1/"] {
        assert_eq!(to(location), None, "{location}");
    }
}

/// Answers every connection to a port of the node with this. Returns what it is asked.
async fn answering(
    network: &dyn NodeNetwork,
    port: u16,
    answer: &'static str,
) -> tokio::sync::mpsc::UnboundedReceiver<Vec<u8>> {
    use tokio::io::AsyncWriteExt;
    let listener = network.listen(SocketAddr::new(network.node_ip().into(), port)).await.unwrap();
    let (requests, asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 4096];
            let read = stream.read(&mut bytes).await.unwrap_or_default();
            bytes.truncate(read);
            let _ = requests.send(bytes); // a test may not look
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    asked
}

#[tokio::test]
async fn an_http_hook_is_done_with_any_answer_and_a_probe_looks_at_the_status() {
    let (ip, pods) = (std::net::Ipv4Addr::new(172, 30, 0, 11), std::net::Ipv4Addr::new(10, 244, 1, 0));
    let runtime = cri::fake::FakeRuntime::new(ip, pods, rng::Rng::seeded(1));
    let network = cni::fake::FakeFabric::default().node(ip, pods);
    let spec = Spec { name: "c".into(), ..Spec::default() };
    let target = Target {
        spec: &spec,
        container_id: "c",
        pod_ip: Some(ip.into()),
        runtime: &runtime,
        network: &*network,
        agent: "test",
    };
    let get = |scheme: &str, port: u16| {
        let header = serde_json::json!({"name": "Authorization", "value": "secret"});
        let get = serde_json::json!({"port": port, "scheme": scheme, "path": "/x", "httpHeaders": [header]});
        Action::Http(serde_json::from_value(get).unwrap())
    };
    let limit = Duration::from_secs(20);
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let port = 8080;
    let with_blank = serde_json::json!({"port": port, "path": "/health check?a=<b>&c=%20#here"});
    let with_blank = Action::Http(serde_json::from_value(with_blank).unwrap());
    let mut asked = answering(&*network, port, missing).await;
    assert_eq!(target.hook(&get("HTTP", port), limit).await, Ok(None));
    asked.recv().await.unwrap();
    let probed = target.act(&get("HTTP", port), limit).await.unwrap();
    assert_eq!(probed, Answer::Ill("HTTP probe failed with statuscode: 404".into()));
    asked.recv().await.unwrap();
    assert!(matches!(target.act(&with_blank, limit).await, Ok(Answer::Ill(why)) if why.contains("404")));
    let request = String::from_utf8(asked.recv().await.unwrap()).unwrap();
    assert!(request.starts_with("GET /health%20check?a=%3Cb%3E&c=%20 HTTP"), "{request}");
    let fallback = target.hook(&get("HTTPS", port), limit).await.unwrap().expect("it is sent in plain HTTP");
    assert!(fallback.starts_with("request to HTTPS lifecycle hook 172.30.0.11:8080 got HTTP"), "{fallback}");
    asked.recv().await.unwrap(); // the handshake
    let plain = String::from_utf8(asked.recv().await.unwrap()).unwrap();
    assert!(plain.starts_with("GET /x ") && !plain.contains("secret"), "{plain}");
    let refused = target.hook(&get("HTTP", 8081), limit).await.unwrap_err();
    assert!(refused.contains("connection refused"), "{refused}");
}

#[tokio::test]
async fn an_empty_header_keeps_the_default_from_being_sent() {
    let (ip, pods) = (std::net::Ipv4Addr::new(172, 30, 0, 11), std::net::Ipv4Addr::new(10, 244, 1, 0));
    let runtime = cri::fake::FakeRuntime::new(ip, pods, rng::Rng::seeded(1));
    let network = cni::fake::FakeFabric::default().node(ip, pods);
    let spec = Spec { name: "c".into(), ..Spec::default() };
    let target = Target {
        spec: &spec,
        container_id: "c",
        pod_ip: Some(ip.into()),
        runtime: &runtime,
        network: &*network,
        agent: "test",
    };
    let well = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let mut asked = answering(&*network, 8080, well).await;
    let mut request_with = async |headers: serde_json::Value| {
        let get = serde_json::json!({"port": 8080, "httpHeaders": headers});
        let get = Action::Http(serde_json::from_value(get).unwrap());
        assert_eq!(target.act(&get, Duration::from_secs(20)).await, Ok(Answer::Well));
        String::from_utf8(asked.recv().await.unwrap()).unwrap()
    };
    let own = serde_json::json!([
        {"name": "x-empty", "value": ""},
        {"name": "Content-Length", "value": "5"},
        {"name": "Transfer-Encoding", "value": "chunked"},
    ]);
    let plain = request_with(own).await;
    for line in ["Accept: */*\r\n", "User-Agent: test\r\n", "X-Empty: \r\n"] {
        assert!(plain.contains(line), "{line:?} {plain}");
    }
    assert!(!plain.contains("Content-Length") && !plain.contains("Transfer-Encoding"), "{plain}");
    let empty = ["Accept", "User-Agent", "Host"].map(|name| serde_json::json!({"name": name, "value": ""}));
    let bare = request_with(serde_json::json!(empty)).await;
    assert!(bare.contains("Host: 172.30.0.11:8080\r\n"), "without a name it is the address: {bare}");
    assert!(!bare.contains("Accept") && !bare.contains("User-Agent"), "{bare}");
}

/// A probe reads what it is answered; a hook is done when it was heard.
#[tokio::test]
async fn an_http_probe_waits_for_the_body_and_counts_its_requests() {
    let (ip, pods) = (std::net::Ipv4Addr::new(172, 30, 0, 11), std::net::Ipv4Addr::new(10, 244, 1, 0));
    let runtime = cri::fake::FakeRuntime::new(ip, pods, rng::Rng::seeded(1));
    let network = cni::fake::FakeFabric::default().node(ip, pods);
    let spec = Spec { name: "c".into(), ..Spec::default() };
    let target = Target {
        spec: &spec,
        container_id: "c",
        pod_ip: Some(ip.into()),
        runtime: &runtime,
        network: &*network,
        agent: "test",
    };
    let get = |port: u16| Action::Http(serde_json::from_value(serde_json::json!({"port": port})).unwrap());
    let limit = Duration::from_secs(20);
    let _broken = answering(&*network, 8080, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nwell").await;
    let cut_off = target.act(&get(8080), limit).await;
    assert!(matches!(cut_off, Ok(Answer::Broken(_))), "the answer has no end: {cut_off:?}");
    assert_eq!(target.hook(&get(8080), limit).await, Ok(None));
    let _whole = answering(&*network, 8081, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell").await;
    assert_eq!(target.act(&get(8081), limit).await, Ok(Answer::Well));
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n{}", "x".repeat(2 * OUTPUT_MAX));
    let _large = answering(&*network, 8082, Box::leak(large.into_boxed_str())).await;
    assert_eq!(target.act(&get(8082), limit).await, Ok(Answer::Well), "its beginning is enough");
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://example.org/\r\ncontent-length: 5\r\n\r\nmoved";
    let _elsewhere = answering(&*network, 8083, elsewhere).await;
    let remark = "Probe terminated redirects, Response body: moved".to_string();
    assert_eq!(target.act(&get(8083), limit).await, Ok(Answer::Warning(remark)));
    let again = "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n";
    let mut asked = answering(&*network, 8084, again).await;
    let chain = target.act(&get(8084), limit).await;
    assert!(
        matches!(&chain, Ok(Answer::Ill(why)) if why.ends_with("stopped after 10 redirects")),
        "{chain:?}"
    );
    assert_eq!(std::iter::from_fn(|| asked.try_recv().ok()).count(), 10);
    let _silent = answering(&*network, 8085, "").await;
    let no_answer = Answer::Ill("Get \"http://172.30.0.11:8085/\": EOF".into());
    assert_eq!(target.act(&get(8085), limit).await, Ok(no_answer));
}

/// As `printf ... | nc -l -p 8080` does.
#[tokio::test]
async fn a_server_may_answer_before_it_has_read_the_request() {
    use tokio::io::AsyncWriteExt;
    let (near, mut far) = tokio::io::duplex(1 << 10);
    far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let request = http::Request::get("/").header("host", "x").body(Full::<Bytes>::default()).unwrap();
    let answer = one_request(near, request).await.unwrap();
    assert_eq!((answer.status, answer.text().await.unwrap().as_str()), (200, "ok"));
    let mut request = vec![0; 14];
    far.read_exact(&mut request).await.unwrap();
    assert_eq!(request, b"GET / HTTP/1.1");
}

#[test]
fn variables_are_replaced_in_the_command_of_a_probe_and_not_of_a_hook() {
    let command = serde_json::json!({"exec": {"command": ["sh", "-c", "nc -z localhost $(PORT) $$(ls) $(OF_NODE)$(NONE)"]}});
    let of_node = serde_json::json!({"fieldRef": {"fieldPath": "spec.nodeName"}});
    let spec: Spec = serde_json::from_value(serde_json::json!({"name": "c", "env": [
        {"name": "PORT", "value": "80"}, {"name": "PORT", "value": "8080"},
        {"name": "OF_NODE", "valueFrom": of_node},
    ]}))
    .unwrap();
    let last = |action: Action| match action {
        Action::Exec(command) => command.last().cloned(),
        _ => None,
    };
    let probe = Action::of_probe(&serde_json::from_value(command.clone()).unwrap(), &spec);
    let asked = last(probe.unwrap().unwrap());
    assert_eq!(asked.as_deref(), Some("nc -z localhost 8080 $(ls) $(NONE)"));
    let hook = Action::of_hook(&serde_json::from_value(command).unwrap()).unwrap();
    assert!(last(hook).unwrap().contains("$(PORT)"));
}

#[test]
fn a_hook_that_cannot_be_run_fails() {
    let hook = |json| Action::of_hook(&serde_json::from_value(json).unwrap());
    assert!(hook(serde_json::json!({"tcpSocket": {"port": 80}})).unwrap_err().contains("invalid handler"));
    assert!(hook(serde_json::json!({})).is_err());
    assert_eq!(hook(serde_json::json!({"sleep": {"seconds": 5}})), Ok(Action::Sleep(Duration::from_secs(5))));
}

#[test]
fn health_is_read_from_its_frame() {
    assert_eq!(health(&[0, 0, 0, 0, 2, 8, 1]), 1);
    assert_eq!(health(&[0, 0, 0, 0, 2, 8, 2]), 2);
    assert_eq!(health(&[0, 0, 0, 0, 0]), 0);
}

#[test]
fn the_answers_of_grpc_servers_have_upstreams_messages() {
    let verdict = |code, message: &str, frame: &'static [u8]| {
        let checked = Checked { code, message: message.into(), frame: Bytes::from_static(frame) };
        match answer(&checked, Duration::from_secs(90)) {
            Answer::Ill(why) => why,
            other => format!("{other:?}"),
        }
    };
    assert_eq!(verdict(0, "", &[0, 0, 0, 0, 2, 8, 1]), "Well");
    assert_eq!(verdict(0, "", &[0, 0, 0, 0, 2, 8, 2]), r#"service unhealthy (responded with "NOT_SERVING")"#);
    assert_eq!(verdict(0, "", &[0, 0, 0, 0, 0]), r#"service unhealthy (responded with "UNKNOWN")"#);
    let failed = "error: health rpc probe failed: rpc error: code =";
    assert_eq!(
        verdict(5, &decoded("unknown%20service"), &[]),
        format!("{failed} NotFound desc = unknown service")
    );
    assert_eq!(verdict(99, "", &[]), format!("{failed} Code(99) desc = "));
    assert_eq!(verdict(4, "", &[]), "timeout: health rpc did not complete within 1m30s");
    assert!(verdict(12, "unknown method", &[]).ends_with("(grpc.health.v1.Health): unknown method"));
    assert_eq!(["50%", "%4", "%zz", "a%C3%A9"].map(decoded), ["50%", "%4", "%zz", "a\u{e9}"]);
}

/// As grpc-go, which connects again and again: the server may just be starting.
#[tokio::test(start_paused = true)]
async fn a_grpc_server_that_refuses_is_asked_until_the_time_of_the_probe_is_over() {
    let (ip, pods) = (std::net::Ipv4Addr::new(172, 30, 0, 11), std::net::Ipv4Addr::new(10, 244, 1, 0));
    let runtime = cri::fake::FakeRuntime::new(ip, pods, rng::Rng::seeded(1));
    let network = cni::fake::FakeFabric::default().node(ip, pods);
    let spec = Spec { name: "c".into(), ..Spec::default() };
    let target = Target {
        spec: &spec,
        container_id: "c",
        pod_ip: Some(ip.into()),
        runtime: &runtime,
        network: &*network,
        agent: "test",
    };
    let (start, limit) = (clock::Instant::now(), Duration::from_secs(3));
    let asked = Action::Grpc(GRPCAction { port: 9090, service: None });
    let late = "timeout: failed to connect service \"172.30.0.11:9090\" within 3s: context deadline exceeded";
    assert_eq!(target.act(&asked, limit).await, Ok(Answer::Ill(late.into())));
    assert_eq!(start.elapsed(), limit);
}
