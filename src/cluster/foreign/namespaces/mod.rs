//! Namespaces of a foreign cluster that are ours: made with our labels, written down, and the only
//! ones ever deleted.

use crate::guest::LessonScope;
use crate::{Error, ForeignRefusal, Refusal};
use api::kinds::Kind;
use api::value::{at, text};
use client::remote::Upstream;
use http::Method;
use rng::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Labels of a namespace that is ours: that it is Ropewalk's, which one's, and for which lesson.
const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "ropewalk");
const OWNER: &str = "ropewalk.io/owner";
const LESSON: &str = "ropewalk.io/lesson";
/// A namespace that is going, and the service account of a new one, are waited for as long as this.
const WAIT_SECONDS: u64 = 60;
/// Pause before a namespace that is going is looked at again. It doubles up to the longest.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);
const FORMAT: u32 = 1;

/// The namespaces that were made on a foreign cluster, as a file in its directory has them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ledger {
    format: u32,
    server: String,
    /// Tells our namespaces from those of other Ropewalks on the same cluster.
    owner: String,
    /// By lesson.
    #[serde(rename = "rooms")] // as earlier programs name it in the file
    namespaces: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    /// Empty until the server has answered.
    uid: String,
    /// The namespace was made, and the lesson has not begun in it: see
    /// [`Namespaces::mark_entered`].
    #[serde(default)]
    fresh: bool,
}

/// Lists the namespaces that a ledger has; none if there is no ledger.
///
/// # Errors
/// The ledger cannot be read. It does not count as empty: what was made would be forgotten.
pub(super) fn remembered(ledger: &Path) -> Result<Vec<String>, Error> {
    let namespaces = read(ledger)?.unwrap_or_default().namespaces;
    Ok(namespaces.into_values().map(|entry| entry.name).collect())
}

fn read(path: &Path) -> Result<Option<Ledger>, Error> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
        Err(cause) => return Err(Error::File { path: path.into(), cause }),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        // Not `Damaged`: `reset`, which that names, would forget the namespaces.
        Refusal::BadLedger { path: path.display().to_string(), why: error.to_string() }.into()
    })
}

/// The namespaces of lessons on one foreign cluster, with the ledger that remembers them.
pub(super) struct Namespaces {
    upstream: Arc<Upstream>,
    path: PathBuf,
    /// What the names begin with.
    prefix: String,
    ledger: tokio::sync::Mutex<Ledger>,
}

/// The namespace that a look at a name has found: ours, of others, or none.
enum Found {
    Ours { uid: String, going: bool },
    Others,
    Nothing,
}

impl Namespaces {
    /// Reads the ledger, or begins one.
    ///
    /// # Errors
    /// The ledger cannot be read or written, or is a newer program's.
    pub(super) fn load(
        upstream: Arc<Upstream>,
        path: PathBuf,
        prefix: &str,
        rng: &Rng,
    ) -> Result<Namespaces, Error> {
        let new = || Ledger { format: FORMAT, owner: rng.name_suffix(6), ..Ledger::default() };
        let ledger = read(&path)?.unwrap_or_else(new);
        if ledger.format > FORMAT {
            let why = format!(
                "a newer ropewalk wrote it (format {}, this one knows {FORMAT}), which can read it",
                ledger.format
            );
            return Err(Refusal::BadLedger { path: path.display().to_string(), why }.into());
        }
        let ledger = Ledger { server: upstream.url(), ..ledger };
        let namespaces = Namespaces { upstream, path, prefix: prefix.into(), ledger: ledger.clone().into() };
        namespaces.save(&ledger)?;
        Ok(namespaces)
    }

