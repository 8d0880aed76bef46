//! The one loop: events in, the model moved on, effects carried out, and the screen drawn when it
//! looks different.

use super::super::event::{Effect, Event};
use super::super::model::Model;
use super::super::render::render;
use super::super::update::{HUNG_UP, last_words, update};
use super::super::words::Word;
use super::guard::{self, Taken};
use super::keyboard::Keyboard;
use super::pty::Pty;
use super::{feed, probe};
use crate::texts::Lang;
use crate::{lesson, terminal};
use clock::Instant;
use cluster::Place;
use lab::view;
use lang::charset::{self, eprintln};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use std::io::{self, Stdout, Write, stdout};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Events that wait to be taken in; who tells more waits.
const PENDING: usize = 1024;
/// Two pictures are at least so far apart.
const FRAME: Duration = Duration::from_millis(16);
/// Events taken in before the next picture, at most.
const AT_ONCE: usize = 256;

/// What the interface is opened with.
pub(crate) struct Setting {
    pub place: Place,
    pub lang: Lang,
    pub ascii: bool,
    /// The lesson to open first.
    pub lesson: Option<String>,
}

/// The signals that end the interface. The default action of each would leave the terminal raw.
struct EndSignals([Signal; 4]);

impl EndSignals {
    /// In raw mode no key sends SIGINT or SIGQUIT: `timeout -s INT` and the stop button of an
    /// editor do.
    const KINDS: [SignalKind; 4] =
        [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()];

    fn new() -> io::Result<EndSignals> {
        let [term, hup, int, quit] = EndSignals::KINDS.map(signal);
        Ok(EndSignals([term?, hup?, int?, quit?]))
    }

    /// Waits for one of them; the exit code.
    async fn recv(&mut self) -> i32 {
        let each = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        let (_, which, _) = futures::future::select_all(each).await;
        128 + EndSignals::KINDS[which].as_raw_value()
    }
}

/// Opens the interface; returns the exit code when it is closed.
pub(crate) async fn run(setting: Setting) -> io::Result<i32> {
    let mut end = EndSignals::new()?;
    let mut stopped = signal(SignalKind::from_raw(nix::libc::SIGTSTP))?;
    let mut continued = signal(SignalKind::from_raw(nix::libc::SIGCONT))?;
    let taken = Taken::take()?;
    // Asked on the other screen: the learner's own stays as it is.
    let answer = if charset::ascii_only() { probe::Answer::default() } else { probe::ask()? };
    let look = probe::look(&answer, setting.ascii, terminal::colours());
    let (columns, rows) = terminal::size();
    let size = Size::new(columns, rows);
    let opened = Instant::now();
    let mut model = Model::new(&setting.place.name, setting.lang, look, size, clock::now());
    let (shell_rows, shell_columns) = model.shell.size();
    // Only this REPL may command the frame: programs in its shell do not see its arguments from
    // inside a container.
    let token = format!("{:016x}", rng::Rng::from_os().u64());
    model.shell.trust(token.clone());
    let mut args = vec!["repl".to_string(), format!("--in-pane={token}")];
    args.extend(["--name".to_string(), setting.place.name.clone()]);
    args.extend(["--lang".to_string(), lesson::tag(setting.lang).into()]);
    let mut pty = Pty::start(&args, shell_rows, shell_columns)?;
    if !answer.typed.is_empty() {
        pty.type_in(answer.typed);
    }
    // Before the channel, so that it is dropped after it: the thread may wait for room there.
    let mut keyboard = Keyboard::default();
    let (tell, mut told) = mpsc::channel(PENDING);
    // The terminal's answer about the ground may still be on its way.
    let late = answer.light.is_none() && !charset::ascii_only();
    keyboard.start(tell.clone(), probe::Late::new(late))?;
    let gone = tell.clone();
    std::thread::Builder::new().name("terminal-end".into()).spawn(move || {
        await_end_of_terminal();
        let _ = gone.blocking_send(Event::Gone); // the interface may have ended
    })?;
    // Every task of the interface: they end with it, and it with one that panics. Threads and tasks
    // of libraries are watched by the guard.
    let mut tasks = feed::start(&setting.place, &tell);
    // A learner is led to the first lesson once, and not at all if another one was asked for.
    let welcomed = Arc::new(AtomicBool::new(setting.lesson.is_some()));
    let follow_in = |lang| feed::follow(setting.place.clone(), lang, welcomed.clone(), tell.clone());
    let mut follow = tasks.spawn(follow_in(setting.lang));
    if let Some(id) = setting.lesson.clone() {
        let ask = view::Ask::Open { id };
        tasks.spawn(open_first(setting.place.clone(), setting.lang, ask, tell.clone()));
    }
    let mut screen = Terminal::new(CrosstermBackend::new(stdout()))?;
    draw(&mut screen, &model)?;
    let mut drawn = Instant::now();
    let mut dirty = false;
    let code = loop {
        let due = model.due().map(|d| opened + d);
        let frame = drawn + FRAME;
        let event = tokio::select! {
            biased;
            // First those after which nothing may be drawn.
            code = end.recv() => break code,
            // Its text was printed already.
            () = guard::panicked() => std::panic::resume_unwind(Box::new("a thread has panicked")),
            _ = stopped.recv() => {
                guard::suspend(&mut continued).await?;
                anew(&mut screen, &mut model, opened)?;
                dirty = true;
                continue;
            }
            _ = continued.recv() => {
                guard::retake()?;
                anew(&mut screen, &mut model, opened)?;
                dirty = true;
                continue;
            }
            Some(ended) = tasks.join_next() => {
                match ended {
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    _ => continue,
                }
            }
            () = clock::sleep_until(frame), if dirty => {
                model.now = opened.elapsed();
                match draw(&mut screen, &model) {
                    // The terminal is gone, and its signal has not come yet.
                    Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => break HUNG_UP,
                    done => done?,
                }
                (drawn, dirty) = (Instant::now(), false);
                continue;
            }
            event = told.recv() => match event { Some(event) => event, None => break 0 },
            event = pty.output.recv() => match event { Some(event) => event, None => break 0 },
            () = at(due) => Event::Tick,
        };
        model.now = opened.elapsed();
        let mut effects = Vec::new();
        let mut next = Some(event);
        for _ in 0..AT_ONCE {
            let Some(event) = next.take() else { break };
            next = told.try_recv().or_else(|_| pty.output.try_recv()).ok();
            // A window that is dragged tells many sizes; each lays out all lines of the shell anew.
            if let (Event::Resize(_), Some(Event::Resize(_))) = (&event, &next) {
                continue;
            }
            let (more, changed) = update(&mut model, event);
            dirty |= changed;
            effects.extend(more);
        }
        let mut quit = None;
        if let Some(event) = next {
            // Taken out of its queue beyond the number: the effects of all are carried out
            // together.
            let (more, changed) = update(&mut model, event);
            dirty |= changed;
            effects.extend(more);
        }
        for effect in effects {
            match effect {
                Effect::Type(bytes) => pty.type_in(bytes),
                Effect::Size(rows, columns) => pty.resize(rows, columns),
                Effect::Ask(question) => {
                    if let Some(ask) = question.ask() {
                        tasks.spawn(feed::question(setting.place.clone(), model.lang, ask, tell.clone()));
                    }
                }
                Effect::Speak(lang) => {
                    follow.abort();
                    follow = tasks.spawn(follow_in(lang));
                }
                Effect::Bell => out(b"\x07"),
                Effect::Suspend if terminal::can_go_on() => {
                    guard::suspend(&mut continued).await?;
                    anew(&mut screen, &mut model, opened)?;
                }
                Effect::Suspend => {
                    model.notice = Some(Word::CannotSuspend);
                    out(b"\x07");
                }
                Effect::Quit(code) => quit = Some(code),
            }
        }
        if let Some(code) = quit {
            break code;
        }
    };
    drop(pty);
    drop(told);
    drop(keyboard); // what is typed from now on answers questions on the learner's own screen
    drop(taken);
    if let Some(words) = last_words(&model, code) {
        eprintln!("{words}");
    }
    Ok(code)
}

