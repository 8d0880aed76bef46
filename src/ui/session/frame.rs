//! What the session tells the interface around it.

use super::Session;
use crate::texts::Say;
use crate::tui;
use lang::charset::{print, println};

impl Session {
    /// Sends a command to the interface around this shell; does nothing outside of it.
    pub(crate) fn tell_frame(&self, words: &[&str]) {
        if let Some(token) = &self.frame {
            print!("\x1b]{};{token};{}\x07", tui::terminal::TELL, words.join(";"));
            let _ = std::io::Write::flush(&mut std::io::stdout()); // a closed terminal has no frame
        }
    }

    /// Shows a diagram, or says which there are.
    pub(super) fn map(&mut self, words: &[String]) -> i32 {
        use crate::tui::model::View;
        let names: Vec<&str> = View::ALL.iter().map(|v| v.name()).collect();
        if self.frame.is_none() {
            self.complain(
                &self.say(Say::NoMap, &[]),
                None,
                Some(&self.say(Say::NoMapTry, &[&self.place.name])),
            );
            return 1;
        }
        match words.first().map(|w| (w, View::named(w))) {
            Some((_, Some(view))) => {
                self.tell_frame(&["view", view.name()]);
                0
            }
            None => {
                println!("map {}", names.join(" | "));
                0
            }
            Some((wrong, None)) => {
                self.complain(&self.say(Say::NoSuchView, &[wrong, &names.join(", ")]), None, None);
                2
            }
        }
    }
}
