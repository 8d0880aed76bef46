//! Commands that are read line by line: a person's from standard input, or a file's.

use super::{Flow, Run, Shell, assembly, parse};
use brush_parser::ast::Program;
use linux::script_fds;
use linux::trap::{self, Action};
use nix::errno::Errno;
use nix::unistd::{Pid, getpgrp, setpgid, tcsetpgrp};
use std::io;
use std::os::fd::AsFd;

/// The first of the private characters that stand for the escapes of a prompt while it is expanded.
const MARK: char = '\u{e000}';

/// Signals that end a script and that an interactive shell ignores (POSIX, `sh`): SIGQUIT is ^\.
pub(super) const SURVIVED: [i32; 2] = [libc::SIGTERM, libc::SIGQUIT];

/// One line, or why there is none.
enum Line {
    Text(String),
    /// ^C.
    Interrupted,
    End,
}

impl Shell {
    /// Makes this an interactive shell: signals that would end a script do not end it.
    pub(super) fn become_interactive(&mut self) {
        self.interactive = true;
        self.ignore_signals(true);
        let _ = trap::set(libc::SIGINT, Action::Note);
        if script_fds::is_terminal(0) {
            // This fails for the leader of a session, which has its own group already.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            let _ = tcsetpgrp(io::stdin(), getpgrp());
        }
    }

    /// Ignores the signals that must not end or stop a conversation. Without `ignore` they have
    /// their effect again, for a program that takes the shell's place; those that a trap ignores or
    /// sets stay as they are.
    pub(super) fn ignore_signals(&self, ignore: bool) {
        let of_terminal = [libc::SIGTTOU, libc::SIGTSTP].into_iter().filter(|_| script_fds::is_terminal(0));
        let signals = of_terminal.chain(SURVIVED);
        for signal in signals.filter(|signal| !self.traps.contains_key(signal)) {
            let keep = ignore || self.ignored.contains(&signal);
            let _ = trap::set(signal, if keep { Action::Ignore } else { Action::Default });
        }
    }

    /// Runs a script. If `set -v` is on, or the script may turn it on, each line is shown before
    /// the command that it completes runs. Otherwise the script is parsed at once.
    pub(super) fn run_file(&mut self, text: &str) -> Run {
        let may_show = self.state.is_flag_set('v')
            || text.lines().any(|line| {
                let mut words = line.split_whitespace().skip_while(|word| !word.ends_with("set"));
                words.any(|word| {
                    word == "verbose" || word.contains('$') || word.starts_with('-') && word.contains('v')
                })
            });
        match may_show {
            true => self.run_lines(text),
            false => self.run_text(text, false),
        }
    }

    fn run_lines(&mut self, text: &str) -> Run {
        let (mut command, mut has_run) = (assembly::Assembly::default(), false);
        for line in text.split_inclusive('\n') {
            if self.state.is_flag_set('v') {
                super::write_stderr(line);
            }
            if let Some(parsed) = command.push_line(line, self.stack) {
                self.run_parsed(parsed, &mut has_run)?;
            }
        }
        if let Some(parsed) = command.finish(self.stack) {
            self.run_parsed(parsed, &mut has_run)?;
        }
        if has_run { Ok(self.status) } else { self.set_status(0) }
    }

    /// Runs what was parsed; `has_run` is set if it has commands.
    fn run_parsed(&mut self, parsed: Result<Program, parse::Fault>, has_run: &mut bool) -> Run {
        match parsed {
            Ok(program) => {
                *has_run |= parse::has_commands(&program);
                self.run_script(&program, false)
            }
            Err(fault) => {
                self.print_error(fault.what);
                Err(Flow::Abort(2))
            }
        }
    }

    /// Reads and runs until the end of input.
    pub(super) fn read_commands(&mut self) -> Run {
        let mut command = assembly::Assembly::default();
        loop {
            if self.interactive {
                super::write_stderr(&self.format_prompt(if command.is_empty() { "PS1" } else { "PS2" }));
            }
            let (parsed, end) = match self.read_line()? {
                Line::Text(line) => {
                    if self.state.is_flag_set('v') {
                        super::write_stderr(&line);
                    }
                    (command.push_line(&line, self.stack), false)
                }
                Line::Interrupted => {
                    command = assembly::Assembly::default();
                    self.status = 130;
                    continue;
                }
                Line::End => (command.finish(self.stack), true),
            };
            match parsed {
                None if end && self.interactive => super::write_stderr("\n"),
                None => {}
                Some(Err(fault)) => {
                    self.print_error(fault.what);
                    self.status = 2;
                    if !self.interactive {
                        return Ok(2);
                    }
                }
                Some(Ok(program)) => match self.run_script(&program, false) {
                    // `return` ends standard input as it ends a file.
                    Err(Flow::Return(status)) if !self.interactive => return Ok(status),
                    Ok(status) | Err(Flow::Return(status)) => self.status = status,
                    Err(Flow::Abort(status)) if self.interactive => self.status = status,
                    Err(Flow::Break(_) | Flow::Continue(_)) => {}
                    Err(end) => return Err(end),
                },
            }
            if end {
                return Ok(self.status);
            }
        }
    }

