//! `set`, `unset`, `export`, `readonly`, `local`.

use super::super::state::{Variable, is_name, quote_word};
use super::super::{Flow, Run, Shell};

impl Shell {
    pub(crate) fn set_builtin(&mut self, args: &[String]) -> Run {
        if args.is_empty() {
            let lines = self
                .state
                .variables()
                .filter_map(|(name, v)| Some(format!("{name}={}\n", quote_word(v.value.as_ref()?))));
            return self.print(&lines.collect::<String>());
        }
        let result = self.set_options(args);
        if self.state.refuse_monitor() {
            self.print_error(format_args!("set: {}", self.no_job_control()));
        }
        result
    }

    fn set_options(&mut self, args: &[String]) -> Run {
        let mut rest = args;
        while let [word, more @ ..] = rest {
            let on = word.starts_with('-');
            if word == "--" {
                self.args = more.to_vec();
                return Ok(0);
            }
            if word == "-" {
                // Of old, and as in dash: ends `-v` and `-x`, and begins the arguments if there are
                // any.
                let _ = self.state.set_flag('v', false) && self.state.set_flag('x', false);
                if !more.is_empty() {
                    self.args = more.to_vec();
                }
                return Ok(0);
            }
            if word.len() < 2 || !(on || word.starts_with('+')) {
                self.args = rest.to_vec();
                return Ok(0);
            }
            rest = more;
            for letter in word[1..].chars() {
                if letter != 'o' {
                    if !self.state.set_flag(letter, on) {
                        let sign = if on { '-' } else { '+' };
                        self.print_error(format_args!("set: illegal option {sign}{letter}"));
                        return Err(Flow::Abort(2));
                    }
                    continue;
                }
                let [name, more @ ..] = rest else {
                    let text =
                        if on { self.state.describe_options() } else { self.state.options_as_commands() };
                    return self.print(&text);
                };
                rest = more;
                if !self.state.set_option(name, on) {
                    self.print_error(format_args!(
                        "set: illegal option {}o {name}",
                        if on { '-' } else { '+' }
                    ));
                    return Err(Flow::Abort(2));
                }
            }
        }
        Ok(0)
    }

    pub(crate) fn unset_builtin(&mut self, args: &[String]) -> Run {
        let (mut names, mut functions) = (args, false);
        while let [option, rest @ ..] = names
            && is_option(option)
        {
            names = rest;
            match option.as_str() {
                "--" => break,
                "-f" | "-v" => functions = option == "-f",
                _ => return Err(self.illegal_option("unset", option)),
            }
        }
        for name in names {
            if !functions && !is_name(name) && !self.state.is_passed_on(name) {
                self.print_error(format_args!("unset: {name}: bad variable name"));
                return Err(Flow::Abort(2));
            }
            if functions {
                self.functions.remove(name);
            } else if !self.state.unset(name) {
                self.print_error(format_args!("unset: {name}: is read only"));
                return Err(Flow::Abort(2));
            } else if name == "OPTIND" {
                self.restart_getopts();
            }
        }
        Ok(0)
    }

    /// `export`, `readonly` and `local`.
    pub(crate) fn declare(&mut self, command: &str, args: &[String]) -> Run {
        let (mut names, mut unmark) = (args, false);
        while let [option, rest @ ..] = names
            && is_option(option)
        {
            names = rest;
            match option.as_str() {
                "--" => break,
                "-p" => {}
                "-n" if command == "export" => unmark = true, // takes the mark away
                _ => return Err(self.illegal_option(command, option)),
            }
        }
        if command == "local" && !self.state.is_in_function() {
            self.print_error("local: not in a function");
            return Err(Flow::Abort(2));
        }
        if names.is_empty() {
            return self.list_declared(command);
        }
        for word in names {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            if !is_name(name) {
                self.print_error(format_args!("{command}: {name}: bad variable name"));
                return Err(Flow::Abort(2));
            }
            if command == "local" {
                let is_new = self.state.hide_variable(name);
                match value {
                    Some(value) => self.set(name, value)?,
                    // As in busybox and bash; in dash it keeps the outer value.
                    None if is_new => {
                        self.state.mark_variable(name, Variable::forget_value);
                        if name == "OPTIND" {
                            self.restart_getopts();
                        }
                    }
                    None => {}
                }
                continue;
            }
            if let Some(value) = value {
                self.set(name, value)?;
            }
            self.state.mark_variable(name, |v| match command {
                "export" => v.exported = !unmark,
                _ => v.read_only = true,
            });
        }
        Ok(0)
    }

    fn illegal_option(&self, command: &str, option: &str) -> Flow {
        self.print_error(format_args!("{command}: illegal option {option}"));
        Flow::Abort(2)
    }

    fn list_declared(&self, command: &str) -> Run {
        let wanted = |v: &Variable| match command {
            "export" => v.exported,
            "readonly" => v.read_only,
            _ => false,
        };
        let lines = self.state.variables().filter(|(_, v)| wanted(v));
        let lines = lines.map(|(name, v)| match &v.value {
            Some(value) => format!("{command} {name}={}\n", quote_word(value)),
            None => format!("{command} {name}\n"),
        });
        self.print(&lines.collect::<String>())
    }
}

/// Returns whether a word of a command is an option, or the `--` that ends them.
fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}
