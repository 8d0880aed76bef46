//! One simple command: a function, a builtin, or a program.

use super::state::Variable;
use super::{Flow, Run, Shell, builtins, redirect, start};
use brush_parser::ast::{
    Assignment, AssignmentName, AssignmentValue, CommandPrefixOrSuffixItem, FunctionBody, IoRedirect,
    SimpleCommand,
};
use linux::fork::Side;
use linux::process;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

/// Functions that call each other deeper than this end the script, before the stack would.
const DEPTH_MAX: u32 = 800;

/// A command after expansion.
struct Expanded<'a> {
    argv: Vec<String>,
    assignments: Vec<(String, String)>,
    redirects: Vec<&'a IoRedirect>,
}

impl Shell {
    pub(super) fn run_simple_command(&mut self, command: &SimpleCommand, last: bool) -> Run {
        self.substituted = 0;
        let expanded = self.expand_command(command)?;
        self.print_trace(&expanded);
        let Some(name) = expanded.argv.first().cloned() else {
            return self.without_words(expanded);
        };
        if let Some(function) = self.functions.get(&name).cloned() {
            return self.call_function(&function, expanded);
        }
        if builtins::is_builtin(&name) {
            return self.run_builtin(&name, expanded);
        }
        self.run_program(expanded, last)
    }

