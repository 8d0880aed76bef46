//! The namespace of a drill: how it gets its name, how it is recognized, and how it is taken away.

use super::Practice;
use crate::practice::record::Open;
use crate::practice::words::{self, Word};
use client::Api;
use client::kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use cluster::guest::LessonScope;
use cluster::undo::Past;
use lang::Lang;
use std::sync::Arc;
use std::time::Duration;
use tap::TEACHER;

/// Names of the drill's namespace that are tried, in this order.
const NAMES: [&str; 4] = ["drill", "drill-2", "drill-3", "drill-4"];
/// The label of a namespace that a drill has made.
pub(super) const LABEL: &str = "ropewalk.io/drill";
/// How long the API server may take to show a namespace.
const SHOWN_MAX: Duration = Duration::from_secs(5);

/// Whose a namespace is that the record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Drill,
    /// The record may be another cluster's, or a learner has a namespace of this name.
    Learner,
    /// There is no such namespace.
    Gone,
    /// The API server does not say.
    Unknown,
}

impl Practice {
    /// Takes away what a drill made, and removes it from the record. Where the store no longer has
    /// the revision before it, its namespace is deleted. False: it may still be there, so the
    /// record keeps it, and a later sweep or the next drill tries again.
    pub(super) async fn take_away(&self, open: &Open) -> bool {
        match self.owner(&open.namespace).await {
            Owner::Drill if !self.go_back(open).await => return false,
            Owner::Drill | Owner::Gone => {}
            Owner::Learner => {
                tracing::warn!(namespace = open.namespace, "no drill has made this namespace; it stays");
            }
            Owner::Unknown => {
                tracing::debug!(namespace = open.namespace, "no API server says whose this namespace is");
                return false;
            }
        }
        let kept = self.keep(|record| {
            // Never another drill's: what it makes has to be found again.
            if record.open.as_ref() == Some(open) {
                record.open = None;
            }
        });
        if let Err(error) = kept {
            tracing::error!(error = cluster::chain(&error), "cannot write practice.json");
        }
        true
    }

    /// Takes away what a drill made. If that cannot be done now, e.g. because the cluster is too
    /// busy, a sweep tries again.
    pub(super) async fn take_away_or_sweep(self: &Arc<Practice>, open: &Open) {
        if !self.take_away(open).await {
            self.crew.spawn(self.clone().sweep());
        }
    }

    /// Goes back to before a drill, or deletes its namespace. False: neither can be done now.
    async fn go_back(&self, open: &Open) -> bool {
        let places = [open.namespace.clone()].into();
        let Err(why) = self.host.past(Past::back(open.revision_before, Some(places))).await else {
            return true;
        };
        tracing::debug!(why, "there is no way back before the drill; its namespace is deleted");
        let name = &open.namespace;
        let lines = [
            format!("kubectl delete namespace {name} --ignore-not-found --wait=false"),
            format!("-kubectl delete pod --all -n {name} --now --wait=false"),
        ];
        let played = self.teacher.play(&lines, &LessonScope::default()).await;
        if let Err(error) = &played {
            tracing::error!(error = cluster::chain(error), "a drill's namespace cannot be deleted");
        }
        played.is_ok()
    }

    async fn owner(&self, namespace: &str) -> Owner {
        if !is_of_a_drill(namespace) {
            return Owner::Learner;
        }
        let Ok(api) = self.namespaces() else { return Owner::Unknown };
        match clock::limit(SHOWN_MAX, api.get_opt(namespace)).await {
            Some(Ok(Some(found))) if is_labelled(&found) => Owner::Drill,
            Some(Ok(Some(_))) => Owner::Learner,
            Some(Ok(None)) => Owner::Gone,
            Some(Err(_)) | None => Owner::Unknown,
        }
    }

    fn namespaces(&self) -> Result<Api<DynamicObject>, cluster::Error> {
        let client = self.host.client(TEACHER)?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
        Ok(Api::<DynamicObject>::all_with(client.kube(), &resource))
    }

    /// A name that no namespace has. What an earlier drill has left under one is deleted, as far as
    /// that is not under way: an `undo` may have brought it back.
    ///
    /// # Errors
    /// All names are taken, or the API server does not say. The text is for people.
    pub(super) async fn free_namespace(&self, lang: &str) -> Result<String, String> {
        let failed = |why: String| words::say(lang, Word::SetupFailed, &[&why]);
        let spoken = Lang::parse(lang).unwrap_or_default();
        let api = self.namespaces().map_err(|error| failed(error.say(spoken)))?;
        let mut free = None;
        for name in NAMES {
            match api.get_opt(name).await.map_err(|error| failed(cluster::chain(&error)))? {
                None => free = free.or(Some(name)),
                Some(found) => {
                    if is_labelled(&found) && found.metadata.deletion_timestamp.is_none() {
                        let line = format!("-kubectl delete namespace {name} --wait=false");
                        // After an error the next drill tries again.
                        let _ = self.teacher.play(&[line], &LessonScope::default()).await;
                    }
                }
            }
        }
        free.map(String::from).ok_or_else(|| words::say(lang, Word::NoName, &[&NAMES.join(", ")]))
    }
}

/// Returns whether a namespace has the label that drills give to theirs.
fn is_labelled(namespace: &DynamicObject) -> bool {
    namespace.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL))
}

