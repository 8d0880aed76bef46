//! `why` as a guest of the cluster's process: it reads as the teacher, so that a learner's broken
//! kubeconfig does not silence it. While a lab asks for the cause, it compares no Service with its
//! pods.

use super::explain::explain;
use super::facts::Facts;
use super::question::Question;
use crate::graded::Opened;
use crate::guest_questions;
use crate::words::Word;
use cluster::control::Reply;
use cluster::guest::{Guest, Host};
use futures::stream::BoxStream;
use serde_json::{Value, json};
use std::sync::OnceLock;
use task::Crew;

/// Answers the questions of `why`.
#[derive(Default)]
pub(crate) struct Why {
    host: OnceLock<Host>,
    opened: Opened,
}

impl Why {
    /// Learns from `opened` whether a lab asks for the cause.
    pub(crate) fn new(opened: Opened) -> Why {
        Why { opened, ..Why::default() }
    }
}

impl Guest for Why {
    fn name(&self) -> &'static str {
        "why"
    }

    fn start(&self, _: &Crew, host: Host) {
        let _ = self.host.set(host); // a guest moves in once
    }

    fn ask(&self, question: Value) -> BoxStream<'static, Reply> {
        let question: Question = match guest_questions::read(question) {
            Ok(question) => question,
            Err(refused) => return refused,
        };
        let (host, asks_cause) = (self.host.get().cloned(), self.opened.asks_cause());
        guest_questions::once(async move {
            let host = host.ok_or_else(|| question.lang.say(Word::StillStarting, &[]))?;
            let client = host.client(tap::TEACHER).map_err(|error| cluster::chain(&error))?;
            let facts = Facts::gather(&client, &question.about, host.tap().since(0), clock::now()).await;
            let facts = Facts { asks_cause, ..facts };
            Ok(json!(explain(&facts, &question)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use lang::Lang;

    #[tokio::test]
    async fn a_question_that_comes_too_early_is_answered_in_its_language() {
        let question = Question { lang: Lang::Ko, about: vec![], namespace: String::new(), after: None };
        match Why::default().ask(json!(question)).next().await {
            Some(Reply::Error(text)) => assert_eq!(text, Lang::Ko.say(Word::StillStarting, &[])),
            _ => panic!("the cluster has not started"),
        }
    }
}
