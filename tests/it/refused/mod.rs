//! Nothing gets in: what the API server, its files and the store's listeners answer to clients that
//! have no business there.

mod tokens;

use super::support::{Cluster, Home, PATIENCE, TIMEOUT, any_kubectl, capable, eventually, turn};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pki::{Ca, Identity, Subject, client_config, server_name};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokens::tokens;

/// All that a client without credentials may see.
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];
const PRIVATE: &[&str] = &[
    "/",
    "/api",
    "/apis",
    "/api/v1",
    "/api/v1/namespaces",
    "/api/v1/secrets",
    "/api/v1/namespaces/default/pods/x/exec?command=sh",
    "/api/v1/nodes/ropewalk-worker/proxy/pods",
    "/openapi/v2",
    "/openapi/v3",
    "/metrics",
    "/logs/",
    "/ropewalk/v1/steps",
    "/no/such/page",
];

/// The API server as seen over the wire.
struct Door {
    address: SocketAddr,
    ca: String,
}

impl Door {
    /// One request; an error is a connection that was refused or cut.
    fn ask(
        &self,
        who: Option<&Identity>,
        token: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        self.ask_with(who, token, "", method, path, body)
    }

    /// The same with further header lines, each ended by `\r\n`.
    fn ask_with(
        &self,
        who: Option<&Identity>,
        token: &str,
        more: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let tls = client_config(who, &self.ca, &[]).expect("TLS");
        let name = server_name("localhost").expect("a name");
        let tcp = TcpStream::connect(self.address)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let session = rustls::ClientConnection::new(tls, name).map_err(std::io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(session, tcp);
        let bearer =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{bearer}{more}Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        // It may say no before it has heard everything.
        let _ = stream.write_all(body.as_bytes());
        let mut text = Vec::new();
        let read = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        match text.split(' ').nth(1).and_then(|code| code.parse().ok()) {
            Some(code) => Ok((code, text)),
            None => Err(read.err().unwrap_or_else(|| ErrorKind::UnexpectedEof.into())),
        }
    }

    fn get(&self, token: &str, path: &str) -> u16 {
        self.ask(None, token, "GET", path, "").expect("an answer").0
    }
}

#[test]
fn nobody_gets_in_without_a_key() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let cluster = home.up(&[]);
    let config: Value =
        serde_yaml::from_str(&std::fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig"))
            .expect("YAML");
    let text = |v: &Value| {
        let bytes = STANDARD.decode(v.as_str().expect("text")).expect("base64");
        String::from_utf8(bytes).expect("PEM")
    };
    let (server, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
    let address = server["server"].as_str().and_then(|s| s.trim_start_matches("https://").parse().ok());
    let door =
        Door { address: address.expect("an address"), ca: text(&server["certificate-authority-data"]) };
    let admin = Identity {
        cert_pem: text(&user["client-certificate-data"]),
        key_pem: text(&user["client-key-data"]),
    };
    assert_eq!(
        door.ask(Some(&admin), "", "GET", "/api/v1/secrets", "").expect("an answer").0,
        200,
        "the key fits"
    );

    let pki = home.path().join("clusters/t/pki");
    strangers(&door, &pki);
    web_pages(&door);
    tokens(&door, &cluster, &pki);
    from_inside(&door, &cluster);
    too_much(&door, &admin);
    stores(&cluster, &door);
    files(home.path());
}

/// A page in the learner's browser can send requests, but no answer may let it read one, and no
/// preflight may let it write.
fn web_pages(door: &Door) {
    let page = "Origin: https://elsewhere.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
    for (method, path) in
        [("GET", "/version"), ("GET", "/api/v1/secrets"), ("OPTIONS", "/api/v1/namespaces/default/pods")]
    {
        let (code, answer) = door.ask_with(None, "", page, method, path, "").expect("an answer");
        let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        assert!(!head.contains("access-control-allow"), "{method} {path}: {head}");
        assert!(path == "/version" || matches!(code, 401 | 403), "{method} {path}: {code}");
    }
}

/// No certificate, and certificates of another authority and of other times.
fn strangers(door: &Door, pki: &Path) {
    for path in PUBLIC {
        assert_eq!(door.get("", path), 200, "{path}");
    }
    for path in PRIVATE {
        let code = door.get("", path);
        assert!(matches!(code, 401 | 403), "{path} says {code} to nobody");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let said =
            door.ask(None, "", method, "/api/v1/namespaces/default/configmaps/a", "{}").expect("an answer");
        assert!(matches!(said.0, 401 | 403), "{method}: {}", said.0);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let other = Ca::load_or_create(dir.path(), "kubernetes").expect("an authority");
    let forged = other.issue(&Subject::client("kubernetes-admin", "system:masters")).expect("a certificate");
    refused(door, &forged, "somebody else's certificate");
    for (what, from, until) in [("expired", 2020, 2021), ("of a time to come", 2090, 2099)] {
        refused(door, &dated(pki, from, until), &format!("a certificate that is {what}"));
    }
    let good = dated(pki, 2020, 2099);
    let said = door.ask(Some(&good), "", "GET", "/api/v1/secrets", "").expect("an answer");
    assert_eq!(said.0, 200, "the same in time: {}", said.1);
}

/// An administrator's certificate of the cluster's own authority, good between two new years.
fn dated(pki: &Path, from: i32, until: i32) -> Identity {
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).expect("the authority");
    let key = rcgen::KeyPair::from_pem(&read("ca.key")).expect("a key");
    let ca = rcgen::Issuer::from_ca_cert_pem(&read("ca.crt"), key).expect("a certificate");
    let mut wanted = rcgen::CertificateParams::default();
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    wanted.distinguished_name.push(rcgen::DnType::CommonName, "kubernetes-admin");
    wanted.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    wanted.not_before = rcgen::date_time_ymd(from, 1, 1);
    wanted.not_after = rcgen::date_time_ymd(until, 1, 1);
    let own = rcgen::KeyPair::generate().expect("a key");
    let cert_pem = wanted.signed_by(&own, &ca).expect("a certificate").pem();
    Identity { cert_pem, key_pem: own.serialize_pem() }
}

/// Whose certificate is not believed is told so in Kubernetes' words, even where nobody at all
/// would be let in.
fn refused(door: &Door, who: &Identity, what: &str) {
    for path in ["/api/v1/secrets", "/version"] {
        let (code, text) = door.ask(Some(who), "", "GET", path, "").expect(what);
        assert_eq!(code, 401, "{what}: {text}");
        unauthorized(&text, what);
    }
}

fn unauthorized(answer: &str, what: &str) {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Unauthorized", "reason": "Unauthorized", "code": 401});
    assert_eq!(serde_json::from_str::<Value>(body).ok(), Some(status), "{what}: {body}");
}

/// What the token that lies in a pod may do: nothing, and then what a binding says.
fn from_inside(door: &Door, cluster: &Cluster) {
    let any = any_kubectl();
    let k = |args: &[&str]| cluster.kubectl(&any, args).ok();
    k(&["create", "serviceaccount", "inside"]);
    k(&["run", "inside", "--image=nginx", "--overrides", r#"{"spec":{"serviceAccountName":"inside"}}"#]);
    k(&["wait", "--for=condition=ready", "pod/inside", TIMEOUT]);
    let token = k(&["exec", "inside", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"]);
    let ask = |method: &str, path: &str| door.ask(None, token.trim(), method, path, "").expect("an answer");
    let (maps, secrets) = ("/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/secrets");
    let (code, said) = ask("GET", maps);
    assert_eq!(code, 403, "{said}");
    let words = "configmaps is forbidden: User \\\"system:serviceaccount:default:inside\\\" cannot list resource \\\"configmaps\\\" in API group \\\"\\\" in the namespace \\\"default\\\"";
    assert!(said.contains(words), "{said}");
    k(&["create", "rolebinding", "inside", "--role=look", "--serviceaccount=default:inside"]);
    eventually(PATIENCE, || ask("GET", maps).0, |code| *code == 200);
    let named = format!("{maps}/kube-root-ca.crt");
    assert_eq!(ask("GET", &named).0, 200, "get is among the role's verbs");
    // The same from where the token lies, as Kubernetes' documents show it.
    let inside = |curl: &str| {
        cluster.kubectl(
            &any,
            &[
                "exec",
                "inside",
                "--",
                "sh",
                "-c",
                &format!("cd /var/run/secrets/kubernetes.io/serviceaccount; {curl}"),
            ],
        )
    };
    let authorized = format!(
        "curl -sS --cacert ca.crt -H \"Authorization: Bearer $(cat token)\" https://kubernetes.default.svc{maps}"
    );
    let said = inside(&authorized).ok();
    assert!(
        said.starts_with("{\n  \"kind\": \"ConfigMapList\""),
        "for eyes, as they would be shown: {said:.300}"
    );
    let terse = inside(&format!("{authorized}?pretty=false")).ok();
    assert!(terse.starts_with("{\"kind\":\"ConfigMapList\""), "{terse:.300}");
    let unknown = inside("curl -sS https://kubernetes.default.svc/version");
    assert_eq!(unknown.code, 60, "{}", unknown.err);
    assert!(
        unknown.err.contains("unable to get local issuer certificate") && unknown.err.contains("--cacert"),
        "{}",
        unknown.err
    );
    assert!(inside("curl -sk https://kubernetes.default.svc/version").ok().contains("gitVersion"));
    assert!(
        inside("wget -qO- --no-check-certificate https://kubernetes.default.svc/version")
            .ok()
            .contains("gitVersion")
    );
    for (method, path) in [
        ("DELETE", named.as_str()),
        ("DELETE", maps),
        ("GET", secrets),
        ("GET", "/api/v1/configmaps"),
        ("GET", "/api/v1/namespaces/kube-system/configmaps"),
        ("GET", "/api/v1/namespaces/default/pods"),
        ("GET", "/api/v1/nodes"),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
    ] {
        assert_eq!(ask(method, path).0, 403, "{method} {path}");
    }
}

/// Requests that are too large or too deep are refused in words, and others are served meanwhile.
fn too_much(door: &Door, admin: &Identity) {
    let maps = "/api/v1/namespaces/default/configmaps";
    let large = format!(r#"{{"metadata":{{"name":"large"}},"data":{{"x":"{}"}}}}"#, "x".repeat(5 << 20));
    let deep =
        format!(r#"{{"metadata":{{"name":"deep"}},"data":{}1{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    let many =
        format!(r#"{{"metadata":{{"name":"many","labels":{{{}"z":"z"}}}}}}"#, r#""a":"b","#.repeat(200_000));
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(door.ask(Some(admin), "", "GET", maps, "").expect("an answer").0, 200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        for (what, body) in [("large", &large), ("deep", &deep), ("many", &many)] {
            let before = served.load(Ordering::Relaxed);
            let said = door.ask(Some(admin), "", "POST", maps, body);
            match said {
                Ok((code, text)) => assert!(
                    (400..500).contains(&code) || (what == "many" && code == 201),
                    "{what}: {code} {text:.300}"
                ),
                Err(cut) => assert!(
                    ![ErrorKind::ConnectionRefused, ErrorKind::WouldBlock, ErrorKind::TimedOut]
                        .contains(&cut.kind()),
                    "{what}: the server is gone, or works for ever: {cut}"
                ),
            }
            // The watcher asks without a pause, so the request that it had in flight is answered.
            eventually(PATIENCE, || served.load(Ordering::Relaxed), |served| *served > before);
        }
        stop.store(true, Ordering::Relaxed);
        watcher.join().expect("the others");
    });
}

/// The store speaks to those who have a certificate of its own authority.
fn stores(cluster: &Cluster, door: &Door) {
    let etcd = &cluster.status()["etcd"];
    let endpoint = etcd["endpoints"][0].as_str().expect("an endpoint").trim_start_matches("https://");
    let ca = std::fs::read_to_string(etcd["cacert"].as_str().expect("a path")).expect("PEM");
    let store = Door { address: endpoint.parse().expect("an address"), ca };
    assert!(store.ask(None, "", "GET", "/health", "").is_err(), "no certificate");
    let dir = tempfile::tempdir().expect("a directory");
    let other = Ca::load_or_create(dir.path(), "etcd-ca").expect("an authority");
    let forged = other.issue(&Subject::client("root", "")).expect("a certificate");
    assert!(store.ask(Some(&forged), "", "GET", "/health", "").is_err(), "somebody else's certificate");
    assert_eq!(door.get("", "/livez"), 200, "all is well meanwhile");
}

/// Keys, sockets and everything around them are the owner's alone.
fn files(home: &Path) {
    fn walk(dir: &Path, open: bool, seen: &mut [usize; 2]) {
        for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
            let name = entry.file_name().to_string_lossy().into_owned();
            let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
            let open = open && mode & 0o011 != 0;
            if kind.is_dir() {
                if name != "root" && name != "volumes" {
                    walk(&path, open, seen);
                }
            } else if name.ends_with(".key") || name.contains("kubeconfig") {
                seen[0] += 1;
                assert_eq!(mode, 0o600, "{}", path.display());
            } else if kind.is_socket() {
                seen[1] += 1;
                assert!(!open || mode & 0o066 == 0, "{} can be reached by others: {mode:o}", path.display());
            }
        }
    }
    let mut seen = [0, 0];
    let mode = std::fs::metadata(home).expect("a home").permissions().mode();
    walk(home, mode & 0o011 != 0, &mut seen);
    assert!(seen[0] > 3 && seen[1] > 0, "keys and sockets were looked for and hardly found: {seen:?}");
}

/// `kubectl proxy` lends the user's rights to whatever reaches its port, pages in a browser among
/// it: it gives no terminal away, however the path is written, and changes nothing for another
/// site's page.
#[test]
fn a_proxy_gives_no_terminal_away() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let cluster = home.up(&["--workers", "0"]);
    let mut proxy = home.command(home.program());
    proxy.args(["kubectl", "--name", "t", "proxy", "--port", "0"]).stdout(std::process::Stdio::piped());
    let mut proxy = proxy.spawn().expect("kubectl proxy");
    let mut said = String::new();
    let mut out = std::io::BufReader::new(proxy.stdout.take().expect("its output"));
    std::io::BufRead::read_line(&mut out, &mut said).expect("a line");
    let address: SocketAddr =
        said.trim().rsplit(' ').next().and_then(|a| a.parse().ok()).expect("an address");
    let ask = |method: &str, path: &str, headers: &str| -> (u16, String) {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let host = format!("Host: localhost:{}", address.port());
        let host = if headers.contains("Host:") { "" } else { host.as_str() };
        let head =
            [&format!("{method} {path} HTTP/1.1"), host, headers, "Connection: close", "Content-Length: 2"];
        let head: Vec<&str> = head.into_iter().filter(|line| !line.is_empty()).collect();
        stream.write_all(format!("{}\r\n\r\n{{}}", head.join("\r\n")).as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let code = answer.split(' ').nth(1).and_then(|c| c.parse().ok()).unwrap_or(0);
        (code, answer)
    };
    let pod = "/api/v1/namespaces/default/pods/none";
    assert_eq!(ask("GET", "/api/v1/namespaces", "").0, 200, "{said}");
    assert_eq!(ask("GET", pod, "").0, 404, "what is let through is the API server's to answer");
    for path in [
        format!("{pod}/exec?command=id"),
        format!("{pod}/%65xec?command=id"),
        format!("{pod}/%61ttach"),
        "/%61pi/v1/namespaces/default/pods/none/exec".into(),
        format!("/{pod}/exec"),
        "/api/v1/namespaces/default//pods/none/exec".into(),
        format!("/x/..{pod}/exec"),
        format!("{pod}/./exec"),
    ] {
        for method in ["GET", "POST"] {
            let (code, answer) = ask(method, &path, "");
            assert_eq!(code, 403, "{method} {path}: {answer}");
        }
    }
    // What is let through is as it was filtered: another spelling is sent to the right one.
    let (code, answer) = ask("GET", "//api/v1/./namespaces?limit=1", "");
    assert!(code == 301 && answer.contains("location: /api/v1/namespaces?limit=1"), "{answer}");
    // Another site's page, whose requests say whose they are; and one that has taken a name for
    // this machine.
    let upgrade =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for (method, path) in
        [("POST", "/api/v1/namespaces"), ("GET", "/api/v1/namespaces/default/pods/none/portforward")]
    {
        for origin in ["https://example.com", "null", "http://localhost.example.com:8001"] {
            let (code, answer) = ask(method, path, &format!("Origin: {origin}\r\n{upgrade}"));
            assert!(code == 403 && answer.ends_with("Forbidden\n"), "{origin} {path}: {answer}");
        }
        let (code, answer) = ask(method, path, "Host: example.com");
        assert!(code == 403 && answer.ends_with("Forbidden\n"), "{path}: {answer}");
    }
    assert_eq!(ask("GET", "/version", &format!("Origin: http://localhost:{}", address.port())).0, 200);
    proxy.kill().expect("ended");
    proxy.wait().expect("an end");
    drop(cluster);
}