/// Returns whether a drill may have this namespace.
fn is_of_a_drill(namespace: &str) -> bool {
    NAMES.contains(&namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graded::Opened;
    use crate::practice::record::Record;
    use crate::stage::{self, Stage};
    use client::Client;
    use client::testing::{Asked, Scripted, refusal};
    use cluster::guest::Host;
    use serde_json::{Value, json};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use task::Crew;

    /// Practice on a cluster whose API server answers what the test says, and the number of ways
    /// back that were gone.
    struct Cluster {
        _dir: tempfile::TempDir,
        _silent: tokio::net::TcpListener,
        crew: Crew,
        practice: Arc<Practice>,
        journeys: Arc<AtomicUsize>,
    }

    impl Cluster {
        async fn new(client: Client) -> Cluster {
            let dir = tempfile::tempdir().unwrap();
            let (silent, kubectl) = stage::silent().await;
            let journeys = Arc::new(AtomicUsize::new(0));
            let gone = journeys.clone();
            let past = stage::answer(move |_| {
                gone.fetch_add(1, Ordering::SeqCst);
                Box::pin(std::future::ready(Ok(json!({}))))
            });
            let host: Host = Stage::seen_by(client, dir.path(), kubectl, past);
            let crew = Crew::new("practice");
            let practice = Practice::new(&crew, host, Opened::default()).unwrap();
            Cluster { _dir: dir, _silent: silent, crew, practice, journeys }
        }

        async fn answering(
            answer: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static,
        ) -> Cluster {
            Cluster::new(Scripted::new(answer).await.client).await
        }

        /// Takes a drill away: whether that is done, whether the record still has it, and how many
        /// ways back were gone.
        async fn take_away(&self) -> (bool, bool, usize) {
            let open = Open { namespace: "drill".into(), revision_before: 7 };
            let record = Record { open: Some(open.clone()), ..Record::default() };
            *self.practice.record.lock() = Some(record);
            let is_done = self.practice.take_away(&open).await;
            let kept = self.practice.record.lock().as_ref().is_some_and(|record| record.open.is_some());
            self.crew.kill();
            (is_done, kept, self.journeys.load(Ordering::SeqCst))
        }
    }

    fn namespace(name: &str, labels: Value) -> Option<(u16, Value)> {
        let metadata = json!({"name": name, "labels": labels});
        Some((200, json!({"kind": "Namespace", "apiVersion": "v1", "metadata": metadata})))
    }

    #[test]
    fn only_a_namespace_of_a_drill_is_taken_away() {
        assert!(is_of_a_drill("drill") && is_of_a_drill("drill-4"));
        for name in ["default", "kube-system", "drill-5", "", "drill/../default"] {
            assert!(!is_of_a_drill(name), "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_namespace_with_the_label_goes_and_one_without_it_stays() {
        let labelled = Cluster::answering(|_| namespace("drill", json!({"ropewalk.io/drill": "true"}))).await;
        assert_eq!(labelled.take_away().await, (true, false, 1));
        let own = Cluster::answering(|_| namespace("drill", json!({"team": "blue"}))).await;
        assert_eq!(own.take_away().await, (true, false, 0), "it is the learner's");
        let gone = Cluster::answering(|_| refusal(404, "NotFound")).await;
        assert_eq!(gone.take_away().await, (true, false, 0));
    }

    #[tokio::test]
    async fn an_error_is_no_namespace_that_is_gone() {
        let busy = Cluster::answering(|_| refusal(500, "InternalError")).await;
        assert_eq!(busy.take_away().await, (false, true, 0), "a later sweep tries again");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_does_not_answer_says_nothing_of_a_namespace() {
        let silent = Cluster::new(Client::connect(client::testing::silent().await).unwrap()).await;
        assert_eq!(silent.take_away().await, (false, true, 0));
    }

    /// The cluster is so busy that it never answers in time.
    #[tokio::test(start_paused = true)]
    async fn a_sweep_forgets_nothing_of_which_it_knows_nothing() {
        let silent = Cluster::new(Client::connect(client::testing::silent().await).unwrap()).await;
        let open = Open { namespace: "drill".into(), revision_before: 7 };
        let mut record = Record { open: Some(open.clone()), ..Record::default() };
        record.save(&silent.practice.path).unwrap();
        silent.practice.clone().sweep().await;
        assert_eq!(Record::load(&silent.practice.path).unwrap().open, Some(open));
        silent.crew.kill();
    }

    #[tokio::test]
    async fn a_drill_takes_the_first_name_that_is_free() {
        let taken = Cluster::answering(|asked| match asked.line.as_str() {
            "GET /api/v1/namespaces/drill" => namespace("drill", json!({})),
            "GET /api/v1/namespaces/drill-3" => namespace("drill-3", json!({})),
            _ => refusal(404, "NotFound"),
        });
        let taken = taken.await;
        assert_eq!(taken.practice.free_namespace("en").await.as_deref(), Ok("drill-2"));
        let full = Cluster::answering(|_| namespace("any", json!({}))).await;
        let told = full.practice.free_namespace("en").await.unwrap_err();
        assert!(told.contains("drill, drill-2, drill-3, drill-4"), "{told}");
        taken.crew.kill();
        full.crew.kill();
    }
}
