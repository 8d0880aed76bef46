//! Builtins that steer: directories, jumps, other texts, other programs, traps.

use super::super::state::quoted;
use super::super::traps::{signal_name, signal_number};
use super::super::{Flow, Run, Shell, reason};
use std::path::Path;

impl Shell {
    /// Returns the number after `exit` or `return`; without one, the last status.
    pub(crate) fn status_argument(&mut self, args: &[String]) -> Run {
        match args.first() {
            None => Ok(self.status),
            Some(text) => match text.parse::<i32>() {
                Ok(status) => Ok(status & 255),
                Err(_) => {
                    self.complain(format_args!("Illegal number: {text}"));
                    Err(Flow::Abort(2))
                }
            },
        }
    }

    /// `break` and `continue`, out of so many loops. More than there are means all of them.
    pub(crate) fn jump(&mut self, leave: bool, args: &[String]) -> Run {
        let number = args.first().map_or(Some(1), |text| text.parse::<u32>().ok().filter(|n| *n > 0));
        let Some(levels) = number else {
            self.complain(format_args!("Illegal number: {}", args[0]));
            return Err(Flow::Abort(2));
        };
        if self.loops == 0 {
            return Ok(0);
        }
        let levels = levels.min(self.loops);
        Err(if leave { Flow::Break(levels) } else { Flow::Continue(levels) })
    }

    pub(crate) fn shift(&mut self, args: &[String]) -> Run {
        let count = args.first().map_or(Ok(1), |n| n.parse::<usize>());
        match count {
            Ok(count) if count <= self.args.len() => {
                self.args.drain(..count);
                Ok(0)
            }
            _ => {
                self.complain("shift: can't shift that many");
                Err(Flow::Abort(2))
            }
        }
    }

    pub(crate) fn cd(&mut self, args: &[String]) -> Run {
        let (mut args, mut real) = (args, false);
        while let [option @ ("-L" | "-P" | "--"), ..] =
            args.iter().map(String::as_str).collect::<Vec<_>>()[..]
        {
            args = &args[1..];
            if option == "--" {
                break;
            }
            real = option == "-P";
        }
        let back = args.first().is_some_and(|a| *a == "-");
        let known = match args.first() {
            Some(_) if back => self.state.get("OLDPWD").ok_or("OLDPWD not set"),
            Some(directory) => Ok(directory.as_str()),
            None => self.state.get("HOME").ok_or("HOME not set"),
        };
        let target = match known {
            Ok(target) => target.to_string(),
            Err(why) => return self.misused("cd", why),
        };
        let before = match self.directory.as_str() {
            "" => std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned(),
            known => known.to_string(),
        };
        let searched = self.on_cdpath(&target);
        let operand = searched.as_ref().unwrap_or(&target);
        let mut path = match real && !operand.is_empty() {
            true => operand.clone(), // the kernel follows links before it takes `..`
            false => logical_path(&before, operand),
        };
        if let Err(e) = std::env::set_current_dir(&path) {
            return self.misused("cd", format_args!("can't cd to {target}: {}", reason(&e)));
        }
        if real {
            path = match std::env::current_dir() {
                Ok(directory) => directory.to_string_lossy().into_owned(),
                Err(_) => logical_path(&before, &path),
            };
        }
        self.directory.clone_from(&path);
        for (name, value) in [("OLDPWD", before), ("PWD", path.clone())] {
            self.set(name, value)?;
            self.state.mark(name, |v| v.exported = true);
        }
        if back || searched.is_some() { self.print(&(path + "\n")) } else { Ok(0) }
    }

    /// Returns the directory that a target of `cd` means because of `$CDPATH`; `None` if it is the
    /// one of that name here.
    fn on_cdpath(&self, target: &str) -> Option<String> {
        let first = target.split('/').next().unwrap_or_default();
        if matches!(first, "" | "." | "..") {
            return None;
        }
        for directory in self.state.get("CDPATH")?.split(':') {
            let path =
                if directory.is_empty() { target.to_string() } else { format!("{directory}/{target}") };
            if Path::new(&path).is_dir() {
                return (!directory.is_empty()).then_some(path);
            }
        }
        None
    }