    fn expand_command<'a>(&mut self, command: &'a SimpleCommand) -> Result<Expanded<'a>, Flow> {
        let mut argv: Vec<String> = Vec::new();
        let mut assignments: Vec<&Assignment> = Vec::new();
        let mut redirects = Vec::new();
        for part in command.prefix.iter().flat_map(|prefix| &prefix.0) {
            match part {
                CommandPrefixOrSuffixItem::AssignmentWord(assignment, _) => assignments.push(assignment),
                CommandPrefixOrSuffixItem::IoRedirect(redirect) => redirects.push(redirect),
                CommandPrefixOrSuffixItem::Word(word) => argv.extend(self.expand_to_fields(&word.value)?),
                CommandPrefixOrSuffixItem::ProcessSubstitution(..) => return Err(self.no_substitution()),
            }
        }
        if let Some(word) = &command.word_or_name {
            argv.extend(self.expand_to_fields(&word.value)?);
        }
        for part in command.suffix.iter().flat_map(|suffix| &suffix.0) {
            match part {
                CommandPrefixOrSuffixItem::IoRedirect(redirect) => redirects.push(redirect),
                CommandPrefixOrSuffixItem::Word(word) => argv.extend(self.expand_to_fields(&word.value)?),
                CommandPrefixOrSuffixItem::AssignmentWord(assignment, word) => {
                    // `export a=$b` assigns: $b is not split.
                    let declares = matches!(
                        argv.first().map(String::as_str),
                        Some("export" | "local" | "readonly" | "declare")
                    );
                    if let Assignment {
                        name: AssignmentName::VariableName(name),
                        value: AssignmentValue::Scalar(value),
                        append: false,
                        ..
                    } = assignment
                        && declares
                    {
                        argv.push(format!("{name}={}", self.expand_assigned_value(&value.value)?));
                    } else if declares {
                        argv.push(self.expand_to_string(&word.value)?);
                    } else {
                        argv.extend(self.expand_to_fields(&word.value)?);
                    }
                }
                CommandPrefixOrSuffixItem::ProcessSubstitution(..) => return Err(self.no_substitution()),
            }
        }
        let assignments = self.expand_assignments(&assignments, argv.is_empty())?;
        Ok(Expanded { argv, assignments, redirects })
    }

    fn no_substitution(&mut self) -> Flow {
        self.print_error("<(…): not implemented by this shell");
        Flow::Abort(2)
    }

    /// Expands assignments from left to right, so that each sees those before it. With `keep` they
    /// are the shell's own from now on, otherwise only meanwhile.
    fn expand_assignments(
        &mut self,
        assignments: &[&Assignment],
        keep: bool,
    ) -> Result<Vec<(String, String)>, Flow> {
        let mut before = Vec::new();
        let values = self.assign_in_turn(assignments, keep, &mut before);
        before.into_iter().rev().for_each(|(name, was)| self.restore(name, was));
        values
    }

    /// Carries out assignments in turn. Without `keep`, `before` gets each variable as it was.
    fn assign_in_turn(
        &mut self,
        assignments: &[&Assignment],
        keep: bool,
        before: &mut Vec<(String, Option<Variable>)>,
    ) -> Result<Vec<(String, String)>, Flow> {
        let mut values = Vec::new();
        for assignment in assignments {
            let (AssignmentName::VariableName(name), AssignmentValue::Scalar(word)) =
                (&assignment.name, &assignment.value)
            else {
                self.print_error("arrays are not implemented by this shell");
                return Err(Flow::Abort(2));
            };
            let mut value = self.expand_assigned_value(&word.value)?;
            if assignment.append {
                value.insert_str(0, self.state.get(name).unwrap_or_default());
            }
            let was = (!keep).then(|| (name.clone(), self.state.variable(name).cloned()));
            self.set(name, value.clone())?;
            if let Some(was) = was {
                before.push(was);
                // A `$(…)` in the next assignment sees this one.
                self.state.mark_variable(name, |v| v.exported = true);
            }
            values.push((name.clone(), value));
        }
        Ok(values)
    }

    /// Prints a command before it runs, as `set -x` asks.
    fn print_trace(&mut self, command: &Expanded) {
        if self.state.is_flag_set('x') {
            let assignments = command.assignments.iter().map(|(name, value)| format!("{name}={value}"));
            let words: Vec<String> = assignments.chain(command.argv.iter().cloned()).collect();
            let start = self.trace_start();
            super::write_stderr(&format!("{start}{}\n", words.join(" ")));
        }
    }

    /// `$PS4`, expanded. A `$(…)` in it is not traced itself, which would never end.
    fn trace_start(&mut self) -> String {
        let template = self.state.get("PS4").unwrap_or("+ ").to_string();
        let substituted = self.substituted;
        let _ = self.state.set_flag('x', false); // there is such a flag
        let expanded = self.expand_prompt(&template);
        let _ = self.state.set_flag('x', true);
        self.substituted = substituted;
        expanded.unwrap_or(template)
    }

    fn without_words(&mut self, command: Expanded) -> Run {
        match self.redirect(command.redirects.into_iter())? {
            Ok(saved) => {
                redirect::restore_descriptors(saved);
                self.set_status(self.substituted)
            }
            Err(status) => self.set_status(status),
        }
    }

    fn call_function(&mut self, function: &Rc<FunctionBody>, command: Expanded) -> Run {
        let saved = match self.redirect(command.redirects.into_iter())? {
            Ok(saved) => saved,
            Err(status) => return self.set_status(status),
        };
        let args = std::mem::replace(&mut self.args, command.argv[1..].to_vec());
        let loops = std::mem::take(&mut self.loops);
        let getopts = std::mem::take(&mut self.getopts);
        self.state.enter_function();
        self.depth += 1;
        let result = self.call_body(function, command.assignments);
        self.depth -= 1;
        self.state.leave_function();
        (self.loops, self.args, self.getopts) = (loops, args, getopts);
        redirect::restore_descriptors(saved);
        match result {
            Err(Flow::Return(status)) => self.set_status(status),
            other => other,
        }
    }

    fn call_body(&mut self, function: &FunctionBody, assignments: Vec<(String, String)>) -> Run {
        for (name, value) in assignments {
            self.state.hide_variable(&name);
            self.set(&name, value)?;
            // The programs that the function calls see the assignment.
            self.state.mark_variable(&name, |v| v.exported = true);
        }
        if self.depth > DEPTH_MAX {
            self.print_error("functions call each other too deeply");
            return Err(Flow::Abort(2));
        }
        // Its own redirections see its own arguments.
        match &function.1 {
            Some(redirects) => self.redirected_compound(&function.0, redirects, false),
            None => self.run_compound(&function.0, false),
        }
    }

    fn run_builtin(&mut self, name: &str, command: Expanded) -> Run {
        let special = builtins::is_special(name);
        let saved = match self.redirect(command.redirects.into_iter())? {
            Ok(saved) => saved,
            Err(status) if special => return Err(Flow::Abort(status)),
            Err(status) => return self.set_status(status),
        };
        let mut before = Vec::new();
        let mut result = Ok(0);
        for (name, value) in command.assignments {
            before.push((name.clone(), self.state.variable(&name).cloned()));
            result = result.and(self.set(&name, value).map(|()| 0));
            // `A=1 exec PROGRAM` and `A=1 command PROGRAM` give it to the program.
            if command.argv.len() > 1 || !special {
                self.state.mark_variable(&name, |v| v.exported = true);
            }
        }
        if result.is_ok() {
            result = self.dispatch_builtin(&command.argv);
        }
        if !special {
            before.into_iter().rev().for_each(|(name, was)| self.restore(name, was));
        }
        // `exec >file` and `command exec >file` keep what they did.
        let word = command.argv.iter().find(|word| !matches!(word.as_str(), "command" | "-p" | "--"));
        if word.is_none_or(|word| word != "exec") || result.is_err() {
            redirect::restore_descriptors(saved);
        }
        if let Ok(status) = result {
            self.status = status;
        }
        result
    }

    fn run_program(&mut self, command: Expanded, last: bool) -> Run {
        // Redirections are expanded in the shell, not in its child: an error in a name ends the
        // script.
        let redirects = self.expand_redirects(command.redirects.into_iter())?;
        let in_place = last && self.has_only_ignoring_traps() && !self.interactive;
        // As in dash, a name that is no program takes no child. A redirection belongs to the child,
        // and an assignment may change PATH.
        if !in_place && redirects.is_empty() && command.assignments.is_empty() {
            let name = &command.argv[0];
            if self.look_up(name).is_none() {
                let status = self.report_missing(name);
                return self.set_status(status);
            }
        }
        let side = if in_place { Side::Child } else { self.fork_foreground(None)? };
        if let Side::Parent(pid) = side {
            return self.wait_in_foreground(pid);
        }
        let status = match self.apply_redirects(redirects) {
            Err(Flow::Exit(status) | Flow::Abort(status)) | Ok(Err(status)) => status,
            Err(_) => 2,
            Ok(Ok(_)) => self.become_assigned(&command.argv, command.assignments),
        };
        if in_place { Err(Flow::Exit(status)) } else { process::exit_now(status) }
    }

    fn become_assigned(&mut self, argv: &[String], assignments: Vec<(String, String)>) -> i32 {
        for (name, value) in assignments {
            if self.set(&name, value).is_err() {
                return 2;
            }
            self.state.mark_variable(&name, |v| v.exported = true);
        }
        self.become_program(argv)
    }

    /// Runs a program in a child, passing over functions and builtins.
    pub(super) fn run_external(&mut self, argv: &[String]) -> Run {
        match self.fork_foreground(None)? {
            Side::Child => process::exit_now(self.become_program(argv)),
            Side::Parent(pid) => self.wait_in_foreground(pid),
        }
    }

    /// Returns where a program is. One that is there but may not be run is found if there is no
    /// better.
    pub(super) fn look_up(&self, name: &str) -> Option<String> {
        if name.contains('/') {
            return Some(name.to_string());
        }
        let mut second_best = None;
        // As in dash, a PATH that is not set is an empty one: the working directory.
        let path = if self.standard_path { start::PATH } else { self.state.get("PATH").unwrap_or_default() };
        for directory in path.split(':') {
            let path = if directory.is_empty() { name.to_string() } else { format!("{directory}/{name}") };
            if let Ok(found) = std::fs::metadata(&path)
                && found.is_file()
            {
                if found.permissions().mode() & 0o111 != 0 {
                    return Some(path);
                }
                second_best = Some(path);
            }
        }
        second_best
    }

    /// Becomes a program; returns the status of failure: 127 if it is not there, 126 if it cannot
    /// be run.
    pub(super) fn become_program(&mut self, argv: &[String]) -> i32 {
        let Some(path) = argv.first().and_then(|name| self.look_up(name)) else {
            return self.report_missing(argv.first().map_or("", String::as_str));
        };
        let error = process::exec(Path::new(&path), argv, &self.state.environment());
        match error.raw_os_error() {
            Some(libc::ENOEXEC) => self.become_script(path, argv),
            _ if error.kind() == io::ErrorKind::NotFound => self.report_missing(&argv[0]),
            _ => {
                self.print_error(format_args!("{}: {}", argv[0], super::reason(&error)));
                126
            }
        }
    }

    /// Reports that there is no program of that name. Returns the status.
    fn report_missing(&self, name: &str) -> i32 {
        self.print_error(format_args!("{name}: not found"));
        127
    }

    /// Becomes a new shell that runs a text without `#!`. Nothing of this one but what any program
    /// gets counts there, neither options nor traps. Returns the status of failure.
    fn become_script(&self, path: String, argv: &[String]) -> i32 {
        let mut head = Vec::new();
        let why = match File::open(&path).and_then(|file| file.take(512).read_to_end(&mut head)) {
            Ok(_) if head.contains(&0) => "Exec format error".to_string(),
            Ok(_) => super::reason(&self.exec_shell(path, &argv[1..])),
            Err(e) => super::reason(&e),
        };
        self.print_error(format_args!("{}: {why}", argv[0]));
        126
    }

    /// Replaces this process by a new shell that reads a file. Returns why it could not.
    fn exec_shell(&self, file: String, args: &[String]) -> io::Error {
        let mut words = vec!["sh".to_string(), file];
        words.extend_from_slice(args);
        let environment = self.state.environment();
        let error = process::exec(Path::new("/proc/self/exe"), &words, &environment);
        // In a container without /proc the shell is found as any program is.
        match self.look_up("sh") {
            Some(shell) => process::exec(Path::new(&shell), &words, &environment),
            None => error,
        }
    }
}
