//! Requests to servers in pods, through `pods/proxy` and `services/proxy`.

use super::*;
use ::http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pki::{Subject, server_config};
use std::convert::Infallible;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// Answers as a program in a pod: with what it was asked, a page, a redirect, or an echo after a
/// change of protocols.
async fn program(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let mut answer = Response::new(full(""));
    let (uri, method) = (request.uri().to_string(), request.method().to_string());
    if request.headers().contains_key("upgrade") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        answer.headers_mut().insert("connection", "Upgrade".parse().unwrap());
        return Ok(answer);
    }
    if uri == "/page" {
        answer.headers_mut().insert("content-type", "text/html; charset=utf-8".parse().unwrap());
        answer.headers_mut().insert("access-control-allow-origin", "*".parse().unwrap());
        *answer.body_mut() = full("<a href=\"/rewriteme\">test</a>");
    } else if uri == "/long" {
        *answer.status_mut() = StatusCode::NOT_FOUND;
        *answer.body_mut() = full(vec![b' '; 33 << 20]);
    } else if let Some(to) = uri.strip_prefix("/moved?") {
        *answer.status_mut() = StatusCode::FOUND;
        answer.headers_mut().insert("location", to.parse().unwrap());
    } else {
        let text = |value: &::http::HeaderValue| value.to_str().unwrap().to_string();
        let headers: std::collections::BTreeMap<String, String> =
            request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body);
        *answer.status_mut() = StatusCode::IM_A_TEAPOT;
        answer.headers_mut().insert("x-own", "kept".parse().unwrap());
        let told = json!({"method": method, "uri": uri, "headers": headers, "body": body});
        *answer.body_mut() = full(told.to_string());
    }
    Ok(answer)
}

async fn run(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(program));
    let _ = serving.with_upgrades().await;
}

/// A kubelet of node n1 with programs on ports 80 and 8080 of every pod, and one with TLS on 8443.
async fn kubelet(api: &Api) -> std::net::SocketAddr {
    let acceptor = |name: &str| {
        let identity = api.fixture.ca.issue(&Subject::server(name, &["127.0.0.1"])).unwrap();
        TlsAcceptor::from(server_config(&identity, api.fixture.ca.pem()).unwrap())
    };
    let (own, pods) = (acceptor("system:node:n1"), acceptor("a program"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (own, pods) = (own.clone(), pods.clone());
            tokio::spawn(async move {
                let stream = own.accept(tcp).await.unwrap();
                let service = service_fn(move |mut request: Request<Incoming>| {
                    let pods = pods.clone();
                    async move {
                        let mut answer = Response::new(full(""));
                        let path = request.uri().path().to_string();
                        let port: u16 = path.rsplit('/').next().unwrap().parse().unwrap();
                        assert!(
                            path.starts_with("/podPort/default/") && request.headers()["upgrade"] == "tcp"
                        );
                        if ![80, 8080, 8443].contains(&port) {
                            *answer.status_mut() = StatusCode::BAD_GATEWAY;
                            *answer.body_mut() =
                                full(format!("dial tcp 10.244.1.2:{port}: connect: connection refused"));
                            return Ok::<_, Infallible>(answer);
                        }
                        let upgrade = hyper::upgrade::on(&mut request);
                        tokio::spawn(async move {
                            let stream = TokioIo::new(upgrade.await.unwrap());
                            match port {
                                8443 => run(pods.accept(stream).await.unwrap()).await,
                                _ => run(stream).await,
                            }
                        });
                        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                        answer.headers_mut().insert("upgrade", "tcp".parse().unwrap());
                        answer.headers_mut().insert("connection", "Upgrade".parse().unwrap());
                        Ok(answer)
                    }
                });
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let _ = serving.with_upgrades().await;
            });
        }
    });
    address
}