/// Returns when the learner's terminal is gone. SIGHUP reaches only those whose controlling
/// terminal it was, and crossterm reads what is gone over and over.
fn await_end_of_terminal() {
    let input = io::stdin();
    // Nothing is asked for: the end of a terminal is told all the same.
    let mut end = [PollFd::new(input.as_fd(), PollFlags::empty())];
    while poll(&mut end, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
}

/// Opens the lesson that was asked for, as soon as the cluster answers.
async fn open_first(place: Place, lang: Lang, ask: view::Ask, tell: mpsc::Sender<Event>) {
    feed::ready(&place).await;
    feed::question(place, lang, ask, tell).await;
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => clock::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn out(bytes: &[u8]) {
    let mut out = stdout();
    let _ = out.write_all(bytes).and_then(|()| out.flush()); // a closed terminal rings no bell
}

fn draw(screen: &mut Terminal<CrosstermBackend<Stdout>>, model: &Model) -> io::Result<()> {
    if !guard::held() {
        return Ok(()); // a panic has given it back, and the loop is about to hear of it
    }
    screen.draw(|frame| {
        if let Some(cursor) = render(model, frame.area(), frame.buffer_mut()) {
            frame.set_cursor_position(cursor);
        }
        if charset::ascii_only() {
            whole_ascii(frame.buffer_mut());
        }
    })?;
    Ok(())
}

/// Replaces what a terminal that is not UTF-8 cannot show, wherever it comes from: a program in the
/// shell, an object's name.
fn whole_ascii(buffer: &mut Buffer) {
    for at in buffer.area.positions() {
        let cell = &mut buffer[at];
        if !cell.symbol().is_ascii() {
            let sign = cell.symbol().chars().next().map_or('?', charset::cell);
            cell.set_char(sign);
        }
    }
}

/// The terminal is ours again after a pause.
fn anew(
    screen: &mut Terminal<CrosstermBackend<Stdout>>,
    model: &mut Model,
    opened: Instant,
) -> io::Result<()> {
    // The window may have another size now, and holds whatever the learner's shell left there.
    let (columns, rows) = terminal::size();
    model.now = opened.elapsed();
    model.size = Size::new(columns, rows);
    // Not `clear`, which asks the terminal where its cursor is: the keyboard's thread would take
    // the answer.
    screen.resize(Rect::new(0, 0, columns, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};
    use std::process::Command;

    /// Set in the process that gets the signals: one reaches all of a process.
    const INSIDE: &str = "ROPEWALK_TEST_END_SIGNALS";

    /// Not a test of its own: what the one below runs in a process.
    #[tokio::test]
    async fn gets_each_signal() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let mut end = EndSignals::new().unwrap();
        for kind in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP] {
            raise(kind).unwrap();
            assert_eq!(end.recv().await, 128 + kind as i32);
        }
    }

    #[test]
    fn no_signal_that_asks_for_the_end_leaves_the_terminal_raw() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tui::edge::run::tests::gets_each_signal"]);
        let ran = command.env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }
}
