//! The target of an autoscaler: where its scale is, and how that is read and written.

use super::Look;
use crate::error::message_of;
use api::kinds::{self, Kind};
use client::{Codec, is_code, segment};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::CrossVersionObjectReference;

/// So many conflicts are answered by a new write. With the first write these are the five steps of
/// `retry.DefaultRetry` upstream.
const CONFLICTS_MAX: u32 = 4;

impl Look<'_> {
    /// Reads the target's scale. Returns its path, too.
    pub(super) async fn read_scale(
        &self,
        target: &CrossVersionObjectReference,
    ) -> Result<(String, Scale), String> {
        let path = self.scale_path(target).await?;
        match self.scale(&path).await {
            Ok(scale) => Ok((path, scale)),
            Err(error) => {
                // Perhaps the kind is served in another version by now. The answer about an object
                // that is missing says `NotFound`.
                if matches!(&error, kube::Error::Api(s) if s.code == 404 && s.reason != "NotFound") {
                    self.worker.kinds.forget(group_of(target), &target.kind);
                }
                Err(message_of(&error))
            }
        }
    }

    /// Returns the path of the target's scale: of a built-in kind, or of a custom one, which
    /// discovery knows. As upstream only the target's group and kind count, not its version: an old
    /// manifest names a version that is not served any more.
    ///
    /// ```text
    /// apps/v1beta2 Deployment x   /apis/apps/v1/namespaces/d/deployments/x/scale
    /// ```
    async fn scale_path(&self, target: &CrossVersionObjectReference) -> Result<String, String> {
        let group = group_of(target);
        let missing = || format!("no matches for kind {:?} in group {group:?}", target.kind);
        let is_meant = |k: &&Kind| k.group == group && k.kind == target.kind && k.is_stored();
        let (api_version, plural) = match kinds::all().iter().find(is_meant) {
            Some(kind) if kind.scale.is_none() => return Err(missing()),
            Some(kind) => (kind.api_version(), kind.plural.to_string()),
            None => {
                let found = self.worker.kinds.find(&self.client, group, &target.kind).await;
                let found = found.map_err(|error| message_of(&error))?.filter(|r| r.namespaced);
                let found = found.ok_or_else(missing)?;
                (found.api.api_version, found.api.plural)
            }
        };
        Ok(scale_path(&self.key.namespace, &api_version, &plural, &target.name))
    }

    /// Gives the target another size. Its scale was read before the metrics; any write of the
    /// target in between, even of its status, is a conflict. Then the scale is read again, as
    /// upstream does.
    pub(super) async fn resize(&self, path: &str, mut scale: Scale, desired: i32) -> Result<(), kube::Error> {
        let mut left = CONFLICTS_MAX;
        loop {
            scale.spec.get_or_insert_default().replicas = Some(desired);
            let written = self.put(path, &scale).await;
            match written {
                Err(error) if is_code(&error, 409) && left > 0 => {
                    left -= 1;
                    scale = self.scale(path).await.map_err(|_| error)?;
                }
                written => return written,
            }
        }
    }

    async fn scale(&self, path: &str) -> Result<Scale, kube::Error> {
        Scale::decode(&self.ask(path).await?).map_err(kube::Error::SerdeError)
    }

    async fn put(&self, path: &str, scale: &Scale) -> Result<(), kube::Error> {
        let body = scale.encode().map_err(kube::Error::SerdeError)?.to_string().into_bytes();
        let request = http::Request::put(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(kube::Error::HttpError)?;
        self.client.kube().request_text(request).await.map(drop)
    }
}

/// Returns the group of a target: `apps` of `apps/v1`, nothing of `v1`.
fn group_of(target: &CrossVersionObjectReference) -> &str {
    let api_version = target.api_version.as_deref().unwrap_or_default();
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Returns the path at which the scale of an object of this resource is read and written, in a
/// version that is served.
pub(super) fn scale_path(namespace: &str, api_version: &str, plural: &str, name: &str) -> String {
    let root = if api_version.contains('/') { "/apis" } else { "/api" };
    let place: Vec<String> = api_version.splitn(2, '/').map(segment).collect();
    let (place, namespace, name) = (place.join("/"), segment(namespace), segment(name));
    format!("{root}/{place}/namespaces/{namespace}/{plural}/{name}/scale")
}
