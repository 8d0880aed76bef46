//! Making, deleting, adopting and releasing the pods of one owner, with the Events about them.
//! Upstream: `RealPodControl` and `PodControllerRefManager`.

use crate::error::{is_namespace_ending, message_of};
use crate::expectations::Expectations;
use crate::shared::Shared;
use client::{Client, Key, Recorder, is_code};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use std::sync::Arc;
use tap::Cause;

/// The texts of Events about an owner's pods: functions of the names of the owner and of the pod.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    pub created: fn(&str, &str) -> String,
    pub deleted: fn(&str, &str) -> String,
    /// Of a pod that could not be made; also a function of the reason.
    pub refused: fn(&str, &str, &str) -> String,
    /// Of a pod that could not be deleted; also a function of the reason.
    pub kept: fn(&str, &str, &str) -> String,
}

/// The texts of most controllers.
pub(crate) const WORDS: Words = Words {
    created: |_, pod| format!("Created pod: {pod}"),
    deleted: |_, pod| format!("Deleted pod: {pod}"),
    refused: |_, _, why| format!("Error creating: {why}"),
    kept: |_, _, why| format!("Error deleting: {why}"),
};

/// Makes and deletes the pods of one owner, reports it in Events, and notes what the cache has to
/// show before the pods may be counted again.
pub(crate) struct PodControl<'a> {
    pub shared: &'a Shared,
    pub expectations: &'a Expectations,
    pub recorder: &'a Recorder,
    pub owner: &'a Key,
    pub about: ObjectReference,
    pub cause: &'a Option<Cause>,
    pub words: Words,
    /// The finalizer that pods of this owner carry and others do not: an adoption adds it, a
    /// release removes it.
    pub finalizer: Option<&'static str>,
}

impl PodControl<'_> {
    fn client(&self) -> Client {
        self.shared.config.client.caused_by(self.cause.clone())
    }

    /// Makes a pod. The namespace's end is no error: the pods go with it.
    pub(crate) async fn create(&self, pod: Pod) -> Result<(), kube::Error> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let lists = || self.shared.informer::<Pod>().lists();
        self.expectations.creating(self.owner, &name, lists());
        match self.client().within::<Pod>(&self.owner.namespace).create(&PostParams::default(), &pod).await {
            Ok(made) => {
                self.expectations.answered(self.owner, &name, made.metadata.uid, lists());
                self.recorder.normal(
                    &self.about,
                    "SuccessfulCreate",
                    (self.words.created)(&self.owner.name, &name),
                    self.cause.clone(),
                );
                Ok(())
            }
            Err(error) if is_namespace_ending(&error) => {
                self.expectations.forget_creation(self.owner, &name);
                Ok(())
            }
            Err(error) => {
                self.expectations.forget_creation(self.owner, &name);
                let text = message_of(&error);
                self.recorder.warning(
                    &self.about,
                    "FailedCreate",
                    (self.words.refused)(&self.owner.name, &name, &text),
                    self.cause.clone(),
                );
                Err(error)
            }
        }
    }

    /// Deletes a pod. One that is gone, or another one of its name, is no error.
    pub(crate) async fn delete(&self, pod: &Pod) -> Result<(), kube::Error> {
        let (name, uid) =
            (pod.metadata.name.clone().unwrap_or_default(), pod.metadata.uid.clone().unwrap_or_default());
        self.expectations.deleting(self.owner, &uid);
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.client().within::<Pod>(&self.owner.namespace).delete(&name, &params).await {
            Ok(_) => {
                self.recorder.normal(
                    &self.about,
                    "SuccessfulDelete",
                    (self.words.deleted)(&self.owner.name, &name),
                    self.cause.clone(),
                );
                Ok(())
            }
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => {
                self.expectations.forget_deletion(self.owner, &uid);
                Ok(())
            }
            Err(error) => {
                self.expectations.forget_deletion(self.owner, &uid);
                let message = (self.words.kept)(&self.owner.name, &name, &message_of(&error));
                self.recorder.warning(&self.about, "FailedDelete", message, self.cause.clone());
                Err(error)
            }
        }
    }

    /// Makes many pods, a few at first, twice as many each time all went well: a mistake costs few
    /// failed requests.
    pub(crate) async fn create_all(&self, pods: Vec<Pod>) -> Result<(), kube::Error> {
        let (mut rest, mut batch) = (pods.into_iter(), 1);
        loop {
            let next: Vec<Pod> = rest.by_ref().take(batch).collect();
            if next.is_empty() {
                return Ok(());
            }
            self.create_at_once(next).await?;
            batch *= 2;
        }
    }

    /// Makes all of the pods at the same time, and returns the first error once all requests have
    /// ended.
    pub(crate) async fn create_at_once(&self, pods: Vec<Pod>) -> Result<(), kube::Error> {
        all_done(pods.into_iter().map(|pod| self.create(pod))).await
    }

    /// Deletes all of the pods at the same time, and returns the first error once all requests have
    /// ended.
    pub(crate) async fn delete_all(&self, pods: &[Arc<Pod>]) -> Result<(), kube::Error> {
        all_done(pods.iter().map(|pod| self.delete(pod))).await
    }

    /// Adopts a pod without a controller. Returns it as far as it is known, or `None` if it is gone
    /// or another owner took it.
    pub(crate) async fn adopt(
        &self,
        pod: &Arc<Pod>,
        owner: &OwnerReference,
    ) -> Result<Option<Arc<Pod>>, kube::Error> {
        let mut patch = json!({"metadata": {"ownerReferences": [owner], "uid": pod.metadata.uid}});
        let mut adopted = pod.clone();
        if let Some(finalizer) = self.finalizer {
            patch["metadata"]["finalizers"] = json!([finalizer]);
            let all = Arc::make_mut(&mut adopted).metadata.finalizers.get_or_insert_default();
            if !all.iter().any(|f| f == finalizer) {
                all.push(finalizer.into());
            }
        }
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let api = self.client().within::<Pod>(&self.owner.namespace);
        match api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(Some(adopted)),
            Err(error) if is_code(&error, 404) || is_code(&error, 409) || is_code(&error, 422) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Releases a pod: removes the owner, and the finalizer that the owner would have to remove.
    pub(crate) async fn release(&self, pod: &Pod, owner: &OwnerReference) -> Result<(), kube::Error> {
        let mut patch = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner.uid}], "uid": pod.metadata.uid}});
        if let Some(finalizer) = self.finalizer {
            patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
        }
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let api = self.client().within::<Pod>(&self.owner.namespace);
        match api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Err(error) if !(is_code(&error, 404) || is_code(&error, 409) || is_code(&error, 422)) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

