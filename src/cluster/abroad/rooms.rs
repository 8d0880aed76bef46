//! Namespaces of a foreign cluster that are ours: made with our labels, written down, and the only ones ever deleted.

use crate::api::kinds::Kind;
use crate::api::value::{at, text};
use crate::cluster::Error;
use crate::cluster::guest::Room;
use crate::kubectl::wire::upstream::Upstream;
use crate::pki;
use crate::rng::Rng;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// Labels of a namespace that is ours: that it is Ropewalk's, which one's, and for which lesson.
const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "ropewalk");
const OWNER: &str = "ropewalk.io/owner";
const LESSON: &str = "ropewalk.io/lesson";
/// A namespace that is going, and the service account of a new one, are waited for as long as this.
const WAIT_SECONDS: u32 = 60;
const FORMAT: u32 = 1;

/// What is remembered of a foreign cluster, in its directory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ledger {
    format: u32,
    server: String,
    /// Tells our namespaces from those of other Ropewalks on the same cluster.
    owner: String,
    /// By lesson.
    rooms: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    /// Empty until the server has answered.
    uid: String,
}

pub struct Rooms {
    upstream: Arc<Upstream>,
    path: PathBuf,
    /// What the names begin with.
    prefix: String,
    ledger: tokio::sync::Mutex<Ledger>,
}

/// What stands under a name.
enum Found {
    Ours { uid: String, going: bool },
    Others,
    Nothing,
}

impl Rooms {
    /// Errors: the ledger is damaged, or a newer program's.
    pub fn load(upstream: Arc<Upstream>, path: PathBuf, prefix: &str, rng: &Rng) -> Result<Rooms, Error> {
        let damaged = |why: String| Error::Damaged { path: path.clone(), why };
        let ledger = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str::<Ledger>(&text).map_err(|e| damaged(e.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ledger { format: FORMAT, owner: rng.name_suffix(6), ..Ledger::default() }
            }
            Err(cause) => return Err(Error::File { path, cause }),
        };
        if ledger.format > FORMAT {
            return Err(Error::Newer { path, found: ledger.format, known: FORMAT });
        }
        let ledger = Ledger { server: upstream.url(), ..ledger };
        let rooms = Rooms { upstream, path, prefix: prefix.into(), ledger: ledger.clone().into() };
        rooms.save(&ledger)?;
        Ok(rooms)
    }

