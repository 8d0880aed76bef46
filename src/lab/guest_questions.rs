//! Questions to the guests of the cluster's process, as all guests read and answer them: reads a
//! question, waits for the work that answers it, and makes a reply of the answer.

use crate::format::Text;
use crate::words::{self, Word};
use cluster::control::Reply;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// A question. Every question names the language of the answer (`en` or `ko`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question<A> {
    /// `en` or `ko`; another language is answered in English.
    pub lang: String,
    /// What is asked; each guest has its own questions.
    pub ask: A,
}

/// The work of a guest, or why it could not begin; empty until the cluster is that far.
pub(crate) type Work<W> = Arc<OnceLock<Result<W, Text>>>;

/// Reads a question.
///
/// # Errors
/// It is none; the stream says so to the asker.
pub(crate) fn read<Q: DeserializeOwned>(question: Value) -> Result<Q, BoxStream<'static, Reply>> {
    let lang = question["lang"].as_str().unwrap_or_default().to_string();
    serde_json::from_value(question).map_err(|error| {
        let message = words::say(&lang, Word::NotAQuestion, &[&error.to_string()]);
        stream::iter([Reply::Error(message)]).boxed()
    })
}

/// The work, if it has begun. `lang`: of the message that it has not, or could not.
///
/// # Errors
/// It has not begun, or could not.
pub(crate) fn ready<'a, W>(work: &'a OnceLock<Result<W, Text>>, lang: &str) -> Result<&'a W, String> {
    match work.get() {
        Some(Ok(work)) => Ok(work),
        Some(Err(why)) => Err(why.get(lang).to_string()),
        None => Err(words::say(lang, Word::StillStarting, &[])),
    }
}

/// Waits until the work has begun, or could not. `started` changes then; `None`: it never will.
pub(crate) async fn await_start<'a, W>(
    work: &'a OnceLock<Result<W, Text>>,
    started: &mut watch::Receiver<()>,
) -> Option<&'a Result<W, Text>> {
    loop {
        if let Some(work) = work.get() {
            return Some(work);
        }
        started.changed().await.ok()?;
    }
}

/// One reply: the answer, or why there is none.
pub(crate) fn once(
    answer: impl Future<Output = Result<Value, String>> + Send + 'static,
) -> BoxStream<'static, Reply> {
    let reply = async move {
        match answer.await {
            Ok(value) => Reply::Ok(value),
            Err(text) => Reply::Error(text),
        }
    };
    stream::once(reply).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn what_is_no_question_is_refused_and_what_comes_early_is_told_so() {
        let question: Question<u8> = read(json!({"lang": "ko", "ask": 7})).ok().expect("a question");
        assert_eq!((question.lang.as_str(), question.ask), ("ko", 7));
        let refused = read::<Question<u8>>(json!({"lang": "ko"})).expect_err("no question");
        let told: Vec<Reply> = refused.collect().await;
        assert!(
            matches!(told.as_slice(), [Reply::Error(text)] if text.starts_with("알 수 없는 질문입니다: "))
        );
        let refused = read::<Question<u8>>(json!(7)).expect_err("no question");
        let told: Vec<Reply> = refused.collect().await;
        assert!(matches!(told.as_slice(), [Reply::Error(text)] if text.starts_with("not a question: ")));
        let work: Work<u8> = Work::default();
        let (tell, mut told) = watch::channel(());
        for (lang, part) in [("en", "still starting"), ("ko", "시작하는 중")] {
            assert!(ready(&work, lang).is_err_and(|text| text.contains(part)), "{lang}");
        }
        let waits = async { await_start(&work, &mut told).await.cloned() };
        let begins = async {
            work.set(Ok(3)).expect("it begins once");
            tell.send_replace(());
        };
        assert_eq!(tokio::join!(waits, begins).0, Some(Ok(3)));
        assert_eq!(ready(&work, "en"), Ok(&3));
        let no_key = Text::said(|lang| if lang == "ko" { "키가 없습니다" } else { "no key" }.to_string());
        let failed: Work<u8> = Arc::new(OnceLock::from(Err(no_key)));
        for (lang, why) in [("en", "no key"), ("ko", "키가 없습니다")] {
            assert_eq!(ready(&failed, lang), Err(why.to_string()));
        }
    }
}
