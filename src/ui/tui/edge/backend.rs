//! The terminal that is drawn on: crossterm's, with a size on terminals that tell none.

use crate::terminal;
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use std::io::{self, Stdout, stdout};

/// Crossterm's backend, which believes a terminal that says that it has 0 columns and rows: a
/// serial console does, and nothing would be drawn on it. The model takes 80 by 24 there.
pub(super) struct Sized(CrosstermBackend<Stdout>);

impl Sized {
    pub(super) fn new() -> Sized {
        Sized(CrosstermBackend::new(stdout()))
    }
}

impl Backend for Sized {
    type Error = io::Error;

    fn size(&self) -> io::Result<Size> {
        Ok(terminal::size().into())
    }
    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        self.0.draw(content)
    }
    fn append_lines(&mut self, n: u16) -> io::Result<()> {
        self.0.append_lines(n)
    }
    fn hide_cursor(&mut self) -> io::Result<()> {
        self.0.hide_cursor()
    }
    /// Never fails. When ratatui's terminal is dropped, it prints this error to standard error. If
    /// the window was closed that is gone, too, and the print panics: the session would end with
    /// another exit code. The guard shows the cursor in any case.
    fn show_cursor(&mut self) -> io::Result<()> {
        let _ = self.0.show_cursor(); // the next picture fails all the same
        Ok(())
    }
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.0.get_cursor_position()
    }
    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.0.set_cursor_position(position)
    }
    fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }
    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.0.clear_region(clear_type)
    }
    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::tests::on_a_terminal_of;
    use portable_pty::PtySize;
    use ratatui::Terminal;
    use ratatui::layout::Rect;

    /// Set in the process whose terminal tells no size.
    const INSIDE: &str = "ROPEWALK_TEST_NO_SIZE";

    /// Not a test of its own: runs on the terminals that the test below opens.
    #[test]
    fn draws_as_large_as_the_terminal() {
        let Ok(expected) = std::env::var(INSIDE) else { return };
        let mut screen = Terminal::new(Sized::new()).unwrap();
        screen
            .draw(|frame| frame.buffer_mut().set_string(0, 0, "drawn", ratatui::style::Style::new()))
            .unwrap();
        assert_eq!(format!("{}", screen.get_frame().area()), expected);
        assert_eq!(Rect::from(screen.size().unwrap()), screen.get_frame().area());
    }

    /// Set in the process that cannot write to its terminal.
    const GONE: &str = "ROPEWALK_TEST_GONE_TERMINAL";

    /// Not a test of its own: runs in the process that the test below starts.
    #[test]
    fn leaves_a_terminal_that_is_gone() {
        if std::env::var_os(GONE).is_none() {
            return;
        }
        let mut screen = Terminal::new(Sized::new()).expect("a screen");
        screen.hide_cursor().expect("a terminal");
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        nix::unistd::dup2_stdout(&full).expect("another output");
        nix::unistd::dup2_stderr(&full).expect("another output");
        drop(screen);
        std::process::exit(0);
    }

    #[test]
    fn a_window_that_is_closed_with_a_hidden_cursor_is_no_panic() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tui::edge::backend::tests::leaves_a_terminal_that_is_gone", "--nocapture"]);
        assert!(command.env(GONE, "1").output().unwrap().status.success());
    }

    #[test]
    fn a_terminal_that_tells_no_size_is_drawn_on() {
        for (rows, cols, expected) in [(0, 0, "80x24+0+0"), (30, 100, "100x30+0+0")] {
            let size = PtySize { rows, cols, ..PtySize::default() };
            let test = "tui::edge::backend::tests::draws_as_large_as_the_terminal";
            assert!(on_a_terminal_of(size, test, INSIDE, expected).contains("drawn"));
        }
    }
}
