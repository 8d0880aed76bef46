//! Encodes keys, pastes and the mouse as the bytes that a terminal sends for them.

use crate::line;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use tui_term::vt100::{MouseProtocolEncoding, MouseProtocolMode};

/// Returns the bytes that a terminal sends for a key; none if it sends nothing for it.
/// `application`: the program asked for application cursor keys.
pub(crate) fn bytes(key: &KeyEvent, application: bool) -> Vec<u8> {
    let (shift, alt, control) = (
        key.modifiers.contains(KeyModifiers::SHIFT),
        key.modifiers.contains(KeyModifiers::ALT),
        key.modifiers.contains(KeyModifiers::CONTROL),
    );
    let held = 1 + u8::from(shift) + 2 * u8::from(alt) + 4 * u8::from(control);
    let cursor = |letter: char| match (held, application) {
        (1, true) => format!("\x1bO{letter}").into_bytes(),
        (1, false) => format!("\x1b[{letter}").into_bytes(),
        _ => format!("\x1b[1;{held}{letter}").into_bytes(),
    };
    let numbered = |number: u8| match held {
        1 => format!("\x1b[{number}~").into_bytes(),
        _ => format!("\x1b[{number};{held}~").into_bytes(),
    };
    let plain = match key.code {
        KeyCode::Up => return cursor('A'),
        KeyCode::Down => return cursor('B'),
        KeyCode::Right => return cursor('C'),
        KeyCode::Left => return cursor('D'),
        KeyCode::Home => return cursor('H'),
        KeyCode::End => return cursor('F'),
        KeyCode::Insert => return numbered(2),
        KeyCode::Delete => return numbered(3),
        KeyCode::PageUp => return numbered(5),
        KeyCode::PageDown => return numbered(6),
        KeyCode::F(n @ 1..=4) if held == 1 => return format!("\x1bO{}", (b'P' + n - 1) as char).into_bytes(),
        KeyCode::F(n @ 1..=4) => return format!("\x1b[1;{held}{}", (b'P' + n - 1) as char).into_bytes(),
        KeyCode::F(n @ 5..=12) => return numbered([15, 17, 18, 19, 20, 21, 23, 24][usize::from(n) - 5]),
        KeyCode::BackTab => return b"\x1b[Z".to_vec(),
        KeyCode::Enter => vec![b'\r'],
        KeyCode::Tab => vec![b'\t'],
        KeyCode::Backspace if control => vec![0x08],
        KeyCode::Backspace => vec![0x7f],
        KeyCode::Esc => vec![0x1b],
        KeyCode::Null => vec![0],
        KeyCode::Char(c) if control => match c.to_ascii_lowercase() {
            c @ 'a'..='z' => vec![c as u8 - b'a' + 1],
            ' ' | '@' | '2' => vec![0],
            '[' | '3' => vec![0x1b],
            '\\' | '4' => vec![0x1c],
            ']' | '5' => vec![0x1d],
            '^' | '6' => vec![0x1e],
            '_' | '7' | '/' => vec![0x1f],
            '8' | '?' => vec![0x7f],
            c => c.to_string().into_bytes(),
        },
        KeyCode::Char(c) => c.to_string().into_bytes(),
        _ => return vec![],
    };
    if alt { [&[0x1b], plain.as_slice()].concat() } else { plain }
}

/// Returns a key of the frame that was pressed with a Korean layout on as the letter that stands on
/// it.
pub(crate) fn latin(key: KeyEvent) -> KeyEvent {
    match key.code {
        KeyCode::Char(c) => KeyEvent { code: KeyCode::Char(line::latin_key(c).unwrap_or(c)), ..key },
        _ => key,
    }
}

/// Encodes a paste as the program in the pane wants it. Control characters are left out, as other
/// terminals do: a paste neither closes its own brackets nor presses Ctrl-D.
pub(crate) fn paste(text: &str, bracketed: bool) -> Vec<u8> {
    let text = text.replace("\r\n", "\r").replace('\n', "\r");
    let text = text.replace(|c: char| c.is_control() && c != '\r' && c != '\t', "");
    match bracketed {
        true => format!("\x1b[200~{text}\x1b[201~").into_bytes(),
        false => text.into_bytes(),
    }
}

