//! Lines that the teacher plays while the engine goes on.
//!
//! A setup has several lines of up to a minute each. Meanwhile the state can be asked for and followed, with the line that is being
//! played; what was typed is noted, and what the watches tell is taken over. Any other question waits: it would find a lesson that is
//! half set up.

use super::{Actor, Asked};
use crate::cluster::control::Reply;
use crate::lab::Error;
use crate::lab::view::{Ask, Question};
use serde_json::{Value, json};
use tokio::sync::mpsc;

impl Actor {
    /// Has the teacher play lines in the present room.
    ///
    /// # Errors
    /// As [`Teacher::play`](crate::lab::run::Teacher::play).
    pub(super) async fn play(&mut self, lines: &[String]) -> Result<(), Error> {
        let (teacher, room) = (self.teacher.clone(), self.engine.recorder.room.clone());
        let (told, mut begun) = mpsc::unbounded_channel();
        let playing = teacher.play_telling(lines, &room, move |at, of| {
            let _ = told.send((at, of)); // it is over
        });
        tokio::pin!(playing);
        let played = loop {
            tokio::select! {
                played = &mut playing => break played,
                Some(at) = begun.recv() => {
                    self.engine.playing = Some(at);
                    if self.is_resumed() {
                        self.publish();
                    }
                }
                Some(asked) = self.questions.recv() => self.answer_meanwhile(asked),
                Some((stay, told)) = self.tidings.recv() => {
                    if stay == self.stay {
                        self.engine.told(told);
                    }
                }
            }
        };
        self.engine.playing = None;
        played
    }

    /// Before the lesson of the last session is open again nothing is told, and what is typed waits for it.
    fn is_resumed(&self) -> bool {
        !self.views.borrow().is_empty()
    }

    fn answer_meanwhile(&mut self, (question, reply): Asked) {
        let answer = match question {
            question if !self.is_resumed() => return self.later.push_back((question, reply)),
            Question { ask: Ask::Typed { line }, .. } => {
                self.engine.typed(line);
                Value::Null
            }
            Question { ask: Ask::Ran { line, code }, .. } => {
                self.engine.ran(line, code);
                Value::Null
            }
            Question { ask: Ask::Show, lang } => json!(self.engine.view(&lang)),
            Question { ask: Ask::List, lang } => json!(self.engine.list(&lang)),
            question => return self.later.push_back((question, reply)),
        };
        let _ = reply.send(Reply::Ok(answer)); // whoever asked may be gone
    }
}