/// Node n1; the pods `web`, `local` with an address of the machine and `new` without one; the
/// Services `web`, with an endpoint that is the pod, `outside`, with one that is none, and `idle`.
async fn cluster() -> Api {
    let api = Api::new().await;
    let port = kubelet(&api).await.port();
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    for (name, ip) in [("web", "10.244.1.2"), ("local", "127.0.0.1"), ("new", "")] {
        let ports = json!([{"name": "http", "containerPort": 8080}, {"name": "tls", "containerPort": 8443}]);
        let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx", "ports": ports}]}});
        assert_eq!(api.post(PODS, pod).await.0, 201);
        if !ip.is_empty() {
            let status = json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}});
            assert_eq!(api.patch(&format!("{PODS}/{name}/status"), status).await.0, 200);
        }
    }
    for name in ["web", "outside", "idle"] {
        let ports = json!([{"name": "a", "port": 81, "targetPort": 8080}, {"name": "tls", "port": 444}]);
        let service = json!({"metadata": {"name": name}, "spec": {"ports": ports}});
        assert_eq!(api.post(SERVICES, service).await.0, 201);
    }
    let pod = json!({"kind": "Pod", "namespace": "default", "name": "web"});
    let foreign = json!({"kind": "Pod", "namespace": "kube-system", "name": "web"});
    for (service, targets) in [
        ("web", vec![("10.244.1.2", &pod)]),
        ("outside", vec![("10.9.9.9", &pod), ("10.244.1.2", &foreign), ("10.244.1.2", &Value::Null)]),
    ] {
        for (n, (address, target)) in targets.into_iter().enumerate() {
            let mut endpoint = json!({"addresses": [address], "conditions": {"ready": true}});
            if target.is_object() {
                endpoint["targetRef"] = target.clone();
            }
            let slice = json!({"metadata": {"name": format!("{service}-{n}"), "labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4", "endpoints": [endpoint],
                "ports": [{"name": "a", "port": 8080, "protocol": "TCP"}, {"name": "tls", "port": 8443, "protocol": "TCP"}]});
            let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
            assert_eq!(api.post(slices, slice).await.0, 201);
        }
    }
    api
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_reaches_the_program_without_what_is_for_the_server() {
    let api = cluster().await;
    for (method, body) in
        [("GET", ""), ("POST", "one"), ("PUT", "two"), ("PATCH", "three"), ("DELETE", ""), ("OPTIONS", "")]
    {
        let request = Request::builder().method(method).uri(format!("{PODS}/web/proxy/a%20b//c/?d=e%20f"));
        let request = request
            .header("host", "localhost:8001")
            .header("x-forwarded-uri", "/mine")
            .header("x-more", "more");
        let request = request.header("authorization", "Bearer secret").header("accept-encoding", "gzip");
        let (code, answer) = api.send(admin(), request.body(full(body)).unwrap()).await;
        assert_eq!(code, 418, "{answer}");
        assert_eq!(
            (&answer["method"], &answer["uri"], &answer["body"]),
            (&method.into(), &"/a%20b/c/?d=e%20f".into(), &body.into())
        );
        let headers = &answer["headers"];
        assert_eq!(headers["x-forwarded-uri"], format!("{PODS}/web/proxy/a%20b/c/"), "{answer}");
        assert_eq!(
            (headers["host"].as_str(), headers["x-more"].as_str()),
            (Some("localhost:8001"), Some("more"))
        );
        assert!(headers["authorization"].is_null() && headers["accept-encoding"].is_null(), "{answer}");
    }
    let (code, refused) = api.ask("TRACE", &format!("{PODS}/web/proxy/"), Value::Null).await;
    assert_eq!(code, 405, "{refused}");
    assert_eq!(api.post(&format!("{PODS}/web/proxy/?dryRun=All"), json!({})).await.0, 400);
    let (_, list) = api.get("/api/v1").await;
    for (name, kind) in
        [("pods", "PodProxyOptions"), ("services", "ServiceProxyOptions"), ("nodes", "NodeProxyOptions")]
    {
        let found =
            list["resources"].as_array().unwrap().iter().find(|r| r["name"] == format!("{name}/proxy"));
        let found = found.expect("a subresource of discovery");
        assert_eq!(
            (&found["kind"], &found["verbs"]),
            (&kind.into(), &json!(["create", "delete", "get", "patch", "update"]))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_found_by_number_by_name_or_as_the_first_one() {
    let api = cluster().await;
    for (name, code) in [
        ("pods/web", 418),
        ("pods/web:80", 418),
        ("pods/web:http", 418),
        ("pods/http:web:8080", 418),
        ("pods/https:web:8443", 418),
        ("pods/https:web:tls", 418),
        ("pods/https:web:80", 503), // it does not speak TLS
        ("pods/web:nine", 503),
        ("pods/web:70000", 503),
        ("pods/ftp:web:80", 400),
        ("pods/none:80", 404),
        ("services/web:a", 418),
        ("services/web:81", 418),
        ("services/http:web:81", 418),
        ("services/https:web:444", 418),
        ("services/https:web:tls", 418),
        ("services/web", 503), // no port without a name
        ("services/a:b:c:d", 400),
        ("services/none:81", 404),
    ] {
        let (answered, got) = api.get(&format!("/api/v1/namespaces/default/{name}/proxy/")).await;
        assert_eq!(answered, code, "{name}: {got}");
    }
    // The record of such a request names the object, without scheme and port.
    let records = api.fixture.tap.since(0);
    let proxied = records.iter().filter(|r| r.request.as_ref().is_some_and(|q| q.subresource == "proxy"));
    let mut names: Vec<&str> = proxied.filter_map(|r| Some(r.object.as_ref()?.name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["a:b:c:d", "ftp:web:80", "none", "web"]);
    // The program's own code is no refusal of the server.
    for record in records.iter().filter(|r| r.request.as_ref().is_some_and(|q| q.subresource == "proxy")) {
        if let (Some(answer), Some(request)) = (record.answer(), &record.request) {
            assert_eq!(answer.from_pod, request.code == 418, "{record:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_told_as_upstream_tells_it() {
    let api = cluster().await;
    for (name, code, why) in [
        ("pods/local:80", 400, "address not allowed"),
        ("pods/new:80", 400, "address not allowed"),
        ("pods/a:b:c:d", 400, "invalid pod request \"a:b:c:d\""),
        (
            "pods/web:82",
            503,
            "error trying to reach service: dial tcp 10.244.1.2:82: connect: connection refused",
        ),
        ("services/web:82", 503, "no service port 82 found for service \"web\""),
        ("services/idle:81", 503, "no endpoints available for service \"idle\""),
        ("services/web:none", 503, "no endpoints available for service \"web:none\""),
        ("services/none:80", 404, "services \"none\" not found"),
        ("services/none:http", 404, "endpoints \"none\" not found"),
    ] {
        let (answered, answer) = api.get(&format!("/api/v1/namespaces/default/{name}/proxy/")).await;
        assert_eq!((answered, answer["message"].as_str()), (code, Some(why)), "{name}");
    }
    // An endpoint that is no pod here, another namespace's, or has another address.
    let (code, answer) = api.get(&format!("{SERVICES}/outside:81/proxy/")).await;
    let why = answer["message"].as_str().unwrap_or_default();
    assert!(code == 503 && why.contains("reaches pods of its namespace only"), "{answer}");
    grant(&api, "eve", "default", json!([rule("", &["pods/proxy"], &["get"])])).await;
    let eve = || User::new("eve", &[]);
    for (method, path, code) in [
        ("GET", format!("{PODS}/web/proxy/"), 418),
        ("POST", format!("{PODS}/web/proxy/"), 403),
        ("GET", format!("{SERVICES}/web:81/proxy/"), 403),
        // Longer than the answers that eve may have in memory: the program's, not a refusal.
        ("GET", format!("{PODS}/web/proxy/long"), 404),
    ] {
        assert_eq!(api.send(eve(), request(method, &path, "", "")).await.0, code, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_a_page_and_of_a_redirect_lead_through_the_proxy() {
    let api = cluster().await;
    let ask = async |method: &str, path: &str| {
        let answer = api.fixture.server.call(request(method, path, "", ""), admin()).await;
        let (parts, body) = answer.into_parts();
        (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes())
    };
    for name in [format!("{PODS}/web"), format!("{SERVICES}/https:web:444")] {
        let (code, headers, page) = ask("GET", &format!("{name}/proxy/page")).await;
        assert_eq!(
            (code, &page[..]),
            (200, format!("<a href=\"{name}/proxy/rewriteme\">test</a>").as_bytes())
        );
        assert!(
            !headers.contains_key("access-control-allow-origin") && !headers.contains_key("content-length")
        );
        for (to, wanted) in [
            ("/there/?a=b", format!("{name}/proxy/there/?a=b")),
            ("https://example.com/", "https://example.com/".into()),
            ("there", "there".into()),
            ("../../../../secrets", format!("{name}/proxy/secrets")),
        ] {
            let (code, headers, _) = ask("GET", &format!("{name}/proxy/moved?{to}")).await;
            assert_eq!((code, headers["location"].to_str().unwrap()), (302, wanted.as_str()));
        }
        let (code, headers, body) = ask("HEAD", &format!("{name}/proxy?a=b")).await;
        let wanted = format!("{name}/proxy/?a=b");
        assert_eq!((code, headers["location"].to_str().unwrap(), body.len()), (301, wanted.as_str(), 0));
        assert_eq!(ask("POST", &format!("{name}/proxy")).await.0, 418, "it is not led on");
        let (code, headers, _) = ask("GET", &format!("{name}/proxy/")).await;
        assert_eq!((code, headers["x-own"].to_str().unwrap()), (418, "kept"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_a_program_passes_both_ways() {
    let api = cluster().await;
    let client = api.fixture.ca.issue(&Subject::client("admin", "system:masters")).unwrap();
    let tls = pki::client_config(Some(&client), api.fixture.ca.pem(), &[]).unwrap();
    let server = api.fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    for name in ["pods/web:8080", "services/https:web:444"] {
        let tcp = tokio::net::TcpStream::connect(server).await.unwrap();
        let host = pki::server_name("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(tls.clone()).connect(host, tcp).await.unwrap();
        let head = format!(
            "GET /api/v1/namespaces/default/{name}/proxy/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![];
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        stream.write_all(b"hello").await.unwrap();
        let mut echoed = [0; 5];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut echoed)).await;
        assert_eq!((read.unwrap().unwrap(), &echoed), (5, b"hello"));
    }
}
