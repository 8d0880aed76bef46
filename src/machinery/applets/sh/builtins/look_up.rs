//! `command` and `type`.

use super::super::{Flow, Run, Shell};
use super::{is_builtin, is_special};
use std::path::Path;

/// What a name means.
enum Meaning {
    Keyword,
    Function,
    Builtin,
    Program(String),
}

const KEYWORDS: [&str; 17] = [
    "!", "{", "}", "case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "then", "time",
    "until", "while",
];

impl Shell {
    fn meaning(&self, name: &str) -> Option<Meaning> {
        if KEYWORDS.contains(&name) {
            Some(Meaning::Keyword)
        } else if self.functions.contains_key(name) {
            Some(Meaning::Function)
        } else if is_builtin(name) {
            Some(Meaning::Builtin)
        } else {
            self.look_up(name).filter(|path| Path::new(path).exists()).map(Meaning::Program)
        }
    }

    /// `command [-p] NAME…` passes over functions; `command -v NAME` describes what it is.
    pub(crate) fn command_builtin(&mut self, args: &[String]) -> Run {
        let (mut words, mut description, mut standard) = (args, None, false);
        while let [option, rest @ ..] = words
            && option.len() > 1
            && option.starts_with('-')
        {
            words = rest;
            if option == "--" {
                break;
            }
            for letter in option.chars().skip(1) {
                match letter {
                    'p' => standard = true,
                    'v' | 'V' => description = Some(letter),
                    _ => return self.misused("command", format_args!("illegal option -{letter}")),
                }
            }
        }
        self.standard_path = standard;
        let result = match description {
            Some('v') => self.print_meanings(words),
            Some(_) => self.type_builtin(words),
            None => self.run_command(words),
        };
        self.standard_path = false;
        result
    }

    /// Prints what `command -v` says of names. Status 127 if one of the names means nothing.
    fn print_meanings(&mut self, names: &[String]) -> Run {
        let mut status = 0;
        for name in names {
            match self.meaning(name) {
                Some(Meaning::Program(path)) => self.print(&(path + "\n"))?,
                Some(_) => self.print(&format!("{name}\n"))?,
                None => {
                    status = 127;
                    0
                }
            };
        }
        Ok(status)
    }

    /// Runs a builtin or a program. A special builtin that fails ends no script here.
    fn run_command(&mut self, argv: &[String]) -> Run {
        match argv {
            [] => Ok(0),
            [name, ..] if is_builtin(name) => {
                self.standard_path = false; // not for what an `eval` runs
                match self.builtin(argv) {
                    Err(Flow::Abort(status)) if is_special(name) => Ok(status),
                    other => other,
                }
            }
            argv => self.run_external(argv),
        }
    }

    /// `hash [-r] [NAME]…`: programs are looked up each time, so it keeps and forgets nothing, and
    /// says which of them are missing. As in dash, a path is not looked up.
    pub(crate) fn hash(&mut self, args: &[String]) -> Run {
        let mut words = args;
        while let [option, rest @ ..] = words
            && option == "-r"
        {
            words = rest;
        }
        let names = match words {
            [end, names @ ..] if end == "--" => names,
            [option, ..] if option.starts_with('-') => {
                return self.misused("hash", format_args!("illegal option {option}"));
            }
            names => names,
        };
        let mut status = 0;
        for name in names.iter().filter(|name| !name.contains('/')) {
            if let None | Some(Meaning::Keyword) = self.meaning(name) {
                self.complain(format_args!("hash: {name}: not found"));
                status = 1;
            }
        }
        Ok(status)
    }

    pub(crate) fn type_builtin(&mut self, names: &[String]) -> Run {
        let mut status = 0;
        for name in names {
            let text = match self.meaning(name) {
                Some(Meaning::Keyword) => format!("{name} is a shell keyword\n"),
                Some(Meaning::Function) => format!("{name} is a shell function\n"),
                Some(Meaning::Builtin) => format!("{name} is a shell builtin\n"),
                Some(Meaning::Program(path)) => format!("{name} is {path}\n"),
                None => {
                    status = 127;
                    format!("{name}: not found\n")
                }
            };
            self.print(&text)?;
        }
        Ok(status)
    }
}
