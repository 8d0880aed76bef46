//! Requests of checks over HTTP and HTTPS: from this machine, and from every node.

use super::failure::Failure;
use super::probe::{LIMIT, no_answer};
use crate::cel::call::Call;
use crate::cel::value;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cel::Value;
use clock::Instant;
use cluster::guest::Host;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{HeaderMap, Uri};
use hyper_util::rt::TokioIo;
use pki::Trust;
use serde_json::Value as Json;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use tap::TEACHER;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const BODY_MAX: usize = 1 << 20;

/// What a server answered.
struct Answer {
    status: i64,
    body: String,
    headers: HeaderMap,
}

/// Why there is no answer, and which kind of failure that is.
#[derive(Debug)]
struct Failed {
    why: String,
    kind: Failure,
}

impl From<String> for Failed {
    fn from(why: String) -> Failed {
        Failed { why, kind: Failure::Other }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed { kind: Failure::of(&error), why: error.to_string() }
    }
}

/// The failure of a request without an answer in [`LIMIT`].
fn late() -> Failed {
    Failed { why: "timed out".into(), kind: Failure::Timeout }
}

/// One request on a connection of its own, so that a Service chooses anew each time. `kubeconfig`
/// names the cluster's authority, `has_port` says which ports of the loopback are the cluster's.
pub(super) async fn http<F: Future<Output = bool>>(
    call: &Call,
    kubeconfig: &Path,
    has_port: impl FnOnce(u16) -> F,
) -> Value {
    let began = Instant::now();
    let answer = tokio::time::timeout(LIMIT, fetch(call, kubeconfig, has_port)).await;
    value_of(answer.unwrap_or_else(|_| Err(late())), began)
}

/// Sends a GET on a connection. Returns the status, and the pod that says it answered.
///
/// # Errors
/// There is no answer, or none within [`LIMIT`].
pub(super) async fn get(url: &str, stream: TcpStream) -> Result<(i64, String), String> {
    let call = Call::get(url);
    let late = |_| Err("timed out".to_string());
    let answer = tokio::time::timeout(LIMIT, send(&call, stream)).await.unwrap_or_else(late)?;
    Ok((answer.status, answered_by(&answer.body).unwrap_or_default()))
}

/// What each node is answered, in the order of their names.
pub(super) async fn within(host: &Host, url: &str) -> Value {
    let began = Instant::now();
    let to = match parsed(url) {
        Ok(uri) => uri,
        Err(why) => return no_answer(&why),
    };
    // A field of an object may have its address in another form than URLs do.
    let address = api::cidr::canonical_ip(to.host().unwrap_or_default().trim_matches(['[', ']']));
    let Some(address) = address else {
        return no_answer(&format!("{url:?} names no address; nodes ask by address"));
    };
    let to = (address, to.port_u16().unwrap_or(80)).into();
    let dialled = host.dial(to, LIMIT).await;
    if dialled.is_empty() {
        return no_answer("no node can be asked");
    }
    let call = &Call::get(url);
    let asked = dialled.into_iter().map(|(_, stream)| async move {
        let answer = match stream {
            Ok(stream) => match tokio::time::timeout(LIMIT, send(call, stream)).await {
                Ok(sent) => sent.map_err(Failed::from),
                Err(_) => Err(late()),
            },
            Err(error) => Err(error.into()),
        };
        value_of(answer, began)
    });
    value::list(futures::future::join_all(asked).await)
}

/// What expressions see of an answer, or of why there is none.
fn value_of(answer: Result<Answer, Failed>, began: Instant) -> Value {
    let (answer, error, failure) = match answer {
        Ok(answer) => (answer, String::new(), ""),
        Err(Failed { why, kind }) => {
            (Answer { status: 0, body: String::new(), headers: HeaderMap::new() }, why, kind.word())
        }
    };
    let by = answered_by(&answer.body).unwrap_or_default();
    // Of a header that was sent several times the last one counts.
    let headers = answer.headers.iter().map(|(name, text)| {
        let text = String::from_utf8_lossy(text.as_bytes()).into_owned();
        (name.as_str(), value::text(&text))
    });
    value::map([
        ("status", Value::Int(answer.status)),
        ("headers", value::map(headers)),
        ("body", value::text(&answer.body)),
        ("error", value::text(&error)),
        ("failure", value::text(failure)),
        ("ms", Value::Float(began.elapsed().as_secs_f64() * 1000.0)),
        ("by", value::text(&by)),
    ])
}

