use super::*;

#[test]
fn programs_get_answers_and_the_repl_is_heard() {
    let mut shell = Emulator::new(5, 20);
    shell.trust("t0ken".into());
    let side =
        shell.take(b"ab\x1b[6n\x1b[c\x07\x1b]ropewalk;t0ken;view;raft\x07\x1b]ropewalk;t0ken;lang;ko\x07");
    assert_eq!(side.answers, b"\x1b[1;3R\x1b[?1;2c");
    assert_eq!(side.commands, [FrameCommand::View("raft".into()), FrameCommand::Lang(Lang::Ko)]);
    assert_eq!(side.bells, 1);
    assert_eq!(shell.take(b""), SideOutput::default());
}

/// A log that begins a window's title and never ends it.
#[test]
fn an_endless_title_fills_no_memory_and_the_prompt_behind_it_is_seen() {
    let mut shell = Emulator::new(5, 20);
    shell.trust("t0ken".into());
    shell.take(b"\x1b]ropewalk;t0ken;view;");
    (0..256).for_each(|_| drop(shell.take(&[b'x'; 8192])));
    let commands = shell.take(b"\x1b\\> ").commands;
    let [FrameCommand::View(kept)] = commands.as_slice() else { panic!("{commands:?}") };
    assert!(kept.len() < 100_000, "{}", kept.len());
    assert_eq!(shell.screen().contents(), "> ");
}

/// A container's log, a file: what prints it does not know the token.
#[test]
fn output_of_programs_commands_neither_the_frame_nor_the_clipboard() {
    let noise =
        b"\x1b]ropewalk;help\x07\x1b]ropewalk;;help\x07\x1b]ropewalk;other;lang;ko\x07\x1b]52;c;cm0=\x07";
    let mut shell = Emulator::new(5, 20);
    assert_eq!(shell.take(noise), SideOutput::default());
    shell.trust("t0ken".into());
    assert_eq!(shell.take(noise), SideOutput::default());
    assert_eq!(shell.take(b"\x1b]ropewalk;t0ken;help\x07").commands, [FrameCommand::Help]);
}

