//! `why` as a guest of the cluster's process: it reads as the teacher, so that a learner's broken
//! kubeconfig does not silence it.

use super::explain::explain;
use super::facts::Facts;
use super::question::Question;
use cluster::control::Reply;
use cluster::guest::{Guest, Host};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::{Value, json};
use std::sync::OnceLock;
use task::Crew;

/// Answers the questions of `why`.
#[derive(Default)]
pub(crate) struct Why {
    host: OnceLock<Host>,
}

impl Guest for Why {
    fn name(&self) -> &'static str {
        "why"
    }

    fn start(&self, _: &Crew, host: Host) {
        let _ = self.host.set(host); // a guest moves in once
    }

    fn ask(&self, question: Value) -> BoxStream<'static, Reply> {
        let host = self.host.get().cloned();
        stream::once(async move {
            let Some(host) = host else { return Reply::Error("the cluster has not started".into()) };
            let question: Question = match serde_json::from_value(question) {
                Ok(question) => question,
                Err(error) => return Reply::Error(format!("not a question: {error}")),
            };
            let client = match host.client(tap::TEACHER) {
                Ok(client) => client,
                Err(error) => return Reply::Error(cluster::chain(&error)),
            };
            let facts = Facts::gather(&client, &question.about, host.tap().since(0), clock::now()).await;
            Reply::Ok(json!(explain(&facts, &question)))
        })
        .boxed()
    }
}
