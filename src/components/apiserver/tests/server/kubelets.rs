//! Requests and sessions that are passed on to kubelets.

use super::*;

/// A kubelet that answers logs with lines, refuses a body for these and for `/run` with its text,
/// and echoes what is sent after an upgrade.
async fn fake_kubelet(api: &Api) -> std::net::SocketAddr {
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use pki::{Subject, server_config};
    let identity = api.fixture.ca.issue(&Subject::server("system:node:n1", &["127.0.0.1"])).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(server_config(&identity, api.fixture.ca.pem()).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(tcp).await.unwrap();
                let service = service_fn(|mut request: Request<hyper::body::Incoming>| async move {
                    let mut answer = ::http::Response::new(full(format!("{}\n", request.uri())));
                    let length = request.headers().get("content-length");
                    let path = request.uri().path();
                    let reads = path == "/run" || path.starts_with("/containerLogs");
                    if reads && length.is_some_and(|length| length != "0") {
                        *answer.status_mut() = ::http::StatusCode::BAD_REQUEST;
                        *answer.body_mut() = full(request.into_body().collect().await.unwrap().to_bytes());
                    } else if request.uri().path() == "/redirect" {
                        *answer.status_mut() = ::http::StatusCode::FOUND;
                        answer.headers_mut().insert("location", "https://example.com/".parse().unwrap());
                    } else if request.uri().query().is_some_and(|query| query.contains("sinceSeconds")) {
                        *answer.body_mut() = full("");
                    } else if request.uri().path().contains("/refuse/") {
                        *answer.status_mut() = ::http::StatusCode::FORBIDDEN;
                    } else if request.headers().contains_key("upgrade") {
                        let upgrade = hyper::upgrade::on(&mut request);
                        tokio::spawn(async move {
                            let (mut read, mut write) =
                                tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
                            tokio::io::copy(&mut read, &mut write).await.unwrap();
                            tokio::io::AsyncWriteExt::write_all(&mut write, b"bye").await.unwrap(); // after the client's half-close
                            tokio::io::AsyncWriteExt::shutdown(&mut write).await.unwrap();
                        });
                        *answer.status_mut() = ::http::StatusCode::SWITCHING_PROTOCOLS;
                        answer.headers_mut().insert("upgrade", "SPDY/3.1".parse().unwrap());
                        answer.headers_mut().insert("connection", "Upgrade".parse().unwrap());
                    }
                    Ok::<_, std::convert::Infallible>(answer)
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_exec_reach_the_kubelet_and_half_close_is_kept() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = Api::new().await;
    let kubelet = fake_kubelet(&api).await;
    let node = json!({"metadata": {"name": "n1"}});
    api.post("/api/v1/nodes", node).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx"}]}});
    api.post("/api/v1/namespaces/default/pods", pod).await;
    let waits =
        json!({"metadata": {"name": "waits"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods", waits).await.0, 201);
    assert_eq!(api.get("/api/v1/namespaces/default/pods/waits/log").await.0, 204, "it has no node");
    let (code, log) = api.get("/api/v1/namespaces/default/pods/p/log?tailLines=5").await;
    assert_eq!((code, log), (200, "/containerLogs/default/p/c?tailLines=5\n".into()));
    let path = "/api/v1/namespaces/default/pods/p/log";
    let answer = api.fixture.server.call(request("GET", path, "", ""), admin()).await;
    assert_eq!(answer.headers()["cache-control"], "no-cache, private", "of an answer that is passed on");
    let was_empty = || api.fixture.tap.since(0).iter().rev().find_map(|r| r.answer().map(|a| a.empty));
    assert_eq!(was_empty(), Some(false));
    let silent = "/api/v1/namespaces/default/pods/p/log?sinceSeconds=1";
    assert_eq!((api.get(silent).await.0, was_empty()), (200, Some(true)), "no line is so young");
    let (code, status) = api.get("/api/v1/namespaces/default/pods/p/log?container=x").await;
    assert_eq!((code, status["message"].as_str()), (400, Some("container x is not valid for pod p")));
    assert_eq!(api.get("/api/v1/namespaces/default/pods/p/log?tailLines=-1").await.0, 422);
    for session in ["exec?command=sh", "attach", "portforward"] {
        let (code, status) =
            api.post(&format!("/api/v1/namespaces/default/pods/p/{session}"), json!({})).await;
        let why = status["message"].as_str();
        assert_eq!((code, why), (400, Some("Upgrade request required")), "{session}");
    }
    // an upgrade over a real connection, without ALPN
    let client = api.fixture.ca.issue(&pki::Subject::client("admin", "system:masters")).unwrap();
    let tls = pki::client_config(Some(&client), api.fixture.ca.pem(), &[]).unwrap();
    let server = api.fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let tcp = tokio::net::TcpStream::connect(server).await.unwrap();
    let name = pki::server_name("127.0.0.1").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap();
    let head = "POST /api/v1/namespaces/default/pods/p/exec?command=sh&container=c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![];
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(b"hello ").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut echoed = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(echoed, "hello bye");
}

/// A session holds a place of its account, and its connection one of the listener, until it ends:
/// not only until the protocols change.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_count_until_they_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = Api::new().await;
    let kubelet = fake_kubelet(&api).await;
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx"}]}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods", pod).await.0, 201);
    grant(&api, "eve", "default", json!([rule("", &["pods/exec"], &["create", "get"])])).await;
    let client = api.fixture.ca.issue(&pki::Subject::client("eve", "")).unwrap();
    let tls = pki::client_config(Some(&client), api.fixture.ca.pem(), &[]).unwrap();
    let server = api.fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let mut sessions = vec![];
    for _ in 0..3 {
        let tcp = tokio::net::TcpStream::connect(server).await.unwrap();
        let from = tcp.local_addr().unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(tls.clone()).connect(name, tcp).await.unwrap();
        let head = "GET /api/v1/namespaces/default/pods/p/exec?command=sh HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![];
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        stream.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x', "both sides have changed protocols");
        sessions.push((from, stream));
    }
    let open = || {
        let metrics = api.fixture.server.state.bounds.metrics();
        let line = metrics.lines().find(|line| line.starts_with("apiserver_longrunning_requests ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(open(), 3);
    assert!(sessions.iter().all(|(from, _)| api.fixture.server.is_known(*from)));
    let (from, ended) = sessions.remove(0);
    drop(ended);
    let gone = async {
        while open() > 2 || api.fixture.server.is_known(from) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the place of a session that ended");
    assert!(sessions.iter().all(|(from, _)| api.fixture.server.is_known(*from)));
}

/// CVE-2022-3294 and CVE-2018-1002105: what answers at a node's address gets this server's rights
/// only if it is that node's kubelet.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_nodes_own_kubelet_is_spoken_to() {
    let api = Api::new().await;
    let kubelet = fake_kubelet(&api).await;
    let server =
        api.fixture.kubeconfig.split("https://127.0.0.1:").nth(1).unwrap().split('\'').next().unwrap();
    let server: u16 = server.parse().unwrap();
    for (name, port) in [("n1", kubelet.port()), ("n2", kubelet.port()), ("n3", server)] {
        assert_eq!(api.post("/api/v1/nodes", json!({"metadata": {"name": name}})).await.0, 201);
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
        assert_eq!(api.patch(&format!("/api/v1/nodes/{name}/status"), status).await.0, 200);
    }
    assert_eq!(api.get("/api/v1/nodes/n1/proxy/healthz").await, (200, "/healthz\n".into()));
    for path in
        ["/api/v1/nodes/n2/proxy/healthz", "/api/v1/nodes/n3/proxy/api/v1/namespaces/kube-system/secrets"]
    {
        let (code, status) = api.get(path).await;
        let message = status["message"].as_str().unwrap_or_default();
        assert!(code == 503 && message.contains("not for the node's kubelet"), "{path}: {status}");
    }
    let proxied = |rest: &str| format!("/api/v1/nodes/{rest}");
    for (path, asked) in [
        ("n1/proxy/logs/a%20b", "/logs/a%20b"),
        ("n1/proxy/logs/a%3Fb?c=d%20e", "/logs/a%3Fb?c=d%20e"),
        ("n1/proxy/logs/%EA%B0%80", "/logs/%EA%B0%80"),
        ("n1/proxy/logs/", "/logs/"),
        ("n1/proxy/logs/x%2F..%2Fy//z", "/logs/y/z"),
        ("n1/proxy/", "/"),
        (&format!("https:n1:{}/proxy/healthz", kubelet.port()), "/healthz"),
    ] {
        assert_eq!(api.get(&proxied(path)).await, (200, format!("{asked}\n").into()), "{path}");
    }
    for path in ["n1:1/proxy/healthz", "ftp:n1:1/proxy/healthz"] {
        assert_eq!(api.get(&proxied(path)).await.0, 400, "{path}");
    }
    // A redirect is neither followed nor passed on (CVE-2020-8559, CVE-2022-3172).
    let (code, status) = api.get("/api/v1/nodes/n1/proxy/redirect").await;
    assert_eq!(
        (code, status["message"].as_str()),
        (502, Some("the backend attempted to redirect this request, which is not permitted"))
    );
}

/// Nothing listens at the node's address.
#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_that_cannot_be_reached_is_told_as_upstream_tells_it() {
    let api = Api::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": closed.port()}}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx"}]}});
    let path = "/api/v1/namespaces/default/pods";
    assert_eq!(api.post(path, pod).await.0, 201);
    let why = format!("dial tcp {closed}: connect: connection refused");
    let log = format!("Get \"https://{closed}/containerLogs/default/p/c?tailLines=1\": {why}");
    assert_eq!(api.get(&format!("{path}/p/log?tailLines=1")).await.1["message"], log.as_str());
    let (code, proxied) = api.get("/api/v1/nodes/n1/proxy/healthz").await;
    let told = format!("error trying to reach service: {why}");
    assert_eq!((code, proxied["message"].as_str()), (503, Some(told.as_str())));
    let exec = Request::post(format!("{path}/p/exec?command=sh"));
    let exec = exec.header("connection", "Upgrade").header("upgrade", "SPDY/3.1").body(full(""));
    let (code, session) = api.send(admin(), exec.unwrap()).await;
    let told = format!("error dialing backend: {why}");
    assert_eq!((code, session["message"].as_str()), (500, Some(told.as_str())));
}