/// Returns the name of the pod that answered, where the answer says it: `echo` in its first line or
/// its JSON, `shop-logic` in its JSON, `shop-page` below its page. A page of nginx begins with the
/// same line as an answer of `echo` if its author wrote it there. Lines below the first one do not
/// count in `echo`'s text: they repeat the request. A program may write any name, so a check that
/// must not be deceived compares it with names of pods.
///
/// ```text
/// Hostname: web-1                                                web-1
/// {"hostname": "web-1", ...}                                     web-1
/// {"logic": "logic-1", "program": "shop-logic, ...", ...}        logic-1
/// <p>Answered by page page-1, logic logic-1 (version 1.0).</p>   page-1
/// ```
fn answered_by(body: &str) -> Option<String> {
    if let Some(name) = body.lines().next().and_then(|line| line.strip_prefix("Hostname: ")) {
        return Some(name.trim().into());
    }
    if body.starts_with('{') {
        let said: serde_json::Value = serde_json::from_str(body).ok()?;
        let is_logic = said["program"].as_str().is_some_and(|program| program.starts_with("shop-logic"));
        return said[if is_logic { "logic" } else { "hostname" }].as_str().map(String::from);
    }
    let below = body.lines().find_map(|line| line.strip_prefix("<p>Answered by page "))?;
    Some(below.split([',', '<']).next()?.trim_end_matches('.').into())
}

fn parsed(url: &str) -> Result<Uri, String> {
    url.parse::<Uri>().map_err(|e| format!("{url:?} is no URL: {e}"))
}

/// The port of a URL, or the usual one of its scheme.
fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 })
}

/// The addresses of the loopback that have the ports of Services.
static LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Returns the addresses that are asked for a URL's host. An address as 127.0.0.2 is none of them:
/// another program may listen there on the port of a Service.
fn loopback(host: &str) -> Result<&'static [IpAddr], String> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(&LOOPBACK);
    }
    let ip = host.parse::<IpAddr>().ok();
    let at = LOOPBACK.iter().position(|own| Some(*own) == ip);
    at.map(|at| &LOOPBACK[at..=at]).ok_or_else(|| format!("only localhost is asked, and not {host:?}"))
}

/// Connects to a port of the loopback that is the cluster's. The author of a pack chooses port,
/// method and body, and many programs trust their own machine: a port that is no Service's is not
/// touched, and counts as closed. So it is for the clients of a Service that was deleted.
async fn connect<F: Future<Output = bool>>(
    host: &str,
    port: u16,
    has_port: impl FnOnce(u16) -> F,
) -> Result<TcpStream, Failed> {
    let addresses = loopback(host)?;
    if !has_port(port).await {
        let why = format!("no Service of this cluster has port {port} of localhost: it is not asked");
        return Err(Failed { why, kind: Failure::Refused });
    }
    let to: Vec<SocketAddr> = addresses.iter().map(|ip| (*ip, port).into()).collect();
    Ok(TcpStream::connect(to.as_slice()).await?)
}

async fn fetch<F: Future<Output = bool>>(
    call: &Call,
    kubeconfig: &Path,
    has_port: impl FnOnce(u16) -> F,
) -> Result<Answer, Failed> {
    let uri = parsed(&call.url)?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err("only http:// and https:// are asked".to_string().into()),
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = connect(host, port(&uri), has_port).await?;
    if !is_tls {
        return Ok(send(call, stream).await?);
    }
    let name = call.host.as_deref().map_or(host, without_port);
    Ok(send(call, shake_hands(stream, name, call.is_verified, kubeconfig).await?).await?)
}

/// `shop.example:443` → `shop.example`.
fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    name.trim_matches(['[', ']'])
}

/// Begins TLS with a server of this name. It has to show a certificate of the cluster's authority,
/// or, if it is not verified, any.
async fn shake_hands(
    stream: TcpStream,
    name: &str,
    is_verified: bool,
    kubeconfig: &Path,
) -> Result<TlsStream<TcpStream>, String> {
    let trust = match is_verified {
        true => Trust::These(authority(kubeconfig).await?),
        false => Trust::Anyone,
    };
    let tls = pki::foreign_client(&trust, None, &[]).map_err(|e| e.to_string())?;
    let name = pki::server_name(name).map_err(|e| e.to_string())?;
    TlsConnector::from(tls).connect(name, stream).await.map_err(|e| e.to_string())
}

