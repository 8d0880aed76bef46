//! `check` at the prompt: whether the open step of the lesson is done.

use crate::lesson::PageStyle;
use crate::session::about::{About, about};
use crate::session::{INTERRUPTED, Manner, Session};
use lab::view::{Ask, LessonView, State};
use lang::charset::println;
use lang::texts;

texts! {
    enum Word {
        OfLesson: "`check` is about the lesson. A lab is open, too: `lab check` shows how its tasks stand.", "`check`는 강의의 단계를 확인합니다. 지금 실습도 열려 있습니다. 실습의 과제는 `lab check`로 확인하세요.";
    }
}

impl Session {
    /// Runs `check [LESSON]`, which says what the step misses, or that it is done. The exit code is
    /// 0 only if it is done. While a lab is open, a learner may have meant its tasks: then it says
    /// that this is about the lesson.
    pub(super) fn check_lesson(&mut self, id: Option<String>) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        let over = |view: &LessonView| matches!(view.state, State::Done | State::Solved);
        let (at_terminal, is_open_one) = (self.manner == Manner::Terminal, id.is_none());
        // At a terminal the task that follows the lesson says it when a step is done.
        let mut watched = false;
        if at_terminal && is_open_one {
            watched = match self.ask(Ask::Show) {
                Ok(view) => serde_json::from_value(view).is_ok_and(|view| !over(&view)),
                Err(why) => return self.unanswered(&why),
            };
        }
        let mut green = false;
        let code = self.ask_and_print(Ask::Check { id }, |style: &PageStyle, view| {
            green = over(view);
            if green && watched { String::new() } else { style.verdict(view) }
        });
        if at_terminal
            && is_open_one
            && code != INTERRUPTED
            && let Ok(Some(lab)) = self.open_lab()
            && about("check", false, lab.is_played()) == Some(About::LessonOrLab)
        {
            println!("{}", self.lang().say(Word::OfLesson, &[]));
        }
        if code == 0 && !green { 1 } else { code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::Lang;

    #[test]
    fn who_meant_the_lab_is_told_its_word() {
        for lang in [Lang::En, Lang::Ko] {
            assert!(lang.say(Word::OfLesson, &[]).contains("`lab check`"));
        }
    }
}
