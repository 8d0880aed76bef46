//! A ground for tests: no cluster stands behind it. Its API server answers every list with nothing,
//! its teacher's kubectl reaches whom the test names, and going back in time does what the test
//! says.

use api::kinds::Kind;
use client::Client;
use client::testing::Scripted;
use cluster::guest::{HostCluster, Inside, LessonScope, Offers, Seen};
use cluster::undo::Past;
use cluster::{self, Home, Place};
use futures::future::{BoxFuture, FutureExt, ready};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tap::Tap;
use tokio::net::{TcpListener, TcpStream};

mod testing;

pub(crate) use testing::{answering, discovered, not_found};

/// What is answered to a question about the past.
pub(crate) type Answer = Arc<dyn Fn(Past) -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

pub(crate) fn answer(
    past: impl Fn(Past) -> BoxFuture<'static, Result<Value, String>> + Send + Sync + 'static,
) -> Answer {
    Arc::new(past)
}

pub(crate) struct Stage {
    place: Place,
    tap: Tap,
    client: Client,
    kubeconfig: PathBuf,
    past: Answer,
    store: Mutex<Store>,
    /// Names of the namespaces that it has for lessons.
    pub(crate) lesson_namespaces: Mutex<Vec<String>>,
    /// Why its namespaces cannot be deleted.
    pub(crate) stays: Mutex<Option<cluster::Refusal>>,
    /// What is broken on purpose, as [`Inside::Faults`] tells it.
    pub(crate) broken: Mutex<Value>,
}

/// What becomes of the next write to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It takes effect, and its answer does not come.
    Answer,
    /// It does not take effect.
    All,
}

#[derive(Default)]
struct Store {
    /// Value, create revision and version.
    keys: BTreeMap<String, (String, i64, i64)>,
    revision: i64,
    lost: Option<Lost>,
}

impl Stage {
    /// A ground whose files lie in a directory. `kubectl` is the server of the teacher's kubectl.
    pub(crate) async fn new(dir: &Path, kubectl: SocketAddr, past: Answer) -> Arc<Stage> {
        Stage::seen_by(Scripted::new(|_| None).await.client, dir, kubectl, past)
    }

    /// A ground as [`Stage::new`] makes it, with a client for everything that is looked at.
    pub(crate) fn seen_by(client: Client, dir: &Path, kubectl: SocketAddr, past: Answer) -> Arc<Stage> {
        let place = Home::at(dir).cluster("stage").unwrap();
        std::fs::create_dir_all(place.pki()).unwrap();
        let kubeconfig = dir.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stage",
            "clusters": [{"name": "stage", "cluster": {"server": format!("http://{kubectl}")}}],
            "contexts": [{"name": "stage", "context": {"cluster": "stage", "user": "teacher"}}],
            "users": [{"name": "teacher", "user": {}}]
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Arc::new(Stage {
            place,
            tap: Tap::default(),
            client,
            kubeconfig,
            past,
            store: Mutex::default(),
            lesson_namespaces: Mutex::new(vec!["rw-first".into(), "rw-second".into()]),
            stays: Mutex::default(),
            broken: Mutex::new(json!([])),
        })
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock()
    }

    /// A key of the store, as [`Inside::Key`] tells it.
    pub(crate) fn key(&self, key: &str) -> Value {
        self.store().keys.get(key).map_or_else(
            || json!({}),
            |(value, create, version)| json!({"value": value, "create_revision": create, "version": version}),
        )
    }

    /// Deletes a key of the store.
    pub(crate) fn delete(&self, key: &str) {
        self.store().keys.remove(key);
    }

    /// Puts a key back to what [`Stage::key`] returned, as a restore from a backup does.
    pub(crate) fn restore(&self, key: &str, was: &Value) {
        let number = |field: &str| was[field].as_i64().unwrap_or_default();
        let value = was["value"].as_str().unwrap_or_default().to_string();
        self.store().keys.insert(key.into(), (value, number("create_revision"), number("version")));
    }

    /// The next write gets no answer.
    pub(crate) fn lose(&self, lost: Lost) {
        self.store().lost = Some(lost);
    }

    fn put(&self, key: &str, value: String, version: i64) -> Result<(), String> {
        let mut store = self.store();
        let lost = store.lost.take();
        store.revision += 1;
        let revision = store.revision;
        let is_there = store.keys.get(key).map_or(0, |(_, _, version)| *version);
        if is_there != version {
            return Err("it was written meanwhile".into());
        }
        if lost != Some(Lost::All) {
            let entry = store.keys.entry(key.into()).or_insert((String::new(), revision, 0));
            (entry.0, entry.2) = (value, version + 1);
        }
        lost.map_or(Ok(()), |_| Err("timeout".into()))
    }
}

/// A server that takes connections and never answers. It is there as long as the listener is.
pub(crate) async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl HostCluster for Stage {
    fn place(&self) -> &Place {
        &self.place
    }
    fn tap(&self) -> &Tap {
        &self.tap
    }
    fn offers(&self) -> Offers {
        Offers { own: true, workers: 2, control_planes: 1 }
    }
    fn client(&self, _: &str) -> Result<Client, cluster::Error> {
        Ok(self.client.clone())
    }
    fn kubeconfig(&self, _: &str) -> Result<PathBuf, cluster::Error> {
        Ok(self.kubeconfig.clone())
    }
    fn past(&self, past: Past) -> BoxFuture<'_, Result<Value, String>> {
        (self.past)(past)
    }
    fn lesson_scope(
        &self,
        _: String,
        _: Vec<&'static Kind>,
        _: bool,
    ) -> BoxFuture<'_, Result<Option<LessonScope>, cluster::Error>> {
        ready(Ok(Some(LessonScope::default()))).boxed()
    }
    fn lesson_namespaces(&self) -> BoxFuture<'_, Vec<String>> {
        ready(self.lesson_namespaces.lock().clone()).boxed()
    }
    fn leave(&self) -> BoxFuture<'_, Result<Vec<String>, cluster::Error>> {
        ready(self.stays.lock().clone().map_or(Ok(vec![]), |stays| Err(cluster::Error::from(stays)))).boxed()
    }
    fn inside<'a>(&'a self, what: &'a Inside) -> BoxFuture<'a, Result<Value, String>> {
        let answer = match what {
            Inside::Key(key) => self.key(key),
            Inside::Faults => self.broken.lock().clone(),
            Inside::Members => json!({}),
        };
        ready(Ok(answer)).boxed()
    }
    fn dial(&self, _: SocketAddr, _: Duration) -> BoxFuture<'_, Vec<(String, std::io::Result<TcpStream>)>> {
        ready(vec![]).boxed()
    }
    fn has_port(&self, _: u16) -> BoxFuture<'_, bool> {
        ready(false).boxed()
    }
    fn put_key<'a>(&'a self, key: &'a str, value: String, version: i64) -> BoxFuture<'a, Result<(), String>> {
        ready(self.put(key, value, version)).boxed()
    }
    fn catch_up(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
    fn saw(&self, _: Seen<'_>) {}
}
