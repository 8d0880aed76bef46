//! Commands from standard input: a person's or a file's.

use super::{Flow, Run, Shell, parse};
use crate::linux::script_fds;
use crate::linux::trap::{self, Action};
use nix::errno::Errno;
use nix::unistd::{Pid, getpgrp, setpgid, tcsetpgrp};
use std::io;
use std::os::fd::AsFd;

/// One line, or why there is none.
enum Line {
    Text(String),
    /// ^C.
    Interrupted,
    End,
}

/// A here-document under way. Only the line that ends it is worth parsing everything again: else a long one would take time with the
/// square of its length.
struct HereDocument {
    end: String,
    /// `<<-`: tabs before the end are no part of it.
    tabs: bool,
}

impl HereDocument {
    /// The one that an incomplete text waits for the end of. `None` if it waits for something else, too.
    fn open_in(text: &str) -> Option<HereDocument> {
        let (_, behind) = text.lines().filter_map(|line| line.rsplit_once("<<")).next_back()?;
        let (tabs, behind) = match behind.strip_prefix('-') {
            Some(behind) => (true, behind),
            None => (false, behind),
        };
        let word = behind.trim_start().split([' ', '\t', ';', '|', '&', '>', '<', ')']).next()?;
        let end: String = word.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        let ended = parse::program(&format!("{text}{end}\n")).is_ok();
        (ended && !end.is_empty()).then_some(HereDocument { end, tabs })
    }

    fn ends_with(&self, line: &str) -> bool {
        let line = line.trim_end_matches('\n');
        self.end == if self.tabs { line.trim_start_matches('\t') } else { line }
    }
}

impl Shell {
    /// On a terminal: signals that would end a script do not end a conversation.
    pub fn become_interactive(&mut self) {
        self.interactive = true;
        let _ = trap::set(libc::SIGTERM, Action::Ignore);
        let _ = trap::set(libc::SIGINT, Action::Note);
        if script_fds::is_terminal(0) {
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0)); // fails for a session's leader, which has its own group
            for signal in [libc::SIGTTOU, libc::SIGTSTP] {
                let _ = trap::set(signal, Action::Ignore);
            }
            let _ = tcsetpgrp(io::stdin(), getpgrp());
        }
    }

    /// Reads and runs until the end of input.
    pub fn read_commands(&mut self) -> Run {
        let mut text = String::new();
        let mut document: Option<HereDocument> = None;
        loop {
            if self.interactive {
                super::say(&self.prompt(if text.is_empty() { "PS1" } else { "PS2" }));
            }
            let end = match self.read_line()? {
                Line::Text(line) => {
                    text.push_str(&line);
                    if self.state.flag('v') {
                        super::say(&line);
                    }
                    if document.as_ref().is_some_and(|document| !document.ends_with(&line)) {
                        continue;
                    }
                    false
                }
                Line::Interrupted => {
                    (text, document) = (String::new(), None);
                    self.status = 130;
                    continue;
                }
                Line::End => true,
            };
            if end && text.is_empty() {
                if self.interactive {
                    super::say("\n");
                }
                return Ok(self.status);
            }
            match parse::program(&text) {
                Err(fault) if fault.incomplete && !end => {
                    document = HereDocument::open_in(&text);
                    continue;
                }
                Err(fault) => {
                    self.complain(fault.what);
                    self.status = 2;
                    if !self.interactive {
                        return Ok(2);
                    }
                }
                Ok(program) => match self.program(&program, false) {
                    Ok(status) | Err(Flow::Return(status)) => self.status = status,
                    Err(Flow::Abort(status)) if self.interactive => self.status = status,
                    Err(Flow::Break(_) | Flow::Continue(_)) => {}
                    Err(end) => return Err(end),
                },
            }
            (text, document) = (String::new(), None);
            if end {
                return Ok(self.status);
            }
        }
    }

    /// Byte by byte: what a command reads later must not be swallowed here.
    fn read_line(&mut self) -> Result<Line, Flow> {
        let mut bytes = Vec::new();
        loop {
            let mut byte = [0];
            // A ^C just before the read must not wait for a key. A line comes as a whole, so its first byte is what we wait for.
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

    /// A prompt with `\w`, `\h`, `\u` and `\$` filled in, as busybox and bash do.
    fn prompt(&mut self, name: &str) -> String {
        let template = self.state.get(name).unwrap_or_default().to_string();
        let mut text = String::new();
        let mut chars = template.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                text.push(c);
                continue;
            }
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
        }
        if text.contains('$') && text.contains(['{', '(']) || text.contains("$P") {
            return self.one(&format!("\"{text}\"")).unwrap_or(text);
        }
        text
    }

    /// The working directory, with `~` for home.
    fn short_directory(&self) -> String {
        let directory = self.state.get("PWD").unwrap_or("?");
        let home = self.state.get("HOME").filter(|home| home.len() > 1);
        match home.and_then(|home| directory.strip_prefix(home)) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}"),
            _ => directory.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HereDocument;

    #[test]
    fn only_a_here_document_is_read_to_its_end_without_parsing() {
        let open = |text: &str| HereDocument::open_in(text).map(|document| (document.end, document.tabs));
        assert_eq!(open("cat <<E\n"), Some(("E".into(), false)));
        assert_eq!(open("cat <<-'END' >f\na\n"), Some(("END".into(), true)));
        assert_eq!(open("cat <<A; cat <<B\na\nA\n"), Some(("B".into(), false)));
        for other in
            ["if true; then\n", "echo 'a <<E\n", "echo $((1 <<\n", "cat <<E |\n", "if true; then cat <<E\n"]
        {
            assert_eq!(open(other), None, "{other}");
        }
        let document = HereDocument { end: "E".into(), tabs: true };
        assert!(document.ends_with("\t\tE\n") && document.ends_with("E") && !document.ends_with("E \n"));
    }
}
