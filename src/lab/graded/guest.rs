//! Labs as a guest of the cluster's process.

use super::Opened;
use super::run::LabRun;
use super::view::Question;
use super::world::World;
use cluster::control::Reply;
use cluster::guest::{Guest, Host};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use task::Crew;

/// The word by which labs are asked for.
pub const NAME: &str = "lab";

/// The desk, or why there is none.
#[derive(Default)]
pub struct Graded {
    run: Arc<OnceLock<Result<LabRun, String>>>,
    opened: Opened,
}

impl Graded {
    /// Notes in `opened` which lab is open.
    pub fn new(opened: Opened) -> Graded {
        Graded { run: Arc::default(), opened }
    }
}

impl Guest for Graded {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start(&self, crew: &Crew, host: Host) {
        let (run, tell) = (self.run.clone(), self.opened.clone());
        let world = World::start(crew, &host);
        let opened = world.map_err(super::Error::from).and_then(|w| LabRun::open(w, host, tell));
        let opened = run.get_or_init(|| opened.map_err(|e| cluster::chain(&e)));
        if opened.is_err() {
            return;
        }
        crew.spawn(async move {
            if let Some(Ok(run)) = run.get() {
                run.attend().await;
            }
        });
    }

    fn ask(&self, question: Value) -> BoxStream<'static, Reply> {
        let question: Question = match serde_json::from_value(question) {
            Ok(question) => question,
            Err(error) => return stream::iter([Reply::Error(format!("not a question: {error}"))]).boxed(),
        };
        let run = self.run.clone();
        let answer = async move {
            match run.get() {
                Some(Ok(run)) => match run.answer(question.ask, &question.lang).await {
                    Ok(value) => Reply::Ok(value),
                    Err(text) => Reply::Error(text),
                },
                Some(Err(why)) => Reply::Error(why.clone()),
                None => Reply::Error("the cluster is not that far yet".into()),
            }
        };
        stream::once(answer).boxed()
    }
}