#[test]
fn a_smaller_window_keeps_the_newest_lines_and_the_others_can_be_scrolled_to() {
    for editor in [false, true] {
        let mut shell = Emulator::new(20, 20);
        (1..=30).for_each(|n| drop(shell.take(format!("{n}\r\n").as_bytes())));
        shell.take(b"> ");
        if editor {
            shell.take(b"\x1b[?1049h~\r\n~\r\n~");
        }
        assert!(shell.resize(8, 20, false));
        if editor {
            assert_eq!(shell.screen().contents().lines().next(), Some("~"));
            shell.take(b"\x1b[?1049l");
        }
        let lines = |shell: &Emulator| {
            shell.screen().contents().lines().map(|l| l.trim_end().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(lines(&shell), ["24", "25", "26", "27", "28", "29", "30", ">"], "editor: {editor}");
        shell.take(b"ls");
        assert_eq!(lines(&shell)[7], "> ls", "the cursor stays behind the prompt");
        shell.scroll(1000);
        assert_eq!((shell.scrolled(), lines(&shell)[0].as_str()), (23, "1"), "nothing is lost");
    }
}

/// All lines, with those of the past.
fn all_lines(shell: &Emulator) -> Vec<String> {
    let mut past = shell.screen().clone();
    past.set_scrollback(usize::MAX);
    let rows = usize::from(past.size().0);
    let mut left = past.scrollback();
    // Whole screens of the past, then the present, as one text: wrapped rows are joined.
    let mut text = String::new();
    let mut push = |screen: &vt100::Screen, rows: usize| {
        for (n, row) in screen.rows(0, screen.size().1).enumerate().take(rows) {
            text.push_str(&row);
            if !screen.row_wrapped(n as u16) {
                text.push('\n');
            }
        }
    };
    while left > 0 {
        past.set_scrollback(left);
        push(&past, rows.min(left));
        left -= rows.min(left);
    }
    past.set_scrollback(0);
    push(&past, rows);
    text.trim_end().lines().map(|line| line.replace('\u{a0}', "").trim_end().to_string()).collect()
}

#[test]
fn a_narrower_window_costs_nothing_when_it_is_wide_again() {
    let mut shell = Emulator::new(6, 40);
    let mut printed = Vec::new();
    for n in 0..20 {
        printed.push(format!("{n:02}{}", "0123456789".repeat(n % 5)));
        printed.push(format!("{n:02} 파드가 노드에서 실행됩니다"));
        for line in &printed[2 * n..] {
            shell.take(format!("\x1b[32m{line}\x1b[m\r\n").as_bytes());
        }
    }
    shell.take(b"$ ls");
    printed.push("$ ls".into());
    let before = (shell.screen().contents(), shell.screen().cursor_position());
    for columns in [13, 10, 7, 33, 2, 80] {
        assert!(shell.resize(6, columns, false));
        assert_eq!(all_lines(&shell), printed, "{columns} columns");
        assert!(shell.screen().contents().ends_with('s'), "the end is in sight");
    }
    assert!(shell.resize(6, 40, false));
    assert_eq!((shell.screen().contents(), shell.screen().cursor_position()), before);
    assert_eq!(shell.screen().cell(0, 1).map(vt100::Cell::fgcolor), Some(vt100::Color::Idx(2)));
    shell.take(b" -l");
    assert!(shell.screen().contents().ends_with("$ ls -l"), "the cursor is where it was");
}

#[test]
fn a_larger_window_shows_the_past_again_but_not_behind_a_cleared_screen() {
    let lines = |shell: &Emulator| shell.screen().contents().lines().map(str::to_string).collect::<Vec<_>>();
    let mut shell = Emulator::new(8, 20);
    (1..=30).for_each(|n| drop(shell.take(format!("{n}\r\n").as_bytes())));
    shell.take(b">");
    assert!(shell.resize(3, 20, false) && shell.resize(8, 20, false));
    assert_eq!(lines(&shell), ["24", "25", "26", "27", "28", "29", "30", ">"]);
    shell.take(b"\x1b[H\x1b[2J>");
    assert!(shell.resize(12, 30, false));
    assert_eq!(lines(&shell), [">"]);
    assert_eq!(shell.screen().cursor_position(), (0, 1));
}

#[test]
fn what_is_looked_at_in_the_past_stays_in_sight() {
    let mut shell = Emulator::new(4, 20);
    (0..40).for_each(|n| drop(shell.take(format!("{n:02} {}\r\n", "x".repeat(12)).as_bytes())));
    shell.scroll(20);
    let first = shell.screen().contents()[..2].to_string();
    shell.resize(4, 8, false);
    assert_eq!(shell.screen().contents()[..2], first);
}

/// rustyline goes up as many rows as its line had, and prints it anew.
#[test]
fn the_line_that_is_edited_keeps_its_rows() {
    let mut shell = Emulator::new(6, 10);
    shell.take(b"0123456789abc\r\n> 3456789ab");
    assert_eq!(shell.screen().cursor_position(), (3, 1));
    shell.resize(6, 20, true);
    assert_eq!(shell.screen().contents(), "0123456789abc\n> 3456789a\nb");
    shell.take(b"\r\x1b[1A\x1b[J> 3456789ab");
    assert_eq!(shell.screen().contents(), "0123456789abc\n> 3456789ab");
}

/// A read ends wherever it ends, and the window may change its size before the next.
#[test]
fn a_sequence_that_is_split_by_a_resize_is_whole_all_the_same() {
    for (first, second) in
        [(&b"\x1b[3"[..], &b"1mred"[..]), (b"\xed\x8c", b"\x8cred"), (b"\x1b]0;ti", b"tle\x07red")]
    {
        for height in [2, 5, 9] {
            let mut shell = Emulator::new(5, 20);
            shell.take(b"\r\n\r\n\r\n\r\n");
            shell.take(first);
            assert!(shell.resize(height, 30, false));
            shell.take(second);
            let shown = shell.screen().contents();
            assert!(matches!(shown.trim_start(), "red" | "파red"), "{first:?} {height}: {shown:?}");
        }
    }
}

#[test]
fn a_full_screen_program_and_the_modes_outlive_a_resize() {
    let mut shell = Emulator::new(5, 20);
    shell.take(b"$ vi\r\n\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?1000h\x1b[?1006h\x1b[?25l\x1b[31mtext");
    assert!(shell.takes_keys() && shell.resize(6, 30, false) && shell.takes_keys());
    let screen = shell.screen();
    assert!(screen.application_cursor() && screen.application_keypad() && screen.bracketed_paste());
    assert!(screen.hide_cursor() && screen.alternate_screen());
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::PressRelease);
    assert_eq!(screen.mouse_protocol_encoding(), vt100::MouseProtocolEncoding::Sgr);
    assert_eq!((screen.contents().as_str(), screen.fgcolor()), ("text", vt100::Color::Idx(1)));
    shell.take(b"\x1b[?1049l$");
    assert_eq!(shell.screen().contents(), "$ vi\n$");
    assert!(!shell.takes_keys());
}

#[test]
fn scrolling_and_resizing_hold_whatever_the_sizes() {
    let mut shell = Emulator::new(3, 10);
    for n in 0..50 {
        shell.take(format!("line {n}\r\n파드 {n}\r\n").as_bytes());
    }
    shell.scroll(30);
    assert_eq!(shell.scrolled(), 30);
    for (rows, columns) in [(2, 2), (40, 3), (2, 200), (24, 80)] {
        shell.resize(rows, columns, false);
        shell.take("한글 \u{1b}[2J\u{1b}[H파드".as_bytes());
        assert_eq!(shell.size(), (rows, columns));
        assert!(shell.screen().cell(0, 0).is_some());
    }
    shell.scroll(-1000);
    assert_eq!(shell.scrolled(), 0);
    assert!(!shell.resize(0, 80, false), "out of sight");
}

/// Whatever programs print, at whatever size: the emulator stands.
#[test]
fn noise_does_no_harm() {
    const PARTS: &[&str] = &[
        "파드",
        "a",
        "\r",
        "\n",
        "\t",
        "\x08",
        "\x1b[H",
        "\x1b[2J",
        "\x1b[K",
        "\x1b[999;999H",
        "\x1b[3;2r",
        "\x1b[1;1r",
        "\x1b[r",
        "\x1b7",
        "\x1b8",
        "\x1b[?1049h",
        "\x1b[?1049l",
        "\x1b[5L",
        "\x1b[5M",
        "\x1b[3P",
        "\x1b[3@",
        "\x1b[9X",
        "\x1bM",
        "\x1b[5S",
        "\x1b[5T",
        "\x1b[?6h",
        "\x1b[?6l",
        "\x1b[1000A",
        "\x1b[1000B",
        "long enough to wrap around any of these screens",
        "\x1b[38;5;300m",
        "\x1b[6n",
        "e\u{301}",
        "👩‍🚀",
        "\x1b]0;t\x07",
    ];
    for seed in 0..40 {
        let rng = rng::Rng::seeded(seed);
        let mut shell = Emulator::new(5, 20);
        for _ in 0..400 {
            match rng.u64() % 12 {
                0 => {
                    let edited = rng.u64().is_multiple_of(2);
                    shell.resize((rng.u64() % 30) as u16, (rng.u64() % 60) as u16, edited);
                }
                1 => shell.scroll((rng.u64() % 40) as isize - 20),
                _ => {
                    shell.take(PARTS[(rng.u64() % PARTS.len() as u64) as usize].as_bytes());
                }
            }
            let (rows, columns) = shell.size();
            let mut cells = (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c)));
            assert!(cells.all(|(r, c)| shell.screen().cell(r, c).is_some()), "seed {seed}");
        }
    }
}
