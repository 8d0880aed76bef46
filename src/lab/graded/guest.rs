//! Labs as a guest of the cluster's process.

use super::Opened;
use super::desk::Desk;
use super::view::Question;
use super::world::World;
use crate::cluster::control::Reply;
use crate::cluster::guest::{Guest, Host};
use crate::task::Crew;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// The word by which labs are asked for.
pub const NAME: &str = "lab";

/// The desk, or why there is none.
#[derive(Default)]
pub struct Graded {
    desk: Arc<OnceLock<Result<Desk, String>>>,
    opened: Opened,
}

impl Graded {
    /// Notes in `opened` which lab is open.
    pub fn new(opened: Opened) -> Graded {
        Graded { desk: Arc::default(), opened }
    }
}

impl Guest for Graded {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start(&self, crew: &Crew, host: Host) {
        let (desk, tell) = (self.desk.clone(), self.opened.clone());
        let world = World::start(crew, &host);
        let opened = world.map_err(super::Error::from).and_then(|w| Desk::open(w, host, tell));
        let opened = desk.get_or_init(|| opened.map_err(|e| crate::cluster::chain(&e)));
        if opened.is_err() {
            return;
        }
        crew.spawn(async move {
            if let Some(Ok(desk)) = desk.get() {
                desk.attend().await;
            }
        });
    }

    fn ask(&self, question: Value) -> BoxStream<'static, Reply> {
        let question: Question = match serde_json::from_value(question) {
            Ok(question) => question,
            Err(error) => return stream::iter([Reply::Error(format!("not a question: {error}"))]).boxed(),
        };
        let desk = self.desk.clone();
        let answer = async move {
            match desk.get() {
                Some(Ok(desk)) => match desk.answer(question.ask, &question.lang).await {
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
