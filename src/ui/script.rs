//! Lines from a pipe, a file or `-c`: read plainly, nothing echoed.

use super::line;
use super::session::{Flow, Given, Lines, Session};
use std::collections::VecDeque;
use std::io::BufRead;

/// Lines that are not typed at a terminal.
pub(crate) struct Script {
    lines: VecDeque<String>,
    /// Read further lines from standard input.
    pipe: bool,
}

impl Script {
    pub(crate) fn of(texts: impl IntoIterator<Item = String>) -> Script {
        let split =
            |t: String| t.split('\n').map(|l| l.trim_end_matches('\r').to_string()).collect::<Vec<_>>();
        Script { lines: texts.into_iter().flat_map(split).collect(), pipe: false }
    }

    pub(crate) fn pipe() -> Script {
        Script { lines: VecDeque::new(), pipe: true }
    }

    fn take(&mut self) -> Option<String> {
        if let Some(line) = self.lines.pop_front() {
            return Some(line);
        }
        let mut bytes = Vec::new();
        if !self.pipe || std::io::stdin().lock().read_until(b'\n', &mut bytes).ok()? == 0 {
            return None;
        }
        Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_string())
    }
}

impl Lines for Script {
    fn more(&mut self) -> Given {
        self.take().map_or(Given::End, Given::Text)
    }
}

/// Runs every line; the exit code is the last one's, or that of `exit`.
pub(crate) fn play(session: &mut Session, mut script: Script) -> i32 {
    while let Some(first) = script.take() {
        let mut text = line::Growing::new(first);
        while text.unfinished() {
            let Some(next) = script.take() else { break };
            text.add(&next);
        }
        if let Flow::Leave(code) = session.run(&text.into_text(), &mut script) {
            return code;
        }
    }
    session.last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_files_and_arguments_are_one_stream() {
        let mut script = Script::of(["a\r\nb".to_string(), "c".to_string()]);
        let mut all = Vec::new();
        while let Some(line) = script.take() {
            all.push(line);
        }
        assert_eq!(all, ["a", "b", "c"]);
    }
}
