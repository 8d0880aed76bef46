//! The API behind a `kubectl proxy`, and the resources that it has.

use crate::support::{Cluster, PATIENCE, built_in, eventually};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Kinds whose odd objects may refuse or mislead honest ones: there an odd cluster is what was
/// asked for.
const LEFT_OUT: &[&str] = &[
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "apiservices",
    "nodes",
    "leases",
];

/// Speaks HTTP with the API through a `kubectl proxy`.
pub(super) struct Api {
    proxy: Child,
    port: u16,
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.proxy.kill(); // it may have ended by itself
        let _ = self.proxy.wait();
    }
}

impl Api {
    pub(super) fn open(cluster: &Cluster) -> Api {
        let with = built_in();
        let mut command = cluster.home.command(&with.program);
        command.args(&with.leading).args(["proxy", "--port=0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut proxy = command.spawn().expect("a proxy");
        let mut line = String::new();
        BufReader::new(proxy.stdout.take().expect("its output")).read_line(&mut line).expect("its address");
        let port = line.trim().rsplit(':').next().and_then(|p| p.parse().ok());
        Api { proxy, port: port.unwrap_or_else(|| panic!("an address in {line:?}")) }
    }

    /// The code and the body; `None` if nobody answered, as while an API server is dead.
    pub(super) fn ask(&self, method: &str, path: &str, kind: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let code = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n")?.1.to_string();
        Some((code, body))
    }

    pub(super) fn get(&self, path: &str) -> Value {
        let answer = eventually(
            PATIENCE,
            || self.ask("GET", path, "", ""),
            |a| a.as_ref().is_some_and(|(code, _)| *code == 200),
        );
        let body = answer.expect("an answer").1;
        let json = body.find('{').and_then(|at| body.rfind('}').map(|end| &body[at..=end]));
        serde_json::from_str(json.unwrap_or_default()).unwrap_or_default()
    }
}

/// A resource that objects are made of.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    pub root: String,
    pub group_version: String,
    pub kind: String,
    pub plural: String,
    pub namespaced: bool,
    pub has_status: bool,
}

/// The resources that objects can be made of.
pub(super) fn kinds(api: &Api) -> Vec<Kind> {
    let mut roots = vec!["/api/v1".to_string()];
    for group in api.get("/apis")["groups"].as_array().into_iter().flatten() {
        let version = group["preferredVersion"]["groupVersion"].as_str().unwrap_or_default();
        roots.push(format!("/apis/{version}"));
    }
    let mut all = Vec::new();
    for root in roots {
        let list = api.get(&root);
        let resources = list["resources"].as_array().cloned().unwrap_or_default();
        for resource in &resources {
            let plural = resource["name"].as_str().unwrap_or_default().to_string();
            let verbs = resource["verbs"].as_array().cloned().unwrap_or_default();
            let can = |verb: &str| verbs.iter().any(|v| v == verb);
            if plural.contains('/') || !can("create") || !can("list") || LEFT_OUT.contains(&plural.as_str()) {
                continue;
            }
            let status = format!("{plural}/status");
            all.push(Kind {
                root: root.clone(),
                group_version: list["groupVersion"].as_str().unwrap_or("v1").to_string(),
                kind: resource["kind"].as_str().unwrap_or_default().to_string(),
                namespaced: resource["namespaced"] == true,
                has_status: resources.iter().any(|r| r["name"] == status.as_str()),
                plural,
            });
        }
    }
    all
}

impl Kind {
    pub(super) fn path(&self, namespace: &str, name: &str) -> String {
        let base = match self.namespaced {
            true => format!("{}/namespaces/{namespace}/{}", self.root, self.plural),
            false => format!("{}/{}", self.root, self.plural),
        };
        if name.is_empty() { base } else { format!("{base}/{name}") }
    }

    /// Where its objects rest in the store.
    pub(super) fn key(&self, namespace: &str, name: &str) -> String {
        let place = match self.group_version.split_once('/') {
            Some((group, _)) if group.contains("example.com") => format!("{group}/{}", self.plural),
            _ => self.plural.clone(),
        };
        if self.namespaced {
            format!("/registry/{place}/{namespace}/{name}")
        } else {
            format!("/registry/{place}/{name}")
        }
    }
}