    fn save(&self, ledger: &Ledger) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(ledger).unwrap_or_default();
        Ok(pki::write_private(&self.path, &(text + "\n"))?)
    }

    /// Lists the namespaces that were made and not yet given up.
    pub(super) async fn names(&self) -> Vec<String> {
        self.ledger.lock().await.namespaces.values().map(|e| e.name.clone()).collect()
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), Error> {
        self.upstream.ask(method, path, body).await.map_err(|why| self.unusable(why))
    }

    /// Reads the lines of a watch that ends after [`WAIT_SECONDS`]; see [`Upstream::lines`].
    async fn lines(&self, path: &str, enough: impl FnMut(&Value) -> bool) -> Result<bool, Error> {
        let path = format!("{path}&timeoutSeconds={WAIT_SECONDS}");
        let read = self.upstream.lines(&path, Duration::from_secs(WAIT_SECONDS), enough).await;
        read.map_err(|why| self.unusable(why))
    }

    fn unusable(&self, why: String) -> Error {
        Refusal::ForeignCluster(ForeignRefusal::Unusable { url: self.upstream.url(), why }).into()
    }

    async fn look(&self, name: &str, owner: &str) -> Result<Found, Error> {
        let (code, value) = self.ask(Method::GET, &format!("/api/v1/namespaces/{name}"), None).await?;
        match code {
            200 => {
                let labels = at(&value, "metadata.labels");
                let ours = labels[MANAGED.0] == MANAGED.1 && labels[OWNER] == owner;
                let uid = text(&value, "metadata.uid").to_string();
                let going = !text(&value, "metadata.deletionTimestamp").is_empty();
                Ok(if ours { Found::Ours { uid, going } } else { Found::Others })
            }
            404 => Ok(Found::Nothing),
            403 => Err(self.refused("get namespaces", &value)),
            code => Err(self.unusable(format!("HTTP {code}: {}", text(&value, "message")))),
        }
    }

    fn refused(&self, right: &str, status: &Value) -> Error {
        let (url, context) = (self.upstream.url(), self.upstream.context.clone());
        let said = text(status, "message").to_string();
        Refusal::ForeignCluster(ForeignRefusal::LacksRight { url, context, right: right.into(), said }).into()
    }

    /// Returns the lesson's scope: the namespace of an earlier sitting, or a new one. `None`: there
    /// is none, and none was to be made. A new one is fresh, also at the next try, until
    /// [`Namespaces::mark_entered`] is called.
    pub(super) async fn lesson_scope(
        &self,
        lesson: &str,
        kinds: &[&'static Kind],
        make: bool,
    ) -> Result<Option<LessonScope>, Error> {
        let mut ledger = self.ledger.lock().await;
        let known = ledger.namespaces.get(lesson).cloned();
        if let Some(entry) = &known
            && let Found::Ours { uid, going: false } = self.look(&entry.name, &ledger.owner).await?
            && (uid == entry.uid || entry.uid.is_empty())
        {
            // Without a uid the answer to its creation was lost: nothing has been in it.
            let entry = Entry { fresh: entry.fresh || entry.uid.is_empty(), uid, ..entry.clone() };
            if entry.fresh {
                ledger.namespaces.insert(lesson.into(), entry.clone());
                self.save(&ledger)?;
            }
            return self.described(entry, kinds).await.map(Some);
        }
        // The ledger stays as it is until something else is known to be there: `leave` goes by it.
        if !make {
            return Ok(None);
        }
        let usual = format!("{}-{}", self.prefix, lesson.replace('/', "-"));
        let second = format!("{usual}-{}", ledger.owner);
        // The one that was written down first: it would be forgotten if another one took its place.
        let mut names = vec![usual, second];
        if let Some(entry) = known {
            names.retain(|name| *name != entry.name);
            names.insert(0, entry.name);
        }
        for name in names {
            match self.look(&name, &ledger.owner).await? {
                Found::Others => continue,
                Found::Ours { going, uid } => {
                    if !going {
                        // Labelled as ours, but it is not the one in the ledger: what is in it is
                        // unknown, so it is made anew.
                        self.delete(&name, &uid).await?;
                    }
                    self.gone(&name, &ledger.owner).await?;
                }
                Found::Nothing => {}
            }
            // Written down first: whatever happens in between, what was made is found again.
            let mut entry = Entry { name, uid: String::new(), fresh: true };
            ledger.namespaces.insert(lesson.into(), entry.clone());
            self.save(&ledger)?;
            let made = self.create(&entry.name, &ledger.owner, lesson).await;
            // An answer that was lost on its way does not say that nothing was made.
            let nothing =
                made.is_err() && matches!(self.look(&entry.name, &ledger.owner).await, Ok(Found::Nothing));
            match &made {
                Ok(uid) => {
                    entry.uid.clone_from(uid);
                    ledger.namespaces.insert(lesson.into(), entry.clone());
                }
                Err(_) if nothing => _ = ledger.namespaces.remove(lesson),
                Err(_) => {}
            }
            self.save(&ledger)?;
            made?;
            return self.described(entry, kinds).await.map(Some);
        }
        Err(Refusal::ForeignCluster(ForeignRefusal::NamesTaken { url: self.upstream.url() }).into())
    }

    /// Returns a namespace that is there as the scope of a lesson. In a fresh one pods can be made
    /// when this returns.
    async fn described(&self, entry: Entry, kinds: &[&'static Kind]) -> Result<LessonScope, Error> {
        if entry.fresh {
            self.wait_for_account(&entry.name).await?;
        }
        let denied = self.denied(&entry.name, kinds).await?;
        Ok(LessonScope { namespace: Some(entry.name), fresh: entry.fresh, denied })
    }

    /// Records that the session has entered the lesson's namespace, which is not fresh any more.
    /// Only then, as an error before it would leave a half-played lesson in an empty namespace.
    ///
    /// # Errors
    /// The ledger cannot be written. The namespace stays fresh.
    pub(super) async fn mark_entered(&self, lesson: &str) -> Result<(), Error> {
        let mut ledger = self.ledger.lock().await;
        let mut next = ledger.clone();
        match next.namespaces.get_mut(lesson) {
            Some(entry) if entry.fresh => entry.fresh = false,
            _ => return Ok(()),
        }
        self.save(&next)?;
        *ledger = next;
        Ok(())
    }

    async fn create(&self, name: &str, owner: &str, lesson: &str) -> Result<String, Error> {
        let labels: BTreeMap<&str, String> = [
            (MANAGED.0, MANAGED.1.to_string()),
            (OWNER, owner.to_string()),
            (LESSON, lesson.replace('/', "-")),
        ]
        .into();
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let (code, made) = self.ask(Method::POST, "/api/v1/namespaces", Some(&namespace)).await?;
        match code {
            201 | 200 => {}
            403 => return Err(self.refused("create namespaces", &made)),
            _ => {
                let (namespace, said) = (name.into(), text(&made, "message").into());
                return Err(Refusal::ForeignCluster(ForeignRefusal::NotMade { namespace, said }).into());
            }
        }
        Ok(text(&made, "metadata.uid").to_string())
    }

    /// Waits for the namespace's service account: pods are refused until it is there. A user who
    /// may not look finds out by trying.
    async fn wait_for_account(&self, name: &str) -> Result<(), Error> {
        let path = format!(
            "/api/v1/namespaces/{name}/serviceaccounts?watch=true&fieldSelector=metadata.name%3Ddefault"
        );
        self.lines(&path, |event| event["type"] == "ADDED").await.map(drop)
    }

    /// Waits until a namespace that is being deleted is gone. It is asked for again and again: a
    /// watch needs a right that lessons do not, and shows nothing of one that went before it began.
    async fn gone(&self, name: &str, owner: &str) -> Result<(), Error> {
        let over = clock::deadline(Duration::from_secs(WAIT_SECONDS));
        let mut pause = LOOK_AGAIN;
        while matches!(self.look(name, owner).await?, Found::Ours { .. }) {
            if clock::Instant::now() >= over {
                let refusal = ForeignRefusal::StillTerminating { namespace: name.into() };
                return Err(Refusal::ForeignCluster(refusal).into());
            }
            clock::pause(pause).await;
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
        Ok(())
    }

    /// Returns those of these kinds that this user may not list and watch there.
    async fn denied(&self, namespace: &str, kinds: &[&'static Kind]) -> Result<BTreeSet<String>, Error> {
        let ask = |kind: &'static Kind, verb: &'static str| async move {
            let scope = if kind.namespaced { namespace } else { "" };
            let attributes =
                json!({"namespace": scope, "verb": verb, "group": kind.group, "resource": kind.plural});
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            });
            let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
            let (code, answer) = self.ask(Method::POST, path, Some(&review)).await?;
            // A server that does not answer this question may still answer the watch.
            let denied = code < 300 && at(&answer, "status.allowed") == false;
            Ok::<_, Error>(denied.then(|| kind.qualified()))
        };
        let asked = kinds.iter().flat_map(|kind| [ask(kind, "list"), ask(kind, "watch")]);
        let answers = futures::future::try_join_all(asked).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Deletes a namespace, if it is still the one with this uid.
    async fn delete(&self, name: &str, uid: &str) -> Result<(), Error> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        let path = format!("/api/v1/namespaces/{name}");
        let (code, said) = self.ask(Method::DELETE, &path, Some(&options)).await?;
        match code {
            200 | 202 | 404 | 409 => Ok(()), // gone, going, or another one by now
            403 => Err(self.refused("delete namespaces", &said)),
            _ => {
                let (namespace, said) = (name.into(), text(&said, "message").into());
                Err(Refusal::ForeignCluster(ForeignRefusal::NotDeleted { namespace, said }).into())
            }
        }
    }

    /// Deletes what is ours, and nothing that does not say so itself. Returns the names of what was
    /// deleted.
    ///
    /// # Errors
    /// The first one, with the names of what was deleted before it; a further call goes on there.
    pub(super) async fn leave(&self) -> Result<Vec<String>, Error> {
        let mut left = Vec::new();
        match self.delete_all(&mut left).await {
            Ok(()) => Ok(left),
            Err(why) if left.is_empty() => Err(why),
            Err(why) => Err(Error::DeletedBefore { why: why.into(), deleted: left }),
        }
    }

    /// Deletes the namespaces one after the other, and adds each name to `left`.
    async fn delete_all(&self, left: &mut Vec<String>) -> Result<(), Error> {
        let mut ledger = self.ledger.lock().await;
        for (lesson, entry) in ledger.namespaces.clone() {
            if let Found::Ours { uid, .. } = self.look(&entry.name, &ledger.owner).await?
                && (uid == entry.uid || entry.uid.is_empty())
            {
                self.delete(&entry.name, &uid).await?;
                left.push(entry.name);
            }
            ledger.namespaces.remove(&lesson);
            self.save(&ledger)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