/// Returns the PEM of the cluster's authority, as a kubeconfig has it.
async fn authority(kubeconfig: &Path) -> Result<Vec<u8>, String> {
    let text = tokio::fs::read_to_string(kubeconfig).await.map_err(|e| e.to_string())?;
    let config: Json = serde_yaml::from_str(&text).map_err(|e| e.to_string())?;
    let data = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str();
    let data = data.ok_or("the kubeconfig names no authority of the cluster")?;
    BASE64.decode(data).map_err(|e| e.to_string())
}

/// Sends a request on this connection, and reads the answer.
async fn send(
    call: &Call,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Answer, String> {
    let uri = parsed(&call.url)?;
    let host = match &call.host {
        Some(host) => host.clone(),
        None => format!("{}:{}", uri.host().unwrap_or_default(), port(&uri)),
    };
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut request = hyper::Request::builder().method(call.method.as_str()).uri(path).header("host", host);
    if !call.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
        request = request.header("user-agent", TEACHER);
    }
    for (name, text) in &call.headers {
        request = request.header(name.as_str(), text.as_str());
    }
    let request = request.body(Full::new(Bytes::from(call.body.clone()))).map_err(|e| e.to_string())?;
    let asked = async {
        let answer = send.send_request(request).await.map_err(|e| e.to_string())?;
        let (status, headers) = (answer.status().as_u16().into(), answer.headers().clone());
        let body = Limited::new(answer.into_body(), BODY_MAX).collect().await.map_err(|e| e.to_string())?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Answer { status, body, headers })
    };
    tokio::pin!(asked);
    tokio::select! {
        done = &mut asked => done,
        // A server may hang up behind its answer, over TLS without a word. What it sent counts.
        ended = connection => match (asked.await, ended) {
            (Err(_), Err(error)) => Err(error.to_string()),
            (answer, _) => answer,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::value::{field, int_field, str_field};
    use pki::{Ca, Subject};
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// What the programs of the built-in images answer: their own tests compare them with it.
    const ECHO: &str = include_str!("../../machinery/applets/answers/echo.txt");
    const ECHO_JSON: &str = include_str!("../../machinery/applets/answers/echo.json");
    const LOGIC: &str = include_str!("../../machinery/applets/answers/logic.json");
    const PAGE: &str = include_str!("../../machinery/applets/answers/page.html");

    const NO_FILE: &str = "/no/kubeconfig";

    #[test]
    fn the_pod_that_answered_is_read_from_what_each_built_in_image_says() {
        let by = |body: &str| answered_by(body).unwrap_or_default();
        assert_eq!([by(ECHO), by(ECHO_JSON), by(LOGIC), by(PAGE)], ["web-1", "web-1", "logic-1", "page-1"]);
        let both = PAGE.replace("page page-1.", "page page-1, logic logic-1 (version 1.1).");
        assert_eq!(by(&both), "page-1", "the one that was asked, not the one that it asked");
        assert_eq!(by("Hostname: menu-7f\n"), "menu-7f", "a page of nginx");
        for silent in
            ["", "<h1>Welcome to nginx!</h1>\n", "ok\n", "{\"a\":1}", "{", "[1]", "x\nHostname: y\n"]
        {
            assert_eq!(by(silent), "", "{silent:?}");
        }
    }

    /// Asks while every port is one of the cluster's.
    async fn ask(call: &Call, kubeconfig: &Path) -> Value {
        http(call, kubeconfig, |_| std::future::ready(true)).await
    }

    /// Another program of the machine listens on the port, for example a database.
    #[tokio::test]
    async fn a_check_asks_no_port_that_is_not_the_clusters() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let call = Call { method: "POST".into(), ..Call::get(&format!("http://localhost:{port}/")) };
        let asked = std::cell::Cell::new(0);
        let answer = http(&call, Path::new(NO_FILE), |port| {
            asked.set(port);
            std::future::ready(false)
        });
        let answer = answer.await;
        assert_eq!((int_field(&answer, "status"), str_field(&answer, "failure")), (0, "refused"));
        assert!(str_field(&answer, "error").starts_with("no Service of this cluster has port"), "{answer:?}");
        assert_eq!(asked.get(), port);
        assert!(listener.accept().is_err(), "nothing was connected to it");
    }

    #[tokio::test]
    async fn a_check_asks_no_other_host() {
        let others = [
            "http://192.0.2.1/",
            "http://a.example:80/",
            "http://0.0.0.0/",
            "http://[2001:db8::1]/",
            "http://127.0.0.2/",
            "http://[::ffff:127.0.0.1]/",
        ];
        for url in others {
            let answer = ask(&Call::get(url), Path::new(NO_FILE)).await;
            assert_eq!(int_field(&answer, "status"), 0);
            assert!(str_field(&answer, "error").starts_with("only localhost is asked"), "{answer:?}");
        }
        for url in ["http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/"] {
            let answer = ask(&Call::get(url), Path::new(NO_FILE)).await;
            assert!(!str_field(&answer, "error").contains("only localhost"), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_page_is_fetched_and_a_closed_port_is_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 512];
            let n = stream.read(&mut buffer).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ECHO.len());
            stream.write_all(format!("{head}{ECHO}").as_bytes()).await.unwrap();
            String::from_utf8_lossy(&buffer[..n]).into_owned()
        });
        let answer = ask(&Call::get(&format!("http://127.0.0.1:{port}/a?b")), NO_FILE.as_ref()).await;
        assert_eq!((int_field(&answer, "status"), str_field(&answer, "by")), (200, "web-1"));
        assert!(server.await.unwrap().starts_with("GET /a?b HTTP/1.1"));
        let refused = ask(&Call::get(&format!("http://127.0.0.1:{port}/")), NO_FILE.as_ref()).await;
        assert_eq!(int_field(&refused, "status"), 0);
        assert!(str_field(&refused, "error").contains("refused"), "{refused:?}");
        assert_eq!((str_field(&answer, "failure"), str_field(&refused, "failure")), ("", "refused"));
    }

    /// It takes the connection, and says nothing.
    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_not_taken_for_a_closed_port() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
        let answer = ask(&Call::get(&url), NO_FILE.as_ref()).await;
        assert_eq!((str_field(&answer, "failure"), int_field(&answer, "status")), ("timeout", 0));
    }

    /// A server behind TLS that answers one request with what it was sent, and a header.
    async fn answering_once(identity: &pki::Identity, ca: &Ca) -> u16 {
        let tls = TlsAcceptor::from(pki::server_config(identity, ca.pem()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = tls.accept(stream).await else { return }; // the client hung up
            let mut buffer = [0; 1024];
            let n = stream.read(&mut buffer).await.unwrap();
            let head = format!("HTTP/1.1 201 Created\r\nx-shop: open\r\ncontent-length: {n}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &buffer[..n]].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        port
    }

    #[tokio::test]
    async fn host_method_and_headers_are_sent_and_a_certificate_is_verified_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "ca").unwrap();
        let kubeconfig = dir.path().join("config");
        let cluster = json!({"certificate-authority-data": BASE64.encode(ca.pem()), "server": "https://x"});
        let config = json!({"clusters": [{"name": "c", "cluster": cluster}]});
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let shop = ca.issue(&Subject::server("shop.example", &["shop.example"])).unwrap();
        let visit = async |host: Option<&str>, is_verified: bool| {
            let port = answering_once(&shop, &ca).await;
            let call = Call {
                method: "PUT".into(),
                host: host.map(String::from),
                headers: vec![("x-user".into(), "kim".into())],
                is_verified,
                ..Call::get(&format!("https://127.0.0.1:{port}/cart?a=b"))
            };
            ask(&call, &kubeconfig).await
        };
        let answer = visit(Some("shop.example:443"), true).await;
        assert_eq!((int_field(&answer, "status"), str_field(&answer, "error")), (201, ""));
        assert_eq!(field(&answer, "headers").map(|h| str_field(h, "x-shop")), Some("open"));
        let sent = str_field(&answer, "body").to_ascii_lowercase();
        assert!(sent.starts_with("put /cart?a=b http/1.1"), "{sent}");
        assert!(sent.contains("host: shop.example:443\r\n") && sent.contains("x-user: kim\r\n"), "{sent}");
        // The certificate is for another name than the address.
        let other = visit(None, true).await;
        assert_eq!(int_field(&other, "status"), 0);
        assert!(str_field(&other, "error").contains("certificate"), "{other:?}");
        assert_eq!(int_field(&visit(None, false).await, "status"), 201);
    }
}
