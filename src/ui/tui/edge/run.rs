//! The one loop: events in, the model moved on, effects carried out, and the screen drawn when it
//! looks different.

use super::super::event::{Effect, Event, Question};
use super::super::model::Model;
use super::super::render::render;
use super::super::update::{HUNG_UP, catch_up, last_words, update};
use super::super::words::Word;
use super::backend::Sized;
use super::guard::{self, Taken};
use super::keyboard::Keyboard;
use super::moves::{self, Left, Works};
use super::pty::Pty;
use super::{feed, labs, probe};
use crate::beside;
use crate::lesson;
use crate::terminal::{self, EndSignals};
use crate::texts::Lang;
use clock::Instant;
use cluster::Place;
use lang::charset::{self, eprintln};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::Terminal;
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use std::io::{self, Write, stdout};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// Events that wait to be taken in; a sender of more waits.
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
    /// What to open first.
    pub first: Option<Question>,
}

/// How the interface was closed.
pub(crate) struct Closed {
    /// The exit code.
    pub code: i32,
    /// A signal closed it.
    pub by_signal: bool,
    /// The language that it spoke last.
    pub lang: Lang,
}

/// The signals that the interface handles.
struct Signals {
    end: EndSignals,
    stopped: Signal,
    continued: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            end: EndSignals::new(EndSignals::INTERFACE)?,
            stopped: signal(SignalKind::from_raw(nix::libc::SIGTSTP))?,
            continued: signal(SignalKind::from_raw(nix::libc::SIGCONT))?,
        })
    }
}

/// Opens the interface, and returns when it is closed.
///
/// # Errors
/// The terminal cannot be used, or the REPL of the shell pane cannot be started.
pub(crate) async fn run(setting: Setting) -> io::Result<Closed> {
    let mut signals = Signals::new()?;
    let taken = Taken::take()?;
    // Asked on the other screen: the learner's own stays as it is.
    let answer = if charset::ascii_only() { probe::Answer::default() } else { probe::ask()? };
    // Before the channel, so that it is dropped after it: the thread may wait for room there.
    let mut keyboard = Keyboard::default();
    let (tell, mut told) = mpsc::channel(PENDING);
    // The terminal's answer about its background may still be on its way.
    let late = answer.light.is_none() && !charset::ascii_only();
    keyboard.start(tell.clone(), probe::Late::new(late))?;
    let gone = tell;
    std::thread::Builder::new().name("terminal-end".into()).spawn(move || {
        await_end_of_terminal();
        let _ = gone.blocking_send(Event::Gone); // the interface may have ended
    })?;
    let mut interface = Interface::open(setting, answer)?;
    let (code, by_signal) = loop {
        let event = match interface.next(&mut told, &mut signals).await? {
            Next::Event(event) => event,
            Next::Nothing => continue,
            Next::End(code) => break (code, code != 0),
        };
        let effects = interface.take_in(event, &mut told);
        if let Some(code) = interface.carry_out(effects, &mut signals.continued).await? {
            break (code, false);
        }
    };
    let Interface { pty, model, left, works, .. } = interface;
    drop(pty);
    drop(told);
    drop(keyboard); // what is typed from now on answers questions on the learner's own screen
    drop(taken);
    if let Some(words) = last_words(&model, code) {
        eprintln!("{words}");
    }
    moves::wind_up(left, works, model.lang).await;
    Ok(Closed { code, by_signal, lang: model.lang })
}

/// What the loop does next.
enum Next {
    Event(Event),
    /// It was done already: a picture was drawn, or a task has ended.
    Nothing,
    /// The interface ends with this exit code.
    End(i32),
}

/// The model and all that the loop drives with it.
pub(super) struct Interface {
    pub(super) setting: Setting,
    pub(super) model: Model,
    /// The moment at which the model's clock was zero.
    pub(super) opened: Instant,
    pub(super) pty: Pty,
    pub(super) feeds: Feeds,
    /// A learner is led to the first lesson once, and not at all if another one was asked for.
    pub(super) welcomed: Arc<AtomicBool>,
    screen: Terminal<Sized>,
    /// When the last picture was drawn.
    drawn: Instant,
    /// The screen would look different now.
    dirty: bool,
    /// What was left for the cluster of a lesson or lab, and is gone back to.
    pub(super) left: Option<Left>,
    /// Starts and removes such clusters.
    pub(super) works: Works,
}

/// The tasks that tell of one cluster, and what they tell.
pub(super) struct Feeds {
    /// They end with the interface, and it with one that panics. Threads and tasks of libraries are
    /// watched by the guard.
    tasks: JoinSet<()>,
    tell: mpsc::Sender<Event>,
    told: mpsc::Receiver<Event>,
    /// Follows the lesson.
    follow: AbortHandle,
    /// Follows the lab.
    follow_lab: AbortHandle,
}