    /// Reads a line byte by byte: what a command reads later must not be swallowed here.
    fn read_line(&mut self) -> Result<Line, Flow> {
        let mut bytes = Vec::new();
        loop {
            let mut byte = [0];
            // A ^C just before the read must not wait for a key. A line comes as a whole, so its
            // first byte is what we wait for.
            let interrupted = self.interactive
                && bytes.is_empty()
                && trap::wait_readable(io::stdin().as_fd()).is_ok_and(|r| !r);
            let read =
                if interrupted { Err(Errno::EINTR) } else { nix::unistd::read(io::stdin(), &mut byte) };
            match read {
                Ok(0) if bytes.is_empty() => return Ok(Line::End),
                Ok(0) => break,
                Ok(_) => {
                    bytes.push(byte[0]);
                    if byte[0] == b'\n' {
                        break;
                    }
                }
                Err(Errno::EINTR) => match self.run_traps() {
                    Err(Flow::Abort(_)) if self.interactive => return Ok(Line::Interrupted),
                    other => other?,
                },
                Err(_) => return Ok(Line::End),
            }
        }
        Ok(Line::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Returns a prompt with `\w`, `\h`, `\u` and `\$` filled in, as busybox and bash do. The
    /// template is expanded first: the name of a directory is not the script's own text and runs
    /// nothing.
    fn format_prompt(&mut self, name: &str) -> String {
        let template = self.state.get(name).unwrap_or_default().to_string();
        let (marked, values) = self.mark_escapes(&template);
        let expanded = self.expand_prompt(&marked).unwrap_or(marked);
        let value = |c: char| (c as usize).checked_sub(MARK as usize).and_then(|at| values.get(at));
        expanded.chars().fold(String::new(), |mut text, c| {
            match value(c) {
                Some(value) => text.push_str(value),
                None => text.push(c),
            }
            text
        })
    }

    /// Expands parameters and `$(…)` as in a here-document. `None` if that fails.
    pub(super) fn expand_prompt(&mut self, template: &str) -> Option<String> {
        if !template.contains(['$', '`']) {
            return None;
        }
        let status = self.status;
        let pieces = parse::here_document(template, self.stack).ok()?;
        let text = self.here_text(&pieces).ok();
        self.status = status; // `$?` is the last command's, not the prompt's
        text
    }

    /// Returns the template with one private character, from [`MARK`] on, in place of each escape,
    /// and what these stand for.
    fn mark_escapes(&self, template: &str) -> (String, Vec<String>) {
        let (mut marked, mut values) = (String::new(), Vec::new());
        let mut chars = template.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                marked.push(c);
                continue;
            }
            let mut text = String::new();
            match chars.next() {
                Some('w') => text.push_str(&self.short_directory()),
                Some('W') => {
                    let directory = self.short_directory();
                    text.push_str(directory.rsplit('/').find(|part| !part.is_empty()).unwrap_or("/"));
                }
                Some('$') => text.push(if nix::unistd::geteuid().is_root() { '#' } else { '$' }),
                Some('h') => {
                    let host = nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned());
                    text.push_str(host.unwrap_or_default().split('.').next().unwrap_or_default());
                }
                Some('u') => text.push_str(self.state.get("USER").unwrap_or("root")),
                Some('n') => text.push('\n'),
                Some('e') => text.push('\x1b'),
                Some('[' | ']') | None => {}
                Some(other) => {
                    text.push('\\');
                    text.push(other);
                }
            }
            match u32::try_from(values.len()).ok().and_then(|at| char::from_u32(MARK as u32 + at)) {
                Some(mark) => marked.push(mark),
                None => break, // a template with thousands of escapes
            }
            values.push(text);
        }
        (marked, values)
    }

    /// Returns the working directory, with `~` for home.
    fn short_directory(&self) -> String {
        let directory = if self.directory.is_empty() { "?" } else { self.directory.as_str() };
        let home = self.state.get("HOME").filter(|home| home.len() > 1);
        match home.and_then(|home| directory.strip_prefix(home)) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}"),
            _ => directory.to_string(),
        }
    }
}