/// CVE-2018-1002105: after a kubelet has refused to change protocols, what the client sends next is
/// a request of its own again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_opens_no_way_to_the_kubelet() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = Api::new().await;
    let kubelet = fake_kubelet(&api).await;
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let pod = json!({"metadata": {"name": "refuse"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx"}]}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods", pod).await.0, 201);
    grant(&api, "eve", "default", json!([rule("", &["pods/exec"], &["create", "get"])])).await;
    let client = api.fixture.ca.issue(&pki::Subject::client("eve", "")).unwrap();
    let tls = pki::client_config(Some(&client), api.fixture.ca.pem(), &[]).unwrap();
    let server = api.fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let tcp = tokio::net::TcpStream::connect(server).await.unwrap();
    let name = pki::server_name("127.0.0.1").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap();
    let both = "GET /api/v1/namespaces/default/pods/refuse/exec?command=sh&container=c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n\
        GET /stats/summary HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut answers = vec![];
    // It may hang up without TLS's farewell: what came before counts.
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answers)).await.unwrap();
    let answers = String::from_utf8(answers).unwrap();
    assert!(answers.starts_with("HTTP/1.1 403"), "{answers}");
    let second = answers.rsplit("HTTP/1.1 ").next().unwrap();
    assert!(second.starts_with("403") && second.contains("User \\\"eve\\\" cannot get path"), "{answers}");
    // The kubelet's text of a refused log comes in a Status.
    let (code, status) = api.get("/api/v1/namespaces/default/pods/refuse/log").await;
    let why = "/containerLogs/default/refuse/c\n ( pods/log refuse)";
    assert_eq!((code, status["message"].as_str()), (403, Some(why)), "{status}");
}