impl Feeds {
    /// Starts them. What is to be opened first is asked as soon as the cluster answers.
    pub(super) fn start(setting: &Setting, lang: Lang, welcomed: &Arc<AtomicBool>) -> Feeds {
        let (tell, told) = mpsc::channel(PENDING);
        let place = || setting.place.clone();
        let mut tasks = feed::start(&setting.place, &tell);
        tasks.spawn(feed::glossary(tell.clone()));
        let follow = tasks.spawn(feed::follow(place(), lang, welcomed.clone(), tell.clone()));
        let follow_lab = tasks.spawn(labs::follow(place(), lang, tell.clone()));
        if let Some(first) = setting.first.clone() {
            tasks.spawn(open_first(place(), lang, first, tell.clone()));
        }
        Feeds { tasks, tell, told, follow, follow_lab }
    }

    /// Puts a question to an engine.
    fn ask(&mut self, place: Place, lang: Lang, question: Question) {
        self.tasks.spawn(put(place, lang, question, self.tell.clone()));
    }

    /// Asks for the views of lessons and labs in another language.
    fn speak(&mut self, place: &Place, lang: Lang, welcomed: &Arc<AtomicBool>) {
        self.follow.abort();
        self.follow_lab.abort();
        let tell = || self.tell.clone();
        self.follow_lab = self.tasks.spawn(labs::follow(place.clone(), lang, tell()));
        self.follow = self.tasks.spawn(feed::follow(place.clone(), lang, welcomed.clone(), tell()));
    }
}

impl Interface {
    /// Starts the REPL and the tasks, and draws the first picture.
    fn open(setting: Setting, answer: probe::Answer) -> io::Result<Interface> {
        let look = probe::look(&answer, setting.ascii, terminal::colours());
        let (columns, rows) = terminal::size();
        let opened = Instant::now();
        let size = Size::new(columns, rows);
        let mut model = Model::new(&setting.place.name, setting.lang, look, size, clock::now());
        model.is_declared = beside::is_declared(&setting.place);
        let pty = start_repl(&setting, &mut model)?;
        if !answer.typed.is_empty() {
            pty.type_in(answer.typed);
        }
        let welcomed = Arc::new(AtomicBool::new(setting.first.is_some()));
        let feeds = Feeds::start(&setting, setting.lang, &welcomed);
        let mut screen = Terminal::new(Sized::new())?;
        draw(&mut screen, &model)?;
        let drawn = Instant::now();
        let (left, works) = (None, Works::default());
        Ok(Interface {
            setting,
            model,
            opened,
            pty,
            feeds,
            welcomed,
            screen,
            drawn,
            dirty: false,
            left,
            works,
        })
    }

    /// Waits for what happens next, and draws when a picture is due.
    async fn next(&mut self, told: &mut mpsc::Receiver<Event>, signals: &mut Signals) -> io::Result<Next> {
        let due = self.model.due().map(|due| self.opened + due);
        let frame = self.drawn + FRAME;
        tokio::select! {
            biased;
            // First those after which nothing may be drawn.
            code = signals.end.recv() => return Ok(Next::End(code)),
            // Its text was printed already.
            () = guard::panicked() => std::panic::resume_unwind(Box::new("a thread has panicked")),
            _ = signals.stopped.recv() => guard::suspend(&mut signals.continued).await?,
            _ = signals.continued.recv() => guard::retake()?,
            Some(ended) = self.feeds.tasks.join_next() => return match ended {
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                _ => Ok(Next::Nothing),
            },
            Some(done) = self.works.next_done() => match done {
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => return Ok(Next::Nothing),
                Ok(done) => self.done(done),
            },
            () = clock::pause_until(frame), if self.dirty => return self.draw(),
            event = told.recv() => return Ok(event.map_or(Next::End(0), Next::Event)),
            event = self.feeds.told.recv() => return Ok(event.map_or(Next::End(0), Next::Event)),
            event = self.pty.output.recv() => return Ok(event.map_or(Next::End(0), Next::Event)),
            () = at(due) => return Ok(Next::Event(Event::Tick)),
        }
        self.resume()?;
        Ok(Next::Nothing)
    }

    /// Draws the picture that is due.
    fn draw(&mut self) -> io::Result<Next> {
        self.model.now = self.opened.elapsed();
        match draw(&mut self.screen, &self.model) {
            // The terminal is gone, and its signal has not come yet.
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => return Ok(Next::End(HUNG_UP)),
            done => done?,
        }
        (self.drawn, self.dirty) = (Instant::now(), false);
        Ok(Next::Nothing)
    }

    /// Makes the next picture a whole one, because the terminal is ours again after a pause. The
    /// window may have another size now, and holds whatever the learner's shell left there.
    fn resume(&mut self) -> io::Result<()> {
        let (columns, rows) = terminal::size();
        self.model.now = self.opened.elapsed();
        self.model.size = Size::new(columns, rows);
        self.dirty = true;
        // Not `clear`, which asks the terminal where its cursor is: the keyboard's thread would
        // take the answer.
        self.screen.resize(Rect::new(0, 0, columns, rows))
    }

