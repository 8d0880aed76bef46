//! Is the cache as new as the store? A look asks before it counts a revision.

use super::look::Look;
use super::sets::revision_of;
use crate::error::Error;
use crate::pods::{controller_of, selects};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::core::Selector;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Pure: which sets there are, and the revision of each.
fn numbered<'a>(sets: impl Iterator<Item = &'a ObjectMeta>) -> BTreeSet<(Option<String>, i64)> {
    sets.map(|meta| (meta.uid.clone(), revision_of(meta))).collect()
}

impl Look<'_> {
    /// Returns whether the deployment is the newest one, and whether `known` are all of its sets
    /// with their newest revisions. If not, the missing change is on its way over a watch and
    /// brings the next look.
    ///
    /// Deployments and ReplicaSets come over a watch each. An undo of a rollout brings both back in
    /// one transaction: a look that has seen one of the two and not yet the other would take it for
    /// a rollback, and count on.
    ///
    /// ```text
    ///                        template   set web:1      set web:2
    /// before the undo        web:2      revision 1     revision 2
    /// after it               web:1      revision 1     gone
    /// seen by the cache      web:1      revision 1     revision 2   web:1 would become revision 3
    /// ```
    ///
    /// # Errors
    /// The API server did not answer.
    pub(super) async fn is_current(&self, known: &[Arc<ReplicaSet>]) -> Result<bool, Error> {
        let cached = &self.deployment.metadata;
        let live = client::optional(self.api::<Deployment>().get_metadata(&self.key.name).await)?;
        let is_newest = live.is_some_and(|found| {
            let live = found.metadata;
            live.uid == cached.uid
                && live.generation == cached.generation
                && live.deletion_timestamp.is_none()
        });
        if !is_newest || known.is_empty() {
            return Ok(is_newest); // without a set there is no number to count on from
        }
        // A selector that cannot be read: all sets of the namespace are listed.
        let selector = Selector::try_from(self.spec.selector.clone()).unwrap_or_default();
        let params = ListParams::default().labels_from(&selector);
        let live = self.api::<ReplicaSet>().list_metadata(&params).await?;
        let mine = live.items.iter().map(|set| &set.metadata).filter(|meta| {
            selects(&self.spec.selector, meta.labels.as_ref())
                && controller_of(meta).is_some_and(|owner| Some(&owner.uid) == cached.uid.as_ref())
        });
        Ok(numbered(mine) == numbered(known.iter().map(|set| &set.metadata)))
    }
}

#[cfg(test)]
mod tests {
    use crate::deployment::look::{COMPONENT, Worker};
    use crate::shared::Shared;
    use client::testing::Scripted;
    use client::{Key, Recorder};
    use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
    use serde_json::{Value, json};

    /// Returns a Deployment with one container of this image; its template's.
    fn deployment(image: &str, generation: i64) -> Value {
        json!({"metadata": {"name": "web", "namespace": "n", "uid": "1", "generation": generation},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template(image)}})
    }

    fn template(image: &str) -> Value {
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
    }

    fn set(image: &str, revision: i64) -> Value {
        let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1", "controller": true});
        json!({"metadata": {"name": format!("web-{image}"), "namespace": "n", "uid": image, "labels": {"a": "b"},
                "ownerReferences": [owner],
                "annotations": {"deployment.kubernetes.io/revision": revision.to_string(),
                    "deployment.kubernetes.io/desired-replicas": "1"}},
            "spec": {"replicas": 0, "selector": {}, "template": template(image)}, "status": {"replicas": 0}})
    }

    /// Returns the revisions that one look writes, with the objects: the cache has these, the store
    /// those.
    async fn revisions(cached: (Value, Vec<Value>), live: (Value, Vec<Value>)) -> Vec<(String, String)> {
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            "GET /apis/apps/v1/namespaces/n/deployments/web" => Some((200, live.0.clone())),
            "GET /apis/apps/v1/namespaces/n/replicasets" => {
                Some((200, json!({"metadata": {}, "items": live.1})))
            }
            line if line.starts_with("POST") => Some((201, asked.body.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        let (deployment, sets) = cached;
        let deployment: Deployment = serde_json::from_value(deployment).unwrap();
        shared.informer::<Deployment>().show(deployment);
        for set in sets {
            let set: ReplicaSet = serde_json::from_value(set).unwrap();
            shared.informer::<ReplicaSet>().show(set);
        }
        let recorder = Recorder::new(&shared.crew, &server.client, COMPONENT.name(), "");
        let _ = Worker { shared, recorder }.sync(Key::new("n", "web"), None).await;
        let written = server.take().into_iter().filter_map(|asked| {
            let revision =
                asked.body["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str()?;
            let (verb, path) = asked.line.split_once(' ')?;
            let object = path.strip_prefix("/apis/apps/v1/namespaces/n/")?;
            Some((format!("{verb} {object}"), revision.to_string()))
        });
        written.collect()
    }

    fn pair(object: &str, revision: &str) -> (String, String) {
        (object.to_string(), revision.to_string())
    }

    #[tokio::test]
    async fn a_rollback_counts_on_and_an_undo_does_not() {
        let both = || vec![set("one", 1), set("two", 2)];
        let (before, back) = (|| deployment("two", 2), || deployment("one", 1));
        // `rollout undo`: the template is that of the first set again, and both sets are there.
        let rolled = || (deployment("one", 3), both());
        assert_eq!(revisions(rolled(), rolled()).await[0], pair("PATCH replicasets/web-one", "3"));
        // An undo took the change of the image and the second set back: whatever is seen first,
        // no number is written.
        let live = || (back(), vec![set("one", 1)]);
        let written = revisions((back(), both()), live()).await;
        assert!(written.is_empty(), "the Deployment is seen first: {written:?}");
        let written = revisions((before(), vec![set("one", 1)]), live()).await;
        assert!(written.is_empty(), "the sets are seen first: {written:?}");
        // When both are seen, the deployment takes the number of its set.
        assert_eq!(revisions(live(), live()).await, [pair("PATCH deployments/web/status", "1")]);
    }

    #[tokio::test]
    async fn a_new_version_gets_the_number_behind_the_newest_set() {
        let third = || deployment("three", 4);
        let sets = || vec![set("one", 1), set("two", 2)];
        let made = revisions((third(), sets()), (third(), sets())).await;
        assert_eq!(made[0], pair("POST replicasets", "3"));
        // The second set was taken back and a new version asked for before the cache knew.
        let written = revisions((third(), sets()), (third(), vec![set("one", 1)])).await;
        assert!(written.is_empty(), "{written:?}");
    }
}
