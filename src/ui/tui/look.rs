//! How things look: signs and styles. Shape and letter come first; colour only repeats what they
//! say.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// What the learner's terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Only signs of ASCII: asked for, or the terminal draws others two cells wide.
    pub ascii: bool,
    pub colour: bool,
    /// Dark text on a light background.
    pub light: bool,
}

/// A sign with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Ready,
    Starting,
    Leaving,
    Failed,
    Waiting,
    Done,
    System,
    Leader,
    Cut,
    Down,
    Met,
    Unmet,
    Holding,
    Task,
    Play,
    Pause,
    Back,
    First,
    Step,
    Last,
    Right,
    RightLit,
    LeftLit,
    Line,
    LineLit,
    Watch,
    WatchLit,
    More,
    /// Text above is out of sight.
    Above,
    Dot,
    Pick,
    Ellipsis,
    Block,
    Hollow,
    Warn,
    /// A lifeline, where an arrow leaves it to the right or to the left, and where one crosses it.
    Rail,
    Fork,
    Join,
    Cross,
    /// The line of a watch.
    Dots,
    Tip,
    TipBack,
    Stored,
    /// The rest of a gauge.
    Empty,
    Heart,
    /// A command that was typed.
    Typed,
    /// What went away.
    Ghost,
    /// Below a place on a line.
    Here,
}

impl Look {
    /// The characters of a sign on this terminal.
    pub(crate) fn sign(self, sign: Sign) -> &'static str {
        use Sign::*;
        let (unicode, ascii) = match sign {
            Ready => ("●", "*"),
            Starting => ("◐", "o"),
            Leaving => ("○", "-"),
            Failed => ("✗", "x"),
            Waiting => ("◌", "."),
            Done => ("✓", "+"),
            System => ("▪", "#"),
            Leader => ("★", "L"),
            Cut => ("✂", "/"),
            Down => ("╳", "X"),
            Met => ("✓", "+"),
            Unmet => ("✗", "x"),
            Holding => ("…", "~"),
            Task => ("▸", ">"),
            Play => ("▶", ">"),
            Pause => ("▮▮", "||"),
            Back => ("◂", "<"),
            First => ("◂◂", "<<"),
            Step => ("▸", ">"),
            Last => ("▸▸", ">>"),
            Right => ("──▶", "-->"),
            RightLit => ("━━▶", "==>"),
            LeftLit => ("◀━━", "<=="),
            Line => ("─", "-"),
            LineLit => ("━", "="),
            Watch => ("╎", ":"),
            WatchLit => ("┃", "|"),
            More => ("▼", "v"),
            Above => ("▲", "^"),
            Dot => ("·", "-"),
            Pick => ("▶", ">"),
            Ellipsis => ("…", "~"),
            Block => ("█", "#"),
            Hollow => ("□", "o"),
            Warn => ("⚠", "!"),
            Rail => ("│", "|"),
            Fork => ("├", "|"),
            Join => ("┤", "|"),
            Cross => ("┼", "+"),
            Dots => ("┄", "."),
            Tip => ("▶", ">"),
            TipBack => ("◀", "<"),
            Stored => ("■", "#"),
            Empty => ("░", "."),
            Heart => ("♥", "v"),
            Typed => ("$", "$"),
            Ghost => ("†", "%"),
            Here => ("▲", "^"),
        };
        if self.ascii { ascii } else { unicode }
    }

    /// ①, or `1` where that cannot be drawn.
    pub(crate) fn number(self, n: usize) -> String {
        match (self.ascii, u32::try_from(n)) {
            (false, Ok(n @ 1..=20)) => char::from_u32(0x2460 + n - 1).map_or(n.to_string(), String::from),
            _ => n.to_string(),
        }
    }

    /// The characters of a frame on this terminal.
    pub(crate) fn border(self) -> border::Set<'static> {
        if !self.ascii {
            return border::PLAIN;
        }
        border::Set {
            top_left: "+",
            top_right: "+",
            bottom_left: "+",
            bottom_right: "+",
            vertical_left: "|",
            vertical_right: "|",
            horizontal_top: "-",
            horizontal_bottom: "-",
        }
    }

    /// The style of a tone on this terminal.
    pub(crate) fn tone(self, tone: Tone) -> Style {
        let style = Style::new();
        let modified = match tone {
            Tone::Plain => style,
            Tone::Dim => style.add_modifier(Modifier::DIM),
            Tone::Strong | Tone::Bad | Tone::Title => style.add_modifier(Modifier::BOLD),
            Tone::Good | Tone::Warn | Tone::Accent | Tone::Code => style,
            Tone::Lit => style.add_modifier(Modifier::BOLD | Modifier::REVERSED),
        };
        if !self.colour {
            return modified;
        }
        let colour = match (tone, self.light) {
            (Tone::Good, _) => Color::Green,
            (Tone::Bad, _) => Color::Red,
            // Yellow and cyan cannot be read on white.
            (Tone::Warn, false) => Color::Yellow,
            (Tone::Warn, true) => Color::Magenta,
            (Tone::Accent | Tone::Title | Tone::Code, false) => Color::Cyan,
            (Tone::Accent | Tone::Title | Tone::Code, true) => Color::Blue,
            (Tone::Plain | Tone::Dim | Tone::Strong | Tone::Lit, _) => return modified,
        };
        modified.fg(colour)
    }
}

/// What a piece of text is, of which its style follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Dim,
    Strong,
    Good,
    Warn,
    Bad,
    Accent,
    Code,
    Title,
    /// The place where the request is now.
    Lit,
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn without_colour_no_colour_is_named_and_ascii_is_ascii() {
        let plain = Look { ascii: true, ..Look::default() };
        for tone in [Tone::Good, Tone::Warn, Tone::Bad, Tone::Accent, Tone::Title, Tone::Lit] {
            assert_eq!((plain.tone(tone).fg, plain.tone(tone).bg), (None, None));
        }
        for sign in [Sign::Ready, Sign::Starting, Sign::Leader, Sign::RightLit, Sign::Pause, Sign::Warn] {
            assert!(plain.sign(sign).is_ascii());
            assert_eq!(plain.number(3), "3");
        }
        let rich = Look::default();
        assert_eq!(rich.number(6), "⑥");
        assert_eq!(rich.sign(Sign::Right).width(), plain.sign(Sign::Right).width());
    }
}