/// Carries out all requests, and returns the first error once all have ended. A request that is
/// dropped in the middle may or may not have reached the API server, and its object would be waited
/// for.
async fn all_done<E>(requests: impl Iterator<Item = impl Future<Output = Result<(), E>>>) -> Result<(), E> {
    futures::future::join_all(requests).await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As when a policy of the cluster forbids it.
    #[tokio::test]
    async fn a_pod_that_may_not_be_deleted_gets_an_event() {
        let refuse = |a: &client::testing::Asked| {
            a.line.starts_with("DELETE").then(|| client::testing::refusal(403, "it is guarded")).flatten()
        };
        let server = client::testing::Scripted::new(refuse).await;
        let (shared, owner) = (Shared::fixed(&server.client), Key::new("d", "o"));
        let meta = json!({"name": "p", "namespace": "d", "uid": "u"});
        let pod: Pod = serde_json::from_value(json!({"metadata": meta})).unwrap();
        let control = PodControl {
            shared: &shared,
            expectations: &Expectations::default(),
            recorder: &Recorder::new(&shared.crew, &server.client, "t", ""),
            owner: &owner,
            about: client::reference(&pod),
            cause: &None,
            words: WORDS,
            finalizer: None,
        };
        assert!(control.delete(&pod).await.is_err());
        assert!(control.expectations.met(&owner), "its deletion is awaited no more");
        assert_eq!(server.event("FailedDelete").await, "Error deleting: it is guarded");
    }

    #[tokio::test]
    async fn a_pod_that_its_ending_namespace_refuses_is_no_failure() {
        for (reason, failed) in [("NamespaceTerminating", false), ("FieldValueForbidden", true)] {
            let causes = json!({"causes": [{"reason": reason, "message": "m"}]});
            let status = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "m", "details": causes});
            let refuse =
                move |a: &client::testing::Asked| a.line.ends_with("/pods").then(|| (403, status.clone()));
            let server = client::testing::Scripted::new(refuse).await;
            let (shared, owner) = (Shared::fixed(&server.client), Key::new("d", "o"));
            let control = PodControl {
                shared: &shared,
                expectations: &Expectations::default(),
                recorder: &Recorder::new(&shared.crew, &server.client, "t", ""),
                owner: &owner,
                about: ObjectReference::default(),
                cause: &None,
                words: WORDS,
                finalizer: None,
            };
            assert_eq!(control.create(Pod::default()).await.is_err(), failed, "{reason}");
            assert!(control.expectations.met(&owner));
        }
    }

    #[tokio::test]
    async fn one_error_does_not_cut_the_other_requests_off() {
        let heard = std::sync::atomic::AtomicUsize::new(0);
        let requests = (0..4).map(|n| {
            let heard = &heard;
            async move {
                tokio::task::yield_now().await;
                if n == 0 {
                    return Err("forbidden");
                }
                tokio::task::yield_now().await;
                heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(())
            }
        });
        assert_eq!(all_done(requests).await, Err("forbidden"));
        assert_eq!(heard.into_inner(), 3);
    }
}
