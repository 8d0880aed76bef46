//! `lang`: the language of the session.

use super::Session;
use crate::settings;
use crate::texts::{Lang, Say};
use lang::charset::{self, eprintln, println};

impl Session {
    /// Chooses the language of this session and of later ones, or says which it is. Returns the
    /// exit code.
    pub(super) fn choose_language(&mut self, choice: &[String]) -> i32 {
        let described = settings::described(self.lang(), "");
        let Some(word) = choice.first() else {
            println!("{described}");
            return 0;
        };
        let Some(lang) = Lang::parse(word) else {
            eprintln!("{described}");
            return 2;
        };
        if charset::refuses(lang) {
            return 1; // `refuses` has said why
        }
        *self.lang.lock() = lang;
        // Before the choice is saved: this session speaks it in any case.
        self.tell_frame(&["lang", if lang == Lang::Ko { "ko" } else { "en" }]);
        if let Err(error) = settings::save(&self.place.home, lang) {
            self.complain(&format!("{}: {error}", self.place.home.settings().display()), None, None);
            return 1;
        }
        println!("{}", lang.say(Say::LangSet, &[]));
        0
    }

    /// Speaks the language that was chosen on the cluster of a lesson while this session's REPL
    /// waited in its pane.
    pub(super) fn take_language_of_frame(&self) {
        let left = self.frame.as_ref().and_then(|token| settings::take_left_language(&self.place, token));
        if let Some(lang) = left {
            *self.lang.lock() = lang;
        }
    }

    /// Speaks the language that was chosen in a session beside this one. `before`: the saved choice
    /// before that session began.
    pub(super) fn take_saved_language(&self, before: Option<Lang>) {
        let saved = settings::saved(&self.place.home);
        if let Some(lang) = saved.filter(|_| saved != before) {
            *self.lang.lock() = lang;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;
    use crate::session::{Flow, Manner};
    use cluster::Home;
    use tokio::runtime::Runtime;

    fn session(runtime: &Runtime, home: &Home) -> Session {
        let _inside = runtime.enter();
        Session::new(home.cluster("main").unwrap(), Lang::Ko, Manner::Pipe, runtime.handle().clone())
    }

    #[test]
    fn a_choice_holds_for_this_session_and_for_later_ones() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let home = Home::at(dir.path());
        let mut session = session(&runtime, &home);
        for (words, code) in [(vec![], 0), (vec!["de".to_string()], 2)] {
            assert_eq!(session.choose_language(&words), code, "{words:?}");
            assert_eq!((session.lang(), settings::saved(&home)), (Lang::Ko, None), "{words:?}");
        }
        assert_eq!(session.choose_language(&["en".into()]), 0);
        assert_eq!((session.lang(), settings::saved(&home)), (Lang::En, Some(Lang::En)));
    }

    /// `lang en` on the cluster of a lesson: in the interface, and in a session of the shell.
    #[test]
    fn what_was_chosen_on_a_lessons_cluster_holds_after_the_way_back() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let home = Home::at(dir.path());
        let mut session = session(&runtime, &home);
        std::fs::create_dir_all(&session.place.root).unwrap();
        settings::leave_for_pane(&session.place, "token", Lang::En).unwrap();
        let run = |session: &mut Session| session.run("", &mut Script::of([]));
        assert_eq!((run(&mut session), session.lang()), (Flow::Next, Lang::Ko), "in no pane");
        session.frame = Some("token".into());
        assert_eq!((run(&mut session), session.lang()), (Flow::Next, Lang::En));
        settings::save(&home, Lang::Ko).unwrap();
        assert_eq!((run(&mut session), session.lang()), (Flow::Next, Lang::En), "another session's");
        session.take_saved_language(Some(Lang::Ko));
        assert_eq!(session.lang(), Lang::En, "nothing was chosen there");
        session.take_saved_language(None);
        assert_eq!(session.lang(), Lang::Ko);
    }

    #[test]
    fn a_choice_that_cannot_be_saved_holds_for_this_session() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let home = Home::at(dir.path());
        let mut session = session(&runtime, &home);
        std::fs::create_dir_all(home.settings()).unwrap(); // a directory where the file would be
        assert_eq!(session.choose_language(&["en".into()]), 1);
        assert_eq!((session.lang(), settings::saved(&home)), (Lang::En, None));
    }
}
