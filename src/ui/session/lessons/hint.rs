//! `hint` at the prompt: the next hint of the open lesson, or of the open lab.

use super::Unanswered;
use crate::labs;
use crate::lesson::PageStyle;
use crate::session::about::{About, about};
use crate::session::{INTERRUPTED, Manner, Session};
use crate::texts::Say;
use lab::graded::view::{Ask as LabAsk, LabView};
use lab::view::Ask;
use lang::charset::println;

impl Session {
    /// Runs `hint`, which shows the next one of the lesson. While a lab is open, too, the interface
    /// asks for the hint of what its pane shows, because only it knows that. Elsewhere the session
    /// says how to get the hints of a lab that is played.
    pub(super) fn lesson_hint(&mut self) -> i32 {
        if self.frame.is_some() {
            match self.open_lab() {
                Ok(Some(lab)) => {
                    self.tell_frame(&["hint"]);
                    // A pane with the lab has nothing new to show then.
                    if lab.is_through() {
                        println!("{}", self.say(Say::HintGraded, &[&lab.id]));
                    }
                    return 0;
                }
                Ok(None) => return self.ask_and_print(Ask::Hint, PageStyle::hint),
                Err(why) => return self.unanswered(&why),
            }
        }
        let code = self.ask_and_print(Ask::Hint, PageStyle::hint);
        if code != INTERRUPTED
            && self.manner == Manner::Terminal
            && let Ok(Some(lab)) = self.open_lab()
            && about("hint", false, lab.is_played()) == Some(About::LessonOrLab)
        {
            println!("{}", self.say(Say::HintOfLab, &[]));
        }
        code
    }

    /// Returns the open lab; `None` if there is none or that is not known.
    ///
    /// # Errors
    /// Ctrl-C while it waited.
    pub(super) fn open_lab(&mut self) -> Result<Option<LabView>, Unanswered> {
        let (place, lang) = (self.place.clone(), self.lang());
        match self.await_answer(labs::asked::<LabView>(&place, lang, LabAsk::Show)) {
            Err(why @ Unanswered::Cut) => Err(why),
            answer => Ok(answer.ok().filter(|lab| !lab.id.is_empty())),
        }
    }
}
