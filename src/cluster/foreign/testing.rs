//! A foreign API server for tests.

use super::namespaces::Namespaces;
use api::value::text;
use client::remote::Upstream;
use parking_lot::Mutex;
use rng::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A foreign API server that knows namespaces only.
#[derive(Default)]
pub(super) struct Foreign {
    pub namespaces: BTreeMap<String, Value>,
    pub made: usize,
    pub deleted: Vec<String>,
    /// Answers to creations and questions are lost from now on.
    pub hangs_up: bool,
    /// Answers about service accounts are lost from now on.
    pub hides_accounts: bool,
    /// Questions about namespaces are answered with this code.
    pub reads_fail: Option<u16>,
    /// How many questions are answered as before about a namespace that is being deleted.
    pub lingers: usize,
    /// A namespace whose deletion fails.
    pub keeps: String,
    /// Called when a service account is waited for.
    pub on_account: Option<Box<dyn Fn() + Send>>,
}

impl Foreign {
    /// `None`: the connection ends without an answer.
    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let name = path.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let missing = || (404, json!({"message": "not found"}));
        Some(match method {
            "POST" if path == "/api/v1/namespaces" => {
                let mut namespace: Value = serde_json::from_slice(body).unwrap();
                self.made += 1;
                namespace["metadata"]["uid"] = format!("u{}", self.made).into();
                let name = text(&namespace, "metadata.name").to_string();
                self.namespaces.insert(name, namespace.clone());
                if self.hangs_up {
                    return None;
                }
                (201, namespace)
            }
            "POST" => (201, json!({"status": {"allowed": true}})),
            // A new account is there. This user may not watch namespaces.
            "GET" if path.contains("serviceaccounts?watch=true") => {
                self.on_account.iter().for_each(|call| call());
                if self.hides_accounts {
                    return None;
                }
                (200, json!({"type": "ADDED"}))
            }
            "GET" if path.contains("watch=true") => (403, json!({"message": "no right"})),
            "GET" if self.hangs_up => return None,
            "GET" if self.reads_fail.is_some() => {
                (self.reads_fail.unwrap_or_default(), json!({"message": "not now"}))
            }
            "GET" => {
                let is_going = |found: &Value| !text(found, "metadata.deletionTimestamp").is_empty();
                if self.namespaces.get(name).is_some_and(is_going) {
                    self.lingers = self.lingers.saturating_sub(1);
                    if self.lingers == 0 {
                        self.namespaces.remove(name);
                    }
                }
                self.namespaces.get(name).map_or_else(missing, |found| (200, found.clone()))
            }
            "DELETE" if self.keeps == name => (500, json!({"message": "no"})),
            "DELETE" if self.lingers > 0 => match self.namespaces.get_mut(name) {
                Some(found) => {
                    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
                    self.deleted.push(name.to_string());
                    (200, found.clone())
                }
                None => missing(),
            },
            _ => match self.namespaces.remove(name) {
                Some(found) => {
                    self.deleted.push(name.to_string());
                    (200, found)
                }
                None => missing(),
            },
        })
    }
}

async fn serve(mut stream: TcpStream, foreign: Arc<Mutex<Foreign>>) -> Option<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let (mut head, mut length) = (String::new(), 0);
    while read.read_line(&mut head).await.ok()? > 2 {
        let line = head.lines().last().unwrap_or_default().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).await.ok()?;
    let (method, path) = head.lines().next()?.split_once(' ')?;
    let path = path.split(' ').next()?;
    let (code, value) = foreign.lock().answer(method, path, &body)?;
    let text = format!("{value}\n");
    let answer = format!("HTTP/1.1 {code} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
    write.write_all((answer + &text).as_bytes()).await.ok()
}

/// A foreign API server that answers, and a directory with a kubeconfig for it.
pub(super) struct Stage {
    pub foreign: Arc<Mutex<Foreign>>,
    pub dir: tempfile::TempDir,
    _server: task::Owned,
}

impl Stage {
    pub(super) async fn new() -> Stage {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (foreign, dir) = (Arc::<Mutex<Foreign>>::default(), tempfile::tempdir().unwrap());
        let config = json!({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", listener.local_addr().unwrap())}}],
            "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(dir.path().join("config"), config.to_string()).unwrap();
        let crew = task::Owned::new("foreign");
        let (own, served) = (task::Crew::clone(&crew), foreign.clone());
        crew.spawn(async move {
            loop {
                let (stream, _) = linux::tcp::accept_always(&listener).await;
                let served = served.clone();
                own.spawn(async move { _ = serve(stream, served).await });
            }
        });
        Stage { foreign, dir, _server: crew }
    }

    /// The path of the kubeconfig.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// A session: it knows what the ledger says.
    pub(super) fn namespaces(&self) -> Namespaces {
        let upstream = Arc::new(Upstream::of(&self.config()).unwrap());
        Namespaces::load(upstream, self.dir.path().join("foreign.json"), "rw", &Rng::seeded(1)).unwrap()
    }

    pub(super) fn hangs_up(&self, hangs_up: bool) {
        self.foreign.lock().hangs_up = hangs_up;
    }
}
