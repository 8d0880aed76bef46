//! Characters that a foreign text may not bring to a terminal.

/// True for a character that shows the text around it in another order than it is written in.
pub fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// True for a character that a foreign text may not bring to a terminal: a control character, which
/// the terminal obeys, or one that [reorders]. Line breaks and tabs are control characters, too.
pub fn is_harmful(c: char) -> bool {
    c.is_control() || reorders(c)
}

/// Removes the characters of a text that are [harmful](is_harmful), except line breaks and tabs.
/// Texts of other programs, servers and files go through this on their way to a terminal.
pub fn harmless_lines(text: String) -> String {
    let is_removed = |c: char| is_harmful(c) && !matches!(c, '\n' | '\t');
    match text.contains(is_removed) {
        true => text.replace(is_removed, ""),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_neither_steers_a_terminal_nor_reorders_a_line() {
        let foreign = "a\u{1b}[2J\u{202e}b\u{2066}c\u{200f}\u{61c}\u{9b}d\n\te가".to_string();
        assert_eq!(harmless_lines(foreign), "a[2Jbcd\n\te가");
    }
}