    fn save(&self, ledger: &Ledger) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(ledger).unwrap_or_default();
        Ok(pki::write_private(&self.path, &(text + "\n"))?)
    }

    /// Names of the namespaces that were made and not yet given up.
    pub async fn names(&self) -> Vec<String> {
        self.ledger.lock().await.rooms.values().map(|e| e.name.clone()).collect()
    }

    async fn look(&self, name: &str, owner: &str) -> Result<Found, String> {
        let (code, value) =
            self.upstream.ask(Method::GET, &format!("/api/v1/namespaces/{name}"), None).await?;
        match code {
            200 => {
                let labels = at(&value, "metadata.labels");
                let ours = labels[MANAGED.0] == MANAGED.1 && labels[OWNER] == owner;
                let uid = text(&value, "metadata.uid").to_string();
                let going = !text(&value, "metadata.deletionTimestamp").is_empty();
                Ok(if ours { Found::Ours { uid, going } } else { Found::Others })
            }
            404 => Ok(Found::Nothing),
            _ => Err(self.refused("get namespaces", &value)),
        }
    }

    fn refused(&self, right: &str, said: &Value) -> String {
        format!(
            "the user of context {:?} lacks a right on {}: {right}. A lesson is played in a namespace of its own, so this user needs: \
             get, create and delete namespaces; get, list, watch, create, patch and delete pods, deployments, replicasets and services in it. \
             The server says: {}",
            self.upstream.context,
            self.upstream.url(),
            text(said, "message")
        )
    }

    /// The lesson's namespace: the one of an earlier sitting, or a new one. `None`: there is none, and none was to be made.
    pub async fn room(
        &self,
        lesson: &str,
        kinds: &[&'static Kind],
        make: bool,
    ) -> Result<Option<Room>, String> {
        let mut ledger = self.ledger.lock().await;
        if let Some(entry) = ledger.rooms.get(lesson).cloned() {
            match self.look(&entry.name, &ledger.owner).await? {
                Found::Ours { uid, going: false } if uid == entry.uid => {
                    let denied = self.denied(&entry.name, kinds).await?;
                    return Ok(Some(Room { namespace: Some(entry.name), fresh: false, denied }));
                }
                _ => _ = ledger.rooms.remove(lesson),
            }
        }
        if !make {
            return Ok(None);
        }
        let usual = format!("{}-{}", self.prefix, lesson.replace('/', "-"));
        let second = format!("{usual}-{}", ledger.owner);
        for name in [usual, second] {
            match self.look(&name, &ledger.owner).await? {
                Found::Others => continue,
                Found::Ours { going, uid } => {
                    if !going {
                        // Ours, and forgotten here: nobody knows what is left in it.
                        self.delete(&name, &uid).await?;
                    }
                    self.gone(&name).await?;
                }
                Found::Nothing => {}
            }
            // Written down first: whatever happens in between, what was made is found again.
            ledger.rooms.insert(lesson.into(), Entry { name: name.clone(), uid: String::new() });
            self.save(&ledger).map_err(|e| crate::cluster::chain(&e))?;
            let made = self.create(&name, &ledger.owner, lesson).await;
            // An answer that was lost on its way does not say that nothing was made.
            let nothing =
                made.is_err() && matches!(self.look(&name, &ledger.owner).await, Ok(Found::Nothing));
            match &made {
                Ok(uid) => {
                    let entry = Entry { name: name.clone(), uid: uid.clone() };
                    ledger.rooms.insert(lesson.into(), entry);
                }
                Err(_) if nothing => _ = ledger.rooms.remove(lesson),
                Err(_) => {}
            }
            self.save(&ledger).map_err(|e| crate::cluster::chain(&e))?;
            made?;
            let denied = self.denied(&name, kinds).await?;
            return Ok(Some(Room { namespace: Some(name), fresh: true, denied }));
        }
        Err(format!(
            "on {} somebody else has the namespaces that this lesson would be played in; they are left alone",
            self.upstream.url()
        ))
    }

    async fn create(&self, name: &str, owner: &str, lesson: &str) -> Result<String, String> {
        let labels: BTreeMap<&str, String> = [
            (MANAGED.0, MANAGED.1.to_string()),
            (OWNER, owner.to_string()),
            (LESSON, lesson.replace('/', "-")),
        ]
        .into();
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let (code, made) = self.upstream.ask(Method::POST, "/api/v1/namespaces", Some(&namespace)).await?;
        match code {
            201 | 200 => {}
            403 => return Err(self.refused("create namespaces", &made)),
            _ => return Err(format!("the namespace {name} cannot be made: {}", text(&made, "message"))),
        }
        // Pods are refused until the namespace has its service account. Who may not look finds out by trying.
        let path = format!(
            "/api/v1/namespaces/{name}/serviceaccounts?watch=true&fieldSelector=metadata.name%3Ddefault&timeoutSeconds={WAIT_SECONDS}"
        );
        self.upstream.lines(&path, |event| event["type"] == "ADDED").await?;
        Ok(text(&made, "metadata.uid").to_string())
    }

    /// Waits until a namespace that is being deleted is gone.
    async fn gone(&self, name: &str) -> Result<(), String> {
        let path = format!(
            "/api/v1/namespaces?watch=true&fieldSelector=metadata.name%3D{name}&timeoutSeconds={WAIT_SECONDS}"
        );
        let mut there = false;
        let gone = self
            .upstream
            .lines(&path, |event| {
                there |= event["type"] == "ADDED";
                event["type"] == "DELETED"
            })
            .await?;
        match gone || !there {
            true => Ok(()),
            false => Err(format!("the namespace {name} is still being deleted; try again when it is gone")),
        }
    }

    /// Of these kinds, the ones that this user may not list and watch there.
    async fn denied(&self, namespace: &str, kinds: &[&'static Kind]) -> Result<BTreeSet<String>, String> {
        let ask = |kind: &'static Kind, verb: &'static str| async move {
            let scope = if kind.namespaced { namespace } else { "" };
            let attributes =
                json!({"namespace": scope, "verb": verb, "group": kind.group, "resource": kind.plural});
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            });
            let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
            let (code, answer) = self.upstream.ask(Method::POST, path, Some(&review)).await?;
            // A server that does not answer this question may still answer the watch.
            let denied = code < 300 && at(&answer, "status.allowed") == false;
            Ok::<_, String>(denied.then(|| kind.qualified()))
        };
        let asked = kinds.iter().flat_map(|kind| [ask(kind, "list"), ask(kind, "watch")]);
        let answers = futures::future::try_join_all(asked).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Deletes a namespace, if it is still the one with this uid.
    async fn delete(&self, name: &str, uid: &str) -> Result<(), String> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        let path = format!("/api/v1/namespaces/{name}");
        let (code, said) = self.upstream.ask(Method::DELETE, &path, Some(&options)).await?;
        match code {
            200 | 202 | 404 | 409 => Ok(()), // gone, going, or another one by now
            403 => Err(self.refused("delete namespaces", &said)),
            _ => Err(format!("the namespace {name} cannot be deleted: {}", text(&said, "message"))),
        }
    }

    /// Deletes what is ours, and nothing that does not say so itself. The names of what was deleted.
    pub async fn leave(&self) -> Result<Vec<String>, String> {
        let mut ledger = self.ledger.lock().await;
        let mut left = Vec::new();
        for (lesson, entry) in ledger.rooms.clone() {
            if let Found::Ours { uid, .. } = self.look(&entry.name, &ledger.owner).await?
                && (uid == entry.uid || entry.uid.is_empty())
            {
                self.delete(&entry.name, &uid).await?;
                left.push(entry.name);
            }
            ledger.rooms.remove(&lesson);
            self.save(&ledger).map_err(|e| crate::cluster::chain(&e))?;
        }
        Ok(left)
    }
}
