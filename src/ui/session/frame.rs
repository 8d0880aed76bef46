//! Sends commands from the session to the interface around it.

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

    /// Runs `map [VIEW]`: shows a view of the map, or prints the names of all. Returns the exit
    /// code.
    pub(super) fn show_map(&mut self, words: &[String]) -> i32 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Manner;
    use crate::texts::Lang;
    use cluster::Home;
    use tokio::runtime::Runtime;

    #[test]
    fn a_map_is_shown_by_the_interface_alone() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let _inside = runtime.enter();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let map = |session: &mut Session, line: &str| {
            session.show_map(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
        };
        for line in ["", "raft", "rafts"] {
            assert_eq!(map(&mut session, line), 1, "map {line}");
        }
        session.frame = Some("token".into());
        for (line, code) in [("", 0), ("raft", 0), ("rafts", 2)] {
            assert_eq!(map(&mut session, line), code, "map {line}");
        }
    }
}
