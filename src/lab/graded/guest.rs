//! Labs as a guest of the cluster's process.

use super::error::Error;
use super::opened::Opened;
use super::run::LabRun;
use super::run::follow::Follower;
use super::view::{Ask, Question};
use super::world::World;
use crate::format::{EN, Text};
use crate::guest_questions::{self, Work};
use cluster::control::Reply;
use cluster::guest::{Guest, Host};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use lang::Lang;
use serde_json::{Value, json};
use task::Crew;
use tokio::sync::watch;

/// The word by which labs are asked for.
pub const NAME: &str = "lab";

/// The lab run.
type Run = Work<LabRun>;

/// Labs as a guest.
#[derive(Default)]
pub(crate) struct Graded {
    run: Run,
    /// Wakes those who follow before there is a lab run.
    begun: watch::Sender<()>,
    opened: Opened,
}

impl Graded {
    /// Notes in `opened` which lab is open.
    pub(crate) fn new(opened: Opened) -> Graded {
        Graded { opened, ..Graded::default() }
    }

    /// The view of the open lab in a language, now and after every change.
    fn follow(&self, lang: String) -> BoxStream<'static, Reply> {
        let state = Following::Waits(self.run.clone(), self.begun.subscribe(), lang);
        stream::unfold(state, |state| state.next()).boxed()
    }
}

/// How far one is who follows the open lab.
enum Following {
    /// There is no lab run yet.
    Waits(Run, watch::Receiver<()>, String),
    Follows(Run, Box<Follower>),
    Ended,
}

impl Following {
    async fn next(self) -> Option<(Reply, Following)> {
        let (work, mut follower) = match self {
            Following::Ended => return None,
            Following::Follows(work, follower) => (work, follower),
            Following::Waits(work, mut begun, lang) => {
                match guest_questions::await_start(&work, &mut begun).await? {
                    Err(why) => return Some((Reply::Error(why.get(&lang).to_string()), Following::Ended)),
                    Ok(run) => {
                        let follower = Box::new(run.follower(&lang));
                        (work, follower)
                    }
                }
            }
        };
        let Some(Ok(run)) = work.get() else { return None };
        let view = follower.next(run).await?;
        Some((Reply::Ok(json!(view)), Following::Follows(work, follower)))
    }
}

impl Guest for Graded {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start(&self, crew: &Crew, host: Host) {
        let (run, tell) = (self.run.clone(), self.opened.clone());
        let world = World::start(crew, &host);
        let opened = world.map_err(Error::from).and_then(|w| LabRun::open(w, host, tell));
        let said = |error: Error| Text::said(|lang| error.say(Lang::parse(lang).unwrap_or_default()));
        let opened = run.get_or_init(|| opened.map_err(said));
        self.begun.send_replace(());
        if let Err(why) = opened {
            tracing::error!(error = why.get(EN), "labs cannot be played");
            return;
        }
        crew.spawn(async move {
            if let Some(Ok(run)) = run.get() {
                run.attend().await;
            }
        });
    }

    fn ask(&self, question: Value) -> BoxStream<'static, Reply> {
        let question: Question = match guest_questions::read(question) {
            Ok(question) => question,
            Err(refused) => return refused,
        };
        if matches!(question.ask, Ask::Follow) {
            return self.follow(question.lang);
        }
        let run = self.run.clone();
        guest_questions::once(async move {
            let run = guest_questions::ready(&run, &question.lang)?;
            run.answer(question.ask, &question.lang).await
        })
    }
}
