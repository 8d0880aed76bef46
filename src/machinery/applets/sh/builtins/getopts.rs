//! `getopts`.

use super::super::state::is_name;
use super::super::{Getopts, Run, Shell};

impl Shell {
    /// `getopts SPEC NAME [ARGUMENT…]`: status 1 when there are no more options.
    pub(crate) fn getopts(&mut self, args: &[String]) -> Run {
        let [spec, variable, given @ ..] = args else {
            return self.report_misuse("getopts", "usage: getopts optstring var [arg ...]");
        };
        if !is_name(variable) {
            return self.report_misuse("getopts", format_args!("{variable}: bad variable name"));
        }
        let list = if given.is_empty() { self.args.clone() } else { given.to_vec() };
        let Getopts { mut index, mut at } = self.getopts;
        if index == 1 && list.first().is_none_or(|word| at >= word.len()) {
            at = 0; // the script began again
        }
        let word =
            list.get(index - 1).filter(|word| word.len() > 1 && word.starts_with('-') && *word != "--");
        let Some(word) = word else {
            if list.get(index - 1).is_some_and(|word| word == "--") {
                index += 1;
            }
            // `OPTIND` is set even if it stays the same: a function may have changed it meanwhile.
            self.set("OPTIND", index.to_string())?;
            self.set(variable, "?")?;
            return Ok(1);
        };
        let at = at.max(1);
        let letter = word.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('?');
        let mut next = at + letter.len_utf8();
        let (quiet, spec) = (spec.starts_with(':'), spec.trim_start_matches(':'));
        let known = spec.find(letter).filter(|_| letter != ':');
        let wants_argument = known.is_some_and(|p| spec[p + letter.len_utf8()..].starts_with(':'));
        let _ = self.state.unset("OPTARG");
        let mut found = letter.to_string();
        if known.is_none() {
            found = "?".into();
            if quiet {
                self.set("OPTARG", letter.to_string())?;
            } else {
                self.print_error(format_args!("Illegal option -{letter}"));
            }
        } else if wants_argument {
            if let Some(rest) = word.get(next..).filter(|rest| !rest.is_empty()) {
                self.set("OPTARG", rest)?;
            } else if let Some(value) = list.get(index) {
                index += 1;
                self.set("OPTARG", value.as_str())?;
            } else if quiet {
                found = ":".into();
                self.set("OPTARG", letter.to_string())?;
            } else {
                found = "?".into();
                self.print_error(format_args!("No arg for -{letter} option"));
            }
            next = word.len();
        }
        if next >= word.len() {
            (index, next) = (index + 1, 0);
        }
        self.set("OPTIND", index.to_string())?;
        self.getopts.at = next;
        self.set(variable, found)?;
        Ok(0)
    }
}
