//! Events that a decision plans, and that are written when its plan is carried out.

use client::Recorder;
use k8s_openapi::api::core::v1::ObjectReference;
use tap::Cause;

/// An Event about the object that a decision is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub is_warning: bool,
    pub reason: String,
    pub message: String,
}

impl Notice {
    /// Plans an Event of the type Normal.
    pub(crate) fn normal(reason: impl Into<String>, message: impl Into<String>) -> Notice {
        Notice { is_warning: false, reason: reason.into(), message: message.into() }
    }

    /// Plans an Event of the type Warning.
    pub(crate) fn warning(reason: impl Into<String>, message: impl Into<String>) -> Notice {
        Notice { is_warning: true, ..Notice::normal(reason, message) }
    }

    /// Writes the Event.
    pub(crate) fn emit(&self, recorder: &Recorder, about: &ObjectReference, cause: &Option<Cause>) {
        match self.is_warning {
            true => recorder.warning(about, &self.reason, self.message.as_str(), cause.clone()),
            false => recorder.normal(about, &self.reason, self.message.as_str(), cause.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Shared;
    use client::testing::Scripted;

    #[tokio::test]
    async fn a_notice_becomes_an_event_of_its_type() {
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        let about = ObjectReference {
            name: Some("j".into()),
            namespace: Some("d".into()),
            ..ObjectReference::default()
        };
        for (notice, kind) in
            [(Notice::normal("Completed", "done"), "Normal"), (Notice::warning("Late", "no"), "Warning")]
        {
            notice.emit(&recorder, &about, &None);
            assert_eq!(server.event(&notice.reason).await, notice.message);
            let events = server.events();
            let event = events.iter().find(|event| event.body["reason"] == notice.reason.as_str()).unwrap();
            assert_eq!(event.body["type"], kind);
        }
        shared.crew.kill();
    }
}