    pub(crate) fn pwd(&mut self, args: &[String]) -> Run {
        let real = args.iter().any(|a| a == "-P");
        match self.directory.as_str() {
            path if !real && !path.is_empty() => self.print(&format!("{path}\n")),
            _ => match std::env::current_dir() {
                Ok(path) => self.print(&format!("{}\n", path.display())),
                Err(e) => self.misused("pwd", reason(&e)),
            },
        }
    }

    /// `. FILE [ARGUMENT]…`. Arguments are `$1` and so on while the file runs, as in busybox and
    /// bash. Then the outer ones come back, as in busybox: in bash those of a `set --` in the file
    /// stay, except in a function.
    pub(crate) fn dot(&mut self, args: &[String]) -> Run {
        let args = if args.first().is_some_and(|a| a == "--") { &args[1..] } else { args };
        let Some((name, own)) = args.split_first() else {
            return self.misused(".", "filename argument required");
        };
        let path = self.look_up(name).unwrap_or_else(|| name.clone());
        match std::fs::read(&path) {
            Ok(bytes) => {
                let outer = (!own.is_empty()).then(|| std::mem::replace(&mut self.args, own.to_vec()));
                let result = self.run_file(&String::from_utf8_lossy(&bytes));
                if let Some(outer) = outer {
                    self.args = outer;
                }
                match result {
                    Err(Flow::Return(status)) => Ok(status),
                    other => other,
                }
            }
            Err(e) => {
                self.complain(format_args!(".: can't open '{name}': {}", reason(&e)));
                Err(Flow::Abort(2))
            }
        }
    }

    pub(crate) fn exec_builtin(&mut self, args: &[String]) -> Run {
        let args = if args.first().is_some_and(|a| a == "--") { &args[1..] } else { args };
        if args.is_empty() {
            return Ok(0); // its redirections stay
        }
        if !self.interactive {
            return Err(Flow::Exit(self.become_program(args)));
        }
        self.ignore_signals(false);
        let status = self.become_program(args);
        self.ignore_signals(true);
        Err(Flow::Abort(status))
    }

    pub(crate) fn trap_builtin(&mut self, args: &[String]) -> Run {
        let args = if args.first().is_some_and(|a| a == "--") { &args[1..] } else { args };
        if args.is_empty() {
            let line = |(signal, action): (&i32, &String)| {
                format!("trap -- {} {}\n", quoted(action), signal_name(*signal))
            };
            let shown = self.parent_traps.as_ref().unwrap_or(&self.traps);
            let text: String = shown.iter().map(line).collect();
            return self.print(&text);
        }
        // One word, or a number first, is a list of signals to reset.
        let only_signals = args.len() == 1 || args[0].parse::<u32>().is_ok();
        let (action, signals) = match args {
            [action, signals @ ..] if !only_signals => ((action != "-").then_some(action.as_str()), signals),
            signals => (None, signals),
        };
        let mut status = 0;
        for name in signals.iter().filter(|name| !(only_signals && *name == "-")) {
            match signal_number(name) {
                Some(signal) => self.set_trap(signal, action),
                None => {
                    self.complain(format_args!("trap: {name}: invalid signal specification"));
                    status = 1;
                }
            }
        }
        Ok(status)
    }
}

/// `target` seen from `base`, without looking at links, as `cd` counts.
fn logical_path(base: &str, target: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if Path::new(target).is_absolute() { "" } else { base };
    for part in base.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_counted_without_looking() {
        assert_eq!(logical_path("/a/b", "../c/./d"), "/a/c/d");
        assert_eq!(logical_path("/a", "/x/"), "/x");
        assert_eq!(logical_path("/", "../.."), "/");
    }
}
