//! Events about endpoints that the API server does not take: a Service that has none says why.
//! Source: `syncService` of `pkg/controller/endpointslice` and of `pkg/controller/endpoint`.

use super::old::MANAGER;
use crate::error::{Error, message_of};
use crate::shared::Shared;
use client::{Key, Recorder, is_code, reference};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tap::Cause;

/// The source of the Events about slices: upstream has a controller for each of the two kinds.
const SLICES: &str = "endpoint-slice-controller";

/// Reports what was refused. Conflicts are not reported: the next look writes again.
pub(super) struct Refusals {
    slices: Recorder,
    old: Recorder,
}

impl Refusals {
    pub(super) fn new(shared: &Shared) -> Refusals {
        let recorder = |source: &str| Recorder::new(&shared.crew, &shared.config.client, source, "");
        Refusals { slices: recorder(SLICES), old: recorder(MANAGER) }
    }

    /// Reports on a Service that a slice of it was refused, and returns the error. `verb`:
    /// `create`, `update` or `delete`; `name`: the slice's, empty for one that was to be made.
    pub(super) fn slice(
        &self,
        service: &Service,
        verb: &str,
        name: &str,
        error: kube::Error,
        cause: &Option<Cause>,
    ) -> Error {
        if is_code(&error, 409) {
            return error.into();
        }
        let (key, why) = (Key::of(service), message_of(&error));
        let what = if name.is_empty() { verb.to_string() } else { format!("{verb} {name}") };
        let message = format!(
            "Error updating Endpoint Slices for Service {key}: failed to {what} EndpointSlice for Service {key}: {why}"
        );
        self.slices.warning(&reference(service), "FailedToUpdateEndpointSlices", message, cause.clone());
        error.into()
    }

    /// Reports on an Endpoints object that a write of it was refused, and returns the error.
    /// `known`: the object as it is; `None`: it was to be made.
    pub(super) fn endpoints(
        &self,
        key: &Key,
        known: Option<&Endpoints>,
        error: kube::Error,
        cause: &Option<Cause>,
    ) -> Error {
        let metadata = ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            ..ObjectMeta::default()
        };
        let new = Endpoints { metadata, subsets: None };
        let (reason, what) = match known {
            Some(_) => ("FailedToUpdateEndpoint", "update endpoint"),
            None => ("FailedToCreateEndpoint", "create endpoint for service"),
        };
        let message = format!("Failed to {what} {key}: {}", message_of(&error));
        self.old.warning(&reference(known.unwrap_or(&new)), reason, message, cause.clone());
        error.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Worker;
    use super::*;
    use client::testing::{Scripted, refusal};
    use serde_json::json;

    /// As by a quota or a policy.
    #[tokio::test]
    async fn a_service_whose_endpoints_are_refused_says_why() {
        let why = "Error updating Endpoint Slices for Service d/s: failed to create EndpointSlice for Service d/s: it is guarded";
        for (code, is_reported) in [(403, true), (409, false)] {
            let server = Scripted::new(move |asked| {
                let is_write = asked.line.starts_with("POST") && !asked.line.contains("/events");
                if is_write { refusal(code, "it is guarded") } else { None }
            })
            .await;
            let worker = Worker::new(&Shared::fixed(&server.client));
            let meta = json!({"name": "s", "namespace": "d", "uid": "u"});
            let service: Service =
                serde_json::from_value(json!({"metadata": meta, "spec": {"selector": {"app": "web"}}}))
                    .unwrap();
            worker.shared.informer::<Service>().show(service.clone());
            assert!(worker.sync(Key::new("d", "s"), None).await.is_err(), "{code}: it is tried again");
            // Events of one source are written in their order.
            for (recorder, end) in
                [(&worker.refusals.slices, "EndOfSlices"), (&worker.refusals.old, "EndOfOld")]
            {
                recorder.normal(&reference(&service), end, "end", None);
                server.event(end).await;
            }
            if is_reported {
                assert_eq!(server.event("FailedToUpdateEndpointSlices").await, why);
                let message = server.event("FailedToCreateEndpoint").await;
                assert_eq!(message, "Failed to create endpoint for service d/s: it is guarded");
            }
            let about = |reason: &str| {
                let events = server.events();
                let event = events.iter().find(|event| event.body["reason"] == reason);
                event.map(|event| event.body["involvedObject"]["kind"].as_str().unwrap().to_string())
            };
            assert_eq!(about("FailedToUpdateEndpointSlices"), is_reported.then(|| "Service".to_string()));
            assert_eq!(about("FailedToCreateEndpoint"), is_reported.then(|| "Endpoints".to_string()));
        }
    }
}