/// Encodes what the mouse did at a cell of the pane; nothing if the program did not ask for it.
pub(crate) fn mouse(event: &MouseEvent, column: u16, row: u16, screen: &tui_term::vt100::Screen) -> Vec<u8> {
    let mode = screen.mouse_protocol_mode();
    let button = |b: MouseButton| match b {
        MouseButton::Left => 0,
        MouseButton::Middle => 1,
        MouseButton::Right => 2,
    };
    let (code, released) = match event.kind {
        _ if mode == MouseProtocolMode::None => return vec![],
        MouseEventKind::Down(b) => (button(b), false),
        MouseEventKind::Up(_) if mode == MouseProtocolMode::Press => return vec![],
        MouseEventKind::Up(b) => (button(b), true),
        MouseEventKind::Drag(b)
            if matches!(mode, MouseProtocolMode::ButtonMotion | MouseProtocolMode::AnyMotion) =>
        {
            (32 + button(b), false)
        }
        MouseEventKind::Moved if mode == MouseProtocolMode::AnyMotion => (35, false),
        MouseEventKind::ScrollUp => (64, false),
        MouseEventKind::ScrollDown => (65, false),
        _ => return vec![],
    };
    let held = 4 * u8::from(event.modifiers.contains(KeyModifiers::SHIFT))
        + 8 * u8::from(event.modifiers.contains(KeyModifiers::ALT))
        + 16 * u8::from(event.modifiers.contains(KeyModifiers::CONTROL));
    let code = code + held;
    match screen.mouse_protocol_encoding() {
        MouseProtocolEncoding::Sgr => {
            format!("\x1b[<{code};{};{}{}", column + 1, row + 1, if released { 'm' } else { 'M' })
                .into_bytes()
        }
        encoding => {
            let code = if released { 3 + held } else { code };
            let numbers = [u16::from(code) + 32, column.saturating_add(33), row.saturating_add(33)];
            old_mouse(numbers, encoding == MouseProtocolEncoding::Utf8)
        }
    }
}

/// The encodings before SGR: a byte a number, or a character of UTF-8. Where a number has no byte
/// or character, nothing is sent: a wrong cell would be clicked.
fn old_mouse(numbers: [u16; 3], utf8: bool) -> Vec<u8> {
    let mut out = b"\x1b[M".to_vec();
    for n in numbers {
        match utf8 {
            true => match char::from_u32(n.into()).filter(|_| n < 0x800) {
                Some(c) => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
                None => return vec![],
            },
            false => match u8::try_from(n) {
                Ok(byte) => out.push(byte),
                Err(_) => return vec![],
            },
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Vec<u8> {
        bytes(&KeyEvent::new(code, modifiers), false)
    }

    #[test]
    fn keys_are_what_a_terminal_sends() {
        let none = KeyModifiers::NONE;
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), b"\x03");
        assert_eq!(press(KeyCode::Char('d'), KeyModifiers::CONTROL), b"\x04");
        assert_eq!(press(KeyCode::Char('\\'), KeyModifiers::CONTROL), b"\x1c");
        assert_eq!(press(KeyCode::Char('파'), none), "파".as_bytes());
        assert_eq!(press(KeyCode::Char('b'), KeyModifiers::ALT), b"\x1bb");
        assert_eq!(press(KeyCode::Enter, none), b"\r");
        assert_eq!(press(KeyCode::Backspace, none), b"\x7f");
        assert_eq!(press(KeyCode::Right, KeyModifiers::CONTROL), b"\x1b[1;5C");
        assert_eq!(press(KeyCode::F(5), none), b"\x1b[15~");
        assert_eq!(bytes(&KeyEvent::new(KeyCode::Up, none), true), b"\x1bOA");
    }

    #[test]
    fn a_cell_that_an_old_mouse_encoding_cannot_name_is_not_clicked() {
        assert_eq!(old_mouse([32, 33, 34], false), b"\x1b[M !\"");
        assert_eq!(old_mouse([32, 255, 33], false), b"\x1b[M \xff!");
        assert_eq!(old_mouse([32, 256, 33], false), b"");
        assert_eq!(old_mouse([32, 256, 33], true), "\x1b[M \u{100}!".as_bytes());
        assert_eq!(old_mouse([32, 0x800, 33], true), b"");
    }

    #[test]
    fn a_paste_stays_inside_its_brackets() {
        assert_eq!(paste("a\nb", false), b"a\rb");
        // A terminal removes what closes the brackets only once, if at all.
        for closing in ["\x1b[201~", "\x1b[20\x1b[201~1~", "\u{9b}201~"] {
            let pasted = paste(&format!("a\r\n\tb{closing}rm\x04\x03"), true);
            let inside = pasted.strip_prefix(b"\x1b[200~").and_then(|p| p.strip_suffix(b"\x1b[201~"));
            let inside = String::from_utf8(inside.unwrap().to_vec()).unwrap();
            assert!(inside.starts_with("a\r\tb") && inside.ends_with("rm"), "{inside:?}");
            assert!(!inside.replace(['\r', '\t'], "").contains(char::is_control), "{inside:?}");
        }
    }
}
