//! Lines that a person types by habit or by a slip, and that do not run.

use super::{Manner, Session};
use crate::line::Line;
use lang::charset::eprintln;
use lang::texts;

texts! {
    enum Word {
        Recall: "`!!` does not repeat a line here. The Up key brings the line back, and Ctrl-R searches for one. `!LINE` runs LINE in the shell", "`!!`는 여기서 앞의 줄을 다시 실행하지 않습니다. 위쪽 화살표 키로 앞의 줄을 불러오거나 Ctrl-R로 찾으세요. `!줄`은 그 줄을 셸에서 실행합니다";
    }
}

impl Session {
    /// Refuses a line, and says why. Returns whether it was refused.
    pub(super) fn refuses(&self, line: &Line, text: &str) -> bool {
        self.refuses_recall(text) || self.refuses_kill(line, text)
    }

    /// Refuses bash's `!!`, which repeats the line before, and says how that is done here. Else
    /// `!` alone would run in the shell, and nothing would be said.
    fn refuses_recall(&self, text: &str) -> bool {
        let is_recall = self.manner == Manner::Terminal && text.trim_start().starts_with("!!");
        if is_recall {
            eprintln!("{}", self.lang().say(Word::Recall, &[]));
        }
        is_recall
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;
    use crate::session::Flow;
    use crate::texts::Lang;
    use cluster::Home;

    #[test]
    fn a_line_is_not_repeated_by_two_exclamation_marks() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let _inside = runtime.enter();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Terminal, runtime.handle().clone());
        assert_eq!(session.run("!!", &mut Script::of([])), Flow::Next);
        assert!(session.last() == 1 && session.shell.is_none(), "no shell has run it");
        assert!(!session.refuses_recall("!ls") && !session.refuses_recall("! true"));
    }
}
