//! `lang`: the language of the session.

use super::Session;
use crate::settings;
use crate::texts::{Lang, Say};
use lang::charset::{self, println};

impl Session {
    /// Chooses the language of this session and of later ones, or says which it is. Returns the
    /// exit code.
    pub(super) fn choose(&mut self, choice: &[String]) -> i32 {
        let Some(lang) = choice.first().and_then(|c| Lang::parse(c)) else {
            println!("{}", settings::described(self.lang(), ""));
            return if choice.is_empty() { 0 } else { 2 };
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
}