/// A client asks to change protocols and does not say to which, or does so for a log, and sends a
/// body: the kubelet waited for the bytes that the head had promised.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_goes_to_the_kubelet_with_its_length_or_not_at_all() {
    let api = Api::new().await;
    let kubelet = fake_kubelet(&api).await;
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx"}]}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods", pod).await.0, 201);
    let send = async |method: &str, path: &str, to: Option<&str>, body: &'static str| {
        let request = Request::builder().method(method).uri(format!("/api/v1/{path}"));
        let request = request.header("connection", "Upgrade").header("content-length", body.len());
        let request = match to {
            Some(to) => request.header("upgrade", to),
            None => request,
        };
        let answered = api.send(admin(), request.body(full(body)).unwrap());
        tokio::time::timeout(Duration::from_secs(10), answered).await.expect("the kubelet waits")
    };
    assert_eq!(send("POST", "nodes/n1/proxy/run", None, "hello").await, (400, "hello".into()));
    assert_eq!(send("POST", "nodes/n1/proxy/run", Some("SPDY/3.1"), "hello").await, (400, "hello".into()));
    let (code, answer) = send("GET", "nodes/n1/proxy/healthz", None, "").await;
    let why = Some("invalid upgrade response: status code 200");
    assert_eq!((code, answer["message"].as_str()), (500, why), "as upstream");
    let log = "namespaces/default/pods/p/log";
    for to in [None, Some("SPDY/3.1")] {
        let wanted = (200, "/containerLogs/default/p/c\n".into());
        assert_eq!(send("GET", log, to, "hello").await, wanted, "{to:?}");
    }
}