    /// Takes in an event and those that wait behind it; returns their effects.
    fn take_in(&mut self, event: Event, told: &mut mpsc::Receiver<Event>) -> Vec<Effect> {
        self.model.now = self.opened.elapsed();
        let mut effects = Vec::new();
        let mut next = Some(event);
        for left in (0..=AT_ONCE).rev() {
            let Some(event) = next.take() else { break };
            // The last one leaves its successor in the queue.
            if left > 0 {
                let told = told.try_recv().or_else(|_| self.feeds.told.try_recv());
                next = told.or_else(|_| self.pty.output.try_recv()).ok();
            }
            // A window that is dragged tells many sizes; each lays out all lines of the shell anew.
            if let (Event::Resize(_), Some(Event::Resize(_))) = (&event, &next) {
                continue;
            }
            let (more, changed) = update(&mut self.model, event);
            self.dirty |= changed;
            effects.extend(more);
        }
        let (more, changed) = catch_up(&mut self.model);
        self.dirty |= changed;
        effects.extend(more);
        effects
    }

    /// Carries effects out. Returns the exit code if one of them ends the interface.
    ///
    /// # Errors
    /// The terminal cannot be used.
    async fn carry_out(&mut self, effects: Vec<Effect>, continued: &mut Signal) -> io::Result<Option<i32>> {
        let (mut quit, end) = (None, exit_code(&effects));
        for effect in effects {
            match effect {
                Effect::Type(bytes) => self.pty.type_in(bytes),
                Effect::Size(rows, columns) => self.pty.resize(rows, columns),
                Effect::Ask(question) => {
                    self.feeds.ask(self.setting.place.clone(), self.model.lang, question);
                }
                Effect::Speak(lang) => self.feeds.speak(&self.setting.place, lang, &self.welcomed),
                Effect::Begin(there) => self.begin(there),
                Effect::Home(code) => match self.go_back() {
                    // What follows was for the pane that was left, but for the end of all.
                    true if end.is_some() => return Ok(end),
                    true => {
                        self.resume()?;
                        return Ok(None);
                    }
                    false => quit = Some(code),
                },
                Effect::Bell => out(b"\x07"),
                Effect::Suspend if terminal::can_go_on() => {
                    guard::suspend(continued).await?;
                    self.resume()?;
                }
                Effect::Suspend => {
                    self.model.notice = Some(Word::CannotSuspend);
                    out(b"\x07");
                }
                Effect::Quit(code) => quit = Some(code),
            }
        }
        Ok(quit)
    }
}

/// Returns the exit code if one of the effects ends the interface.
fn exit_code(effects: &[Effect]) -> Option<i32> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Quit(code) => Some(*code),
        _ => None,
    })
}

/// Starts the REPL of the shell pane. Only this REPL may command the frame: programs in its shell
/// do not see its arguments from inside a container.
pub(super) fn start_repl(setting: &Setting, model: &mut Model) -> io::Result<Pty> {
    let token = format!("{:016x}", rng::Rng::from_os().u64());
    model.shell.trust(token.clone());
    let mut args = vec!["repl".to_string(), format!("--in-pane={token}")];
    args.extend(["--name".to_string(), setting.place.name.clone()]);
    args.extend(["--lang".to_string(), lesson::tag(setting.lang).into()]);
    let (rows, columns) = model.shell.size();
    Pty::start(&args, rows, columns)
}

/// Returns when the learner's terminal is gone. SIGHUP reaches only those whose controlling
/// terminal it was, and crossterm reads what is gone over and over.
fn await_end_of_terminal() {
    let input = io::stdin();
    // No event is asked for: poll(2) reports the end of a terminal all the same.
    let mut end = [PollFd::new(input.as_fd(), PollFlags::empty())];
    while poll(&mut end, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
}

/// Opens the lesson or lab that was asked for, as soon as the cluster answers.
async fn open_first(place: Place, lang: Lang, first: Question, tell: mpsc::Sender<Event>) {
    feed::ready(&place).await;
    put(place, lang, first, tell).await;
}

async fn put(place: Place, lang: Lang, question: Question, tell: mpsc::Sender<Event>) {
    if let Some(ask) = question.ask() {
        feed::question(place, lang, ask, tell).await;
    } else if let Some(ask) = question.ask_lab() {
        labs::question(place, lang, ask, tell).await;
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => clock::pause_until(due).await,
        None => std::future::pending().await,
    }
}

fn out(bytes: &[u8]) {
    let mut out = stdout();
    let _ = out.write_all(bytes).and_then(|()| out.flush()); // a closed terminal rings no bell
}

fn draw(screen: &mut Terminal<Sized>, model: &Model) -> io::Result<()> {
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
            let sign = cell.symbol().chars().next().map_or('?', charset::ascii_cell);
            cell.set_char(sign);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a window is closed, the REPL of a lesson's cluster and the terminal end together.
    #[test]
    fn the_end_of_the_terminal_is_seen_behind_the_way_back() {
        let effects = [Effect::Type(vec![3]), Effect::Home(0), Effect::Quit(HUNG_UP)];
        assert_eq!(exit_code(&effects), Some(HUNG_UP));
        assert_eq!(exit_code(&effects[..2]), None);
    }
}
